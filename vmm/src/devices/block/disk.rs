//! What requests mean: which are allowed, what happens to them, what is answered. Who carries them out, and when, is not
//! known here.

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK,
    VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
};
use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::SECTOR_BYTES;
use super::chain::{ChainError, Request};
use super::counters::BlockCounters;
use super::faults::{Fate, Injector};
use super::job::{Failure, Job, writable_only};
use super::ranges;
use super::unanswered::Unanswered;
use crate::memory::GuestRam;
use crate::rate_limit::{RateLimit, warn_limited};
use crate::swap_faults::SwapFaults;

/// The disk as its driver knows it.
pub(super) struct Disk {
    bytes: u64,
    /// The features that the driver took, once it has.
    pub(super) accepted: u64,
    /// All but the backend's own.
    pub(super) counters: BlockCounters,
    /// The request that is never answered, once there is one. No further one is taken.
    pub(super) unanswered: Option<Unanswered>,
    injector: Option<Box<Injector>>,
    refused: RateLimit,
}

impl Disk {
    /// A disk of so many bytes on which `faults` happen.
    pub(super) fn new(bytes: u64, faults: &SwapFaults) -> Disk {
        Disk {
            bytes,
            accepted: 0,
            counters: BlockCounters::default(),
            unanswered: None,
            injector: (!faults.is_none()).then(|| Box::new(Injector::new(faults.clone()))),
            refused: RateLimit::default(),
        }
    }

    /// What was done so far; the backend adds its own.
    pub(super) fn counters(&self) -> BlockCounters {
        BlockCounters {
            injected: self.injector.as_ref().map(|injector| injector.injected()),
            ..self.counters
        }
    }

    /// Everything that the driver told is forgotten.
    pub(super) fn reset(&mut self) {
        self.accepted = 0;
        self.unanswered = None;
    }

    /// Whether the driver took the feature with this bit.
    fn has(&self, feature: u32) -> bool {
        self.accepted >> feature & 1 == 1
    }

    /// Whether what is written must last before it is reported as done: a driver that cannot flush has a disk without a
    /// volatile cache. Source: VIRTIO 1.2, 5.2.6.2.
    pub(super) fn must_settle(&self) -> bool {
        !self.has(VIRTIO_BLK_F_FLUSH)
    }

    /// What a request asks for, if it is in order.
    #[inline(always)]
    pub(super) fn job(&self, request: &Request, ram: &GuestRam) -> Result<Job, Failure> {
        match request.kind {
            VIRTIO_BLK_T_IN => {
                self.check_sectors(request)?;
                writable_only(request)?;
                Ok(Job::Read)
            }
            VIRTIO_BLK_T_OUT => {
                self.check_sectors(request)?;
                if !request.writable.is_empty() {
                    return Err(Failure::Invalid("data in the wrong direction"));
                }
                Ok(Job::Write)
            }
            VIRTIO_BLK_T_FLUSH => Ok(Job::Flush),
            VIRTIO_BLK_T_GET_ID => Ok(Job::Identity),
            VIRTIO_BLK_T_DISCARD if self.has(VIRTIO_BLK_F_DISCARD) => self.zero(request, ram),
            VIRTIO_BLK_T_WRITE_ZEROES if self.has(VIRTIO_BLK_F_WRITE_ZEROES) => self.zero(request, ram),
            _ => Err(Failure::Unsupported),
        }
    }

    /// What happens to the request on purpose. The next request's must be drawn after this one's.
    #[inline(always)]
    pub(super) fn fate(&mut self, job: &Job, request: &Request) -> Fate {
        match &mut self.injector {
            None => Fate::PROPER,
            Some(injector) => injector.draw(job, request),
        }
    }

    /// Whether anything may happen to requests on purpose.
    #[inline(always)]
    pub(super) fn is_faulty(&self) -> bool {
        self.injector.is_some()
    }

    /// The request that was taken last is never answered.
    #[cold]
    pub(super) fn leave_unanswered(&mut self, request: &Request) {
        self.unanswered = Some(Unanswered::new(request, self.counters.requests));
    }

    /// Counts a request of this kind as done.
    #[inline(always)]
    pub(super) fn count(&mut self, job: &Job, request: &Request) {
        let sectors = request.data_bytes() / SECTOR_BYTES;
        match job {
            Job::Read => {
                self.counters.reads += 1;
                self.counters.sectors_read += sectors;
            }
            Job::Write => {
                self.counters.writes += 1;
                self.counters.sectors_written += sectors;
            }
            Job::Flush => self.counters.flushes += 1,
            Job::Zero { discard: true, .. } => self.counters.discards += 1,
            Job::Zero { discard: false, .. } => self.counters.zeroes += 1,
            Job::Identity => {}
        }
    }

    /// Writes the status. Returns how many bytes of the chain were written, for the used ring.
    #[inline(always)]
    pub(super) fn answer(&mut self, request: &Request, result: Result<u32, Failure>, ram: &GuestRam) -> u32 {
        let (status, data_bytes) = match result {
            Ok(bytes) => (VIRTIO_BLK_S_OK, bytes),
            Err(failure) => (self.failed(request, &failure), 0),
        };
        // The chain was checked, so the byte is in RAM.
        if let Ok(byte) = ram.memory().get_slice(GuestAddress(request.status_address), 1) {
            byte.copy_from(&[status as u8]);
        }
        data_bytes + 1
    }

    /// Counts and logs a request that failed. Returns its status.
    #[cold]
    fn failed(&mut self, request: &Request, failure: &Failure) -> u32 {
        warn_limited!(
            self.refused,
            "swap disk: request type {} sector {} of {} bytes: {failure}",
            request.kind,
            request.sector,
            request.data_bytes()
        );
        match failure {
            Failure::Unsupported => {
                self.counters.unsupported += 1;
                VIRTIO_BLK_S_UNSUPP
            }
            Failure::Invalid(_) | Failure::Io(_) => {
                self.counters.io_errors += 1;
                VIRTIO_BLK_S_IOERR
            }
        }
    }

    /// Counts and logs a chain that is no request. Its buffers go back, so that a careless driver does not wait for ever;
    /// no byte is written.
    #[cold]
    pub(super) fn refuse(&mut self, head: u16, error: ChainError) {
        self.counters.refused_chains += 1;
        warn_limited!(self.refused, "swap disk refuses chain {head}: {error}");
    }

    /// A transfer must be of a whole number of sectors within the disk.
    fn check_sectors(&self, request: &Request) -> Result<(), Failure> {
        let bytes = request.data_bytes();
        if !bytes.is_multiple_of(SECTOR_BYTES) || bytes == 0 {
            return Err(Failure::Invalid("not a whole number of sectors"));
        }
        self.check_range(request.sector, bytes / SECTOR_BYTES)
    }

    fn check_range(&self, sector: u64, sectors: u64) -> Result<(), Failure> {
        let end = sector.checked_add(sectors);
        if end.is_none_or(|end| end > self.bytes / SECTOR_BYTES) {
            return Err(Failure::Invalid("outside the disk"));
        }
        Ok(())
    }

    /// Discard and write-zeroes. A discarded range may hold anything; here it reads as zeroes.
    fn zero(&self, request: &Request, ram: &GuestRam) -> Result<Job, Failure> {
        let discard = request.kind == VIRTIO_BLK_T_DISCARD;
        let ranges = ranges::parse(request, ram)?;
        for range in &ranges {
            range.check_flags(discard)?;
            self.check_range(range.sector, u64::from(range.sectors))?;
        }
        Ok(Job::Zero { ranges, discard })
    }
}
