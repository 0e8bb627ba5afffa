//! `splice`, `tee`, `vmsplice`, and `sendfile` to a pipe. Source: Linux, fs/splice.c; splice(2), tee(2), vmsplice(2). Rule C22.
//!
//! Differs from Linux: pages go from pipe to pipe as they are, but bytes of files and programs are copied to and from pipes. What Linux
//! shows of a page that is in a file and in a pipe at once (a later write to the file is seen by the pipe's reader) is not shown.

use faultlab_mm::Platform;
use faultlab_mm::shmem::{InodeId, Position};

use super::ring::{PAGE_BYTES, PipeBuffer};
use super::{End, Pipe, queue};
use crate::copy::Place;
use crate::file::{File, Kind, o};
use crate::iov::IovIter;
use crate::wait::{Call, Keys, Waiter};
use crate::writer::Writer;
use crate::{Errno, Linux};

/// Flags. Source: splice(2).
pub mod splice_flag {
    /// The call does not wait.
    pub const NONBLOCK: u64 = 2;
    /// All that are known: pages moved, more to come, a gift.
    pub const ALL: u64 = 0xf;
}

/// Largest position.
const POSITION_MAX: u64 = i64::MAX as u64;

/// What a pipe gets bytes from, or gives them to, besides another pipe.
#[derive(Clone, Copy)]
enum Other {
    File(InodeId),
    Null,
    Zero,
}

impl Other {
    fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Object(inode) => Some(Self::File(inode)),
            Kind::Null => Some(Self::Null),
            Kind::Zero => Some(Self::Zero),
            _ => None,
        }
    }
}

fn may_wait(files: [File<'_>; 2], flags: u64) -> bool {
    let nonblock = files.iter().any(|file| file.f_flags() & o::NONBLOCK != 0);
    !nonblock && flags & splice_flag::NONBLOCK == 0
}

impl<P: Platform> Linux<'_, P> {
    /// `splice`: how many bytes went from one place to another, of which at least one is a pipe.
    ///
    /// # Errors
    /// `EBADF` for what is not opened for it, `EINVAL` without a pipe, for one with itself and for appending, `EPIPE`, `EAGAIN`; as a read and a
    /// write.
    pub fn splice(
        &self,
        (waiter, writer): (&Waiter, Writer),
        from: Place<'_>,
        to: Place<'_>,
        len: u64,
        flags: u64,
    ) -> Result<Call, Errno> {
        if !from.file.readable() || !to.file.writable() {
            return Err(Errno::EBADF);
        }
        match (from.file.kind(), to.file.kind()) {
            (Kind::Pipe(source), Kind::Pipe(target)) if source == target => Err(Errno::EINVAL),
            (Kind::Pipe(source), Kind::Pipe(target)) => {
                let may_wait = may_wait([from.file, to.file], flags);
                self.pipe_to_pipe(waiter, source, target, len, may_wait)
            }
            (Kind::Pipe(source), kind) => {
                let other = Other::of(kind).ok_or(Errno::EINVAL)?;
                let may_wait = may_wait([from.file, from.file], flags);
                self.pipe_to_file((waiter, writer), source, (to, other), len, may_wait)
            }
            // What is empty for ever has nothing to give. Source: Linux `null_fops`.
            (Kind::Null, _) => Err(Errno::EINVAL),
            (kind, Kind::Pipe(target)) => {
                let other = Other::of(kind).ok_or(Errno::EINVAL)?;
                let may_wait = may_wait([to.file, to.file], flags);
                self.file_to_pipe(waiter, (from, other), target, len, may_wait)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// `sendfile` to a pipe: how many bytes of a file went into it.
    ///
    /// # Errors
    /// `EBADF`, `ESPIPE` for an offset into what has none, `EINVAL` for what is no file; as [`Linux::splice`].
    pub fn sendfile_to_pipe(&self, waiter: &Waiter, to: File<'_>, from: Place<'_>, count: u64) -> Result<Call, Errno> {
        let (Kind::Pipe(target), Some(other)) = (to.kind(), Other::of(from.file.kind())) else {
            return Err(Errno::EINVAL);
        };
        if !from.file.readable() || !to.writable() {
            return Err(Errno::EBADF);
        }
        let may_wait = may_wait([from.file, to], 0);
        self.file_to_pipe(waiter, (from, other), target, count, may_wait)
    }

    /// `tee`: copies what is in a pipe to another, and leaves it there.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for what is no pipe and for one with itself, `EPIPE`, `EAGAIN`, `ENOMEM`.
    pub fn tee(&self, waiter: &Waiter, from: File<'_>, to: File<'_>, len: u64, flags: u64) -> Result<Call, Errno> {
        if !from.readable() || !to.writable() {
            return Err(Errno::EBADF);
        }
        let (source, target) = match (from.kind(), to.kind()) {
            (Kind::Pipe(source), Kind::Pipe(target)) if source != target => (source, target),
            _ => return Err(Errno::EINVAL),
        };
        let may_wait = may_wait([from, to], flags);
        if let Some(call) = self.wait_for_both(waiter, source, target, may_wait)? {
            return Ok(call);
        }
        let (input, (id, output)) = (self.pipe_of(source).1, self.pipe_of(target));
        let (mut done, mut number) = (0, input.tail());
        while done < len && number < input.head() && !output.is_full() {
            let buffer = self.pipe_buf(input, number);
            let part = PipeBuffer {
                len: buffer.len.min(len - done),
                ..buffer
            };
            if let Err(errno) = self.push_copy(output, part) {
                return self.ended(waiter, id, done, errno);
            }
            done += part.len;
            number += 1;
        }
        self.wake_end(id, End::Read);
        Ok(waiter.done(done))
    }

    /// `vmsplice` to a pipe: a program's bytes, as many as there is room for.
    ///
    /// # Errors
    /// `EPIPE`, `EAGAIN`, `EFAULT`, `ENOMEM`.
    pub fn vmsplice_to_pipe(
        &self,
        waiter: &Waiter,
        inode: InodeId,
        mut from: IovIter,
        flags: u64,
    ) -> Result<Call, Errno> {
        if from.left() == 0 {
            return Ok(waiter.done(0));
        }
        if let Some(call) = self.wait_for_space(waiter, inode, flags & splice_flag::NONBLOCK == 0)? {
            return Ok(call);
        }
        let (id, pipe) = self.pipe_of(inode);
        let wanted = from.left();
        while !pipe.is_full() {
            let pushed = self.push_piece(pipe, &mut from);
            match pushed {
                Ok(true) => {}
                Ok(false) => break,
                Err(errno) => return self.ended(waiter, id, wanted - from.left(), errno),
            }
        }
        self.wake_end(id, End::Read);
        Ok(waiter.done(wanted - from.left()))
    }

    /// Puts the program's next bytes that lie in one page into a slot; whether there were any.
    fn push_piece(&self, pipe: Pipe<'_>, from: &mut IovIter) -> Result<bool, Errno> {
        let Some((addr, len)) = self.next_piece(from, from.left())? else {
            return Ok(false);
        };
        let (page, offset) = (self.alloc_pipe_page()?, addr % PAGE_BYTES);
        if let Err(errno) = self.copy_from_iter((page, offset), from, len) {
            self.memory.free_pages(page, 0);
            return Err(errno);
        }
        let buffer = PipeBuffer {
            page,
            offset,
            len,
            packet: false,
            can_merge: false,
        };
        self.push_pipe_buf(pipe, buffer);
        Ok(true)
    }

    /// `vmsplice` from a pipe: what there is.
    ///
    /// # Errors
    /// `EAGAIN`, `EFAULT`.
    pub fn vmsplice_to_user(
        &self,
        waiter: &Waiter,
        inode: InodeId,
        mut to: IovIter,
        flags: u64,
    ) -> Result<Call, Errno> {
        let wanted = to.left();
        if wanted == 0 {
            return Ok(waiter.done(0));
        }
        if let Some(call) = self.wait_for_bytes(waiter, inode, flags & splice_flag::NONBLOCK == 0)? {
            return Ok(call);
        }
        let (id, pipe) = self.pipe_of(inode);
        let mut result = Ok(());
        while to.left() != 0 && !pipe.is_empty() {
            let (buffer, mut part) = (self.pipe_buf(pipe, pipe.tail()), to);
            let len = buffer.len.min(to.left());
            result = self.copy_to_iter(&mut part, (buffer.page, buffer.offset), len);
            if result.is_err() {
                break;
            }
            to = part;
            self.consume(pipe, len);
        }
        self.wake_end(id, End::Write);
        let done = wanted - to.left();
        result.map_or_else(|errno| waiter.failed(done, errno), |()| Ok(waiter.done(done)))
    }

    /// A call that moved `done` bytes into a pipe ends with an error.
    fn ended(&self, waiter: &Waiter, id: super::PipeId, done: u64, errno: Errno) -> Result<Call, Errno> {
        if done != 0 {
            self.wake_end(id, End::Read);
        }
        waiter.failed(done, errno)
    }

    /// A call that waits for room in a pipe, if it has to. Source: Linux `wait_for_space`.
    fn wait_for_space(&self, waiter: &Waiter, inode: InodeId, may_wait: bool) -> Result<Option<Call>, Errno> {
        let (id, pipe) = self.pipe_of(inode);
        if pipe.readers() == 0 {
            waiter.set_broken();
            return Err(Errno::EPIPE);
        }
        if !pipe.is_full() {
            return Ok(None);
        }
        if !may_wait {
            return Err(Errno::EAGAIN);
        }
        Ok(Some(waiter.wait(Keys::of(queue(id, End::Write)))))
    }

    /// A call that waits for content of a pipe, or is over because there will be none. Source: Linux `ipipe_prep`.
    fn wait_for_bytes(&self, waiter: &Waiter, inode: InodeId, may_wait: bool) -> Result<Option<Call>, Errno> {
        let (id, pipe) = self.pipe_of(inode);
        if !pipe.is_empty() {
            return Ok(None);
        }
        if pipe.writers() == 0 {
            return Ok(Some(waiter.done(0)));
        }
        if !may_wait {
            return Err(Errno::EAGAIN);
        }
        Ok(Some(waiter.wait(Keys::of(queue(id, End::Read)))))
    }

    fn wait_for_both(
        &self,
        waiter: &Waiter,
        source: InodeId,
        target: InodeId,
        may_wait: bool,
    ) -> Result<Option<Call>, Errno> {
        match self.wait_for_bytes(waiter, source, may_wait)? {
            None => self.wait_for_space(waiter, target, may_wait),
            call => Ok(call),
        }
    }

    fn pipe_to_pipe(
        &self,
        waiter: &Waiter,
        source: InodeId,
        target: InodeId,
        len: u64,
        may_wait: bool,
    ) -> Result<Call, Errno> {
        if let Some(call) = self.wait_for_both(waiter, source, target, may_wait)? {
            return Ok(call);
        }
        let ((from_id, input), (to_id, output)) = (self.pipe_of(source), self.pipe_of(target));
        let mut done = 0;
        while done < len && !input.is_empty() && !output.is_full() {
            let buffer = self.pipe_buf(input, input.tail());
            if buffer.len <= len - done {
                self.push_pipe_buf(output, self.pop_pipe_buf(input));
                done += buffer.len;
                continue;
            }
            let part = PipeBuffer {
                len: len - done,
                ..buffer
            };
            if let Err(errno) = self.push_copy(output, part) {
                return self.ended(waiter, to_id, done, errno);
            }
            self.consume(input, part.len);
            done = len;
        }
        self.wake_end(from_id, End::Write);
        self.wake_end(to_id, End::Read);
        Ok(waiter.done(done))
    }

    /// Puts a copy of a buffer's bytes into a pipe.
    fn push_copy(&self, pipe: Pipe<'_>, buffer: PipeBuffer) -> Result<(), Errno> {
        let page = self.alloc_pipe_page()?;
        let at = buffer.offset as usize;
        self.memory
            .platform
            .copy_bytes((page, at), (buffer.page, at), buffer.len as usize);
        let copy = PipeBuffer {
            page,
            can_merge: false,
            ..buffer
        };
        self.push_pipe_buf(pipe, copy);
        Ok(())
    }

    fn file_to_pipe(
        &self,
        waiter: &Waiter,
        (from, other): (Place<'_>, Other),
        target: InodeId,
        len: u64,
        may_wait: bool,
    ) -> Result<Call, Errno> {
        check_area(from, len)?;
        if let Some(call) = self.wait_for_space(waiter, target, may_wait)? {
            return Ok(call);
        }
        let (id, pipe) = self.pipe_of(target);
        let len = len.min((pipe.ring_size() - pipe.occupancy()) * PAGE_BYTES);
        let mut done = 0;
        while done < len && !pipe.is_full() {
            match self.push_content(pipe, other, from.pos() + done, len - done) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(errno) => {
                    from.advance(done);
                    return self.ended(waiter, id, done, errno);
                }
            }
        }
        if let Other::File(_) = other {
            from.advance(done);
        }
        self.wake_end(id, End::Read);
        Ok(waiter.done(done))
    }

    /// Puts what lies in one page of a file, up to `most` bytes from `pos` on, into a slot; how much that was.
    fn push_content(&self, pipe: Pipe<'_>, other: Other, pos: u64, most: u64) -> Result<u64, Errno> {
        let (offset, available) = match other {
            Other::File(inode) => (pos % PAGE_BYTES, self.memory.i_size(inode).saturating_sub(pos)),
            Other::Null => (0, 0),
            Other::Zero => (0, PAGE_BYTES),
        };
        let len = most.min(available).min(PAGE_BYTES - offset);
        if len == 0 {
            return Ok(0);
        }
        let page = self.alloc_pipe_page()?;
        let to = (page, offset as usize);
        let filled = match other {
            Other::File(id) => self.memory.shmem_read_part(Position { id, pos }, to, len as usize),
            _ => {
                self.memory.platform.clear_bytes(to.0, to.1, len as usize);
                Ok(())
            }
        };
        if let Err(error) = filled {
            self.memory.free_pages(page, 0);
            return Err(error.into());
        }
        let buffer = PipeBuffer {
            page,
            offset,
            len,
            packet: false,
            can_merge: false,
        };
        self.push_pipe_buf(pipe, buffer);
        Ok(len)
    }

    fn pipe_to_file(
        &self,
        (waiter, writer): (&Waiter, Writer),
        source: InodeId,
        (to, other): (Place<'_>, Other),
        len: u64,
        may_wait: bool,
    ) -> Result<Call, Errno> {
        if to.file.f_flags() & o::APPEND != 0 {
            return Err(Errno::EINVAL);
        }
        check_area(to, len)?;
        if let Some(call) = self.wait_for_bytes(waiter, source, may_wait)? {
            return Ok(call);
        }
        let (id, pipe) = self.pipe_of(source);
        let (mut done, mut result) = (0, Ok(()));
        while done < len && !pipe.is_empty() {
            let buffer = self.pipe_buf(pipe, pipe.tail());
            let pos = to.pos() + done;
            let mut part = buffer.len.min(len - done);
            if let Other::File(id) = other {
                part = part.min(PAGE_BYTES - pos % PAGE_BYTES);
                let from = (buffer.page, buffer.offset as usize);
                result = writer.limit(pos, part).and_then(|most| {
                    part = most;
                    if done == 0 {
                        self.remove_privs(writer, id);
                    }
                    Ok(self
                        .memory
                        .shmem_write_part(from, Position { id, pos }, part as usize)?)
                });
                if result.is_err() {
                    break;
                }
            }
            self.consume(pipe, part);
            done += part;
        }
        if let Other::File(_) = other {
            to.advance(done);
        }
        self.wake_end(id, End::Write);
        match result {
            Ok(()) => Ok(waiter.done(done)),
            Err(errno) => {
                // What was moved is the call's value, but the signal comes.
                if errno == Errno::XFSZ && done != 0 {
                    waiter.set_exceeded();
                }
                waiter.failed(done, errno)
            }
        }
    }
}

/// Source: Linux `rw_verify_area`.
fn check_area(place: Place<'_>, len: u64) -> Result<(), Errno> {
    match place.pos().checked_add(len) {
        Some(end) if end <= POSITION_MAX => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}
