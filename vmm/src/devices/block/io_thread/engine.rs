//! How the I/O thread carries requests out: one at a time, or through `io_uring` as many as there are.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::flights::Flight;
use crate::devices::block::backend::uring::UringBackend;
use crate::devices::block::backend::{Backend, FileAccount};
use crate::devices::block::faults::{self, Course};
use crate::devices::block::job::{Failure, Job, end_of_half};
use crate::memory::GuestRam;
use crate::swap_file::SwapFile;

/// Who moves the bytes.
pub(in crate::devices::block) enum Engine {
    /// The thread itself, which waits meanwhile.
    Plain(Box<dyn Backend>),
    /// The kernel.
    Uring(Box<UringBackend>),
}

impl Engine {
    /// `io_uring` for up to `slots` requests between `file` and `ram`.
    ///
    /// # Errors
    /// As [`UringBackend::new`].
    pub(in crate::devices::block) fn uring(file: SwapFile, slots: u16, ram: &Arc<GuestRam>) -> io::Result<Engine> {
        Ok(Engine::Uring(Box::new(UringBackend::new(file, slots, ram)?)))
    }

    /// Begins to carry a request out. Returns how it ended, if it has; else [`Engine::reap`] will say so.
    pub(super) fn start(
        &mut self,
        slot: u16,
        flight: &mut Flight,
        settle: bool,
        ram: &GuestRam,
    ) -> Option<Result<u32, Failure>> {
        let course = std::mem::replace(&mut flight.course, Course::Proper);
        let request = &flight.request;
        let uring = match self {
            Engine::Plain(backend) => {
                return Some(flight.job.perform_on(course, request, &mut **backend, settle, ram));
            }
            Engine::Uring(uring) => uring,
        };
        let started = match (&flight.job, course) {
            (_, Course::Failed(error)) => Err(error),
            (Job::Read, _) => uring.read(slot, request.offset(), &request.writable),
            (Job::Write, Course::Half { claimed }) => {
                let half = faults::half(&request.readable);
                if half.is_empty() {
                    return Some(end_of_half(claimed));
                }
                flight.half_claimed = Some(claimed);
                uring.write(slot, request.offset(), &half, false)
            }
            (Job::Write, _) => uring.write(slot, request.offset(), &request.readable, settle),
            (Job::Flush, _) => uring.flush(slot),
            // Rare, and there is no one call that does it on every file.
            (Job::Zero { .. } | Job::Identity, _) => {
                return Some(flight.job.perform(request, uring.plain(), settle, ram));
            }
        };
        started.err().map(|error| Err(error.into()))
    }

    /// Hands over what was begun.
    pub(super) fn submit(&mut self) {
        if let Engine::Uring(uring) = self {
            uring.submit();
        }
    }

    /// A request that is over, and whether its bytes were moved.
    pub(super) fn reap(&mut self) -> Option<(u16, io::Result<()>)> {
        match self {
            Engine::Plain(_) => None,
            Engine::Uring(uring) => uring.reap(),
        }
    }

    /// The same, waited for; `None` if nothing is on its way.
    pub(super) fn wait(&mut self) -> Option<(u16, io::Result<()>)> {
        match self {
            Engine::Plain(_) => None,
            Engine::Uring(uring) => uring.wait(),
        }
    }

    /// Readable when there is something to reap; `None` if there never is.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Engine::Plain(_) => None,
            Engine::Uring(uring) => Some(uring.descriptor()),
        }
    }

    /// The host's books, if they are kept. Linux does not keep them of what goes through `io_uring`.
    pub(super) fn account(&self) -> Option<FileAccount> {
        match self {
            Engine::Plain(backend) => backend.account(),
            Engine::Uring(_) => None,
        }
    }
}
