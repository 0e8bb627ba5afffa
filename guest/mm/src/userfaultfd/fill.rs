//! Answers to faults: pages are put where they were missing, or mapped where they were not. Source: Linux, mm/userfaultfd.c
//! (`mfill_atomic`, `mfill_atomic_install_pte`, `shmem_mfill_atomic_pte`). Rules H4, H5.

use core::ops::Range;

use super::{UserfaultId, uffd_number, validate_range};
use crate::addr::{PAGE_MASK, PAGE_SIZE, Pfn, VirtAddr, pages_for};
use crate::error::Error;
use crate::hugetlb::is_hpage_aligned;
use crate::memory::Memory;
use crate::platform::{Platform, PteFormat};
use crate::shmem::{InodeId, Sgp};
use crate::vma::{MmId, MmStruct, VmArea, VmaId, vm};
use crate::vma_tree::find_vma;

/// `UFFDIO_*_MODE_*`. Source: ioctl_userfaultfd(2).
pub mod mode {
    /// Who waits is not woken.
    pub const DONTWAKE: u64 = 1;
}

/// What a page is to hold.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// What is at this address of this address space.
    Copy(MmId, u64),
    Zeroes,
    /// What the page cache has.
    Cached,
}

/// What an answer came to, as the program is told: bytes, 0 or more, in the request's last field, or a negative error number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// How far it came; an error only if not at all.
    pub bytes: Result<u64, Error>,
    /// What was asked for.
    wanted: u64,
}

impl Filled {
    /// What the request's last field is set to.
    #[must_use]
    pub fn field(self) -> i64 {
        match self.bytes {
            Ok(bytes) => bytes.cast_signed(),
            Err(error) => -i64::from(error.errno()),
        }
    }

    /// What the call returns.
    ///
    /// # Errors
    /// The error; [`Error::Eagain`] when some of it was done.
    pub fn result(self) -> Result<(), Error> {
        match self.bytes {
            Ok(bytes) if bytes == self.wanted => Ok(()),
            Ok(_) => Err(Error::Eagain),
            Err(error) => Err(error),
        }
    }
}

impl<P: Platform> Memory<P> {
    /// `UFFDIO_COPY`: pages with what is at `src`, whole pages of it or not, in `src_mm`. Rule H4.
    ///
    /// # Errors
    /// [`Error::Einval`], [`Error::Esrch`] when the address space is gone; nothing is said in the request's field.
    pub fn userfaultfd_copy(
        &self,
        id: UserfaultId,
        dst: u64,
        (src_mm, src): (MmId, u64),
        len: u64,
        mode: u64,
        wake: impl FnMut(u32),
    ) -> Result<Filled, Error> {
        src.checked_add(len).ok_or(Error::Einval)?;
        self.mfill(id, dst, len, mode, Content::Copy(src_mm, src), wake)
    }

    /// `UFFDIO_ZEROPAGE`. Rule H4.
    ///
    /// # Errors
    /// As [`Memory::userfaultfd_copy`].
    pub fn userfaultfd_zeropage(
        &self,
        id: UserfaultId,
        start: u64,
        len: u64,
        mode: u64,
        wake: impl FnMut(u32),
    ) -> Result<Filled, Error> {
        self.mfill(id, start, len, mode, Content::Zeroes, wake)
    }

    /// `UFFDIO_CONTINUE`: maps what is in the page cache. Rule H5.
    ///
    /// # Errors
    /// As [`Memory::userfaultfd_copy`].
    pub fn userfaultfd_continue(
        &self,
        id: UserfaultId,
        start: u64,
        len: u64,
        mode: u64,
        wake: impl FnMut(u32),
    ) -> Result<Filled, Error> {
        self.mfill(id, start, len, mode, Content::Cached, wake)
    }

    /// `UFFDIO_WAKE`.
    ///
    /// # Errors
    /// [`Error::Einval`] for a bad range.
    pub fn userfaultfd_wake(&self, id: UserfaultId, start: u64, len: u64, wake: impl FnMut(u32)) -> Result<(), Error> {
        self.wake_userfaults(id, &validate_range(start, len)?, wake);
        Ok(())
    }

    fn mfill(
        &self,
        id: UserfaultId,
        start: u64,
        len: u64,
        mode: u64,
        content: Content,
        wake: impl FnMut(u32),
    ) -> Result<Filled, Error> {
        let range = validate_range(start, len)?;
        if mode & !mode::DONTWAKE != 0 {
            return Err(Error::Einval);
        }
        let mm_id = self.userfault(id).mm().ok_or(Error::Esrch)?;
        let bytes = self.mfill_atomic(mm_id, &range, content);
        if let Ok(bytes) = bytes
            && mode & mode::DONTWAKE == 0
        {
            self.wake_userfaults(id, &(range.start..range.start.offset(bytes)), wake);
        }
        Ok(Filled { bytes, wanted: len })
    }

    fn mfill_atomic(&self, mm_id: MmId, range: &Range<VirtAddr>, content: Content) -> Result<u64, Error> {
        let step = {
            let _guard = self.locks.mmap.lock();
            let vma = self.vma(self.find_dst_vma(self.mm(mm_id), range)?);
            if matches!(content, Content::Cached) && vma.vm_file().is_none() {
                return Err(Error::Einval);
            }
            vma.page_size()
        };
        let huge = step != PAGE_SIZE;
        if huge && (matches!(content, Content::Zeroes) || !is_hpage_aligned(range.start.0 | range.end.0)) {
            return Err(Error::Einval);
        }
        let mut done = 0;
        while range.start.offset(done) < range.end {
            let addr = range.start.offset(done);
            let filled = if huge {
                self.mfill_huge_page(mm_id, addr, content, done)
            } else {
                self.mfill_page(mm_id, addr, content, done)
            };
            match filled {
                Ok(()) => done += step,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// The registered VMA that a whole range is in.
    pub(super) fn find_dst_vma(&self, mm: MmStruct<'_>, range: &Range<VirtAddr>) -> Result<VmaId, Error> {
        let id = find_vma(self, mm, range.start).ok_or(Error::Enoent)?;
        let vma = self.vma(id);
        if vma.vm_start() > range.start || vma.vm_end() < range.end || uffd_number(vma) == 0 {
            return Err(Error::Enoent);
        }
        Ok(id)
    }

    /// One page, `done` bytes behind the first.
    fn mfill_page(&self, mm_id: MmId, addr: VirtAddr, content: Content, done: u64) -> Result<(), Error> {
        // The copy comes first: fetching the source may fault, which takes the lock, and reclaim.
        let new = match content {
            Content::Copy(src_mm, src) => Some(self.copied_page(src_mm, src + done)?),
            _ => None,
        };
        let _guard = self.locks.mmap.lock();
        let placed = self.place(self.mm(mm_id), addr, content, new);
        if let (Err(_), Some(new)) = (placed, new) {
            self.free_page(new);
        }
        placed
    }

    /// Puts a page at an empty entry. A `new` one is taken over unless that fails.
    fn place(&self, mm: MmStruct<'_>, addr: VirtAddr, content: Content, new: Option<Pfn>) -> Result<(), Error> {
        let id = self.find_dst_vma(mm, &(addr..addr.offset(PAGE_SIZE)))?;
        let vma = self.vma(id);
        let pte = self.pte_alloc(mm, addr).ok_or(Error::Enomem)?;
        let index = vma.linear_page_index(addr);
        let past_end = |file| index >= pages_for(self.i_size(file));
        match (vma.vm_file(), content) {
            (Some(file), _) if past_end(file) => return Err(Error::Efault),
            _ if pte.get() != 0 => return Err(Error::Eexist),
            _ => {}
        }
        match (vma.vm_file(), content) {
            (Some(file), Content::Cached) => {
                let pfn = self.cached_page(file, index)?;
                self.map_shared(mm, vma, addr, pfn);
            }
            (Some(file), _) if vma.has(vm::SHARED) => {
                let pfn = match new {
                    Some(new) => new,
                    None => self.zeroed_page()?,
                };
                let added = self.shmem_add_frame(file, index, pfn);
                if let Err(error) = added {
                    if new.is_none() {
                        self.free_page(pfn);
                    }
                    // Source: Linux `shmem_mfill_atomic_pte`, which says so of a full file system, too.
                    return Err(if error == Error::Enospc { Error::Enomem } else { error });
                }
                self.get_page(pfn);
                self.map_shared(mm, vma, addr, pfn);
            }
            _ => return self.map_private(mm, id, addr, new),
        }
        Ok(())
    }

    /// A page of an object's that is in memory or in swap, with a reference.
    fn cached_page(&self, file: InodeId, index: u64) -> Result<Pfn, Error> {
        if self.filemap_get_entry(self.inode(file), index).is_null() {
            return Err(Error::Efault);
        }
        let small = vm::NOHUGEPAGE;
        self.shmem_getpage_huge(file, index, Sgp::Cache, small)
            .map(|got| got.pfn)
    }

    /// Maps an object's page; the caller's reference becomes the mapping's. Where stores make copies, the first comes back as a fault.
    fn map_shared(&self, mm: MmStruct<'_>, vma: VmArea<'_>, addr: VirtAddr, pfn: Pfn) {
        let Some(pte) = self.pte(mm.pgd(), addr) else {
            return self.put_page(pfn);
        };
        self.add_object_rmap(pfn);
        mm.set_rss_shmem(mm.rss_shmem() + 1);
        let writable = vma.has(vm::SHARED | vm::WRITE);
        pte.set(Self::filled_pte(vma, pfn, writable, true));
    }

    /// Maps a page that is this mapping's alone, or, without a `new` one, the frame of zeroes.
    fn map_private(&self, mm: MmStruct<'_>, id: VmaId, addr: VirtAddr, new: Option<Pfn>) -> Result<(), Error> {
        let vma = self.vma(id);
        let Some(new) = new else {
            let pte = self.pte_alloc(mm, addr).ok_or(Error::Enomem)?;
            pte.set(Self::filled_pte(vma, Pfn(self.zero_pfn.get()), false, false));
            return Ok(());
        };
        let anon = self.anon_vma_prepare(id).ok_or(Error::Enomem)?;
        // Preparing may have reclaimed, which frees no table of a mapping that is there.
        let pte = self.pte(mm.pgd(), addr).ok_or(Error::Enomem)?;
        self.page_add_new_anon_rmap(new, anon, vma.linear_page_index(addr));
        mm.set_rss_anon(mm.rss_anon() + 1);
        pte.set(Self::filled_pte(vma, new, vma.has(vm::WRITE), true));
        Ok(())
    }

    /// [`Memory::mk_pte`] for a mapping that perhaps nobody may access: faults never come so far there, answers do. Rule B26.
    fn filled_pte(vma: VmArea<'_>, pfn: Pfn, writable: bool, dirty: bool) -> u64 {
        let entry = Self::mk_pte(vma, pfn, writable, dirty);
        if vma.vm_flags() & (vm::READ | vm::WRITE | vm::EXEC) != 0 {
            entry
        } else {
            P::Pte::modify(entry, false, false, false)
        }
    }

    fn zeroed_page(&self) -> Result<Pfn, Error> {
        let pfn = self.alloc_page().ok_or(Error::Enomem)?;
        self.platform.clear_page(pfn);
        Ok(pfn)
    }

    /// A new page with a program's bytes, from any address on.
    fn copied_page(&self, mm: MmId, src: u64) -> Result<Pfn, Error> {
        let new = self.alloc_page().ok_or(Error::Enomem)?;
        self.copy_to_frame(new, mm, src)
            .map(|()| new)
            .inspect_err(|_| self.free_page(new))
    }

    /// Fills a frame with a program's bytes, from any address on.
    pub(super) fn copy_to_frame(&self, new: Pfn, mm: MmId, src: u64) -> Result<(), Error> {
        let first = PAGE_SIZE - (src & PAGE_MASK);
        let parts = [(src, 0, first), (src + first, first, PAGE_SIZE - first)];
        for (from, to, len) in parts.into_iter().filter(|&(_, _, len)| len != 0) {
            let user = self.get_user_page(mm, VirtAddr(from).page(), false)?;
            let offset = (from & PAGE_MASK) as usize;
            self.platform
                .copy_bytes((new, to as usize), (user, offset), len as usize);
        }
        Ok(())
    }
}
