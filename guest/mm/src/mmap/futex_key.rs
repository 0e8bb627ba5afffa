//! What a word of a program's memory is, whoever has it mapped: the name of a futex.
//!
//! Source: Linux, kernel/futex/core.c (`get_futex_key`); futex(2), "FUTEX_PRIVATE_FLAG". Differs from Linux: a private mapping of a file is
//! the process's own from the start, not only once its page was copied.

use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::record::Id;
use crate::vma::{MmId, vm};
use crate::vma_tree::find_vma;

/// Name of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FutexKey {
    /// Address space or object, with what it is.
    holder: u64,
    /// Address or offset, in bytes.
    word: u64,
}

impl FutexKey {
    /// Of no word.
    pub const NONE: Self = Self { holder: 0, word: 0 };
    /// In `holder`: an object; an address space, told as shared; or as its own.
    const OBJECT: u64 = 1 << 32;
    const SHARED: u64 = 2 << 32;
    const PRIVATE: u64 = 3 << 32;

    /// Of a word that is said to be in no other process.
    #[must_use]
    pub fn private(mm: Option<MmId>, addr: u64) -> Self {
        Self {
            holder: Self::PRIVATE | mm.map_or(0, |mm| u64::from(mm.object().get())),
            word: addr,
        }
    }

    /// The same for the same word, mostly another for another.
    #[must_use]
    pub fn hash(self) -> u64 {
        (self.holder ^ self.word >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56
    }
}

impl<P: Platform> Memory<P> {
    /// The name of the word at `addr`, wherever else it is mapped.
    ///
    /// # Errors
    /// [`Error::Efault`] where nothing is mapped.
    pub fn futex_key(&self, mm_id: MmId, addr: VirtAddr) -> Result<FutexKey, Error> {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        let vma = self.vma(find_vma(self, mm, addr).ok_or(Error::Efault)?);
        if addr < vma.vm_start() {
            return Err(Error::Efault);
        }
        Ok(match vma.vm_file() {
            Some(object) if vma.has(vm::SHARED) => FutexKey {
                holder: FutexKey::OBJECT | u64::from(object.object().get()),
                word: vma.linear_page_index(addr) * PAGE_SIZE + addr.0 % PAGE_SIZE,
            },
            // A page of one's own that is not written to will not change. Source: Linux `get_futex_key`.
            _ if !vma.has(vm::WRITE) => return Err(Error::Efault),
            _ => FutexKey {
                holder: FutexKey::SHARED | u64::from(mm_id.object().get()),
                word: addr.0,
            },
        })
    }
}
