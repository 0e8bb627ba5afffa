//! What must be so after every operation, and once everything has ended.

use std::vec::Vec;

use super::World;
use crate::error::Error;
use crate::ipc::Caller;
use crate::platform::Vmstat;

impl World {
    pub(crate) fn check(&mut self, deep: bool) {
        if deep {
            self.memory.check_invariants();
        } else {
            self.memory.check_lists();
        }
        let mut pages = 0;
        for (segment, known) in self.segments.iter().enumerate() {
            let attached = self.attaches(segment);
            if self.memory.shm_stat(self.caller(0), known.id).is_ok() {
                pages += known.pages;
            }
            match self.memory.shm_stat(self.caller(0), known.id) {
                Ok(stat) if self.unmerged => {
                    assert_eq!(stat.nattch != 0, attached != 0, "nattch of segment {segment}");
                }
                Ok(stat) => assert_eq!(stat.nattch, attached, "nattch of segment {segment}"),
                Err(_) => assert!(known.removed && attached == 0),
            }
        }
        assert_eq!(self.memory.shm_tot(), pages, "pages of all segments");
        self.check_files();
        self.check_accounts();
        for process in &self.processes {
            self.memory.check_mm(process.mm);
            assert_eq!(
                self.memory.mm_size(process.mm).1,
                process.pages.len() as u64,
                "total_vm"
            );
        }
        if deep {
            for who in 0..self.processes.len() {
                for addr in self.processes[who].pages.keys().copied().collect::<Vec<_>>() {
                    self.load(who, addr);
                }
            }
        }
    }

    /// Ends everything; nothing may be left.
    pub(crate) fn end(mut self, free_at_start: u64) {
        for process in self.processes.drain(..) {
            if let Some(context) = process.context {
                self.memory.userfaultfd_release(context, |_| {});
            }
            self.memory.mmput(process.mm, process.pid);
        }
        self.memory.mmput(self.tool.mm, 1);
        self.drop_files();
        self.drop_mixed();
        let caller = Caller {
            pid: 1,
            euid: 0,
            egid: 0,
        };
        for segment in &self.segments {
            let _ = self.memory.shm_rmid(caller, segment.id);
        }
        self.memory.swap_drain();
        self.memory.check_at_rest();
        assert_eq!(self.memory.swap_inuse_pages(), 0, "slots are left in use");
        // There may have been no memory for it the last time.
        for (area, &config) in self.areas.iter().enumerate() {
            let on = self.memory.swapon(area, config);
            assert!(matches!(on, Ok(()) | Err(Error::Ebusy)), "{on:?}");
        }
        assert_eq!(self.memory.committed_as(), 0, "charges are left");
        assert_eq!(self.memory.shm_tot(), 0, "pages of segments are left");
        for (name, objects) in self.memory.live_records() {
            assert_eq!(objects, 0, "{name} left");
        }
        for item in [
            Vmstat::NrAnonMapped,
            Vmstat::NrFileMapped,
            Vmstat::NrShmem,
            Vmstat::NrFilePages,
        ] {
            assert_eq!(self.memory.platform.counter(item), 0, "{item:?} at the end");
        }
        self.memory.check_no_huge();
        let slab_spares = self.memory.platform.counter(Vmstat::NrSlab);
        assert_eq!(
            self.memory.nr_free_pages() + slab_spares,
            free_at_start,
            "frames are lost"
        );
    }
}
