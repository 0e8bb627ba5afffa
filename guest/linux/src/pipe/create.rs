//! How pipes come and go, and how large they are. Source: Linux, fs/pipe.c (`do_pipe2`, `pipe_release`, `pipe_fcntl`); pipe(2), fcntl(2).

use faultlab_mm::Platform;
use faultlab_mm::record::Id;
use faultlab_mm::shmem::{InodeId, seal};

use super::limits::round_pipe_size;
use super::ring::PAGE_BYTES;
use super::{End, PipeId};
use crate::cred::Cred;
use crate::fdtable::TableId;
use crate::file::{File, FileId, Kind, o};
use crate::owner::Event;
use crate::vfs::s;
use crate::{Errno, Linux};

impl<P: Platform> Linux<'_, P> {
    /// `pipe2`: the descriptors of its ends, first the one to read.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags, `EMFILE`, `ENFILE` for a user with too many, `ENOMEM`.
    pub fn pipe2(&self, table: TableId, flags: u64, cred: Cred) -> Result<(u64, u64), Errno> {
        let flags = u64::from(flags as u32);
        if flags & !(o::CLOEXEC | o::NONBLOCK | o::DIRECT) != 0 {
            return Err(Errno::EINVAL);
        }
        let owner = (cred.user.effective, cred.group.effective);
        let inode = self.memory.memfd_create(s::IFIFO | 0o600, owner, seal::SEAL)?;
        // Nobody can find it, but it counts as having a name. Source: Linux `get_pipe_inode`.
        self.object(inode).set_i_nlink(1);
        let ends = self.pipe_ends(table, inode, flags, cred);
        // Each end has a reference of its own.
        self.put_inode(inode);
        ends
    }

    fn pipe_ends(&self, table: TableId, inode: InodeId, flags: u64, cred: Cred) -> Result<(u64, u64), Errno> {
        let cloexec = flags & o::CLOEXEC != 0;
        let read = self.pipe_end(inode, o::RDONLY | flags & o::NONBLOCK, cred)?;
        let read_number = self.install(table, read, 0, cloexec)?;
        let write_number = self
            .pipe_end(inode, o::WRONLY | flags & (o::NONBLOCK | o::DIRECT), cred)
            .and_then(|write| self.install(table, write, 0, cloexec));
        match write_number {
            Ok(write_number) => Ok((read_number, write_number)),
            Err(errno) => {
                // It was just opened.
                _ = self.close(table, read_number);
                Err(errno)
            }
        }
    }

    /// A description of a pipe, counted, named by nobody.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn pipe_end(&self, inode: InodeId, flags: u64, cred: Cred) -> Result<FileId, Errno> {
        let id = self.alloc_file()?;
        if let Err(errno) = self.get_pipe(inode, cred) {
            self.free_empty_file(id);
            return Err(errno);
        }
        self.memory.ihold(inode);
        self.set_file(id, Kind::Pipe(inode), Some(inode), flags);
        let (pipe_id, pipe) = self.pipe_of(inode);
        let file = self.file(id);
        if file.readable() {
            pipe.set_readers(pipe.readers() + 1);
            pipe.set_r_counter(pipe.r_counter() + 1);
            self.wake_end(pipe_id, End::Write);
        }
        if file.writable() {
            pipe.set_writers(pipe.writers() + 1);
            pipe.set_w_counter(pipe.w_counter() + 1);
            self.wake_end(pipe_id, End::Read);
        }
        Ok(id)
    }

    /// Makes sure that an inode has its pipe.
    fn get_pipe(&self, inode: InodeId, cred: Cred) -> Result<(), Errno> {
        if self.pipe_id(inode).is_none() {
            let id = self.alloc_record(&self.pipes).map(PipeId)?;
            let slots = self
                .slots_for(cred)
                .inspect_err(|_| self.pipes.free(self.memory, id.0))?;
            self.pipe(id).set_user(cred.user.real);
            self.pipe(id).set_ring_size(slots);
            self.object(inode).set_i_private(u64::from(id.object().get()));
        }
        Ok(())
    }

    /// A description goes. The last takes the pipe and what nobody read along.
    pub(crate) fn release_pipe(&self, inode: InodeId, file: File<'_>) {
        let (id, pipe) = self.pipe_of(inode);
        if file.readable() {
            pipe.set_readers(pipe.readers() - 1);
        }
        if file.writable() {
            pipe.set_writers(pipe.writers() - 1);
        }
        self.wake_end(id, End::Read);
        self.wake_end(id, End::Write);
        if (pipe.readers() == 0) != (pipe.writers() == 0) {
            self.kill_fasync(inode, Event::In, |other| {
                other.readable() && other.opened() != file.opened()
            });
            self.kill_fasync(inode, Event::Out, |other| {
                other.writable() && other.opened() != file.opened()
            });
        }
        if pipe.readers() == 0 && pipe.writers() == 0 {
            self.object(inode).set_i_private(0);
            self.free_pipe(id);
        }
    }

    /// `F_GETPIPE_SZ`: bytes that fit a pipe, if every write filled its pages.
    pub(crate) fn pipe_size(&self, inode: InodeId) -> u64 {
        self.pipe_of(inode).1.ring_size() * PAGE_BYTES
    }

    /// `F_SETPIPE_SZ`: the same, set to at least `bytes`.
    ///
    /// # Errors
    /// `EINVAL` beyond 2 GiB, `EPERM` for more than one may have without privilege, `EBUSY` when more is in it, `ENOMEM`, also beyond 2 MiB.
    pub(crate) fn set_pipe_size(&self, inode: InodeId, bytes: u64, cred: Cred) -> Result<u64, Errno> {
        let (id, pipe) = self.pipe_of(inode);
        let size = round_pipe_size(bytes)?;
        let (slots, before) = (size / PAGE_BYTES, pipe.ring_size());
        self.recount(Some(cred), pipe.user(), before, slots)?;
        self.resize_ring(pipe, slots).inspect_err(|_| {
            // As it was, which cannot fail.
            _ = self.recount(None, pipe.user(), slots, before);
        })?;
        self.wake_end(id, End::Write);
        Ok(size)
    }

    /// `FIONREAD`: bytes that can be read.
    #[must_use]
    pub fn pipe_available(&self, inode: InodeId) -> u64 {
        self.pipe_bytes(self.pipe_of(inode).1)
    }

    /// Times of a pipe or FIFO change as those of a file. Source: Linux `anon_pipe_read`, `fifo_pipe_write`.
    pub(super) fn pipe_written(&self, inode: InodeId) {
        self.changed(inode, true);
    }

    pub(super) fn pipe_read_from(&self, inode: InodeId) {
        self.object(inode).set_i_atime(self.memory.platform.now_ns());
    }
}
