//! `eventfd2`: a number that is added to and taken. Source: Linux, fs/eventfd.c; eventfd(2).
//!
//! The number is the description's position, which such a description does not have.

use faultlab_mm::Platform;

use crate::fdtable::TableId;
use crate::file::{File, Kind, o};
use crate::iov::IovIter;
use crate::poll::{Ready, event};
use crate::wait::{Call, Keys, Queue, Waiter};
use crate::{Errno, Linux};

/// A read takes 1, not all. Source: eventfd(2).
const SEMAPHORE: u64 = 1;
/// Bytes of a number.
const NUMBER_BYTES: u64 = 8;
/// The number that cannot be reached.
const OVERFLOW: u64 = u64::MAX;

fn keys(file: File<'_>) -> Keys {
    Keys::of(Queue::numbered(file.opened()))
}

impl<P: Platform> Linux<'_, P> {
    /// `eventfd2`: a new descriptor.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags, `EMFILE`, `ENOMEM`.
    pub fn eventfd2(&self, table: TableId, count: u32, flags: u64) -> Result<u64, Errno> {
        let flags = u64::from(flags as u32);
        if flags & !(SEMAPHORE | o::CLOEXEC | o::NONBLOCK) != 0 {
            return Err(Errno::EINVAL);
        }
        let id = self.alloc_file()?;
        let kind = Kind::Event {
            semaphore: flags & SEMAPHORE != 0,
        };
        self.set_file(id, kind, None, o::RDWR | flags & o::NONBLOCK);
        self.file(id).set_f_pos(u64::from(count));
        self.install(table, id, 0, flags & o::CLOEXEC != 0)
    }

    fn event_changed(&self, file: File<'_>) {
        file.set_edges(file.edges() + 1);
        self.wake(Queue::numbered(file.opened()));
    }

    /// `read` of an eventfd.
    ///
    /// # Errors
    /// `EINVAL` for less than 8 bytes, `EAGAIN` where it may not wait, `EFAULT`.
    pub fn event_read(&self, waiter: &Waiter, file: File<'_>, mut to: IovIter) -> Result<Call, Errno> {
        if to.left() < NUMBER_BYTES {
            return Err(Errno::EINVAL);
        }
        let count = file.f_pos();
        if count == 0 {
            return wait(waiter, file);
        }
        let taken = match file.kind() {
            Kind::Event { semaphore: true } => 1,
            _ => count,
        };
        // Taken, even if the program has no place for it.
        file.set_f_pos(count - taken);
        self.event_changed(file);
        self.poke_iter(&mut to, &taken.to_le_bytes())?;
        Ok(waiter.done(NUMBER_BYTES))
    }

    /// `write` of an eventfd. What would be too much waits.
    ///
    /// # Errors
    /// `EINVAL` for other than 8 bytes and for 2^64-1, `EAGAIN` where it may not wait, `EFAULT`.
    pub fn event_write(&self, waiter: &Waiter, file: File<'_>, mut from: IovIter) -> Result<Call, Errno> {
        if from.left() != NUMBER_BYTES {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; NUMBER_BYTES as usize];
        self.peek_iter(&mut bytes, &mut from)?;
        let (more, count) = (u64::from_le_bytes(bytes), file.f_pos());
        if more == OVERFLOW {
            return Err(Errno::EINVAL);
        }
        if OVERFLOW - count <= more {
            return wait(waiter, file);
        }
        file.set_f_pos(count + more);
        self.event_changed(file);
        Ok(waiter.done(NUMBER_BYTES))
    }

    /// Source: Linux `eventfd_poll`.
    pub(crate) fn event_poll(file: File<'_>) -> Ready {
        let mut mask = 0;
        if file.f_pos() != 0 {
            mask |= event::IN;
        }
        if file.f_pos() < OVERFLOW - 1 {
            mask |= event::OUT;
        }
        Ready::of(mask, Queue::numbered(file.opened()), file.edges())
    }
}

fn wait(waiter: &Waiter, file: File<'_>) -> Result<Call, Errno> {
    if file.f_flags() & o::NONBLOCK != 0 {
        return Err(Errno::EAGAIN);
    }
    Ok(waiter.wait(keys(file)))
}
