//! Limits of a process: `RLIMIT_*`.
//!
//! All are kept and inherited; those of address spaces (`AS`, `DATA`, `STACK`, `MEMLOCK`) are enforced by the memory manager, that of descriptors by
//! their table.
//!
//! Source: Linux, kernel/sys.c (`do_prlimit`), include/asm-generic/resource.h; getrlimit(2).

use faultlab_mm::mmap::{RLIM_INFINITY, Rlimits};

use crate::cred::Refused;

/// How many there are. Source: Linux `RLIM_NLIMITS`.
const COUNT: usize = 16;
const FSIZE: usize = 1;
const DATA: usize = 2;
const STACK: usize = 3;
const NOFILE: usize = 7;
const MEMLOCK: usize = 8;
const AS: usize = 9;
/// Source: Linux `fs.nr_open`.
pub(crate) const NR_OPEN: u64 = 1 << 20;

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The soft limit: what counts.
    pub soft: u64,
    /// The hard limit: how far the soft one may go.
    pub hard: u64,
}

/// All limits of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits([Limit; COUNT]);

impl Limits {
    /// Nothing at all: nobody's.
    pub const NONE: Self = Self([Limit { soft: 0, hard: 0 }; COUNT]);

    /// Those of the first program. Source: Linux, include/asm-generic/resource.h (`INIT_RLIMITS`).
    pub const INIT: Self = {
        const fn limit(soft: u64, hard: u64) -> Limit {
            Limit { soft, hard }
        }
        const INFINITY: Limit = limit(RLIM_INFINITY, RLIM_INFINITY);
        let mut all = [INFINITY; COUNT];
        all[STACK] = limit(8 << 20, RLIM_INFINITY);
        // CORE
        all[4] = limit(0, RLIM_INFINITY);
        all[NOFILE] = limit(1024, 4096);
        all[MEMLOCK] = limit(8 << 20, 8 << 20);
        // MSGQUEUE, NICE, RTPRIO
        all[12] = limit(819_200, 819_200);
        all[13] = limit(0, 0);
        all[14] = limit(0, 0);
        Self(all)
    };

    /// The limit with this number, if there is one.
    #[must_use]
    pub fn get(&self, resource: u64) -> Option<Limit> {
        self.0.get(usize::try_from(resource).ok()?).copied()
    }

    /// Bytes that a file may be made to have.
    #[inline(always)]
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.0[FSIZE].soft
    }

    /// With another limit.
    ///
    /// # Errors
    /// [`Refused::Invalid`] for an unknown number or a soft limit above the hard one; [`Refused::NotPermitted`] for raising the hard
    /// limit without privilege, or that of descriptors beyond `fs.nr_open`.
    pub fn set(mut self, resource: u64, new: Limit, privileged: bool) -> Result<Self, Refused> {
        let index = usize::try_from(resource)
            .ok()
            .filter(|&index| index < COUNT)
            .ok_or(Refused::Invalid)?;
        if new.soft > new.hard {
            return Err(Refused::Invalid);
        }
        if index == NOFILE && new.hard > NR_OPEN || new.hard > self.0[index].hard && !privileged {
            return Err(Refused::NotPermitted);
        }
        self.0[index] = new;
        Ok(self)
    }

    /// Those that the memory manager enforces, for a process that may lock all memory or not.
    #[must_use]
    pub fn of_memory(&self, privileged: bool) -> Rlimits {
        Rlimits {
            address_space: self.0[AS].soft,
            data: self.0[DATA].soft,
            stack: self.0[STACK].soft,
            memlock: if privileged {
                RLIM_INFINITY
            } else {
                self.0[MEMLOCK].soft
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_set() {
        let limit = |soft, hard| Limit { soft, hard };
        let lower = Limits::INIT.set(8, limit(4096, 4096), false).expect("lowering is free");
        assert_eq!(lower.get(8), Some(limit(4096, 4096)));
        assert_eq!(lower.set(8, limit(0, 8192), false), Err(Refused::NotPermitted));
        assert!(lower.set(8, limit(0, 8192), true).is_ok());
        assert_eq!(lower.set(8, limit(2, 1), true), Err(Refused::Invalid));
        assert_eq!(lower.set(16, limit(1, 1), true), Err(Refused::Invalid));
        assert_eq!(lower.set(7, limit(1, NR_OPEN + 1), true), Err(Refused::NotPermitted));
        assert_eq!((lower.get(15).is_some(), lower.get(16)), (true, None));
    }

    #[test]
    fn the_privileged_lock_what_they_like() {
        assert_eq!(Limits::INIT.of_memory(true).memlock, RLIM_INFINITY);
        assert_eq!(Limits::INIT.of_memory(false).memlock, 8 << 20);
        assert_eq!(Limits::INIT.of_memory(true), Rlimits::INIT);
    }
}
