//! Fault-around: a load that faults on a page of an object gets the cached pages around it mapped, too.
//!
//! ```text
//! entries    | . . . . . . . X . . . . . . . . |      X the fault; a window is aligned in addresses, not in the object
//! mapped       + + + . + + + + + + - - - - - -        + in the cache, up to date, nobody's lock on it, entry empty
//!                    ^ hole, or in swap  ^ past the end of the object, or of the mapping
//! ```
//!
//! The pages around are not used yet, as far as anybody knows, so nothing but their mapping is noted: neither
//! [`flag::REFERENCED`] nor a list changes. Their entries are as one of a fault of their own would be: young, and allowing stores
//! where the mapping is shared and writable. (A program on Linux 6.18 sees both: stores to such pages do not fault.)
//!
//! Attachments of System V segments are left out, since Linux's `shm_vm_ops` has no `map_pages`. `MADV_RANDOM` changes nothing.
//!
//! Source: Linux, mm/memory.c (`do_fault_around`, `should_fault_around`), mm/filemap.c (`filemap_map_pages`), ipc/shm.c. Rule B42.

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, PAGE_WORDS, Pfn, VirtAddr, pages_for};
use crate::error::Error;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::shmem::InodeId;
use crate::sync::{Word, Word32};
use crate::vma::{MmStruct, VmArea, vm};
use crate::xarray::Entry;

/// Bytes around a fault that are mapped with it, unless set otherwise. Source: Linux `fault_around_bytes`.
const FAULT_AROUND_BYTES: u64 = 65_536;

/// How far around a fault is looked: pages, a power of two from 1 (nothing around) to those of one page table.
#[derive(Debug)]
pub(crate) struct FaultAround(Word32);

impl FaultAround {
    pub(crate) const fn new() -> Self {
        Self(Word32::new((FAULT_AROUND_BYTES >> PAGE_SHIFT) as u32))
    }

    /// Whether a load that faults in `vma` is to look around.
    #[inline(always)]
    pub(crate) fn applies(&self, vma: VmArea<'_>) -> bool {
        vma.shm().is_none() && self.0.get() > 1
    }
}

/// Pages of a mapping to look at: those from this address and index on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    start: VirtAddr,
    index: u64,
    pages: u64,
}

impl Window {
    /// The aligned window of `around` pages (a power of two, at most those of one page table) that `addr` lies in, less what is not of
    /// the mapping, or behind the object's `size` pages. `addr` is of the mapping.
    fn of(vma: VmArea<'_>, addr: VirtAddr, around: u64, size: u64) -> Self {
        let bytes = around << PAGE_SHIFT;
        let first = VirtAddr(addr.0 & !(bytes - 1));
        let start = first.max(vma.vm_start());
        let end = first.offset(bytes).min(vma.vm_end());
        let index = vma.linear_page_index(start);
        let pages = (end.0 - start.0) >> PAGE_SHIFT;
        Self {
            start,
            index,
            pages: pages.min(size.saturating_sub(index)),
        }
    }
}

impl<P: Platform> Memory<P> {
    /// Sets how many bytes around a fault are mapped with it: rounded down to a power of two, a page at least, which means none.
    ///
    /// # Errors
    /// [`Error::Einval`] for more than a page table maps. Source: Linux `fault_around_bytes_set`.
    pub fn set_fault_around_bytes(&self, bytes: u64) -> Result<(), Error> {
        if bytes / PAGE_SIZE > PAGE_WORDS as u64 {
            return Err(Error::Einval);
        }
        let pages = 1 << (bytes / PAGE_SIZE).max(1).ilog2();
        self.fault_around.0.set(pages);
        Ok(())
    }

    /// How many bytes around a fault are mapped with it.
    pub fn fault_around_bytes(&self) -> u64 {
        u64::from(self.fault_around.0.get()) << PAGE_SHIFT
    }

    /// Maps the cached pages around `addr`, whose page table exists and whose entry is empty. Whether the page at `addr` is one of them:
    /// then the fault is over.
    #[inline(never)]
    pub(crate) fn do_fault_around(&self, mm: MmStruct<'_>, vma: VmArea<'_>, file: InodeId, addr: VirtAddr) -> bool {
        let size = pages_for(self.inode(file).i_size());
        let window = Window::of(vma, addr, u64::from(self.fault_around.0.get()), size);
        let end = window.start.offset(window.pages << PAGE_SHIFT);
        if end <= addr {
            // Past the end of the object.
            return false;
        }
        let Some(ptes) = self.ptes(mm, window.start..end) else {
            return false;
        };
        self.filemap_map_pages(mm, vma, file, window.index, ptes);
        ptes[((addr.0 - window.start.0) >> PAGE_SHIFT) as usize].get() != 0
    }

    /// Maps the pages of an object from `first` on that are in the cache, where `ptes` are empty.
    fn filemap_map_pages(&self, mm: MmStruct<'_>, vma: VmArea<'_>, file: InodeId, first: u64, ptes: &[Word]) {
        let _guard = self.locks.i_pages.lock();
        let writable = vma.has(vm::SHARED | vm::WRITE);
        let executable = vma.has(vm::EXEC);
        let mut mapped = 0;
        let mut map = |entry: Entry, pte: &Word| {
            if let Some(pfn) = entry.as_page()
                && pte.get() == 0
                && self.may_map_around(pfn)
            {
                self.get_page(pfn);
                self.page_add_file_rmap(pfn);
                pte.set(P::Pte::page(pfn, writable, executable, false));
                mapped += 1;
            }
        };
        let pages = self.inode(file).i_pages();
        let (mut index, mut left) = (first, ptes);
        while !left.is_empty() {
            let looked_at = match pages.leaf_from(self, index) {
                Some(leaf) => {
                    for (word, pte) in leaf.iter().zip(left) {
                        map(Entry::from_bits(word.get()), pte);
                    }
                    leaf.len().min(left.len())
                }
                None => {
                    map(pages.load(self, index), &left[0]);
                    1
                }
            };
            index += looked_at as u64;
            left = &left[looked_at..];
        }
        mm.set_rss_shmem(mm.rss_shmem() + mapped);
    }

    /// Whether a page can be mapped without waiting for anybody, or for its content. Source: Linux `next_uptodate_folio`.
    #[inline(always)]
    fn may_map_around(&self, pfn: Pfn) -> bool {
        self.page(pfn).flags.get() & (flag::UPTODATE | flag::LOCKED) == flag::UPTODATE
    }
}
