//! The descriptors of a process.
//!
//! Source: open(2) (the lowest free number), close(2).

/// Open descriptors, a bit each: which are open, and which of those are `/dev/faultlab`. The others are the standard
/// streams, by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    open: u64,
    lab: u64,
}

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// Standard input, output or error.
    Stream(u32),
    /// `/dev/faultlab`.
    Lab,
}

impl Files {
    /// No descriptor is open.
    pub const NONE: Self = Self { open: 0, lab: 0 };
    /// The standard streams.
    pub const STANDARD: Self = Self { open: 0b111, lab: 0 };

    /// What `descriptor` refers to.
    #[must_use]
    pub fn get(self, descriptor: u64) -> Option<File> {
        let bit = Self::bit(descriptor)?;
        match (self.open & bit != 0, self.lab & bit != 0) {
            (false, _) => None,
            (true, true) => Some(File::Lab),
            (true, false) => Some(File::Stream(descriptor as u32)),
        }
    }

    /// Opens `/dev/faultlab` under the lowest free number; `None` when all are taken.
    pub fn open_lab(&mut self) -> Option<u64> {
        let descriptor = u64::from(self.open.trailing_ones());
        let bit = Self::bit(descriptor)?;
        self.open |= bit;
        self.lab |= bit;
        Some(descriptor)
    }

    /// Closes; `false` if it was not open.
    pub fn close(&mut self, descriptor: u64) -> bool {
        let Some(bit) = Self::bit(descriptor).filter(|bit| self.open & bit != 0) else {
            return false;
        };
        self.open &= !bit;
        self.lab &= !bit;
        true
    }

    /// Descriptors are C integers: the upper half of the register does not count.
    fn bit(descriptor: u64) -> Option<u64> {
        1u64.checked_shl(descriptor as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_begins_with_its_streams() {
        let files = Files::STANDARD;
        assert_eq!(
            (0..4).map(|n| files.get(n)).collect::<Vec<_>>(),
            [
                Some(File::Stream(0)),
                Some(File::Stream(1)),
                Some(File::Stream(2)),
                None
            ]
        );
        assert_eq!(Files::NONE.get(0), None);
    }

    #[test]
    fn the_lowest_free_number_is_taken() {
        let mut files = Files::STANDARD;
        assert_eq!(files.open_lab(), Some(3));
        assert_eq!(files.open_lab(), Some(4));
        assert!(files.close(1));
        assert_eq!(files.get(1), None);
        assert_eq!(files.open_lab(), Some(1));
        assert_eq!(files.get(1), Some(File::Lab));
        assert!(files.close(3) && !files.close(3));
        assert_eq!(files.get(4), Some(File::Lab));
    }

    #[test]
    fn numbers_out_of_range_are_not_open() {
        let mut files = Files::STANDARD;
        let all: Vec<_> = std::iter::from_fn(|| files.open_lab()).collect();
        assert_eq!(all, (3..64).collect::<Vec<_>>());
        for descriptor in [64, 65, u64::from(u32::MAX), 1 << 31] {
            assert_eq!(files.get(descriptor), None);
            assert!(!files.close(descriptor));
        }
        assert_eq!(files.get(1 << 32 | 1), Some(File::Stream(1)), "a descriptor is an int");
    }
}
