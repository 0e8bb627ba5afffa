//! Segments come and go: `shmget`, `shmctl`. Source: Linux, ipc/shm.c (`newseg`, `ksys_shmget`, `do_shm_rmid`, `shm_destroy`).

use super::*;
use crate::hugetlb::{check_size, hpage_align};

impl<P: Platform> Memory<P> {
    /// `shmget`: the id of the segment with `key`, made if asked to.
    ///
    /// # Errors
    /// As shmget(2). Rules A1 to A14.
    pub fn shmget(&self, caller: Caller, key: i32, size: u64, flags: i32) -> Result<i32, Error> {
        let _guard = self.locks.ipc.lock();
        let key = key.cast_unsigned();
        // IPC_PRIVATE: always a new one. Rule A3.
        let found = if key == 0 { None } else { self.ipc_findkey(key) };
        match found {
            Some(_) if flags & shm_flag::IPC_CREAT != 0 && flags & shm_flag::IPC_EXCL != 0 => Err(Error::Eexist),
            Some(shm) => {
                let segment = self.segment(shm);
                if size > segment.segsz() {
                    return Err(Error::Einval);
                }
                let flags = flags.cast_unsigned();
                self.ipcperms(caller, segment, (flags >> 6 | flags >> 3 | flags) & 7)?;
                Ok((segment.id() as u32).cast_signed())
            }
            None if key != 0 && flags & shm_flag::IPC_CREAT == 0 => Err(Error::Enoent),
            None => self.newseg(caller, key, size, flags),
        }
    }

    fn newseg(&self, caller: Caller, key: u32, size: u64, flags: i32) -> Result<i32, Error> {
        let limits = self.shm_limits();
        if size == 0 || size > limits.max_bytes {
            return Err(Error::Einval);
        }
        let pages = pages_for(size);
        if self
            .ipc
            .shm_tot
            .get()
            .checked_add(pages)
            .is_none_or(|total| total > limits.all_pages)
        {
            return Err(Error::Enospc);
        }
        let mut mapped_bytes = pages << PAGE_SHIFT;
        let file = if flags & shm_flag::SHM_HUGETLB != 0 {
            mapped_bytes = hpage_align(size);
            self.hugetlb_segment(caller, mapped_bytes, flags)?
        } else {
            self.shmem_file_setup(size, flags & shm_flag::SHM_NORESERVE != 0 && !self.overcommits_never())?
        };
        let Some(shm) = self.segment_alloc() else {
            self.iput(file);
            return Err(Error::Enomem);
        };
        if let Err(error) = self.ipc_addid(shm) {
            self.segment_free(shm);
            self.iput(file);
            return Err(error);
        }
        let segment = self.segment(shm);
        self.set_key(shm, key);
        segment.set_made_with(key);
        segment.set_mode(flags.cast_unsigned() & 0o777);
        segment.set_uid(caller.euid);
        segment.set_cuid(caller.euid);
        segment.set_gid(caller.egid);
        segment.set_cgid(caller.egid);
        segment.set_segsz(size);
        segment.set_cpid(caller.pid);
        segment.set_ctime(self.platform.now_s());
        segment.set_file(Some(file));
        segment.set_mapped_bytes(mapped_bytes);
        self.ipc.shm_tot.add(pages);
        Ok((segment.id() as u32).cast_signed())
    }

    /// The memory of a new segment of `size` bytes, whole huge pages, which are reserved whatever the commit counter says.
    ///
    /// # Errors
    /// [`Error::Einval`] for sizes of pages that there are not, [`Error::Eperm`] for who neither is root nor in the group that may,
    /// [`Error::Enomem`] when the pool has too few. Rules A21 to A25.
    #[cold]
    #[inline(never)]
    fn hugetlb_segment(&self, caller: Caller, size: u64, flags: i32) -> Result<InodeId, Error> {
        let shift = u64::from(flags.cast_unsigned() >> shm_flag::SHM_HUGE_SHIFT & 0x3f);
        let known = check_size(shift);
        if known == Err(Error::Einval) {
            return Err(Error::Einval);
        }
        if caller.euid != 0 && caller.egid != self.hugetlb_shm_group() {
            return Err(Error::Eperm);
        }
        known?;
        self.hugetlb_file_setup(size, flags & shm_flag::SHM_NORESERVE != 0)
    }

    /// `shmctl(IPC_STAT)`.
    ///
    /// # Errors
    /// [`Error::Einval`] for an id that is not there, [`Error::Eacces`] without the right to read. Rule A50.
    pub fn shm_stat(&self, caller: Caller, id: i32) -> Result<ShmidDs, Error> {
        let _guard = self.locks.ipc.lock();
        let segment = self.segment(self.shm_lookup(id)?);
        self.ipcperms(caller, segment, 4)?;
        Ok(shmid_ds(segment))
    }

    /// `shmctl(IPC_RMID)`: the segment goes now, or with its last detach.
    ///
    /// # Errors
    /// [`Error::Einval`] for an id that is not there, [`Error::Eperm`] for who neither owns nor made it. Rule A52.
    pub fn shm_rmid(&self, caller: Caller, id: i32) -> Result<(), Error> {
        let _guard = self.locks.ipc.lock();
        let shm = self.shm_lookup(id)?;
        let segment = self.segment(shm);
        if !may_change(caller, segment) {
            return Err(Error::Eperm);
        }
        if segment.nattch() == 0 {
            self.shm_destroy(shm);
        } else {
            segment.set_mode(segment.mode() | mode::DEST);
            self.remove_key(shm);
        }
        Ok(())
    }

    /// Frees a segment that nobody attaches. Rules A52, A53, A65.
    pub(super) fn shm_destroy(&self, shm: ShmId) {
        self.remove_key(shm);
        self.ipc_rmid(shm);
        let segment = self.segment(shm);
        self.ipc.shm_tot.sub(pages_for(segment.segsz()));
        let file = segment.file();
        self.segment_free(shm);
        if let Some(file) = file {
            self.iput(file);
        }
    }

    /// Pages of all segments, each rounded up. Rule A65.
    pub fn shm_tot(&self) -> u64 {
        self.ipc.shm_tot.get()
    }
}

/// What `IPC_STAT` tells of a segment.
pub(super) fn shmid_ds(segment: Segment<'_>) -> ShmidDs {
    ShmidDs {
        key: segment.key(),
        uid: segment.uid(),
        gid: segment.gid(),
        cuid: segment.cuid(),
        cgid: segment.cgid(),
        mode: segment.mode(),
        seq: segment.id() as u32 / IPCMNI,
        segsz: segment.segsz(),
        atime: segment.atime(),
        dtime: segment.dtime(),
        ctime: segment.ctime(),
        cpid: segment.cpid(),
        lpid: segment.lpid(),
        nattch: segment.nattch(),
    }
}
