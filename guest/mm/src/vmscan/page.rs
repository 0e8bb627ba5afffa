//! What becomes of one page that reclaim looks at.
//!
//! | looked at, in this order | if so |
//! |---|---|
//! | its lock is somebody's | kept on the inactive list |
//! | its object or a mapping is locked into memory | unevictable |
//! | it is under writeback | kept |
//! | it was used since the last look (F4) | activated, or kept once |
//! | huge, and cannot be split (F15) | activated |
//! | anonymous, and no slot yet: none to be had | activated |
//! | mapped: an entry must stay | activated, or unevictable |
//! | somebody works with it: more references than reclaim's and its cache's | kept |
//! | it differs from the disk (F11, F12) | to be written; activated when it must not be |
//! | the disk has it | freed |
//!
//! Source: Linux, mm/vmscan.c (`shrink_folio_list`, `folio_check_references`, `pageout`), mm/rmap.c. Rules F4, F10, F11.

use crate::addr::Pfn;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, PteFormat};
use crate::rmap::Walk;
use crate::shmem::InodeId;
use crate::swap::SwapSlot;
use crate::vma::vm;

/// What becomes of a page that reclaim looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Back to the inactive list.
    Keep,
    /// To the active list.
    Activate,
    /// To the list of those that reclaim does not look at.
    Unevictable,
    /// The disk has its content, and nobody but reclaim and the swap cache has the page.
    Free,
    /// It is to be written to this slot; the object that it came from, if it is no anonymous page.
    Write(SwapSlot, Option<InodeId>),
}

/// How a page was used since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Referenced {
    /// Entries that it was used through.
    pub(super) young: u32,
    /// Whether a mapping of it is locked.
    pub(super) locked: bool,
}

impl<P: Platform> Memory<P> {
    /// Decides about one isolated page that the caller has locked, in Linux's order. Only [`Outcome::Write`] and [`Outcome::Free`] leave it
    /// without mappings. Rule F10.
    pub(super) fn shrink_page(&self, pfn: Pfn, ignore_references: bool) -> Outcome {
        let page = self.page(pfn);
        if page.has(flag::ERROR) && !self.leave_retired_slot(pfn) {
            return Outcome::Activate;
        }
        // SHM_LOCK: found here, the page is moved out of the way. Rule A55.
        if self.page_is_locked_in(pfn) {
            return Outcome::Unevictable;
        }
        if page.has(flag::WRITEBACK) {
            return Outcome::Keep;
        }
        if !ignore_references && let Some(outcome) = self.page_check_references(pfn) {
            return outcome;
        }
        // Pages go to swap one by one. Rule F15.
        if page.has(flag::HEAD) && !self.split_huge_page(pfn, 1) {
            return Outcome::Activate;
        }
        if page.has(flag::ANON) && !page.has(flag::SWAPCACHE) {
            if self.add_to_swap(pfn, 0).is_none() {
                return Outcome::Activate;
            }
            page.step(Event::Dirty);
        }
        if page.mapcount.get() != 0 && !self.try_to_unmap(pfn) {
            if self.page_evictable(pfn) {
                return Outcome::Activate;
            }
            // Locked since it was put on its list. Rule B31. A slot that nobody means is not kept for it.
            self.try_to_free_swap(pfn);
            return Outcome::Unevictable;
        }
        // The isolation's reference, and that of the page cache or the swap cache: more means that somebody works with the page.
        if page.refcount.get() != 2 {
            return Outcome::Keep;
        }
        self.pageout(pfn)
    }

    /// What its use since the last look makes of a page; `None` when it may go. Source: Linux `folio_check_references`. Rule F4.
    fn page_check_references(&self, pfn: Pfn) -> Option<Outcome> {
        let page = self.page(pfn);
        let Referenced { young, locked } = self.page_referenced(pfn);
        let referenced_before = page.has(flag::REFERENCED);
        page.clear_flags(flag::REFERENCED);
        if locked {
            return Some(Outcome::Unevictable);
        }
        if young == 0 {
            return None;
        }
        page.set_flags(flag::REFERENCED);
        Some(if referenced_before || young > 1 {
            Outcome::Activate
        } else {
            Outcome::Keep
        })
    }

    /// Whether an unmapped page has to be written, and where to. Rule F11.
    fn pageout(&self, pfn: Pfn) -> Outcome {
        let page = self.page(pfn);
        if page.has(flag::SWAPCACHE) {
            let slot = SwapSlot::of_page(page);
            return if page.has(flag::DIRTY) && self.swap_is_meant(slot) {
                Outcome::Write(slot, None)
            } else {
                Outcome::Free
            };
        }
        let Some(inode) = self.inode_of(pfn) else {
            return Outcome::Keep;
        };
        match self.shmem_writepage(pfn) {
            Some(slot) => Outcome::Write(slot, Some(inode)),
            None => Outcome::Activate,
        }
    }

    /// How a page was used since the last look; its entries are made old. Ends at a locked mapping, which decides already. Source: Linux
    /// `folio_referenced`.
    pub(super) fn page_referenced(&self, pfn: Pfn) -> Referenced {
        let mut seen = Referenced::default();
        self.rmap_walk(pfn, |vma, _, pte| {
            if vma.has(vm::LOCKED) {
                seen.locked = true;
                return Walk::Stop;
            }
            let entry = pte.get();
            if P::Pte::is_young(entry) {
                // As on Linux's x86: no TLB flush; the worst is that a page used right now looks unused once.
                pte.set(P::Pte::mkold(entry));
                seen.young += 1;
            }
            Walk::Continue
        });
        seen
    }

    /// Removes every entry that maps the page: of an anonymous page, entries then name its slot. `false` when one must stay.
    fn try_to_unmap(&self, pfn: Pfn) -> bool {
        let page = self.page(pfn);
        let slot = page.has(flag::ANON).then(|| SwapSlot::of_page(page));
        self.rmap_walk(pfn, |vma, addr, pte| {
            if vma.has(vm::LOCKED) {
                return Walk::Stop;
            }
            let Some(mm_id) = vma.vm_mm() else { return Walk::Stop };
            let mm = self.mm(mm_id);
            match slot {
                Some(slot) if self.swap_duplicate(slot).is_err() => return Walk::Stop,
                Some(slot) => {
                    if P::Pte::is_dirty(pte.get()) {
                        page.step(Event::Dirty);
                    }
                    pte.set(P::Pte::swap(slot.entry()));
                    mm.set_swapents(mm.swapents() + 1);
                }
                None => pte.set(0),
            }
            self.platform.flush_tlb_page(mm.pgd(), addr);
            self.add_rss(mm, pfn, -1);
            self.page_remove_rmap(pfn);
            page.refcount.sub(1);
            Walk::Continue
        });
        page.mapcount.get() == 0
    }
}
