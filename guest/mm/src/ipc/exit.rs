//! Segments whose creators have ended: they stay, unless `kernel.shm_rmid_forced` says that what nobody attaches goes.
//!
//! Source: Linux, ipc/shm.c (`exit_shm`, `shm_destroy_orphaned`). Rules A62, A63.

use super::*;

impl<P: Platform> Memory<P> {
    /// A process has ended: its segments are orphans, and go if that is forced and nobody attaches them. Its own attachments are gone by
    /// then.
    #[inline]
    pub fn exit_shm(&self, pid: u32) {
        if self.ipc.in_use.get() != 0 {
            self.orphan_segments(pid);
        }
    }

    #[inline(never)]
    fn orphan_segments(&self, pid: u32) {
        let _guard = self.locks.ipc.lock();
        self.for_each_segment(|_, segment| {
            if segment.cpid() == pid {
                segment.set_orphaned(true);
            }
        });
        if self.shm_rmid_forced() {
            self.shm_destroy_orphaned();
        }
    }

    /// Destroys what nobody attaches and whose creator has ended.
    pub(super) fn shm_destroy_orphaned(&self) {
        let mut index = 0;
        while let Some((at, entry)) = self.ipc.table().find(self, index, u64::from(IPCMNI), Filter::Any) {
            if let Some(shm) = shm_of_entry(entry) {
                let segment = self.segment(shm);
                if segment.orphaned() && segment.nattch() == 0 {
                    self.shm_destroy(shm);
                }
            }
            index = at + 1;
        }
    }

    /// Tells `each` of every segment, by index: its id, what `IPC_STAT` would say, and its pages in memory and in swap. Rule I1.
    pub fn shm_each(&self, mut each: impl FnMut(i32, &ShmidDs, (u64, u64))) {
        self.for_each_segment(|_, segment| {
            let pages = segment.file().map_or((0, 0), |file| self.shmem_pages(file));
            each(
                (segment.id() as u32).cast_signed(),
                &super::segment::shmid_ds(segment),
                pages,
            );
        });
    }
}
