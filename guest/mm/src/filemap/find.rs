//! Looking a page up, with a reference, its lock, or in the end a new page.
//!
//! Between a look at the index and what is done with the page found there, others may truncate the object, or put another page at
//! the index. So each step is followed by a look whether it was in time, and starts over when not:
//!
//! | step | in time if |
//! |---|---|
//! | take a reference | the page had one still, and is still at the index: the page was the object's at some instant of the call |
//! | take the lock | the page is the object's still, at this index: it stays so while locked, for who removes it takes the lock first |
//! | put a new page there | nothing is there yet |
//!
//! Source: Linux, mm/filemap.c (`filemap_get_entry`, `__filemap_get_folio`, `pagecache_get_page`). Rules D22 to D26. Differs from Linux:
//! who removes pages from an object does not take their locks yet, since nobody who holds one lets others in; `FGP_HEAD` means nothing
//! without huge pages; `FGP_NOFS` and `FGP_WRITE` change nothing, since no allocation enters a file system and no object accounts dirty pages
//! (rule C53).

use crate::addr::Pfn;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::Platform;
use crate::shmem::{Inode, InodeId};
use crate::xarray::Entry;

/// What a look-up does besides. Source: Linux, include/linux/pagemap.h.
pub(crate) mod fgp {
    /// The page counts as used.
    pub(crate) const ACCESSED: u32 = 0x1;
    /// It is returned locked.
    pub(crate) const LOCK: u32 = 0x2;
    /// If there is none, a new one is put there and returned locked, without content.
    pub(crate) const CREAT: u32 = 0x4;
    /// Nothing is waited for, and nothing reclaimed.
    pub(crate) const NOWAIT: u32 = 0x20;
    /// With `CREAT`: it is to be mapped, so it is returned unlocked, new or not.
    pub(crate) const FOR_MMAP: u32 = 0x40;
    /// A value is returned, too. Source: older Linux, `FGP_ENTRY`.
    pub(crate) const ENTRY: u32 = 0x80;
    /// It is not under writeback when it is returned.
    pub(crate) const STABLE: u32 = 0x100;
}

/// Where others may come in between. What a test does there, a second vCPU could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Race {
    /// The page is found; no reference is taken yet.
    Found,
    /// A reference is taken; the lock is not.
    Referenced,
    /// Somebody else has the lock, or the disk has the page.
    Contended,
    /// Nothing is there; the new page is not there yet.
    Allocated,
}

impl<P: Platform> Memory<P> {
    /// Looks at `index` of an object: what `fgp` says, a page with a reference for the caller. `None` when there is no page, or no memory for
    /// one, or it would have to be waited for. Rules D24, D25.
    pub(crate) fn pagecache_get_page(&self, id: InodeId, index: u64, fgp: u32) -> Option<Entry> {
        self.pagecache_get_page_racing(id, index, fgp, &mut |_| {})
    }

    /// As [`Memory::pagecache_get_page`], letting others in where they might come in.
    pub(crate) fn pagecache_get_page_racing(
        &self,
        id: InodeId,
        index: u64,
        fgp: u32,
        race: &mut impl FnMut(Race),
    ) -> Option<Entry> {
        loop {
            let entry = self.find_get_entry(self.inode(id), index, race);
            let Some(pfn) = entry.as_page() else {
                if !entry.is_null() {
                    // Where the page is in swap: for `CREAT`, too, that is for the object to know.
                    return (fgp & fgp::ENTRY != 0).then_some(entry);
                }
                if fgp & fgp::CREAT == 0 {
                    return None;
                }
                match self.create_page(id, index, fgp, race) {
                    Ok(pfn) => return Some(Entry::page(pfn)),
                    Err(Error::Eexist) => continue,
                    Err(_) => return None,
                }
            };
            if fgp & fgp::LOCK != 0 {
                race(Race::Referenced);
                if !self.lock_found(pfn, fgp, race) {
                    return None;
                }
                if !self.is_at(pfn, id, index) {
                    self.unlock_page(pfn);
                    self.put_page(pfn);
                    continue;
                }
            }
            if fgp & fgp::ACCESSED != 0 {
                self.mark_page_accessed(pfn);
            }
            if fgp & fgp::STABLE != 0 {
                self.wait_while(pfn, flag::WRITEBACK, race);
            }
            return Some(entry);
        }
    }

    /// What is at `index`; of a page, with a reference. Rule D22.
    fn find_get_entry(&self, inode: Inode<'_>, index: u64, race: &mut impl FnMut(Race)) -> Entry {
        loop {
            let entry = self.filemap_get_entry(inode, index);
            let Some(pfn) = entry.as_page() else { return entry };
            race(Race::Found);
            if self.page(self.compound_head(pfn)).refcount.get() == 0 {
                continue;
            }
            self.get_page(pfn);
            if self.filemap_get_entry(inode, index) == entry {
                return entry;
            }
            self.put_page(pfn);
        }
    }

    /// Takes the lock of a page that was found. `false`, and its reference dropped, where that would have to be waited for and must not.
    fn lock_found(&self, pfn: Pfn, fgp: u32, race: &mut impl FnMut(Race)) -> bool {
        if fgp & fgp::NOWAIT != 0 && self.page(pfn).has(flag::LOCKED) {
            self.put_page(pfn);
            return false;
        }
        self.wait_while(pfn, flag::LOCKED, race);
        self.page(pfn).step(Event::Lock);
        true
    }

    fn wait_while(&self, pfn: Pfn, flag: u32, race: &mut impl FnMut(Race)) {
        while self.page(pfn).has(flag) {
            race(Race::Contended);
        }
    }

    /// Whether a page is an object's, at this index. Rule D23.
    fn is_at(&self, pfn: Pfn, id: InodeId, index: u64) -> bool {
        self.inode_of(pfn) == Some(id) && self.page(pfn).index.get() == index
    }

    /// Puts a new page where nothing was. Rule D26.
    fn create_page(&self, id: InodeId, index: u64, fgp: u32, race: &mut impl FnMut(Race)) -> Result<Pfn, Error> {
        let pfn = if fgp & fgp::NOWAIT != 0 {
            self.alloc_page_nowait()
        } else {
            self.alloc_page()
        }
        .ok_or(Error::Enomem)?;
        race(Race::Allocated);
        if let Err(error) = self.add_to_page_cache_called(id, index, pfn) {
            self.free_page(pfn);
            return Err(error);
        }
        let inode = self.inode(id);
        inode.set_alloced(inode.alloced() + 1);
        if fgp & fgp::ACCESSED != 0 {
            self.page(pfn).set_flags(flag::REFERENCED);
        }
        if fgp & fgp::FOR_MMAP != 0 {
            self.unlock_page(pfn);
        }
        Ok(pfn)
    }

    /// Takes a page's lock. Today nobody finds it taken: whoever has it gives it back before the kernel is left, and never waits.
    #[inline]
    pub(crate) fn lock_page(&self, pfn: Pfn) {
        self.wait_while(pfn, flag::LOCKED, &mut |_| {
            debug_assert!(false, "frame {} is locked, and nobody else runs", pfn.0);
        });
        self.page(pfn).step(Event::Lock);
    }

    /// Gives a page's lock back.
    #[inline]
    pub(crate) fn unlock_page(&self, pfn: Pfn) {
        self.page(pfn).step(Event::Unlock);
    }
}
