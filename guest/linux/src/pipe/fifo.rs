//! How a FIFO is opened: by a reader and a writer at once, unless one may not wait. Source: Linux, fs/pipe.c (`fifo_open`,
//! `wait_for_partner`); fifo(7), open(2).
//!
//! A description that waits for its partner is counted as open, so that the partner finds it; [`Waiter::opening`] keeps it until the partner
//! has come, even if that has gone again by then, or until the call ends.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::{End, Pipe, queue};
use crate::cred::Cred;
use crate::fdtable::TableId;
use crate::file::{File, Kind, o};
use crate::wait::{Call, Keys, Waiter};
use crate::{Errno, Linux};

impl<P: Platform> Linux<'_, P> {
    /// Opens the pipe of an inode: a descriptor, when there is a partner.
    ///
    /// # Errors
    /// `ENXIO` when it may not wait for readers and there are none, `EINVAL` for neither reading nor writing, `EMFILE`, `ENOMEM`.
    pub(crate) fn open_fifo(
        &self,
        (table, cloexec): (TableId, bool),
        waiter: &Waiter,
        inode: InodeId,
        flags: u64,
        cred: Cred,
    ) -> Result<Call, Errno> {
        let mode = flags & o::ACCMODE;
        if mode == o::ACCMODE {
            return Err(Errno::EINVAL);
        }
        let may_wait = flags & o::NONBLOCK == 0;
        let readers = self.pipe_id(inode).map_or(0, |id| self.pipe(id).readers());
        let named = self.object(inode).i_sb().is_some();
        if named && mode == o::WRONLY && !may_wait && readers == 0 {
            return Err(Errno::ENXIO);
        }
        let id = self.pipe_end(inode, flags, cred)?;
        let (file, pipe) = (self.file(id), self.pipe_of(inode).1);
        let alone = match mode {
            o::RDONLY => pipe.writers() == 0,
            o::WRONLY => pipe.readers() == 0,
            _ => false,
        };
        if named && alone && may_wait {
            waiter.opening.set(Some(id));
            waiter.partners.set(partners(file, pipe));
            return Ok(self.wait_for_partner(waiter, inode, file));
        }
        if alone && mode == o::RDONLY {
            // It is no end before there was a beginning.
            file.set_f_pos(pipe.w_counter());
        }
        self.install(table, id, 0, cloexec).map(|number| waiter.done(number))
    }

    /// The same, made again; `None` if no such call waits.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`.
    pub(crate) fn reopen_fifo(
        &self,
        (table, cloexec): (TableId, bool),
        waiter: &Waiter,
    ) -> Option<Result<Call, Errno>> {
        let id = waiter.opening.get()?;
        let file = self.file(id);
        let Kind::Pipe(inode) = file.kind() else { return None };
        if partners(file, self.pipe_of(inode).1) == waiter.partners.get() {
            return Some(Ok(self.wait_for_partner(waiter, inode, file)));
        }
        waiter.opening.set(None);
        Some(self.install(table, id, 0, cloexec).map(|number| waiter.done(number)))
    }

    fn wait_for_partner(&self, waiter: &Waiter, inode: InodeId, file: File<'_>) -> Call {
        let end = if file.readable() { End::Read } else { End::Write };
        waiter.wait(Keys::of(queue(self.pipe_of(inode).0, end)))
    }
}

/// How many there have been at the other end.
fn partners(file: File<'_>, pipe: Pipe<'_>) -> u64 {
    if file.readable() {
        pipe.w_counter()
    } else {
        pipe.r_counter()
    }
}
