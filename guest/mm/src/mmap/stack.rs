//! Stacks that grow down. Source: Linux, mm/mmap.c (`expand_stack`, `expand_downwards`, `acct_stack_growth`). Rules B11, B36.

use core::ops::Range;

use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::error::Fault;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::vma::{MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::find_vma;

/// Bytes that a stack keeps free below itself. Source: Linux `stack_guard_gap`, 256 pages.
const STACK_GUARD_GAP_BYTES: u64 = 256 << PAGE_SHIFT;

/// Where a mapping begins for others that want to be below it: a stack needs room. Source: Linux `vm_start_gap`.
pub(super) fn vm_start_gap(vma: VmArea<'_>) -> VirtAddr {
    if vma.has(vm::GROWSDOWN) {
        VirtAddr(vma.vm_start().0.saturating_sub(STACK_GUARD_GAP_BYTES))
    } else {
        vma.vm_start()
    }
}

impl<P: Platform> Memory<P> {
    /// Whether a mapping that could be elsewhere may be here: nothing is mapped, and no stack wants it for itself. Rule B11.
    pub(super) fn is_free(&self, mm: MmStruct<'_>, range: Range<VirtAddr>) -> bool {
        find_vma(self, mm, range.start).is_none_or(|next| range.end <= vm_start_gap(self.vma(next)))
    }

    /// Lets the VMA grow down to `addr`, below it, if it is a stack and there is room.
    ///
    /// # Errors
    /// [`Fault::SegvMaperr`] when it may not.
    #[cold]
    #[inline(never)]
    pub(crate) fn expand_stack(&self, mm: MmStruct<'_>, id: VmaId, addr: VirtAddr) -> Result<(), Fault> {
        let vma = self.vma(id);
        let start = addr.page();
        if !vma.has(vm::GROWSDOWN) || start.0 < self.mmap_min_addr() {
            return Err(Fault::SegvMaperr);
        }
        // A neighbour that can be accessed must not be run into unnoticed.
        if let Some(prev) = vma.vm_prev().map(|prev| self.vma(prev)) {
            let accessible = prev.vm_flags() & (vm::READ | vm::WRITE | vm::EXEC) != 0;
            if accessible && !prev.has(vm::GROWSDOWN) && start.0 - prev.vm_end().0 < STACK_GUARD_GAP_BYTES {
                return Err(Fault::SegvMaperr);
            }
        }
        let pages = (vma.vm_start().0 - start.0) >> PAGE_SHIFT;
        if vma.vm_end().0 - start.0 > mm.rlimit_stack() || pages > vma.vm_pgoff() {
            return Err(Fault::SegvMaperr);
        }
        let limits = self
            .may_expand_vm(mm, vma.vm_flags(), pages, None)
            .and_then(|()| self.mlock_future_ok(mm, vma.vm_flags(), pages));
        if limits.is_err() {
            return Err(Fault::SegvMaperr);
        }
        if vma.has(vm::ACCOUNT) && self.vm_enough_memory(pages).is_err() {
            return Err(Fault::SegvMaperr);
        }
        self.vma_adjust(mm, id, start, vma.vm_end(), vma.vm_pgoff() - pages);
        mm.set_total_vm(mm.total_vm() + pages);
        if vma.has(vm::LOCKED) {
            mm.set_locked_vm(mm.locked_vm() + pages);
        }
        Ok(())
    }
}
