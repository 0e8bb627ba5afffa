//! Bytes of any content as numbers, for fuzzers.

/// Numbers from bytes; zeroes after their end.
#[derive(Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// A number of `range`, which has at most 256.
    pub(crate) fn of(&mut self, range: core::ops::Range<u64>) -> u64 {
        range.start + u64::from(self.byte()) % (range.end - range.start)
    }

    pub(crate) fn index(&mut self) -> usize {
        usize::from(self.byte())
    }

    /// Eight bytes.
    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes(core::array::from_fn(|_| self.byte()))
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }
}
