//! Tests: named cases, damage, a model, and bounds on depth and steps.

mod bounds;
mod cases;
mod damage;
mod model;

use super::*;
use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::record::ObjId;
use crate::sync::Word;
use crate::vma::MmStruct;
use core::cell::Cell;
use std::vec::Vec;

/// An address space whose VMAs live in a vector. Counts how often a record is asked for.
struct Space {
    areas: Vec<[Word; VmArea::WORDS]>,
    mm: [Word; MmStruct::WORDS],
    reads: Cell<u64>,
}

impl VmaStore for Space {
    fn vma(&self, id: VmaId) -> VmArea<'_> {
        self.reads.set(self.reads.get() + 1);
        VmArea(&self.areas[id.0.get() as usize - 1])
    }
}

fn page(number: u64) -> VirtAddr {
    VirtAddr(number << PAGE_SHIFT)
}

impl Space {
    fn new() -> Self {
        Self {
            areas: Vec::new(),
            mm: Default::default(),
            reads: Cell::new(0),
        }
    }

    /// With these VMAs, given as pages `[start, end)`, linked in this order.
    fn with(bounds: &[(u64, u64)]) -> (Self, Vec<VmaId>) {
        let mut space = Self::new();
        let ids = bounds.iter().map(|&(start, end)| space.link(start, end)).collect();
        (space, ids)
    }

    fn mm(&self) -> MmStruct<'_> {
        MmStruct(&self.mm)
    }

    /// A new record for pages `[start, end)`, full of values that linking must overwrite.
    fn create(&mut self, start: u64, end: u64) -> VmaId {
        self.areas.push(core::array::from_fn(|_| Word::new(0xdead_beef)));
        let id = VmaId(ObjId::from_u32(self.areas.len() as u32).expect("the vector is not empty"));
        self.vma(id).set_vm_start(page(start));
        self.vma(id).set_vm_end(page(end));
        id
    }

    fn link(&mut self, start: u64, end: u64) -> VmaId {
        let id = self.create(start, end);
        vma_link(self, self.mm(), id);
        id
    }

    fn unlink(&self, id: VmaId) {
        vma_unlink(self, self.mm(), id);
    }

    fn adjust(&self, id: VmaId, start: u64, end: u64) {
        vma_adjust(self, self.mm(), id, page(start), page(end), start);
    }

    fn find(&self, addr: u64) -> Option<VmaId> {
        find_vma(self, self.mm(), VirtAddr(addr))
    }

    fn check(&self) -> Result<(), TreeError> {
        check(self, self.mm())
    }

    /// VMAs on the longest path down.
    fn depth(&self) -> u32 {
        fn below(space: &Space, id: Option<VmaId>) -> u32 {
            id.map_or(0, |id| {
                1 + below(space, space.vma(id).rb_left()).max(below(space, space.vma(id).rb_right()))
            })
        }
        below(self, self.mm().mm_rb())
    }

    /// Runs `work` and returns its result and how many records it asked for.
    fn count_reads<T>(&self, work: impl FnOnce(&Self) -> T) -> (T, u64) {
        let before = self.reads.get();
        let result = work(self);
        (result, self.reads.get() - before)
    }
}

/// A search for `pages` between two page numbers, anywhere.
fn wanted(pages: u64, low: u64, high: u64) -> UnmappedAreaInfo {
    UnmappedAreaInfo {
        length: pages << PAGE_SHIFT,
        low_limit: low << PAGE_SHIFT,
        high_limit: high << PAGE_SHIFT,
        align_mask: 0,
        align_offset: 0,
    }
}
