//! `read` and `write` of pipes. Source: Linux, fs/pipe.c (`anon_pipe_read`, `anon_pipe_write`); pipe(7), "I/O on pipes and FIFOs".

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::ring::{PAGE_BYTES, Pipe, PipeBuffer};
use super::{End, PipeId, queue};
use crate::file::{File, o};
use crate::iov::IovIter;
use crate::owner::Event;
use crate::wait::{Call, Keys, Waiter};
use crate::{Errno, Linux};

impl<P: Platform> Linux<'_, P> {
    /// `read` of a pipe: what there is, up to what is asked for.
    ///
    /// # Errors
    /// `EBADF` when not opened for reading, `EAGAIN` where it may not wait, `EFAULT`.
    pub fn pipe_read(&self, waiter: &Waiter, file: File<'_>, inode: InodeId, mut to: IovIter) -> Result<Call, Errno> {
        if !file.readable() {
            return Err(Errno::EBADF);
        }
        let wanted = to.left();
        if wanted == 0 {
            return Ok(waiter.done(0));
        }
        let (id, pipe) = self.pipe_of(inode);
        let was_full = pipe.is_full();
        let result = self.take_bytes(pipe, &mut to);
        let done = wanted - to.left();
        if was_full && !pipe.is_full() {
            self.wake_end(id, End::Write);
        }
        if done != 0 {
            self.pipe_read_from(inode);
        }
        let call = match result {
            Err(errno) => waiter.failed(done, errno),
            Ok(()) if done != 0 || pipe.writers() == 0 => Ok(waiter.done(done)),
            Ok(()) if file.f_flags() & o::NONBLOCK != 0 => waiter.failed(0, Errno::EAGAIN),
            Ok(()) => return Ok(waiter.wait(Keys::of(queue(id, End::Read)))),
        };
        // Whatever it came to.
        self.kill_fasync(inode, Event::Out, |other| other.writable());
        call
    }

    /// Moves what there is to a program. What could not be moved stays.
    fn take_bytes(&self, pipe: Pipe<'_>, to: &mut IovIter) -> Result<(), Errno> {
        while to.left() != 0 && !pipe.is_empty() {
            let buffer = self.pipe_buf(pipe, pipe.tail());
            let len = buffer.len.min(to.left());
            let mut part = *to;
            self.copy_to_iter(&mut part, (buffer.page, buffer.offset), len)?;
            *to = part;
            // What is left of a packet is lost, and a read ends with it.
            self.consume(pipe, if buffer.packet { buffer.len } else { len });
            if buffer.packet {
                break;
            }
        }
        Ok(())
    }

    /// `write` to a pipe. What does not fit waits for room; up to [`super::PIPE_BUF`] bytes go in at once or not at all.
    ///
    /// # Errors
    /// `EBADF` when not opened for writing, `EPIPE` when nobody reads (see [`Waiter::take_broken`]), `EAGAIN` where it may not wait, `EFAULT`,
    /// `ENOMEM`. Only if nothing was written.
    pub fn pipe_write(
        &self,
        waiter: &Waiter,
        file: File<'_>,
        inode: InodeId,
        mut from: IovIter,
    ) -> Result<Call, Errno> {
        if !file.writable() {
            return Err(Errno::EBADF);
        }
        if from.left() == 0 {
            return Ok(waiter.done(0));
        }
        let (id, pipe) = self.pipe_of(inode);
        let packets = file.f_flags() & o::DIRECT != 0;
        self.skip(&mut from, waiter.progress())?;
        let before = from.left();
        let result = self.put_bytes(waiter, pipe, &mut from, packets);
        let done = before - from.left();
        if done != 0 {
            self.wake_end(id, End::Read);
            self.pipe_written(inode);
        }
        let call = self.written(waiter, (id, file), done, result);
        if done != 0 || call != Ok(Call::Wait) {
            self.kill_fasync(inode, Event::In, |other| other.readable());
        }
        call
    }

    /// What a write came to that moved `done` bytes and was stopped, by `EAGAIN` for want of room.
    pub(super) fn written(
        &self,
        waiter: &Waiter,
        (id, file): (PipeId, File<'_>),
        done: u64,
        result: Result<(), Errno>,
    ) -> Result<Call, Errno> {
        match result {
            Ok(()) => Ok(waiter.done(done)),
            Err(Errno::EAGAIN) if file.f_flags() & o::NONBLOCK == 0 => {
                Ok(waiter.wait_after(done, Keys::of(queue(id, End::Write))))
            }
            Err(errno) => waiter.failed(done, errno),
        }
    }

    fn put_bytes(&self, waiter: &Waiter, pipe: Pipe<'_>, from: &mut IovIter, packets: bool) -> Result<(), Errno> {
        if pipe.readers() != 0 && waiter.progress() == 0 {
            self.merge(pipe, from)?;
        }
        while from.left() != 0 {
            if pipe.readers() == 0 {
                waiter.set_broken();
                return Err(Errno::EPIPE);
            }
            if pipe.is_full() {
                return Err(Errno::EAGAIN);
            }
            let page = self.alloc_pipe_page()?;
            let (len, mut part) = (from.left().min(PAGE_BYTES), *from);
            if let Err(errno) = self.copy_from_iter((page, 0), &mut part, len) {
                self.memory.free_pages(page, 0);
                return Err(errno);
            }
            *from = part;
            self.push_pipe_buf(
                pipe,
                PipeBuffer {
                    page,
                    offset: 0,
                    len,
                    packet: packets,
                    can_merge: !packets,
                },
            );
        }
        Ok(())
    }

    /// Adds to the last buffer what is more than whole pages, if it fits there.
    fn merge(&self, pipe: Pipe<'_>, from: &mut IovIter) -> Result<(), Errno> {
        let len = from.left() % PAGE_BYTES;
        if len == 0 || pipe.is_empty() {
            return Ok(());
        }
        let last = pipe.head() - 1;
        let mut buffer = self.pipe_buf(pipe, last);
        if !buffer.can_merge || buffer.end() + len > PAGE_BYTES {
            return Ok(());
        }
        let mut part = *from;
        self.copy_from_iter((buffer.page, buffer.end()), &mut part, len)?;
        *from = part;
        buffer.len += len;
        self.set_pipe_buf(pipe, last, buffer);
        Ok(())
    }
}
