//! Comparing two lists of numbers that are in different orders, and too long to keep.

use core::ops::RangeInclusive;

use super::{Violation, equal};

/// Numbers with how often each was put in and taken out.
///
/// They are not kept: each is mixed to one that looks drawn, and these are added up, so that a sum of 0 says that as much went out as came
/// in, of each number (but for one chance in 2^64). Where it is not 0, the same is done for half of the numbers, until one is left.
#[derive(Debug)]
pub struct Ledger {
    range: RangeInclusive<u64>,
    sum: u64,
    put: u64,
    taken: u64,
}

impl Ledger {
    const fn of(range: RangeInclusive<u64>) -> Self {
        Self {
            range,
            sum: 0,
            put: 0,
            taken: 0,
        }
    }

    /// `number` came in so often.
    #[inline]
    pub fn put(&mut self, number: u64, times: u64) {
        if self.range.contains(&number) {
            self.sum = self.sum.wrapping_add(mixed(number).wrapping_mul(times));
            self.put = self.put.wrapping_add(times);
        }
    }

    /// `number` went out so often.
    #[inline]
    pub fn take(&mut self, number: u64, times: u64) {
        if self.range.contains(&number) {
            self.sum = self.sum.wrapping_sub(mixed(number).wrapping_mul(times));
            self.taken = self.taken.wrapping_add(times);
        }
    }
}

/// A number that looks drawn. Source: Vigna, "SplitMix64" (the constants).
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// Whether `post`, which puts in and takes out always the same, takes out as much as it puts in, of each number.
///
/// # Errors
/// The smallest number (below 2^32) of which it does not: how often it was taken out, and put in.
pub(super) fn balance(what: &'static str, post: &dyn Fn(&mut Ledger)) -> Result<(), Violation> {
    let posted = |range: RangeInclusive<u64>| {
        let mut ledger = Ledger::of(range);
        post(&mut ledger);
        ledger
    };
    if posted(0..=u64::MAX).sum == 0 {
        return Ok(());
    }
    let (mut low, mut high) = (0_u64, (1 << 33) - 1);
    while low < high {
        let middle = low.midpoint(high);
        if posted(low..=middle).sum == 0 {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let one = posted(low..=low);
    equal(what, low, one.taken, one.put)
}
