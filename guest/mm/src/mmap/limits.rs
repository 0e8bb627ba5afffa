//! What a process may map and lock. Source: Linux, mm/mmap.c (`may_expand_vm`, `mlock_future_ok`), mm/mlock.c (`can_do_mlock`);
//! getrlimit(2). Rules A40, B13, B15, B31.
//!
//! Differs from Linux: limits are the address space's, not the process's, which is the same as long as no two processes share one;
//! a soft `RLIMIT_DATA` of 0 is no exception.

use core::ops::Range;

use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::vma::{MmId, MmStruct, vm};
use crate::vma_tree::vmas;

/// No limit. Source: Linux `RLIM_INFINITY`.
pub const RLIM_INFINITY: u64 = u64::MAX;

/// Soft limits that concern an address space, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimits {
    /// `RLIMIT_AS`: what is mapped.
    pub address_space: u64,
    /// `RLIMIT_DATA`: what is mapped private and writable, stacks apart.
    pub data: u64,
    /// `RLIMIT_STACK`: what a stack can grow to.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`: what is locked. [`RLIM_INFINITY`] for who may lock everything (`CAP_IPC_LOCK`).
    pub memlock: u64,
}

impl Rlimits {
    /// Those of the first program. Source: Linux `INIT_RLIMITS`.
    pub const INIT: Self = Self {
        address_space: RLIM_INFINITY,
        data: RLIM_INFINITY,
        stack: 8 << 20,
        memlock: RLIM_INFINITY,
    };
}

/// Whether a mapping counts for `RLIMIT_DATA`.
const fn is_data(vm_flags: u64) -> bool {
    vm_flags & (vm::WRITE | vm::SHARED | vm::GROWSDOWN) == vm::WRITE
}

impl<P: Platform> Memory<P> {
    /// Sets the limits of an address space. What it has already, it keeps.
    pub fn set_rlimits(&self, mm_id: MmId, limits: Rlimits) {
        let mm = self.mm(mm_id);
        mm.set_rlimit_as(limits.address_space);
        mm.set_rlimit_data(limits.data);
        mm.set_rlimit_stack(limits.stack);
        mm.set_rlimit_memlock(limits.memlock);
    }

    /// Gives a new address space the limits of another.
    pub(super) fn copy_rlimits(&self, old: MmStruct<'_>, new: MmStruct<'_>) {
        new.set_rlimit_as(old.rlimit_as());
        new.set_rlimit_data(old.rlimit_data());
        new.set_rlimit_stack(old.rlimit_stack());
        new.set_rlimit_memlock(old.rlimit_memlock());
    }

    /// Whether `pages` more may be mapped with these flags, when `replaced` are unmapped first.
    ///
    /// # Errors
    /// [`Error::Enomem`] beyond `RLIMIT_AS` or `RLIMIT_DATA`. Rule B13.
    pub(crate) fn may_expand_vm(
        &self,
        mm: MmStruct<'_>,
        vm_flags: u64,
        pages: u64,
        replaced: Option<Range<VirtAddr>>,
    ) -> Result<(), Error> {
        let exceeds = |have: u64, limit: u64| have + pages > limit >> PAGE_SHIFT;
        let data = mm.rlimit_data() != RLIM_INFINITY && is_data(vm_flags);
        if !exceeds(mm.total_vm(), mm.rlimit_as()) && !data {
            return Ok(());
        }
        self.may_expand_vm_near_a_limit(mm, data, pages, replaced)
    }

    /// The same where a limit is near, or data are counted: then mappings are looked at.
    #[cold]
    #[inline(never)]
    fn may_expand_vm_near_a_limit(
        &self,
        mm: MmStruct<'_>,
        data: bool,
        pages: u64,
        replaced: Option<Range<VirtAddr>>,
    ) -> Result<(), Error> {
        // What is replaced makes room for both limits, whether it counts for them or not.
        let pages = pages - replaced.map_or(0, |range| self.mapped_pages(mm, &range, 0));
        let exceeds = |have: u64, limit: u64| have + pages > limit >> PAGE_SHIFT;
        let data_vm = || -> u64 {
            let all = vmas(self, mm).filter(|(_, vma)| is_data(vma.vm_flags()));
            all.map(|(_, vma)| vma.pages()).sum()
        };
        if exceeds(mm.total_vm(), mm.rlimit_as()) || data && exceeds(data_vm(), mm.rlimit_data()) {
            return Err(Error::Enomem);
        }
        Ok(())
    }

    /// Pages of a range that are mapped with all these flags.
    pub(super) fn mapped_pages(&self, mm: MmStruct<'_>, range: &Range<VirtAddr>, flags: u64) -> u64 {
        let all = vmas(self, mm).filter(|(_, vma)| vma.has(flags));
        all.map(|(_, vma)| overlap(range, vma.vm_start()..vma.vm_end())).sum()
    }

    /// Whether a private mapping may become writable.
    ///
    /// # Errors
    /// [`Error::Enomem`] beyond `RLIMIT_DATA`.
    pub(super) fn may_become_data(&self, mm: MmStruct<'_>, old: u64, new: u64, pages: u64) -> Result<(), Error> {
        let becomes = !is_data(old) && is_data(new);
        if becomes
            && self.may_expand_vm(mm, new, pages, None).is_err()
            && self.may_expand_vm(mm, old, pages, None).is_ok()
        {
            return Err(Error::Enomem);
        }
        Ok(())
    }

    /// Whether the process may lock anything at all.
    ///
    /// # Errors
    /// [`Error::Eperm`].
    pub(super) fn can_do_mlock(&self, mm: MmStruct<'_>) -> Result<(), Error> {
        if mm.rlimit_memlock() == 0 {
            Err(Error::Eperm)
        } else {
            Ok(())
        }
    }

    /// Whether `pages` more may be locked by a mapping with these flags.
    ///
    /// # Errors
    /// [`Error::Eagain`] beyond `RLIMIT_MEMLOCK`. Rule B15.
    pub(crate) fn mlock_future_ok(&self, mm: MmStruct<'_>, vm_flags: u64, pages: u64) -> Result<(), Error> {
        if vm_flags & vm::LOCKED != 0 && mm.locked_vm() + pages > mm.rlimit_memlock() >> PAGE_SHIFT {
            return Err(Error::Eagain);
        }
        Ok(())
    }

    /// Whether the pages of a range may be locked, besides those that are.
    ///
    /// # Errors
    /// [`Error::Enomem`] beyond `RLIMIT_MEMLOCK`. Rule B31.
    pub(super) fn may_lock(&self, mm: MmStruct<'_>, range: &Range<VirtAddr>) -> Result<(), Error> {
        let limit = mm.rlimit_memlock() >> PAGE_SHIFT;
        let pages = (range.end.0 - range.start.0) >> PAGE_SHIFT;
        if mm.locked_vm() + pages <= limit {
            return Ok(());
        }
        if mm.locked_vm() + pages - self.mapped_pages(mm, range, vm::LOCKED) > limit {
            return Err(Error::Enomem);
        }
        Ok(())
    }
}

/// Pages that two ranges share.
fn overlap(a: &Range<VirtAddr>, b: Range<VirtAddr>) -> u64 {
    let (start, end) = (a.start.max(b.start), a.end.min(b.end));
    if start < end {
        (end.0 - start.0) >> PAGE_SHIFT
    } else {
        0
    }
}
