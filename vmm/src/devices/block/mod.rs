//! The swap disk: a virtio block device over a [`SwapFile`].
//!
//! | module | what is in it |
//! |---|---|
//! | `chain` | a descriptor chain, checked: header, data segments, status byte |
//! | [`backend`] | moves bytes between guest memory and the file, and accounts for them |
//! | this one | requests: what is asked, whether it is allowed, what is answered |
//!
//! Requests are served in order on the vCPU's thread when the guest rings the doorbell: the guest's time for a swap
//! fault then contains the whole of its I/O and nothing else.
//!
//! Source: VIRTIO 1.2, section 5.2 (block device).

pub mod backend;
mod chain;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK,
    VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

use self::backend::{FileAccount, SwapBackend};
use self::chain::{Request, Segment};
use super::virtio_mmio::VirtioDevice;
use crate::memory::GuestRam;
use crate::rate_limit::{RateLimit, warn_limited};
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
}

/// The device behind the transport.
pub struct BlockDevice {
    backend: SwapBackend,
    config: [u8; 16],
    /// Where served requests are noted, if they are.
    spans: Option<Log<BlockSpan>>,
    counters: BlockCounters,
    refused: RateLimit,
}

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Io,
    Unsupported,
}

impl BlockDevice {
    /// A disk over `file`; with `account`, every transfer is also counted by the host kernel's own books, and fails
    /// if those cannot be read.
    #[must_use]
    pub fn new(file: SwapFile, account: bool) -> BlockDevice {
        let backend = SwapBackend::new(file, account);
        // `struct virtio_blk_config`: capacity, size_max (not offered), seg_max.
        let mut config = [0; 16];
        config[..8].copy_from_slice(&backend.sectors().to_le_bytes());
        config[12..].copy_from_slice(&u32::from(QUEUE_MAX - 2).to_le_bytes());
        BlockDevice {
            backend,
            config,
            spans: None,
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
            ..self.counters
        }
    }

    /// Serves one chain, and notes when for the timeline.
    #[cold]
    #[inline(never)]
    fn serve_noted(&mut self, request: &Request, ram: &GuestRam) -> u32 {
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

    /// Serves one chain. Returns how many bytes of it were written, for the used ring.
    fn serve(&mut self, request: &Request, ram: &GuestRam) -> u32 {
        let result = match request.kind {
            VIRTIO_BLK_T_IN => self.read(request, ram),
            VIRTIO_BLK_T_OUT => self.write(request, ram),
            VIRTIO_BLK_T_FLUSH => self.flush(),
            VIRTIO_BLK_T_GET_ID => get_id(request, ram),
            _ => Err(Failure::Unsupported),
        };
        let (status, data_bytes) = match result {
            Ok(bytes) => (VIRTIO_BLK_S_OK, bytes),
            Err(Failure::Io) => (VIRTIO_BLK_S_IOERR, 0),
            Err(Failure::Unsupported) => (VIRTIO_BLK_S_UNSUPP, 0),
        };
        match result {
            Err(Failure::Io) => self.counters.io_errors += 1,
            Err(Failure::Unsupported) => self.counters.unsupported += 1,
            Ok(_) => {}
        }
        if result.is_err() {
            warn_limited!(
                self.refused,
                "swap disk: request type {} sector {} of {} bytes failed: {result:?}",
                request.kind,
                request.sector,
                request.data_bytes()
            );
        }
        // The chain was checked, so the byte is in RAM.
        let _ = ram
            .memory()
            .write_obj(status as u8, GuestAddress(request.status_address));
        data_bytes + 1
    }

    /// Sectors of a transfer, if it is a whole number of them within the disk.
    fn sectors(&self, request: &Request) -> Result<u64, Failure> {
        let bytes = request.data_bytes();
        let sectors = bytes / SECTOR_BYTES;
        let end = request.sector.checked_add(sectors).ok_or(Failure::Io)?;
        (bytes.is_multiple_of(SECTOR_BYTES) && bytes > 0 && end <= self.backend.sectors())
            .then_some(sectors)
            .ok_or(Failure::Io)
    }

    fn read(&mut self, request: &Request, ram: &GuestRam) -> Result<u32, Failure> {
        let sectors = self.sectors(request)?;
        let segments = writable_only(request)?;
        self.backend
            .read(request.sector * SECTOR_BYTES, segments, ram)
            .map_err(|_| Failure::Io)?;
        self.counters.reads += 1;
        self.counters.sectors_read += sectors;
        Ok((sectors * SECTOR_BYTES) as u32)
    }

    fn write(&mut self, request: &Request, ram: &GuestRam) -> Result<u32, Failure> {
        let sectors = self.sectors(request)?;
        if !request.writable.is_empty() {
            return Err(Failure::Io);
        }
        self.backend
            .write(request.sector * SECTOR_BYTES, &request.readable, ram)
            .map_err(|_| Failure::Io)?;
        self.counters.writes += 1;
        self.counters.sectors_written += sectors;
        Ok(0)
    }

    fn flush(&mut self) -> Result<u32, Failure> {
        self.backend.flush().map_err(|_| Failure::Io)?;
        self.counters.flushes += 1;
        Ok(0)
    }
}

/// The data segments of a request that the device writes; one that it would have to read is of the wrong direction.
fn writable_only(request: &Request) -> Result<&[Segment], Failure> {
    if request.readable.is_empty() {
        Ok(&request.writable)
    } else {
        Err(Failure::Io)
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
            .map_err(|_| Failure::Io)?;
        rest = later;
    }
    Ok((id.len() - rest.len()) as u32)
}

impl VirtioDevice for BlockDevice {
    fn id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_BLK_F_FLUSH | 1 << VIRTIO_BLK_F_SEG_MAX
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
            let Some(chain) = queue.iter(ram.memory())?.next() else {
                break;
            };
            let head = chain.head_index();
            if head >= queue.size() {
                return Err(virtio_queue::Error::InvalidDescriptorIndex);
            }
            self.counters.requests += 1;
            let written = match Request::parse(chain, ram) {
                Ok(request) if self.spans.is_some() => self.serve_noted(&request, ram),
                Ok(request) => self.serve(&request, ram),
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
