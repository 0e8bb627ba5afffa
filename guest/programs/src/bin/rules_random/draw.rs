//! What a call and its arguments are, from the seed and the call's number alone: leaving calls out changes no other.

/// An endless row of numbers. Source: `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014).
pub(crate) struct Draw(u64);

impl Draw {
    /// Those of one call.
    pub(crate) fn of(seed: u64, number: u32) -> Self {
        let mut draw = Self(seed);
        draw.0 = draw.next() ^ u64::from(number).wrapping_mul(0xd134_2543_de82_ef95);
        draw
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is small.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((self.next() >> 32) as usize * bound) >> 32
    }

    /// One of some.
    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
