//! What a descriptor is ready for, and who tells when that changes: the one question behind `poll`, `select` and `epoll_wait`.
//!
//! [`Linux::poll`] answers it for everything that this layer knows. What only the kernel knows (a terminal) is asked there, with the same
//! answer: a [`Ready`] of the mask and the queues to wait on. Whoever has to be polled implements nothing else.
//!
//! Source: Linux, fs/select.c, include/uapi/asm-generic/poll.h; poll(2), select(2).

use faultlab_mm::Platform;

use crate::Linux;
use crate::file::{File, Kind};
use crate::wait::{Keys, Queue};

/// Bits of a mask. Source: poll(2), epoll_ctl(2); the same numbers in both.
pub mod event {
    /// Something can be read.
    pub const IN: u32 = 0x1;
    /// Something urgent can be read.
    pub const PRI: u32 = 0x2;
    /// Something can be written.
    pub const OUT: u32 = 0x4;
    /// An error; nobody reads a pipe. Told without being asked for.
    pub const ERR: u32 = 0x8;
    /// Nobody writes a pipe any more. Told without being asked for.
    pub const HUP: u32 = 0x10;
    /// The descriptor is not open. Told without being asked for.
    pub const NVAL: u32 = 0x20;
    /// As `IN`.
    pub const RDNORM: u32 = 0x40;
    /// Something of a priority can be read.
    pub const RDBAND: u32 = 0x80;
    /// As `OUT`.
    pub const WRNORM: u32 = 0x100;
    /// Something of a priority can be written.
    pub const WRBAND: u32 = 0x200;
    /// Both names of "can be read".
    pub const READABLE: u32 = IN | RDNORM;
    /// Both names of "can be written".
    pub const WRITABLE: u32 = OUT | WRNORM;
}

/// What a description is ready for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// [`event`] bits.
    pub mask: u32,
    /// What tells when it changes; none if it never does.
    pub keys: Keys,
    /// A number that has changed whenever something happened, whether or not the mask shows it: the edges of `EPOLLET`.
    pub edges: u64,
}

impl Ready {
    /// What can be read and written at any time, as files. Source: Linux `DEFAULT_POLLMASK`.
    pub const ALWAYS: Self = Self {
        mask: event::READABLE | event::WRITABLE,
        keys: Keys::NONE,
        edges: 0,
    };

    /// Ready for these, and a queue tells of others.
    #[must_use]
    pub fn of(mask: u32, queue: Queue, edges: u64) -> Self {
        Self {
            mask,
            keys: Keys::of(queue),
            edges,
        }
    }

    /// This and another: either queue tells.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            mask: self.mask | other.mask,
            keys: self.keys.with(other.keys),
            edges: self.edges.wrapping_add(other.edges),
        }
    }
}

impl<P: Platform> Linux<'_, P> {
    /// What a description is ready for.
    #[must_use]
    pub fn poll(&self, file: File<'_>) -> Ready {
        match file.kind() {
            Kind::Pipe(inode) => self.pipe_poll(file, inode),
            Kind::Userfault(id) => self.userfault_poll(file, id),
            Kind::Event { .. } => Self::event_poll(file),
            Kind::Epoll => self.epoll_poll(file),
            Kind::Timer => Self::timerfd_poll(file),
            Kind::Signal => self.signalfd_poll(file),
            Kind::Pid => self.pidfd_poll(file),
            Kind::Inotify => Self::inotify_poll(file),
            _ => Ready::ALWAYS,
        }
    }
}
