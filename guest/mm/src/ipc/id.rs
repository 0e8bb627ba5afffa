//! Numbers for segments: an index into the table, and a sequence number that tells apart those that had the index one after another.
//!
//! Source: Linux, ipc/util.c (`ipc_addid`, `ipc_idr_alloc`). Rules A10, A16, A18.

use super::*;

/// Indices are handed out round robin among at least so many. Source: Linux `IPCMNI_MIN_CYCLE`. Rule A16.
const IPC_MIN_CYCLE: u32 = 64;

impl<P: Platform> Memory<P> {
    /// Enters a segment into the table, and gives it its id.
    ///
    /// # Errors
    /// [`Error::Enospc`] when there are as many as there may be, [`Error::Enomem`] without memory.
    pub(super) fn ipc_addid(&self, shm: ShmId) -> Result<(), Error> {
        let ids = &self.ipc;
        if ids.in_use.get() >= self.shm_limits().mni {
            return Err(Error::Enospc);
        }
        let wanted = ids.wanted.get().checked_sub(1);
        let index = match wanted {
            Some(id) => self.next_free_index(id % IPCMNI)?,
            None => self.next_index_in_cycle(),
        };
        ids.table()
            .store(self, u64::from(index), Entry::value(u64::from(shm.0.get())))
            .map_err(|_| Error::Enomem)?;
        let seq = match wanted {
            // The cycle goes on as if nothing had been asked for.
            Some(id) => id / IPCMNI,
            None => self.next_seq(index),
        };
        ids.wanted.set(0);
        ids.in_use.add(1);
        self.segment(shm).set_id(u64::from(seq * IPCMNI + index));
        Ok(())
    }

    /// The first free index from the one on that follows what was given last.
    fn next_index_in_cycle(&self) -> u32 {
        let ids = &self.ipc;
        let cycle = IPC_MIN_CYCLE.max(ids.in_use.get() * 3 / 2).min(IPCMNI);
        let mut index = ids.next.get();
        if index >= cycle {
            index = 0;
        }
        while !self.is_free_index(index) {
            index = (index + 1) % cycle;
        }
        index
    }

    /// Notes that `index` was given last. Each time the cycle starts over, there is a new sequence number.
    fn next_seq(&self, index: u32) -> u32 {
        let ids = &self.ipc;
        if index < ids.next.get() {
            ids.seq.set((ids.seq.get() + 1) & 0xffff);
        }
        ids.next.set(index + 1);
        ids.seq.get()
    }

    fn next_free_index(&self, from: u32) -> Result<u32, Error> {
        (from..IPCMNI)
            .find(|&index| self.is_free_index(index))
            .ok_or(Error::Enospc)
    }

    fn is_free_index(&self, index: u32) -> bool {
        self.ipc.table().load(self, u64::from(index)) == Entry::NULL
    }

    /// Takes a segment out of the table.
    pub(super) fn ipc_rmid(&self, shm: ShmId) {
        let index = self.segment(shm).id() % u64::from(IPCMNI);
        self.ipc.table().erase(self, index);
        self.ipc.in_use.sub(1);
    }
}
