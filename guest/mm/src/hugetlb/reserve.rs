//! Reservation maps: for which indices a page of the pool is promised, or was. Source: Linux, mm/hugetlb.c (`region_add`, `region_del`,
//! `hugetlb_reserve_pages`, `hugetlb_unreserve_pages`, `vma_needs_reservation`).

use core::ops::Range;

use crate::addr::Pfn;
use crate::error::{Error, Fault};
use crate::memory::Memory;
use crate::platform::Platform;
use crate::shmem::{Inode, InodeId, inode_flag};
use crate::vma::{VmArea, vm};
use crate::xarray::{Entry, Filter, XArray};

/// What is at an index that is in a map.
const IN: Entry = Entry::value(1);
/// The same, while the call that enters it may still fail.
const ENTERING: Entry = Entry::value(2);

/// How a page was had: [`Memory::take_for_vma`].
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    /// The map that its index was entered in.
    entered: Option<InodeId>,
    index: u64,
    /// Whether it was one of the promised.
    reserved: bool,
}

impl<'a> Inode<'a> {
    /// The reservation map of an object, or that is one.
    fn regions(self) -> XArray<'a> {
        XArray::new(&self.0[Inode::RESV_HEAD], &self.0[Inode::RESV_FLAGS])
    }
}

impl<P: Platform> Memory<P> {
    /// A map for a private mapping of so many pages, which are promised to it. It has one reference, and goes with the last.
    ///
    /// # Errors
    /// [`Error::Enomem`].
    pub(super) fn resv_map_alloc(&self, pages: u64) -> Result<InodeId, Error> {
        let map = self.shmem_file_setup(0, true)?;
        self.inode(map).set_i_flags(inode_flag::HUGETLB | inode_flag::RESV_MAP);
        if let Err(error) = self.hugetlb_acct_memory(pages) {
            self.iput(map);
            return Err(error);
        }
        Ok(map)
    }

    /// The reservation map of an object, or that is one.
    pub(crate) fn regions_of(&self, map: InodeId) -> XArray<'_> {
        self.inode(map).regions()
    }

    /// How many of some indices are in a map.
    pub(crate) fn region_count(&self, map: InodeId, range: Range<u64>) -> u64 {
        let (mut count, mut next) = (0, range.start);
        while next < range.end
            && let Some((at, _)) = self.inode(map).regions().find(self, next, range.end - 1, Filter::Any)
        {
            count += 1;
            next = at + 1;
        }
        count
    }

    /// Enters indices into a map.
    ///
    /// # Errors
    /// [`Error::Enomem`]; nothing is entered.
    fn region_add(&self, map: InodeId, range: Range<u64>) -> Result<(), Error> {
        let regions = self.inode(map).regions();
        for index in range.clone() {
            if regions.load(self, index).is_null()
                && let Err(error) = regions.store(self, index, ENTERING)
            {
                for index in range.start..index {
                    if regions.load(self, index) == ENTERING {
                        regions.erase(self, index);
                    }
                }
                return Err(error);
            }
        }
        for index in range {
            let stored = regions.store(self, index, IN);
            debug_assert!(stored.is_ok(), "an entry that is there is changed");
        }
        Ok(())
    }

    /// Takes indices out of a map; how many were in it.
    pub(super) fn region_del(&self, map: InodeId, range: Range<u64>) -> u64 {
        let mut gone = 0;
        if range.start < range.end {
            let regions = self.inode(map).regions();
            regions.erase_range(self, range.start, range.end - 1, |_, _| gone += 1);
        }
        gone
    }

    /// Promises pages for some indices of an object to its shared mappings, as far as none is promised or in use there.
    ///
    /// # Errors
    /// [`Error::Enomem`]; nothing is promised. Rules A23, B12.
    pub(super) fn hugetlb_reserve_pages(&self, id: InodeId, range: Range<u64>) -> Result<(), Error> {
        let new = range.end - range.start - self.region_count(id, range.clone());
        self.hugetlb_acct_memory(new)?;
        self.region_add(id, range)
            .inspect_err(|_| self.hugetlb_unacct_memory(new))
    }

    /// A page for index `index` of a mapping, of those that are promised to it if there is one. Where `enforced`, none of these: who
    /// reserved makes a copy, and may need what is promised for the original. Source: Linux `alloc_hugetlb_folio`.
    ///
    /// # Errors
    /// [`Fault::BusAdrerr`] without a page, [`Fault::Oom`] without memory for the map. Rule A24.
    pub(super) fn alloc_hugetlb_folio(&self, vma: VmArea<'_>, index: u64, enforced: bool) -> Result<Pfn, Fault> {
        let shared = vma.has(vm::MAYSHARE);
        let map = if shared { vma.vm_file() } else { vma.resv_map() };
        self.alloc_hugetlb_folio_in(map.filter(|_| !enforced), shared, index)
    }

    /// As [`Memory::alloc_hugetlb_folio`], with the map; `shared` is an object's.
    pub(super) fn alloc_hugetlb_folio_in(&self, map: Option<InodeId>, shared: bool, index: u64) -> Result<Pfn, Fault> {
        let Some(map) = map else {
            return self.take_hugetlb_folio(false).ok_or(Fault::BusAdrerr);
        };
        let known = !self.inode(map).regions().load(self, index).is_null();
        if !known {
            self.region_add(map, index..index + 1).map_err(|_| Fault::Oom)?;
        }
        self.take_hugetlb_folio(known == shared).ok_or_else(|| {
            if !known {
                self.region_del(map, index..index + 1);
            }
            Fault::BusAdrerr
        })
    }

    /// A page for index `index` of a mapping, and what [`Memory::untake_for_vma`] needs to know.
    ///
    /// # Errors
    /// As [`Memory::alloc_hugetlb_folio`].
    pub(crate) fn take_for_vma(&self, vma: VmArea<'_>, index: u64) -> Result<(Pfn, Taken), Fault> {
        let shared = vma.has(vm::MAYSHARE);
        let map = if shared { vma.vm_file() } else { vma.resv_map() };
        let known = map.is_some_and(|map| self.is_region(map, index));
        let head = self.alloc_hugetlb_folio_in(map, shared, index)?;
        let taken = Taken {
            entered: map.filter(|_| !known),
            index,
            reserved: map.is_some() && known == shared,
        };
        Ok((head, taken))
    }

    /// Takes [`Memory::take_for_vma`] back. The mapping is still there: nobody unmaps while its page is filled.
    pub(crate) fn untake_for_vma(&self, taken: Taken, head: Pfn) {
        if let Some(map) = taken.entered {
            self.region_del(map, taken.index..taken.index + 1);
        }
        self.untake_hugetlb_folio(head, taken.reserved);
    }

    /// Takes [`Memory::alloc_hugetlb_folio_in`] back, for an object, when the page was promised or not.
    pub(super) fn unalloc_hugetlb_folio(&self, id: InodeId, index: u64, head: Pfn, reserved: bool) {
        if !reserved {
            self.region_del(id, index..index + 1);
        }
        self.untake_hugetlb_folio(head, reserved);
    }

    /// Whether an index of an object is promised, or in use.
    pub(super) fn is_region(&self, map: InodeId, index: u64) -> bool {
        !self.inode(map).regions().load(self, index).is_null()
    }
}
