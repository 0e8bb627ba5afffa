//! shmem: memory objects whose pages live in the page cache and, under pressure, in swap.
//!
//! System V segments, shared anonymous mappings and memory files are shmem objects on a kernel-internal mount without limits; the
//! objects of a mounted file system name its super block, which limits them. At every instant each index of an object is one of: a hole, a page in
//! the page cache, a value naming a swap slot or saying that the page is lost (it could not be read back, and no longer counts).
//!
//! # Invariants
//! `alloced` = pages in the cache + values (`nrpages + swapped`): what `st_blocks` reports, in units of 8. Rule C8.
//!
//! Source: Linux, mm/shmem.c. Rules A15, C1, C2, C3, C6, C7, C8, C37, F12, F13, F19.

mod copy;
mod fallocate;
mod huge;
mod io;
mod kernel_io;
mod name;
mod seals;
mod seek;
mod size;
mod space;
mod stat;
mod swapped;
#[cfg(test)]
mod tests;
mod xattr;

pub use copy::Position;
pub(crate) use fallocate::Falloc;
pub use fallocate::falloc;
pub use kernel_io::RUN_PAGES;
pub use name::{Name, NameId};
pub use seals::seal;
pub use seek::Whence;
pub use space::{BOGO_INODE_SIZE, FsType, Limits, SuperBlock, SuperId, super_flag};
pub use stat::{Kstat, SHM_MNT_DEV};
pub(crate) use xattr::Xattrs;
pub use xattr::{NewXattr, XATTR_NAME_MAX, Xattr};

use crate::addr::{PAGE_SHIFT, Pfn, pages_for};
use crate::error::Error;
use crate::huge::ShmemPolicy;
use crate::interval_tree::Members;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Platform, Stage};
use crate::record::{id_type, record};
use crate::swap::{self, SwapSlot};
use crate::xarray::{Entry, Filter};

id_type!(
    /// Number of an [`Inode`].
    InodeId
);

record! {
    /// A memory object. Source: Linux, `struct inode`, `struct address_space`, `struct shmem_inode_info`.
    pub struct Inode[25] {
        /// Bytes.
        i_size, set_i_size: u64 = 0;
        /// Pages in the page cache.
        nrpages, set_nrpages: u64 = 3;
        /// Pages in swap.
        swapped, set_swapped: u64 = 4;
        /// Pages charged to the object.
        alloced, set_alloced: u64 = 5;
        /// References: mappings, segments, descriptors.
        i_count, set_i_count: u64 = 6;
        /// The VMAs that map it.
        i_mmap, set_i_mmap: Members = 7;
        /// [`inode_flag`] bits.
        i_flags, set_i_flags: u64 = 8;
        /// When its content last changed, nanoseconds since 1970.
        i_mtime, set_i_mtime: i64 = 9;
        /// Pages charged to the commit counter at creation.
        commit, set_commit: u64 = 10;
        /// [`seal`] bits.
        seals, set_seals: u64 = 11;
        /// The file system's own: of proc, where nothing can be sealed, what the object shows.
        i_shows, set_i_shows: u64 = 11;
        /// Type and rights, as `st_mode`.
        i_mode, set_i_mode: u32 = 12;
        /// Owner.
        i_uid, set_i_uid: u32 = 13;
        /// Group.
        i_gid, set_i_gid: u32 = 14;
        /// Names.
        i_nlink, set_i_nlink: u64 = 15;
        /// When its content or what is known about it last changed, nanoseconds since 1970.
        i_ctime, set_i_ctime: i64 = 16;
        /// When it was last read, nanoseconds since 1970.
        i_atime, set_i_atime: i64 = 17;
        /// The mounted file system that it is of.
        i_sb, set_i_sb: Option<SuperId> = 18;
        /// Its number there, from 1 on; 0 without a file system.
        i_ino, set_i_ino: u64 = 19;
        /// Next object on the swap list.
        swap_next, set_swap_next: Option<InodeId> = 20;
        /// Previous object on the swap list.
        swap_prev, set_swap_prev: Option<InodeId> = 21;
        /// The file system's own: what a directory, symbolic link or device node has instead of pages.
        i_private, set_i_private: u64 = 22;
        /// The file system's own: what names it.
        i_dentry, set_i_dentry: u64 = 23;
        /// Next object with a huge page that reaches behind its end.
        shrink_next, set_shrink_next: Option<InodeId> = 24;
    }
}

impl Inode<'_> {
    /// Word with the head of the page cache.
    pub(crate) const XA_HEAD: usize = 1;
    /// Word with the marks of the page cache's head.
    pub(crate) const XA_FLAGS: usize = 2;
    /// Word with the head of the reservation map, of objects that never are on the swap list: see [`crate::hugetlb`].
    pub(crate) const RESV_HEAD: usize = 20;
    /// Word with the marks of that map's head.
    pub(crate) const RESV_FLAGS: usize = 21;
}

/// Bits of [`Inode::i_flags`].
pub mod inode_flag {
    /// `SHM_LOCK`: pages stay in memory.
    pub const LOCKED: u64 = 1;
    /// The file system's own: another is mounted here.
    pub const MOUNTPOINT: u64 = 2;
    /// The file system's own: an unnamed file that may get a name.
    pub const LINKABLE: u64 = 4;
    /// `noswap`: pages are not written to swap.
    pub const NOSWAP: u64 = 8;
    /// Of ramfs: its pages are no shared memory, and have no other place than RAM.
    pub const RAMFS: u64 = 16;
    /// The file system's own: of proc.
    pub const PROC: u64 = 32;
    /// It has no name in any directory, but one to show: [`crate::Memory::set_i_name`].
    pub const NAMED: u64 = 64;
    /// It has extended attributes.
    pub const XATTRS: u64 = 1 << 62;
    /// It may have huge pages.
    pub(crate) const HUGE: u64 = 1 << 8;
    /// It is on its file system's list of objects with a huge page that reaches behind their end. Source: Linux `info->shrinklist`.
    pub(crate) const SHRINKLIST: u64 = 1 << 9;
    /// Its pages are of the pool of huge pages: [`crate::hugetlb`].
    pub(crate) const HUGETLB: u64 = 1 << 10;
    /// It is no object, but what a private mapping of huge pages knows about its reservation.
    pub(crate) const RESV_MAP: u64 = 1 << 11;
    /// Why pages are not written to swap.
    pub(crate) const STAYS: u64 = LOCKED | NOSWAP | RAMFS;
    /// Why reclaim does not even look at them. Source: Linux `AS_UNEVICTABLE`.
    pub(crate) const UNEVICTABLE: u64 = LOCKED | RAMFS;
    /// It is on the list of objects that may have pages in swap. Source: Linux `info->swaplist`.
    pub const SWAPLIST: u64 = 1 << 63;
}

/// What a page is wanted for. Rule C1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sgp {
    /// A program's access, which can be made again: as [`Sgp::Cache`], but [`Error::Eagain`] instead of waiting for a disk while others can
    /// run. Source: Linux `FAULT_FLAG_ALLOW_RETRY`.
    Fault,
    /// The kernel's on a program's behalf: holes are filled, the end of the object is respected.
    Cache,
    /// A write: holes are filled, also past the end. The page may not be up to date: the writer fills it.
    Write,
    /// `fallocate`: holes get pages, also past the end, that are not up to date and read as holes.
    Falloc,
}

/// A page of an object, with a reference for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GotPage {
    /// The frame.
    pub(crate) pfn: Pfn,
    /// Whether it had to be read from swap.
    pub(crate) major: bool,
}

/// Highest page index: sizes are signed 64-bit. Rule C2 (1).
pub(crate) const MAX_INDEX: u64 = i64::MAX as u64 >> PAGE_SHIFT;

impl<P: Platform> Memory<P> {
    /// A new object of `size` bytes of zeroes, with one reference. Its pages are charged to the commit counter unless
    /// `noreserve`.
    ///
    /// # Errors
    /// [`Error::Einval`] for a size beyond 2^63-1, [`Error::Enomem`] when the charge is refused or no memory can be had. Rules A11, A13.
    pub fn shmem_file_setup(&self, size: u64, noreserve: bool) -> Result<InodeId, Error> {
        if i64::try_from(size).is_err() {
            return Err(Error::Einval);
        }
        let commit = if noreserve { 0 } else { pages_for(size) };
        self.vm_enough_memory(commit)?;
        let Some(id) = self.alloc_inode() else {
            self.vm_unacct_memory(commit);
            return Err(Error::Enomem);
        };
        let inode = self.inode(id);
        inode.set_i_size(size);
        inode.set_commit(commit);
        inode.set_i_count(1);
        Ok(id)
    }

    /// Takes a reference to an object.
    pub fn ihold(&self, id: InodeId) {
        let inode = self.inode(id);
        inode.set_i_count(inode.i_count() + 1);
    }

    /// Drops a reference to an object; the last one frees it, its pages and its swap.
    pub fn iput(&self, id: InodeId) {
        let inode = self.inode(id);
        inode.set_i_count(inode.i_count() - 1);
        if inode.i_count() == 0 {
            self.shmem_evict_inode(id);
        }
    }

    fn shmem_evict_inode(&self, id: InodeId) {
        let inode = self.inode(id);
        if inode.i_flags() & (inode_flag::SHRINKLIST | inode_flag::HUGETLB) != 0 {
            self.evict_huge(id);
        }
        inode
            .i_pages()
            .erase_range(self, 0, u64::MAX, |_, entry| match entry.as_page() {
                Some(pfn) => {
                    self.page_leaves_cache(inode, pfn);
                    self.put_page(pfn);
                }
                None => self.shmem_drop_value(inode, entry),
            });
        debug_assert_eq!(
            (inode.nrpages(), inode.swapped()),
            (0, 0),
            "pages of an evicted object are left"
        );
        self.shmem_unacct_blocks(id, inode.alloced());
        self.vm_unacct_memory(inode.commit());
        self.drop_i_name(inode);
        if inode.i_flags() & inode_flag::XATTRS != 0 {
            self.drop_xattrs(id);
        }
        self.leave_super(inode);
        if inode.i_flags() & inode_flag::SWAPLIST != 0 {
            self.swaplist_del(id);
        }
        self.free_inode(id);
    }

    /// A value of the object's is gone: its slot is freed, if the page was not lost.
    pub(crate) fn shmem_drop_value(&self, inode: Inode<'_>, entry: Entry) {
        if let Some(slot) = entry.as_value().and_then(SwapSlot::of_entry) {
            inode.set_swapped(inode.swapped() - 1);
            self.swap_free(slot);
        }
    }

    /// Makes a frame that holds content already a page of the object, without copying. The caller gives up the frame, which is one of
    /// [`Memory::init_used`] and belongs to nobody yet. The size of the object stays.
    ///
    /// # Errors
    /// [`Error::Eexist`] when the object has a page there, [`Error::Enospc`], [`Error::Enomem`] without memory; the frame is still the
    /// caller's.
    #[inline(never)]
    pub fn shmem_add_frame(&self, id: InodeId, index: u64, pfn: Pfn) -> Result<(), Error> {
        let page = self.page(pfn);
        let inode = self.inode(id);
        self.charge_block(inode)?;
        let entered = self.shmem_acct_block(id).and_then(|()| {
            self.add_to_page_cache_called(id, index, pfn)
                .inspect_err(|_| self.shmem_unacct_blocks(id, 1))
        });
        if let Err(error) = entered {
            self.uncharge_blocks(inode, 1);
            return Err(error);
        }
        page.steps([Event::Uptodate, Event::Unlock]);
        // The caller's reference.
        page.refcount.sub(1);
        inode.set_alloced(inode.alloced() + 1);
        Ok(())
    }

    /// The page at `index`, from the cache, from swap, or new.
    ///
    /// Only for objects without huge pages; [`Memory::shmem_getpage_huge`] is for all.
    ///
    /// # Errors
    /// [`Error::Efbig`], [`Error::Einval`] past the end, [`Error::Enomem`], [`Error::Eio`] when swap cannot be read, [`Error::Eagain`] for
    /// [`Sgp::Fault`]. Rule C2.
    #[inline(always)]
    pub(crate) fn shmem_getpage(&self, id: InodeId, index: u64, sgp: Sgp) -> Result<GotPage, Error> {
        let inode = self.inode(id);
        if sgp <= Sgp::Cache && index >= pages_for(inode.i_size()) {
            return Err(if index > MAX_INDEX { Error::Efbig } else { Error::Einval });
        }
        let entry = inode.i_pages().load(self, index);
        self.platform.stage(Stage::FilemapGetEntry, index);
        match entry.as_page() {
            Some(pfn) if self.page(pfn).has(flag::UPTODATE) => {
                self.get_page(pfn);
                Ok(GotPage { pfn, major: false })
            }
            _ => self.shmem_getpage_slow(id, index, sgp, entry),
        }
    }

    /// [`Memory::shmem_getpage`] for others than faults, whose path it would lengthen if the compiler did not inline it there.
    #[inline(never)]
    fn shmem_getpage_called(&self, id: InodeId, index: u64, sgp: Sgp) -> Result<GotPage, Error> {
        let inode = self.inode(id);
        if inode.i_flags() & inode_flag::HUGE != 0 || self.policy_of(inode) != ShmemPolicy::Never {
            return self.shmem_getpage_huge(id, index, sgp, 0);
        }
        self.shmem_getpage(id, index, sgp)
    }

    #[inline(never)]
    fn shmem_getpage_slow(&self, id: InodeId, index: u64, sgp: Sgp, mut entry: Entry) -> Result<GotPage, Error> {
        if index > MAX_INDEX {
            return Err(Error::Efbig);
        }
        loop {
            let got = match (entry.as_page(), entry.as_value()) {
                (Some(pfn), _) => {
                    self.fill_if_fallocated(pfn);
                    self.get_page(pfn);
                    Ok(GotPage { pfn, major: false })
                }
                (None, Some(value)) => {
                    swap::readable(value).and_then(|slot| self.shmem_swapin_page(id, index, slot, sgp))
                }
                (None, None) if self.inode(id).i_sb().is_some() => self.shmem_alloc_limited(id, index, sgp),
                (None, None) => self.shmem_alloc_page(id, index, sgp),
            };
            // Somebody else (reclaim, too) changed what is at the index meanwhile: look again. Rule C3.
            if got != Err(Error::Eexist) {
                return got;
            }
            entry = self.filemap_get_entry(self.inode(id), index);
        }
    }

    /// Gives a page that `fallocate` or an unfinished write left without content its zeroes. Rules C2 (7), C29.
    fn fill_if_fallocated(&self, pfn: Pfn) {
        if !self.page(pfn).has(flag::UPTODATE) {
            self.lock_page(pfn);
            self.fill_locked(pfn);
            self.page(pfn).step(Event::Unlock);
        }
    }

    /// As [`Memory::fill_if_fallocated`], for who holds the page's lock.
    pub(crate) fn fill_locked(&self, pfn: Pfn) {
        if !self.page(pfn).has(flag::UPTODATE) {
            self.platform.clear_page(pfn);
            self.page(pfn).steps([Event::Uptodate, Event::Dirty]);
        }
    }

    /// [`Memory::shmem_alloc_page`] for a file system that counts its blocks. Rules C6, C12, C52.
    #[inline(never)]
    fn shmem_alloc_limited(&self, id: InodeId, index: u64, sgp: Sgp) -> Result<GotPage, Error> {
        let inode = self.inode(id);
        self.charge_block_shrinking(inode)?;
        let got = self.shmem_alloc_page(id, index, sgp);
        match got {
            Ok(got) if inode.i_flags() & inode_flag::RAMFS != 0 => self.no_shared_memory(got.pfn),
            Ok(_) => {}
            Err(_) => self.uncharge_blocks(inode, 1),
        }
        got
    }

    /// Fills a hole. The page is in the cache, locked, before it is cleared: others find it and wait.
    // In both places, so that faults do not pay for a call.
    #[inline(always)]
    fn shmem_alloc_page(&self, id: InodeId, index: u64, sgp: Sgp) -> Result<GotPage, Error> {
        self.shmem_acct_block(id)?;
        let Some(pfn) = self.alloc_page() else {
            self.shmem_unacct_blocks(id, 1);
            return Err(Error::Enomem);
        };
        self.platform.stage(Stage::AllocPages, u64::from(pfn.0));
        if let Err(error) = self.add_to_page_cache(id, index, pfn) {
            self.free_page(pfn);
            self.shmem_unacct_blocks(id, 1);
            return match error {
                Error::Enomem => self.make_room_for_nodes(),
                other => Err(other),
            };
        }
        self.platform.stage(Stage::AddToPageCache, index);
        let page = self.page(pfn);
        if sgp <= Sgp::Cache {
            self.platform.clear_page(pfn);
            self.platform.stage(Stage::ClearPage, 0);
            page.step(Event::Uptodate);
        }
        page.step(Event::Unlock);
        let inode = self.inode(id);
        inode.set_alloced(inode.alloced() + 1);
        Ok(GotPage { pfn, major: false })
    }

    /// Charges a page to the commit counter, unless the object was charged as a whole. Rule C6; Linux `shmem_inode_acct_blocks`.
    ///
    /// # Errors
    /// [`Error::Enospc`] when so much may not be promised. Rule B20.
    #[inline(always)]
    fn shmem_acct_block(&self, id: InodeId) -> Result<(), Error> {
        self.shmem_acct_blocks(id, 1)
    }

    /// [`Memory::shmem_acct_block`] for several pages.
    #[inline(always)]
    fn shmem_acct_blocks(&self, id: InodeId, pages: u64) -> Result<(), Error> {
        if self.inode(id).commit() != 0 {
            return Ok(());
        }
        self.vm_enough_memory(pages).map_err(|_| Error::Enospc)
    }

    /// Takes back what was charged for pages of an object.
    #[inline(always)]
    pub(crate) fn shmem_unacct_blocks(&self, id: InodeId, pages: u64) {
        if self.inode(id).commit() == 0 {
            self.vm_unacct_memory(pages);
        }
    }

    /// Reclaims a frame that an XArray node can use, and asks to look again.
    #[cold]
    pub(crate) fn make_room_for_nodes<T>(&self) -> Result<T, Error> {
        let pfn = self.alloc_page().ok_or(Error::Enomem)?;
        self.free_page(pfn);
        Err(Error::Eexist)
    }

    /// `SHM_LOCK`: pages of the object stay in memory. They are not moved now; reclaim does so where it finds them. Rule A55.
    pub(crate) fn shmem_lock(&self, id: InodeId) {
        let inode = self.inode(id);
        inode.set_i_flags(inode.i_flags() | inode_flag::LOCKED);
    }

    /// `SHM_UNLOCK`: its pages can be reclaimed again, and are moved back to a list where that happens. Source: Linux
    /// `shmem_unlock_mapping`.
    pub(crate) fn shmem_unlock(&self, id: InodeId) {
        let inode = self.inode(id);
        inode.set_i_flags(inode.i_flags() & !inode_flag::LOCKED);
        let mut next = 0;
        while let Some((index, entry)) = inode.i_pages().find(self, next, u64::MAX, Filter::Any) {
            if let Some(pfn) = entry.as_page() {
                self.munlock_page(pfn);
            }
            next = index + 1;
        }
    }

    /// Whether a frame is a page of an object that is locked into memory. Source: Linux `folio_evictable`.
    #[inline]
    pub(crate) fn page_is_locked_in(&self, pfn: Pfn) -> bool {
        self.inode_of(pfn)
            .is_some_and(|id| self.inode(id).i_flags() & inode_flag::UNEVICTABLE != 0)
    }

    /// The object whose page a frame is.
    #[inline]
    pub(crate) fn inode_of(&self, pfn: Pfn) -> Option<InodeId> {
        let page = self.page(pfn);
        if page.has(flag::ANON) {
            return None;
        }
        crate::record::ObjId::from_u32(page.mapping.get()).map(InodeId)
    }

    /// Pages of an object: (in memory, in swap).
    pub fn shmem_pages(&self, id: InodeId) -> (u64, u64) {
        (self.inode(id).nrpages(), self.inode(id).swapped())
    }
}
