//! Moving a page to another frame: content, state, owner and every entry that maps it.
//!
//! Linux replaces the entries by migration entries first, on which faults wait, and by the new frame's when it is ready. Here nobody runs
//! meanwhile, so the entries change from one frame to the other.
//!
//! Source: Linux, mm/migrate.c (`migrate_pages`, `folio_migrate_mapping`, `folio_migrate_flags`).

use crate::addr::Pfn;
use crate::memory::Memory;
use crate::page::flag;
use crate::platform::{Platform, PteFormat};
use crate::rmap::Walk;
use crate::swap::SwapSlot;

/// What goes with the page; the rest is about the frame.
const PAGE_FLAGS: u32 = flag::UPTODATE
    | flag::DIRTY
    | flag::ACTIVE
    | flag::REFERENCED
    | flag::SWAPBACKED
    | flag::SWAPCACHE
    | flag::UNEVICTABLE
    | flag::ANON
    | flag::ERROR
    | flag::WORKINGSET
    | flag::READAHEAD;

impl<P: Platform> Memory<P> {
    /// Moves a page that is off its list, with a reference for that, to a frame that has one reference and is on no list either.
    /// Afterwards the page is on its list, and the old frame is free. `false`, and nothing changed, when somebody else refers to the
    /// page.
    pub(super) fn migrate_page(&self, from: Pfn, to: Pfn) -> bool {
        let (old, new) = (self.page(from), self.page(to));
        let in_swap_cache = old.has(flag::SWAPCACHE);
        let inode = self.inode_of(from);
        let owners = u32::from(in_swap_cache) + u32::from(inode.is_some());
        let mappings = old.mapcount.get();
        if old.refcount.get() != 1 + owners + mappings {
            return false;
        }
        self.platform.copy_page(to, from);
        self.move_mappings(from, to);
        new.mapping.set(old.mapping.get());
        new.index.set(old.index.get());
        new.private.set(old.private.get());
        new.flags.set(old.flags.get() & PAGE_FLAGS);
        new.mapcount.set(mappings);
        new.refcount.set(owners + mappings);
        if in_swap_cache {
            self.swap_cache_moves(SwapSlot::of_page(new), to);
        }
        if let Some(inode) = inode {
            self.shmem_page_moves(inode, from, to);
        }
        old.mapcount.set(0);
        old.refcount.set(0);
        self.zone.free_merged(self.platform.memmap(), from);
        self.lru_add(to);
        true
    }

    /// Lets every entry that maps a frame map another one, with the same rights and marks.
    fn move_mappings(&self, from: Pfn, to: Pfn) {
        let mut left = self.page(from).mapcount.get();
        self.rmap_walk(from, |vma, addr, pte| {
            pte.set(P::Pte::with_pfn(pte.get(), to));
            if let Some(mm) = vma.vm_mm() {
                self.platform.flush_tlb_page(self.mm(mm).pgd(), addr);
            }
            left -= 1;
            Walk::Continue
        });
        assert_eq!(left, 0, "mappings of frame {} that nobody knows", from.0);
    }
}
