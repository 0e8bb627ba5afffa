//! Where huge pages' mappings go: at addresses where leaves can map them.
//!
//! Source: Linux 6.18, mm/huge_memory.c (`__thp_get_unmapped_area`), mm/mmap.c (`__get_unmapped_area`), mm/shmem.c
//! (`shmem_get_unmapped_area`). Rules G6, G7. A program on Linux 6.18 sees: private anonymous memory of whole huge pages is aligned
//! whatever the policy, when no hint was given; objects are where their policy is not `never`, and only to their pages' place in the object.

use super::map_flag;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr};
use crate::error::Error;
use crate::huge::{HPAGE_SIZE, ShmemPolicy};
use crate::memory::Memory;
use crate::platform::Platform;
use crate::shmem::InodeId;
use crate::vma::MmStruct;

/// What is to be mapped, as far as its address depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backing {
    /// Private memory.
    Anonymous,
    /// Shared memory that has no object yet, or a whole segment: an object without a file system, from its beginning on.
    NewObject,
    /// An object, from this page on.
    Object(InodeId, u64),
}

impl<P: Platform> Memory<P> {
    /// Where a mapping of `len` bytes, not 0, goes. `backing` is asked only where no smaller page would do. Rules B8, B9, B10, G6.
    #[inline(always)]
    pub(crate) fn get_unmapped_area_for(
        &self,
        mm: MmStruct<'_>,
        addr: u64,
        len: u64,
        flags: u64,
        backing: impl FnOnce() -> Backing,
    ) -> Result<VirtAddr, Error> {
        if len < HPAGE_SIZE || flags & (map_flag::FIXED | map_flag::FIXED_NOREPLACE) != 0 {
            return self.get_unmapped_area(mm, addr, len, flags);
        }
        self.large_area(mm, addr, len, flags, backing())
    }

    #[inline(never)]
    fn large_area(
        &self,
        mm: MmStruct<'_>,
        addr: u64,
        len: u64,
        flags: u64,
        backing: Backing,
    ) -> Result<VirtAddr, Error> {
        match backing {
            Backing::Anonymous if addr == 0 && len.is_multiple_of(HPAGE_SIZE) => self.aligned_area(mm, len),
            Backing::Anonymous => self.get_unmapped_area(mm, addr, len, flags),
            Backing::NewObject => self.area_in_phase(mm, (addr, len, flags), self.shmem_policy(), 0),
            Backing::Object(file, _) if self.is_hugetlb(file) => self.hugetlb_area(mm, addr, len),
            Backing::Object(file, pgoff) => {
                let policy = self.policy_of(self.inode(file));
                self.area_in_phase(mm, (addr, len, flags), policy, pgoff)
            }
        }
    }

    fn aligned_area(&self, mm: MmStruct<'_>, len: u64) -> Result<VirtAddr, Error> {
        let padded = len.checked_add(HPAGE_SIZE).ok_or(Error::Enomem)?;
        let Ok(found) = self.get_unmapped_area(mm, 0, padded, 0) else {
            return self.get_unmapped_area(mm, 0, len, 0);
        };
        // The upper of two that fit.
        Ok(VirtAddr((found.0 & !(HPAGE_SIZE - 1)) + HPAGE_SIZE))
    }

    fn area_in_phase(
        &self,
        mm: MmStruct<'_>,
        (addr, len, flags): (u64, u64, u64),
        policy: ShmemPolicy,
        pgoff: u64,
    ) -> Result<VirtAddr, Error> {
        // `Deny` is for objects without a file system, which is what it is asked for here.
        if matches!(policy, ShmemPolicy::Never | ShmemPolicy::Deny) {
            return self.get_unmapped_area(mm, addr, len, flags);
        }
        let base = self.get_unmapped_area(mm, addr, len, flags)?;
        let offset = (pgoff << PAGE_SHIFT) & (HPAGE_SIZE - 1);
        let hinted = addr != 0 && base == VirtAddr(addr);
        let impossible = offset != 0 && offset + len < 2 * HPAGE_SIZE;
        let in_phase = base.0 & (HPAGE_SIZE - 1) == offset;
        if hinted || impossible || in_phase {
            return Ok(base);
        }
        let Some(inflated) = len.checked_add(HPAGE_SIZE - PAGE_SIZE) else {
            return Ok(base);
        };
        let Ok(found) = self.get_unmapped_area(mm, 0, inflated, 0) else {
            return Ok(base);
        };
        Ok(found.offset(offset.wrapping_sub(found.0) & (HPAGE_SIZE - 1)))
    }
}
