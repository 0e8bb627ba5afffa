//! `pidfd`: a process as a descriptor, which can be read, as far as `poll` is asked, once it has ended. Source: Linux, fs/pidfs.c;
//! pidfd_open(2).
//!
//! The process's number is the description's position, which such a description does not have. Numbers do not come round here, so the number is
//! the process.

use faultlab_mm::Platform;

use crate::fdtable::TableId;
use crate::file::{File, Kind, o};
use crate::poll::{Ready, event};
use crate::wait::Queue;
use crate::{Errno, Linux};

/// A queue for each process, apart from those of descriptions.
fn queue(pid: u32) -> Queue {
    Queue::numbered(1 << 63 | u64::from(pid))
}

impl<P: Platform> Linux<'_, P> {
    /// `pidfd_open`: a new descriptor for a process that is there. It is closed by `execve`.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`.
    pub fn pidfd_open(&self, table: TableId, pid: u32, nonblock: bool) -> Result<u64, Errno> {
        let id = self.alloc_file()?;
        let flags = if nonblock { o::NONBLOCK } else { 0 };
        self.set_file(id, Kind::Pid, None, o::RDWR | flags);
        self.file(id).set_f_pos(pid.into());
        self.install(table, id, 0, true)
    }

    /// The number of the process that a description is for.
    ///
    /// # Errors
    /// `EBADF` for another description.
    pub fn pidfd_pid(&self, file: File<'_>) -> Result<u32, Errno> {
        match file.kind() {
            Kind::Pid => Ok(file.f_pos() as u32),
            _ => Err(Errno::EBADF),
        }
    }

    /// The same where a directory of `/proc` does, too: to send a signal. Source: Linux, kernel/signal.c (`pidfd_to_pid`).
    ///
    /// # Errors
    /// As [`Linux::pidfd_pid`].
    pub fn pidfd_or_proc_pid(&self, file: File<'_>) -> Result<u32, Errno> {
        let of_proc = || file.inode().and_then(|inode| self.process_of_proc(inode));
        self.pidfd_pid(file).or_else(|errno| of_proc().ok_or(errno))
    }

    /// `pidfd_getfd`: what another process's descriptor names, as the lowest of `table`. It is closed by `execve`.
    ///
    /// # Errors
    /// `EBADF`, `EMFILE`, `ENOMEM`.
    pub fn pidfd_getfd(&self, table: TableId, other: TableId, descriptor: u64) -> Result<u64, Errno> {
        let file = self.get_id(other, descriptor)?;
        self.install(table, file, 0, true)
    }

    /// A process ended, or was forgotten.
    pub fn wake_pidfds(&self, pid: u32) {
        self.wake(queue(pid));
    }

    pub(crate) fn pidfd_poll(&self, file: File<'_>) -> Ready {
        let pid = file.f_pos() as u32;
        let mask = match self.system.process(pid).map(|process| process.state) {
            None => event::READABLE | event::HUP,
            Some(b'Z') => event::READABLE,
            Some(_) => 0,
        };
        Ready::of(mask, queue(pid), u64::from(mask))
    }
}
