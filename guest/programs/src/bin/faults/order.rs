//! In which order pages are touched.
//!
//! The order is a list made before the phase, so that looking up the next page costs the same whatever the pattern.
//!
//! - `seq`: 0, 1, 2, ...
//! - `rand`: a permutation, the same for equal seeds and counts (Fisher and Yates; Knuth, volume 2, algorithm 3.4.2P).
//! - `stride:N`: 0, N, 2N, ..., then 1, N + 1, ..., until every page was touched.

use faultlab_abi::pattern::Pattern;

/// Fills `order` with the numbers from 0 to its length, each once.
pub(crate) fn fill(pattern: Pattern, order: &mut [u32], seed: u64) {
    match pattern {
        Pattern::None | Pattern::Seq => sequence(order, 1),
        Pattern::Stride(step) => sequence(order, step),
        Pattern::Rand => {
            sequence(order, 1);
            shuffle(order, seed);
        }
    }
}

fn sequence(order: &mut [u32], step: u32) {
    let count = order.len() as u32;
    let (mut first, mut next) = (0, 0);
    for place in order {
        if next >= count {
            first += 1;
            next = first;
        }
        *place = next;
        next = next.saturating_add(step);
    }
}

fn shuffle(order: &mut [u32], seed: u64) {
    let mut state = seed;
    for last in (1..order.len()).rev() {
        // The bias of a remainder of 64 bits by at most 65,536 is below 1 in 10^14.
        let other = splitmix(&mut state) % (last as u64 + 1);
        order.swap(last, other as usize);
    }
}

/// The next pseudo-random number. Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
