//! The heap. Source: Linux, mm/mmap.c (`brk`, `do_brk_flags`).

use super::{Mapping, TASK_SIZE};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr, page_align};
use crate::memory::Memory;
use crate::platform::Platform;
use crate::vma::{MmId, vm};

impl<P: Platform> Memory<P> {
    /// Says where the heap of a new program begins (page-aligned upwards).
    pub fn set_brk_start(&self, mm_id: MmId, addr: u64) {
        let mm = self.mm(mm_id);
        let start = VirtAddr(page_align(addr).unwrap_or(TASK_SIZE));
        mm.set_start_brk(start);
        mm.set_brk(start);
    }

    /// `brk`: moves the end of the heap, if it can; returns where it is. Source: brk(2), "C library/kernel differences".
    pub fn do_brk(&self, mm_id: MmId, brk: u64) -> u64 {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        let old = mm.brk();
        if brk < mm.start_brk().0 || brk < self.mmap_min_addr() {
            return old.0;
        }
        let (Some(new_end), Some(old_end)) = (page_align(brk), page_align(old.0)) else {
            return old.0;
        };
        if new_end > TASK_SIZE {
            return old.0;
        }
        let (new_end, old_end) = (VirtAddr(new_end), VirtAddr(old_end));
        let moved = if new_end < old_end {
            self.do_munmap_locked(mm, new_end, old_end).is_ok()
        } else if new_end > old_end {
            let mapping = Mapping {
                start: old_end,
                end: new_end,
                vm_flags: vm::READ | vm::WRITE | vm::MAYREAD | vm::MAYWRITE | vm::MAYEXEC,
                file: None,
                pgoff: old_end.0 >> PAGE_SHIFT,
                shm: None,
                opened: 0,
            };
            let pages = (new_end.0 - old_end.0) >> PAGE_SHIFT;
            // A page stays free above the heap. Source: Linux `brk`.
            self.is_free(mm, old_end..new_end.offset(PAGE_SIZE))
                && mm.map_count() <= self.max_map_count()
                && self.mlock_future_ok(mm, mm.def_flags(), pages).is_ok()
                && self.may_expand_vm(mm, mapping.vm_flags, pages, None).is_ok()
                && self.mmap_region::<false>(mm_id, mapping).is_ok()
        } else {
            true
        };
        if moved {
            mm.set_brk(VirtAddr(brk));
            self.populate_if_locked(mm, old_end..new_end);
        }
        mm.brk().0
    }
}
