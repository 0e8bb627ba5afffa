//! A System V segment that cannot be left behind.

use crate::sys::{Errno, sysv_shm};

/// A segment; marked for removal when dropped. It lives on until its last attachment goes.
#[derive(Debug)]
pub struct Segment {
    /// Its ID.
    pub id: i32,
    /// Its size in bytes, as asked for.
    pub bytes: usize,
}

impl Segment {
    /// A new private segment.
    ///
    /// # Errors
    /// As `shmget(2)`.
    pub fn create(bytes: usize) -> Result<Segment, Errno> {
        Ok(Segment {
            id: sysv_shm::create(bytes)?,
            bytes,
        })
    }

    /// A new private segment of any size that is never touched as a whole: nothing is charged for it (`SHM_NORESERVE`).
    ///
    /// # Errors
    /// As `shmget(2)`.
    pub fn create_sparse(bytes: usize) -> Result<Segment, Errno> {
        let flags = sysv_shm::number::SHM_NORESERVE | 0o600;
        let id = sysv_shm::get(sysv_shm::IPC_PRIVATE as i32, bytes, flags)?;
        Ok(Segment { id, bytes })
    }

    /// Attaches it, at an address of the kernel's choice if `address` is 0.
    ///
    /// # Errors
    /// As `shmat(2)`.
    pub fn attach(&self, address: usize) -> Result<Attachment, Errno> {
        Ok(Attachment {
            base: sysv_shm::attach(self.id, address as *mut u8)?,
            bytes: self.bytes,
        })
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // It can only fail if somebody else removed it, which is as good.
        _ = sysv_shm::remove(self.id);
    }
}

/// An attached segment; detached when dropped.
///
/// # Invariants
/// `bytes` bytes from `base` (page-aligned) are mapped readable and writable as long as this lives.
#[derive(Debug)]
pub struct Attachment {
    base: *mut u8,
    bytes: usize,
}

impl Attachment {
    /// Address of the first byte.
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// Number of 64-bit words.
    #[must_use]
    pub fn words(&self) -> usize {
        self.bytes / 8
    }

    /// Reads a word.
    ///
    /// # Panics
    /// If there is no such word.
    #[must_use]
    pub fn read(&self, word: usize) -> u64 {
        assert!(word < self.words());
        // SAFETY: mapped, by the invariant and the check; volatile, because other processes write it too.
        unsafe { self.base.cast::<u64>().add(word).read_volatile() }
    }

    /// Writes a word.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn write(&self, word: usize, value: u64) {
        assert!(word < self.words());
        // SAFETY: mapped, by the invariant and the check; volatile, because other processes read it too.
        unsafe { self.base.cast::<u64>().add(word).write_volatile(value) }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: nothing outlives the attachment that points into it.
        _ = unsafe { sysv_shm::detach(self.base) };
    }
}
