//! The swap disk: a virtio block device over a [`SwapFile`].
//!
//! | module | what is in it |
//! |---|---|
//! | `chain` | a descriptor chain, checked: header, data segments, status byte |
//! | [`backend`] | where the bytes are: file, memory, nothing; and faults on the way there |
//! | `ranges` | the body of discard and write-zeroes requests |
//! | this one | requests: what is asked, whether it is allowed, what is answered |
//!
//! Requests are served in order on the vCPU's thread when the guest rings the doorbell: the guest's time for a swap
//! fault then contains the whole of its I/O and nothing else.
//!
//! A backend may leave a request unanswered ([`Trouble::NoAnswer`]): the device then takes no further one until it is
//! reset, and [`BlockDevice::unanswered`] says what it owes.
//!
//! Source: VIRTIO 1.2, section 5.2 (block device).

pub mod backend;
mod chain;
mod config;
mod ranges;

use std::fmt;
use std::time::{Duration, Instant};

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_WRITE_ZEROES,
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD,
    VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use self::backend::{Backend, FileAccount, Injected, Trouble};
use self::chain::{Request, Segment};
use super::virtio_mmio::VirtioDevice;
use crate::memory::GuestRam;
use crate::rate_limit::{RateLimit, warn_limited};
use crate::swap_faults::SwapFaults;
use crate::swap_file::SwapFile;
use crate::timeline::clock::host_tsc;
use crate::timeline::log::{BlockKind, BlockSpan, Log};

/// Bytes of a sector, the unit of positions and capacity.
pub const SECTOR_BYTES: u64 = 512;

/// Largest queue.
const QUEUE_MAX: u16 = 256;

/// What `VIRTIO_BLK_T_GET_ID` answers, NUL-padded to 20 bytes.
const ID: &[u8] = b"faultlab-swap";

/// What the swap disk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounters {
    /// Requests taken from the queue, refused ones included.
    pub requests: u64,
    /// Read requests done.
    pub reads: u64,
    /// Write requests done.
    pub writes: u64,
    /// Flush requests done.
    pub flushes: u64,
    /// Discard requests done.
    pub discards: u64,
    /// Write-zeroes requests done.
    pub zeroes: u64,
    /// Sectors of 512 bytes read.
    pub sectors_read: u64,
    /// Sectors of 512 bytes written.
    pub sectors_written: u64,
    /// Requests that the file failed, or that lie outside it.
    pub io_errors: u64,
    /// Requests of a type that is not implemented.
    pub unsupported: u64,
    /// Chains refused as malformed.
    pub refused_chains: u64,
    /// Register accesses refused by the transport.
    pub refused_accesses: u64,
    /// The host kernel's account of the bytes moved; `None` unless [`crate::VmConfig::account_file_io`].
    pub file: Option<FileAccount>,
    /// What went wrong on purpose; `None` unless [`crate::VmConfig::swap_faults`] asks for something.
    pub injected: Option<Injected>,
}

/// A request that the device took and has not answered.
#[derive(Clone, Copy, Debug)]
pub struct Unanswered {
    /// `VIRTIO_BLK_T_*`.
    kind: u32,
    /// Which of all requests it is, from 1.
    number: u64,
    sector: u64,
    data_bytes: u64,
    since: Instant,
}

impl Unanswered {
    /// How long the driver has waited.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            VIRTIO_BLK_T_IN => "a read",
            VIRTIO_BLK_T_OUT => "a write",
            _ => "a request",
        };
        write!(
            f,
            "the swap disk, which has not answered request {}, {what} of {} bytes at sector {} (page {}), for {:.1} s",
            self.number,
            self.data_bytes,
            self.sector,
            self.sector / 8,
            self.waited().as_secs_f64()
        )
    }
}

/// The device behind the transport.
pub struct BlockDevice {
    /// Where served requests are noted, if they are.
    spans: Option<Log<BlockSpan>>,
    backend: Box<dyn Backend>,
    config: [u8; config::BYTES],
    /// The features that the driver took, once it has.
    accepted: u64,
    unanswered: Option<Unanswered>,
    counters: BlockCounters,
    refused: RateLimit,
}

/// How a request failed.
#[derive(Debug)]
enum Failure {
    /// The request is wrong.
    Invalid(&'static str),
    /// It is of a type, or has a flag, that is not implemented.
    Unsupported,
    /// The backend's doing.
    Backend(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Backend(trouble)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Invalid(why) => f.write_str(why),
            Failure::Unsupported => f.write_str("not supported"),
            Failure::Backend(Trouble::Failed(error)) => error.fmt(f),
            Failure::Backend(Trouble::NoAnswer) => f.write_str("never answered"),
        }
    }
}

impl BlockDevice {
    /// A disk over `file` on which `faults` happen; with `account`, every transfer is also counted by the host kernel's
    /// own books, and fails if those cannot be read.
    #[must_use]
    pub fn new(file: SwapFile, account: bool, faults: &SwapFaults) -> BlockDevice {
        let backend = backend::open(file, account, faults);
        BlockDevice {
            config: config::of(backend.bytes() / SECTOR_BYTES, QUEUE_MAX),
            backend,
            spans: None,
            accepted: 0,
            unanswered: None,
            counters: BlockCounters::default(),
            refused: RateLimit::default(),
        }
    }

    /// Notes every request from now on.
    pub fn note_requests(&mut self) {
        self.spans = Some(Log::default());
    }

    /// What was noted.
    #[must_use]
    pub fn noted(&self) -> Log<BlockSpan> {
        self.spans.clone().unwrap_or_default()
    }

    /// What was done so far; the transport adds its own.
    #[must_use]
    pub fn counters(&self) -> BlockCounters {
        BlockCounters {
            file: self.backend.account(),
            injected: self.backend.injected(),
            ..self.counters
        }
    }

    #[inline(always)]
    fn serve_or_note(&mut self, request: &Request, ram: &GuestRam) -> Option<u32> {
        if self.spans.is_some() {
            return self.serve_noted(request, ram);
        }
        self.serve(request, ram)
    }

    /// Serves one chain, and notes when for the timeline.
    #[cold]
    #[inline(never)]
    fn serve_noted(&mut self, request: &Request, ram: &GuestRam) -> Option<u32> {
        let start = host_tsc();
        let written = self.serve(request, ram);
        let end = host_tsc();
        if let Some(spans) = &mut self.spans {
            spans.push(BlockSpan {
                start,
                end,
                kind: match request.kind {
                    VIRTIO_BLK_T_IN => BlockKind::Read,
                    VIRTIO_BLK_T_OUT => BlockKind::Write,
                    _ => BlockKind::Other,
                },
                sector: request.sector,
                bytes: request.data_bytes(),
            });
        }
        written
    }

    /// The request that the driver waits for in vain, if there is one.
    #[must_use]
    pub fn unanswered(&self) -> Option<Unanswered> {
        self.unanswered
    }

    /// Whether the driver took the feature with this bit.
    fn has(&self, feature: u32) -> bool {
        self.accepted >> feature & 1 == 1
    }

    /// Serves one chain. Returns how many bytes of it were written, for the used ring; `None` if it stays unanswered.
    fn serve(&mut self, request: &Request, ram: &GuestRam) -> Option<u32> {
        let result = match request.kind {
            VIRTIO_BLK_T_IN => self.read(request, ram),
            VIRTIO_BLK_T_OUT => self.write(request, ram),
            VIRTIO_BLK_T_FLUSH => self.flush(),
            VIRTIO_BLK_T_GET_ID => get_id(request, ram),
            VIRTIO_BLK_T_DISCARD if self.has(VIRTIO_BLK_F_DISCARD) => self.zero(request, ram),
            VIRTIO_BLK_T_WRITE_ZEROES if self.has(VIRTIO_BLK_F_WRITE_ZEROES) => self.zero(request, ram),
            _ => Err(Failure::Unsupported),
        };
        if let Err(failure) = &result {
            warn_limited!(
                self.refused,
                "swap disk: request type {} sector {} of {} bytes: {failure}",
                request.kind,
                request.sector,
                request.data_bytes()
            );
        }
        let (status, data_bytes) = match result {
            Ok(bytes) => (VIRTIO_BLK_S_OK, bytes),
            Err(Failure::Backend(Trouble::NoAnswer)) => return None,
            Err(Failure::Unsupported) => {
                self.counters.unsupported += 1;
                (VIRTIO_BLK_S_UNSUPP, 0)
            }
            Err(Failure::Invalid(_) | Failure::Backend(Trouble::Failed(_))) => {
                self.counters.io_errors += 1;
                (VIRTIO_BLK_S_IOERR, 0)
            }
        };
        // The chain was checked, so the byte is in RAM.
        if let Ok(byte) = ram.memory().get_slice(GuestAddress(request.status_address), 1) {
            byte.copy_from(&[status as u8]);
        }
        Some(data_bytes + 1)
    }

    /// Sectors of a transfer, if it is a whole number of them within the disk.
    fn sectors(&self, request: &Request) -> Result<u64, Failure> {
        let bytes = request.data_bytes();
        let sectors = bytes / SECTOR_BYTES;
        if !bytes.is_multiple_of(SECTOR_BYTES) || bytes == 0 {
            return Err(Failure::Invalid("not a whole number of sectors"));
        }
        self.check_range(request.sector, sectors)?;
        Ok(sectors)
    }

    fn check_range(&self, sector: u64, sectors: u64) -> Result<(), Failure> {
        let end = sector.checked_add(sectors);
        if end.is_none_or(|end| end > self.backend.bytes() / SECTOR_BYTES) {
            return Err(Failure::Invalid("outside the disk"));
        }
        Ok(())
    }

    fn read(&mut self, request: &Request, ram: &GuestRam) -> Result<u32, Failure> {
        let sectors = self.sectors(request)?;
        let segments = writable_only(request)?;
        self.backend.read(request.sector * SECTOR_BYTES, segments, ram)?;
        self.counters.reads += 1;
        self.counters.sectors_read += sectors;
        Ok((sectors * SECTOR_BYTES) as u32)
    }

    fn write(&mut self, request: &Request, ram: &GuestRam) -> Result<u32, Failure> {
        let sectors = self.sectors(request)?;
        if !request.writable.is_empty() {
            return Err(Failure::Invalid("data in the wrong direction"));
        }
        self.backend
            .write(request.sector * SECTOR_BYTES, &request.readable, ram)?;
        self.settle()?;
        self.counters.writes += 1;
        self.counters.sectors_written += sectors;
        Ok(0)
    }

    fn flush(&mut self) -> Result<u32, Failure> {
        self.backend.flush()?;
        self.counters.flushes += 1;
        Ok(0)
    }

    /// Discard and write-zeroes. A discarded range may hold anything; here it reads as zeroes.
    fn zero(&mut self, request: &Request, ram: &GuestRam) -> Result<u32, Failure> {
        let discard = request.kind == VIRTIO_BLK_T_DISCARD;
        let ranges = ranges::parse(request, ram)?;
        for range in &ranges {
            range.check_flags(discard)?;
            self.check_range(range.sector, u64::from(range.sectors))?;
        }
        for range in &ranges {
            let (offset, bytes) = (range.sector * SECTOR_BYTES, u64::from(range.sectors) * SECTOR_BYTES);
            self.backend.zero(offset, bytes, discard || range.unmap())?;
        }
        self.settle()?;
        if discard {
            self.counters.discards += 1;
        } else {
            self.counters.zeroes += 1;
        }
        Ok(0)
    }

    /// A driver that cannot flush has a disk without a volatile cache. Source: VIRTIO 1.2, 5.2.6.2.
    fn settle(&mut self) -> Result<(), Failure> {
        if self.has(VIRTIO_BLK_F_FLUSH) {
            Ok(())
        } else {
            Ok(self.backend.flush()?)
        }
    }
}

/// The data segments of a request that the device writes; one that it would have to read is of the wrong direction.
fn writable_only(request: &Request) -> Result<&[Segment], Failure> {
    if request.readable.is_empty() {
        Ok(&request.writable)
    } else {
        Err(Failure::Invalid("data in the wrong direction"))
    }
}

fn get_id(request: &Request, ram: &GuestRam) -> Result<u32, Failure> {
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

impl VirtioDevice for BlockDevice {
    fn id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        const FEATURES: [u32; 6] = [
            VIRTIO_BLK_F_FLUSH,
            VIRTIO_BLK_F_SEG_MAX,
            VIRTIO_BLK_F_BLK_SIZE,
            VIRTIO_BLK_F_DISCARD,
            VIRTIO_BLK_F_WRITE_ZEROES,
            VIRTIO_RING_F_INDIRECT_DESC,
        ];
        FEATURES.iter().fold(0, |bits, feature| bits | 1 << feature)
    }

    fn features_accepted(&mut self, features: u64) {
        self.accepted = features;
    }

    fn reset(&mut self) {
        self.accepted = 0;
        self.unanswered = None;
    }

    fn queue_max(&self) -> u16 {
        QUEUE_MAX
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    /// At most one queue length of chains, so that a guest that lets the disk overwrite the ring itself cannot keep
    /// the VMM here.
    fn process(&mut self, queue: &mut Queue, ram: &GuestRam) -> Result<(), virtio_queue::Error> {
        for _ in 0..queue.size() {
            if self.unanswered.is_some() {
                break;
            }
            let Some(chain) = queue.iter(ram.memory())?.next() else {
                break;
            };
            let head = chain.head_index();
            if head >= queue.size() {
                return Err(virtio_queue::Error::InvalidDescriptorIndex);
            }
            self.counters.requests += 1;
            let written = match Request::parse(chain, ram) {
                Ok(request) => match self.serve_or_note(&request, ram) {
                    Some(written) => written,
                    None => {
                        self.unanswered = Some(Unanswered {
                            kind: request.kind,
                            number: self.counters.requests,
                            sector: request.sector,
                            data_bytes: request.data_bytes(),
                            since: Instant::now(),
                        });
                        break;
                    }
                },
                Err(error) => {
                    self.counters.refused_chains += 1;
                    warn_limited!(self.refused, "swap disk refuses chain {head}: {error}");
                    // The buffers go back, so that a careless driver does not wait for ever; no byte is written.
                    0
                }
            };
            queue.add_used(ram.memory(), head, written)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
