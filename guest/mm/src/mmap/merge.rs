//! VMAs become one, or two.
//!
//! ```text
//! vma_merge, new mapping N between P and S:          split_vma at |:
//!   PPPPNNNN      -> PPPPPPPP   (P grows)              VVVV|VVVV -> VVVV NNNN
//!       NNNNSSSS  ->     SSSSSSSS (S grows down)
//!   PPPPNNNNSSSS  -> PPPPPPPPPPPP (P grows, S goes)
//! ```
//!
//! Source: Linux, mm/mmap.c (`vma_merge`, `split_vma`, `can_vma_merge_after`). Rules A38, B22, B23.

use core::ops::Range;

use super::Mapping;
use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::error::Error;
use crate::hugetlb::may_split;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::vma::{MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::{find_vma_prev, vma_unlink};

/// Whether two adjacent VMAs, `before` ending where `after` begins, could be one.
fn mergeable(before: &Mapping, before_anon: u64, after: &Mapping, after_anon: u64) -> bool {
    let pages = (before.end.0 - before.start.0) >> PAGE_SHIFT;
    before.end == after.start
        && before.vm_flags == after.vm_flags
        && before.file == after.file
        // What was opened twice is mapped twice. Rule B23.
        && before.opened == after.opened
        // A segment's parts stay apart: each counts as an attachment. Rule A38; Linux `is_mergeable_vma` (`vm_ops->close`).
        && before.shm.is_none()
        && after.shm.is_none()
        && before.pgoff + pages == after.pgoff
        // Pages of both must be found through one anon_vma. Rule B22.
        && (before_anon == after_anon || before_anon == 0 || after_anon == 0)
}

/// What a VMA maps, as a value to compare.
fn mapping_of(vma: VmArea<'_>) -> Mapping {
    Mapping {
        start: vma.vm_start(),
        end: vma.vm_end(),
        vm_flags: vma.vm_flags(),
        file: vma.vm_file(),
        pgoff: vma.vm_pgoff(),
        shm: vma.shm(),
        opened: vma.opened(),
    }
}

fn anon_of(vma: VmArea<'_>) -> u64 {
    crate::record::Field::to_word(vma.anon_vma())
}

impl<P: Platform> Memory<P> {
    /// Lets a neighbour grow over a new mapping. `true` when one did; the reference to the object that the mapping brought is then
    /// dropped, since the neighbour has one.
    pub(super) fn vma_merge(&self, mm: MmStruct<'_>, new: &Mapping) -> bool {
        if new.shm.is_some() {
            return false;
        }
        let (next, prev) = find_vma_prev(self, mm, new.start);
        // What most neighbours differ in comes first: reading a whole record costs more than two compares.
        let alike = |vma: VmArea<'_>| vma.vm_flags() == new.vm_flags;
        let after = next.filter(|&id| {
            let vma = self.vma(id);
            vma.vm_start() == new.end && alike(vma) && mergeable(new, 0, &mapping_of(vma), 0)
        });
        let before = prev.filter(|&id| {
            let vma = self.vma(id);
            vma.vm_end() == new.start && alike(vma) && mergeable(&mapping_of(vma), 0, new, 0)
        });
        match (before, after) {
            (None, None) => return false,
            (Some(before), Some(after)) if self.same_anon(before, after) => {
                let vma = self.vma(before);
                self.vma_adjust(mm, before, vma.vm_start(), new.end, vma.vm_pgoff());
                self.absorb(mm, before, after);
            }
            (Some(before), _) => {
                let vma = self.vma(before);
                self.vma_adjust(mm, before, vma.vm_start(), new.end, vma.vm_pgoff());
            }
            (None, Some(after)) => {
                self.vma_adjust(mm, after, new.start, self.vma(after).vm_end(), new.pgoff);
            }
        }
        if let Some(file) = new.file {
            self.iput(file);
        }
        true
    }

    /// Makes one VMA of `id` and those beside it, where they could be one. Returns the VMA that is left.
    pub(crate) fn merge_around(&self, mm: MmStruct<'_>, id: VmaId) -> VmaId {
        let mut id = id;
        if let Some(prev) = self.vma(id).vm_prev()
            && self.adjacent_mergeable(prev, id)
        {
            self.absorb(mm, prev, id);
            id = prev;
        }
        if let Some(next) = self.vma(id).vm_next()
            && self.adjacent_mergeable(id, next)
        {
            self.absorb(mm, id, next);
        }
        id
    }

    /// [`mergeable`] for two VMAs that exist, most telling first: after `mprotect` and the like it is the flags that differ.
    fn adjacent_mergeable(&self, before: VmaId, after: VmaId) -> bool {
        let (b, a) = (self.vma(before), self.vma(after));
        b.vm_flags() == a.vm_flags()
            && b.vm_end() == a.vm_start()
            && b.vm_file() == a.vm_file()
            && b.opened() == a.opened()
            && b.linear_page_index(b.vm_end()) == a.vm_pgoff()
            && !(b.shm().is_some() | a.shm().is_some())
            && self.same_anon(before, after)
    }

    fn same_anon(&self, before: VmaId, after: VmaId) -> bool {
        let (b, a) = (anon_of(self.vma(before)), anon_of(self.vma(after)));
        b == a || b == 0 || a == 0
    }

    /// `before` grows over `after`, which it touches, and which goes.
    fn absorb(&self, mm: MmStruct<'_>, before: VmaId, after: VmaId) {
        if self.vma(before).anon_vma().is_none()
            && let Some(anon) = self.vma(after).anon_vma()
        {
            self.anon_vma_link(before, anon);
        }
        self.rmap_unlink(after);
        self.vma_join(mm, before, after);
        self.vma_closed(after);
    }

    /// Takes a VMA out of everything that knows it, drops what it held, and frees it.
    pub(super) fn remove_vma(&self, mm: MmStruct<'_>, id: VmaId) {
        vma_unlink(self, mm, id);
        self.rmap_unlink(id);
        self.vma_closed(id);
    }

    fn rmap_unlink(&self, id: VmaId) {
        self.i_mmap_unlink(id);
        self.anon_vma_unlink(id);
    }

    /// Drops what a VMA held that nothing knows any more, and frees it.
    fn vma_closed(&self, id: VmaId) {
        let vma = self.vma(id);
        let (file, shm) = (vma.vm_file(), vma.shm());
        self.vm_area_free(id);
        if let Some(file) = file {
            self.iput(file);
        }
        if let Some(shm) = shm {
            self.shm_close(shm);
        }
    }

    /// Cuts a VMA in two at `addr`, inside it. `id` keeps the lower part; the upper is returned. Rule A38: a System V segment counts
    /// both.
    ///
    /// # Errors
    /// [`Error::Enomem`] without memory or beyond `max_map_count`. Rule B13.
    pub(super) fn split_vma(&self, mm: MmStruct<'_>, id: VmaId, addr: VirtAddr) -> Result<VmaId, Error> {
        let flags = self.vma(id).vm_flags();
        may_split(flags, addr)?;
        if mm.map_count() >= self.max_map_count() {
            return Err(Error::Enomem);
        }
        let upper_id = self.vm_area_alloc().ok_or(Error::Enomem)?;
        let (vma, upper) = (self.vma(id), self.vma(upper_id));
        upper.set_vm_start(addr);
        upper.set_vm_end(vma.vm_end());
        upper.set_vm_flags(flags);
        upper.set_vm_pgoff(vma.linear_page_index(addr));
        upper.set_vm_file(vma.vm_file());
        upper.set_vm_mm(vma.vm_mm());
        upper.set_shm(vma.shm());
        upper.set_opened(vma.opened());
        self.vma_split(mm, id, upper_id);
        self.vma_opened(upper_id, vma.anon_vma());
        Ok(upper_id)
    }

    /// Makes `part` of a VMA a VMA of its own; when that fails, nothing is cut. Source: Linux `vma_modify`.
    pub(crate) fn cut_out(&self, mm: MmStruct<'_>, id: VmaId, part: Range<VirtAddr>) -> Result<VmaId, Error> {
        let mut id = id;
        if self.vma(id).vm_start() < part.start {
            id = self.split_vma(mm, id, part.start)?;
        }
        if self.vma(id).vm_end() > part.end
            && let Err(error) = self.split_vma(mm, id, part.end)
        {
            self.merge_around(mm, id);
            return Err(error);
        }
        Ok(id)
    }

    /// Takes what a copied VMA holds: references, and places in trees. Source: Linux `vm_ops->open`, `anon_vma_clone`.
    pub(super) fn vma_opened(&self, id: VmaId, anon: Option<crate::rmap::AnonVmaId>) {
        let vma = self.vma(id);
        if let Some(file) = vma.vm_file() {
            self.ihold(file);
            self.i_mmap_link(id);
            if vma.has(vm::HUGETLB) {
                self.hugetlb_vm_op_open(vma);
            }
        }
        if let Some(anon) = anon {
            self.anon_vma_link(id, anon);
        }
        if let Some(shm) = vma.shm() {
            self.shm_open(shm);
        }
    }
}
