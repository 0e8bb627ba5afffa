//! What an administrator sets: how large segments may be, and how many.
//!
//! Source: Linux, ipc/ipc_sysctl.c; proc(5), `/proc/sys/kernel/shmmax` and its neighbours. Rules A8, A9, A10, A18, I5.

use super::*;

/// `kernel.shmmax`, `kernel.shmall` and `kernel.shmmni`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShmLimits {
    /// Bytes of a segment.
    pub max_bytes: u64,
    /// Pages of all segments, each rounded up.
    pub all_pages: u64,
    /// Segments, at most 32,768.
    pub mni: u32,
}

/// Where they are kept.
#[derive(Debug)]
pub(super) struct Limits {
    max_bytes: Word,
    all_pages: Word,
    mni: Word32,
    rmid_forced: Word32,
}

impl Limits {
    pub(super) const fn new() -> Self {
        Self {
            max_bytes: Word::new(SHMMAX),
            all_pages: Word::new(SHMALL),
            mni: Word32::new(SHMMNI),
            rmid_forced: Word32::new(0),
        }
    }
}

impl<P: Platform> Memory<P> {
    /// The limits in force.
    pub fn shm_limits(&self) -> ShmLimits {
        let limits = &self.ipc.limits;
        ShmLimits {
            max_bytes: limits.max_bytes.get(),
            all_pages: limits.all_pages.get(),
            mni: limits.mni.get(),
        }
    }

    /// Sets the limits for segments to come; those that are there stay.
    ///
    /// # Errors
    /// [`Error::Einval`] for more segments than there are indices.
    pub fn set_shm_limits(&self, new: ShmLimits) -> Result<(), Error> {
        if new.mni > IPCMNI {
            return Err(Error::Einval);
        }
        let limits = &self.ipc.limits;
        limits.max_bytes.set(new.max_bytes);
        limits.all_pages.set(new.all_pages);
        limits.mni.set(new.mni);
        Ok(())
    }

    /// `kernel.shm_rmid_forced`: whether segments go with their last attachment, as if removed.
    #[inline]
    pub fn shm_rmid_forced(&self) -> bool {
        self.ipc.limits.rmid_forced.get() != 0
    }

    /// Sets it. Segments that nobody attaches and whose creators have ended go at once. Rule A62.
    pub fn set_shm_rmid_forced(&self, forced: bool) {
        let _guard = self.locks.ipc.lock();
        self.ipc.limits.rmid_forced.set(u32::from(forced));
        if forced {
            self.shm_destroy_orphaned();
        }
    }

    /// `kernel.shm_next_id`: the id that is asked for next; -1 for none.
    pub fn shm_next_id(&self) -> i32 {
        self.ipc.wanted.get().cast_signed() - 1
    }

    /// Asks for the id of the next segment: if its index is taken, the next free one is used instead. -1 takes the wish back. Rule A18.
    ///
    /// # Errors
    /// [`Error::Einval`] below -1.
    pub fn set_shm_next_id(&self, id: i32) -> Result<(), Error> {
        if id < -1 {
            return Err(Error::Einval);
        }
        self.ipc.wanted.set(id.cast_unsigned().wrapping_add(1));
        Ok(())
    }
}
