//! Walking VMAs in address order.

use super::VmaStore;
use super::find::find_vma;
use crate::addr::VirtAddr;
use crate::vma::{MmStruct, VmArea, VmaId};

/// VMAs in ascending order, up to an address. Made by [`vmas`] and [`vmas_in`].
///
/// It holds on to the VMA after the one that it yielded. So the yielded one may be unlinked or shrunk, and others linked
/// below that next one (they are not yielded), but the next one itself must stay.
#[derive(Debug)]
pub struct Vmas<'s, S: ?Sized> {
    store: &'s S,
    next: Option<VmaId>,
    end: u64,
}

impl<'s, S: VmaStore + ?Sized> Iterator for Vmas<'s, S> {
    type Item = (VmaId, VmArea<'s>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let id = self.next?;
        let area = self.store.vma(id);
        if area.vm_start().0 >= self.end {
            self.next = None;
            return None;
        }
        self.next = area.vm_next();
        Some((id, area))
    }
}

/// All VMAs of an address space.
pub fn vmas<'s, S: VmaStore + ?Sized>(store: &'s S, mm: MmStruct<'_>) -> Vmas<'s, S> {
    Vmas {
        store,
        next: mm.mmap(),
        end: u64::MAX,
    }
}

/// The VMAs that have an address of `[start, end)`.
pub fn vmas_in<'s, S: VmaStore + ?Sized>(
    store: &'s S,
    mm: MmStruct<'_>,
    start: VirtAddr,
    end: VirtAddr,
) -> Vmas<'s, S> {
    Vmas {
        store,
        next: find_vma(store, mm, start),
        end: end.0,
    }
}
