//! The other commands of `shmctl`: `IPC_SET`, `SHM_LOCK`, `SHM_UNLOCK`, and those that tell about all segments.
//!
//! Source: Linux, ipc/shm.c (`shmctl_down`, `shmctl_do_lock`, `shmctl_shm_info`, `shmctl_stat`), mm/mlock.c (`user_shm_lock`).

use super::segment::shmid_ds;
use super::*;

/// What all segments use. Source: shmctl(2), `SHM_INFO`. Rule A57.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShmInfo {
    /// Segments.
    pub used_ids: u32,
    /// Highest index in use; 0 if there is none.
    pub highest_index: u32,
    /// Pages of all segments, each rounded up.
    pub tot: u64,
    /// Of these, in memory.
    pub rss: u64,
    /// Of these, in swap.
    pub swp: u64,
}

impl<P: Platform> Memory<P> {
    /// `shmctl(IPC_SET)`: another owner, group and the low 9 bits of the mode.
    ///
    /// # Errors
    /// [`Error::Einval`] for an id that is not there or an owner or group of -1, [`Error::Eperm`] for who neither owns nor made it. Rule A51.
    pub fn shm_set(&self, caller: Caller, id: i32, uid: u32, gid: u32, mode: u32) -> Result<(), Error> {
        let _guard = self.locks.ipc.lock();
        let segment = self.segment(self.shm_lookup(id)?);
        if !may_change(caller, segment) {
            return Err(Error::Eperm);
        }
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Error::Einval);
        }
        segment.set_uid(uid);
        segment.set_gid(gid);
        segment.set_mode(segment.mode() & !0o777 | mode & 0o777);
        segment.set_ctime(self.platform.now_s());
        Ok(())
    }

    /// `shmctl(SHM_LOCK)`: pages of the segment stay in memory from now on, wherever reclaim finds them. `memlock_bytes` is the
    /// caller's `RLIMIT_MEMLOCK`.
    ///
    /// # Errors
    /// [`Error::Einval`] for an id that is not there, [`Error::Eperm`] for who neither owns nor made it or may lock nothing,
    /// [`Error::Enomem`] beyond what a user may lock. Rules A54, A55.
    pub fn shm_lock(&self, caller: Caller, id: i32, memlock_bytes: u64) -> Result<(), Error> {
        let _guard = self.locks.ipc.lock();
        let shm = self.shm_lookup(id)?;
        let segment = self.segment(shm);
        if !may_change(caller, segment) || (caller.euid != 0 && memlock_bytes == 0) {
            return Err(Error::Eperm);
        }
        // Huge pages stay anyway. Rule A26.
        if segment.mode() & mode::LOCKED != 0 || segment.file().is_some_and(|file| self.is_hugetlb(file)) {
            return Ok(());
        }
        let pages = self.pages_locked_by(caller.euid) + pages_for(segment.segsz());
        if caller.euid != 0 && pages > memlock_bytes >> PAGE_SHIFT {
            return Err(Error::Enomem);
        }
        segment.set_mode(segment.mode() | mode::LOCKED);
        segment.set_mlock_uid(caller.euid);
        if let Some(file) = segment.file() {
            self.shmem_lock(file);
        }
        Ok(())
    }

    /// `shmctl(SHM_UNLOCK)`: its pages can go to swap again.
    ///
    /// # Errors
    /// As [`Memory::shm_lock`], except for the limit. Rules A54, A55.
    pub fn shm_unlock(&self, caller: Caller, id: i32) -> Result<(), Error> {
        let _guard = self.locks.ipc.lock();
        let segment = self.segment(self.shm_lookup(id)?);
        if !may_change(caller, segment) {
            return Err(Error::Eperm);
        }
        if segment.mode() & mode::LOCKED != 0 {
            segment.set_mode(segment.mode() & !mode::LOCKED);
            if let Some(file) = segment.file() {
                self.shmem_unlock(file);
            }
        }
        Ok(())
    }

    /// Pages of all segments that a user has locked.
    fn pages_locked_by(&self, uid: u32) -> u64 {
        let mut pages = 0;
        self.for_each_segment(|_, segment| {
            if segment.mode() & mode::LOCKED != 0 && segment.mlock_uid() == uid {
                pages += pages_for(segment.segsz());
            }
        });
        pages
    }

    /// `shmctl(SHM_INFO)`; its highest index is what `IPC_INFO` returns, too. Rules A56, A57, A59.
    pub fn shm_info(&self) -> ShmInfo {
        let _guard = self.locks.ipc.lock();
        let mut info = ShmInfo {
            used_ids: self.ipc.in_use.get(),
            tot: self.ipc.shm_tot.get(),
            ..ShmInfo::default()
        };
        self.for_each_segment(|index, segment| {
            info.highest_index = index;
            if let Some(file) = segment.file() {
                let (rss, swp) = self.shmem_pages(file);
                info.rss += rss;
                info.swp += swp;
            }
        });
        info
    }

    /// `shmctl(SHM_STAT)`: the segment at an index, and its id. Of a whole id, only the index counts. With `any`
    /// (`SHM_STAT_ANY`) nobody needs rights.
    ///
    /// # Errors
    /// [`Error::Einval`] when nothing is there, [`Error::Eacces`] without the right to read. Rule A58.
    pub fn shm_stat_index(&self, caller: Caller, index: i32, any: bool) -> Result<(i32, ShmidDs), Error> {
        let _guard = self.locks.ipc.lock();
        let index = u32::try_from(index).map_err(|_| Error::Einval)? % IPCMNI;
        let entry = self.ipc.table().load(self, u64::from(index));
        let segment = self.segment(shm_of_entry(entry).ok_or(Error::Einval)?);
        if !any {
            self.ipcperms(caller, segment, 4)?;
        }
        Ok(((segment.id() as u32).cast_signed(), shmid_ds(segment)))
    }
}
