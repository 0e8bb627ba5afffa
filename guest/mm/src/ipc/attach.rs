//! Attach and detach: `shmat`, `shmdt`, and what `fork`, `munmap`, splitting and exit mean for them.
//! Source: Linux, ipc/shm.c (`do_shmat`, `ksys_shmdt`, `shm_open`, `shm_close`).

use super::*;
use crate::hugetlb::is_hpage_aligned;
use crate::mmap::{Backing, MMAP_MIN_ADDR, Mapping, TASK_SIZE, map_flag};
use crate::vma::{MmId, MmStruct, vm};
use crate::vma_tree::{find_vma, find_vma_intersection};

impl<P: Platform> Memory<P> {
    /// `shmat`: maps a segment, and returns where.
    ///
    /// # Errors
    /// As shmat(2). Rules A28 to A37.
    pub fn shmat(&self, caller: Caller, mm_id: MmId, id: i32, addr: u64, flags: i32) -> Result<u64, Error> {
        let _mmap = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        let at = shmat_address(addr, flags)?;
        let (shm, file, len) = {
            let _guard = self.locks.ipc.lock();
            let shm = self.shm_lookup(id)?;
            let segment = self.segment(shm);
            let mut wanted = 4;
            if flags & shm_flag::SHM_RDONLY == 0 {
                wanted |= 2;
            }
            if flags & shm_flag::SHM_EXEC != 0 {
                wanted |= 1;
            }
            self.ipcperms(caller, segment, wanted)?;
            let file = segment.file().ok_or(Error::Eidrm)?;
            (shm, file, segment.mapped_bytes())
        };
        let start = self.shmat_place(caller, mm, at, (file, len), flags)?;
        self.set_current_pid(caller.pid);
        // Held while the mapping is made: a replaced mapping may be the last of this very segment. Rule A37.
        self.shm_get(shm);
        let mapped = self.shmat_map(mm_id, start, len, flags, shm, file);
        match mapped {
            Ok(()) => {
                let segment = self.segment(shm);
                segment.set_atime(self.platform.now_s());
                segment.set_lpid(caller.pid);
                self.shm_put(shm);
                Ok(start.0)
            }
            Err(error) => {
                self.shm_put(shm);
                Err(error)
            }
        }
    }

    fn shmat_map(
        &self,
        mm_id: MmId,
        start: VirtAddr,
        len: u64,
        flags: i32,
        shm: ShmId,
        file: InodeId,
    ) -> Result<(), Error> {
        let mut vm_flags = vm::READ | vm::SHARED | vm::MAYREAD | vm::MAYEXEC | vm::MAYSHARE;
        if flags & shm_flag::SHM_RDONLY == 0 {
            vm_flags |= vm::WRITE | vm::MAYWRITE;
        }
        if flags & shm_flag::SHM_EXEC != 0 {
            vm_flags |= vm::EXEC;
        }
        let mm = self.mm(mm_id);
        if mm.map_count() > self.max_map_count() {
            return Err(Error::Enomem);
        }
        let end = start.offset(len);
        self.mlock_future_ok(mm, mm.def_flags(), len >> PAGE_SHIFT)?;
        self.may_expand_vm(mm, vm_flags, len >> PAGE_SHIFT, Some(start..end))?;
        // Without SHM_REMAP, nothing is mapped there.
        if flags & shm_flag::SHM_REMAP != 0 {
            self.do_munmap_locked(mm, start, end)?;
        }
        self.ihold(file);
        self.shm_get(shm);
        let mapping = Mapping {
            start,
            end,
            vm_flags,
            file: Some(file),
            pgoff: 0,
            shm: Some(shm),
            opened: 0,
        };
        if self.is_hugetlb(file) {
            self.hugetlb_mapping(mapping)
                .and_then(|mapping| self.mmap_region::<true>(mm_id, mapping))
        } else {
            self.mmap_region::<false>(mm_id, mapping)
        }
        .inspect_err(|_| self.shm_put(shm))?;
        // With `mlockall(MCL_FUTURE)`. Rule A40.
        self.populate_if_locked(mm, start..end);
        Ok(())
    }

    /// Where a segment is attached; `None` is anywhere. Rules A29, A30, A31.
    fn shmat_place(
        &self,
        caller: Caller,
        mm: MmStruct<'_>,
        at: Option<VirtAddr>,
        (file, len): (InodeId, u64),
        flags: i32,
    ) -> Result<VirtAddr, Error> {
        let Some(start) = at else {
            let backing = || {
                if self.is_hugetlb(file) {
                    Backing::Object(file, 0)
                } else {
                    Backing::NewObject
                }
            };
            return self.get_unmapped_area_for(mm, 0, len, map_flag::SHARED, backing);
        };
        if !is_hpage_aligned(start.0) && self.is_hugetlb(file) {
            return Err(Error::Einval);
        }
        let end = start.0.checked_add(len);
        if flags & shm_flag::SHM_REMAP == 0 {
            let end = VirtAddr(end.ok_or(Error::Einval)?);
            if find_vma_intersection(self, mm, start, end).is_some() {
                return Err(Error::Einval);
            }
        }
        if end.is_none_or(|end| end > TASK_SIZE) {
            return Err(Error::Enomem);
        }
        // Root may map where null pointers lead. Source: Linux `cap_mmap_addr`.
        if start.0 < MMAP_MIN_ADDR && caller.euid != 0 {
            return Err(Error::Eperm);
        }
        Ok(start)
    }

    /// `shmdt`: every part of the segment that was attached at `addr` is unmapped.
    ///
    /// # Errors
    /// [`Error::Einval`] when none is there. Rules A41 to A45.
    pub fn shmdt(&self, caller: Caller, mm_id: MmId, addr: u64) -> Result<(), Error> {
        let _guard = self.locks.mmap.lock();
        let mm = self.mm(mm_id);
        let base = VirtAddr(addr);
        if !base.is_page_aligned() {
            return Err(Error::Einval);
        }
        self.set_current_pid(caller.pid);
        let mut found: Option<(ShmId, u64)> = None;
        let mut next = find_vma(self, mm, base);
        while let Some(id) = next {
            let vma = self.vma(id);
            next = vma.vm_next();
            let distance = vma.vm_start().0.wrapping_sub(addr);
            if let Some((_, size)) = found
                && distance >= size
            {
                break;
            }
            let Some(shm) = vma.shm() else { continue };
            if distance >> PAGE_SHIFT != vma.vm_pgoff() || vma.vm_start() < base {
                continue;
            }
            // The first part that matches says which segment, and how far to look. Rule A43.
            let (wanted, size) = match found {
                Some(known) => known,
                None => (shm, self.segment(shm).mapped_bytes()),
            };
            found = Some((wanted, size));
            if shm == wanted {
                self.unmap_vma(mm, id);
            }
        }
        found.map(|_| ()).ok_or(Error::Einval)
    }

    /// Holds a segment, without being seen in its times.
    fn shm_get(&self, shm: ShmId) {
        let segment = self.segment(shm);
        segment.set_nattch(segment.nattch() + 1);
    }

    /// Lets a segment go; a removed one is destroyed with the last hold.
    fn shm_put(&self, shm: ShmId) {
        let segment = self.segment(shm);
        segment.set_nattch(segment.nattch() - 1);
        if segment.nattch() == 0 && (segment.mode() & mode::DEST != 0 || self.shm_rmid_forced()) {
            let _guard = self.locks.ipc.lock();
            self.shm_destroy(shm);
        }
    }

    /// A mapping was copied, by `fork` or by splitting. Rules A38, A60.
    pub(crate) fn shm_open(&self, shm: ShmId) {
        let segment = self.segment(shm);
        segment.set_atime(self.platform.now_s());
        segment.set_lpid(self.ipc.current_pid.get());
        self.shm_get(shm);
    }

    /// A mapping went. Rules A42, A47, A53, A61.
    pub(crate) fn shm_close(&self, shm: ShmId) {
        let segment = self.segment(shm);
        segment.set_dtime(self.platform.now_s());
        segment.set_lpid(self.ipc.current_pid.get());
        self.shm_put(shm);
    }
}

/// The address that a caller of `shmat` means; `None` for "anywhere". Rules A29, A30.
fn shmat_address(addr: u64, flags: i32) -> Result<Option<VirtAddr>, Error> {
    let page = VirtAddr(addr).page();
    if addr != page.0 && flags & shm_flag::SHM_RND == 0 {
        return Err(Error::Einval);
    }
    if page.0 == 0 && flags & shm_flag::SHM_REMAP != 0 {
        return Err(Error::Einval);
    }
    // Rounded down to 0, it is a fixed mapping at 0. Rule A30.
    Ok((addr != 0).then_some(page))
}
