//! A request that was found to be in order: what is to be done, and doing it.

use std::{fmt, io};

use virtio_bindings::virtio_blk::VIRTIO_BLK_ID_BYTES;
use vm_memory::{Bytes, GuestAddress};

use super::backend::Backend;
use super::chain::{Request, Segment};
use super::faults::{self, Course};
use super::ranges::Range;
use crate::memory::GuestRam;

/// What `VIRTIO_BLK_T_GET_ID` answers, NUL-padded to 20 bytes.
const ID: &[u8] = b"faultlab-swap";

/// What is to be done. Data and position are the request's.
#[derive(Debug)]
pub(super) enum Job {
    /// Disk to guest.
    Read,
    /// Guest to disk.
    Write,
    /// What was written is to last.
    Flush,
    /// Let ranges read as zeroes.
    Zero {
        /// Each lies on the disk.
        ranges: Vec<Range>,
        /// What they held is of no use to anybody.
        discard: bool,
    },
    /// Say who the disk is.
    Identity,
}

/// How a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request is wrong.
    Invalid(&'static str),
    /// It is of a type, or has a flag, that is not implemented.
    Unsupported,
    /// The backend's doing.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Invalid(why) => f.write_str(why),
            Failure::Unsupported => f.write_str("not supported"),
            Failure::Io(error) => error.fmt(f),
        }
    }
}

impl Job {
    /// Does it, before this returns. With `settle`, what it changes on the disk also lasts.
    ///
    /// Returns how many bytes of the request's data were written to the guest.
    #[inline(always)]
    pub(super) fn perform(
        &self,
        request: &Request,
        backend: &mut dyn Backend,
        settle: bool,
        ram: &GuestRam,
    ) -> Result<u32, Failure> {
        match self {
            Job::Read => {
                backend.read(request.offset(), &request.writable, ram)?;
                return Ok(request.data_bytes() as u32);
            }
            Job::Write => backend.write(request.offset(), &request.readable, ram)?,
            Job::Flush => return Ok(backend.flush().map(|()| 0)?),
            Job::Zero { ranges, discard } => {
                for range in ranges {
                    let (offset, bytes) = range.span();
                    backend.zero(offset, bytes, *discard || range.unmap())?;
                }
            }
            Job::Identity => return identify(request, ram),
        }
        if settle {
            backend.flush()?;
        }
        Ok(0)
    }

    /// The same for a request that something happens to. `Course::Unanswered` has been dealt with.
    pub(super) fn perform_on(
        &self,
        course: Course,
        request: &Request,
        backend: &mut dyn Backend,
        settle: bool,
        ram: &GuestRam,
    ) -> Result<u32, Failure> {
        match course {
            Course::Proper | Course::Unanswered => self.perform(request, backend, settle, ram),
            Course::Failed(error) => Err(error.into()),
            Course::Half { claimed } => {
                backend.write(request.offset(), &faults::half(&request.readable), ram)?;
                end_of_half(claimed)
            }
        }
    }
}

/// How a write ends of which half was written.
pub(super) fn end_of_half(claimed: bool) -> Result<u32, Failure> {
    if claimed { Ok(0) } else { Err(faults::failed().into()) }
}

/// The data segments of a request that the device writes; one that it would have to read is of the wrong direction.
pub(super) fn writable_only(request: &Request) -> Result<&[Segment], Failure> {
    if request.readable.is_empty() {
        Ok(&request.writable[..])
    } else {
        Err(Failure::Invalid("data in the wrong direction"))
    }
}

fn identify(request: &Request, ram: &GuestRam) -> Result<u32, Failure> {
    let mut id = [0; VIRTIO_BLK_ID_BYTES as usize];
    id[..ID.len()].copy_from_slice(ID);
    let mut rest = &id[..];
    for segment in writable_only(request)? {
        let (now, later) = rest.split_at(rest.len().min(segment.len as usize));
        ram.memory()
            .write_slice(now, GuestAddress(segment.address))
            .map_err(|_| Failure::Invalid("data outside RAM"))?;
        rest = later;
    }
    Ok((id.len() - rest.len()) as u32)
}
