//! A descriptor chain of a block request, copied out of the guest's memory once and checked.
//!
//! # Invariants
//! Every `Segment` of a `Request` has at least one byte and lies in RAM, as does the status byte. There are at most
//! `SEGMENTS_MAX` of them. Nothing here looks at the descriptor table again.
//!
//! Source: VIRTIO 1.2, sections 2.6.4 (framing is free: the header may be split), 2.7.4.2 (readable before writable,
//! no loops), 5.2.6 (request).

use smallvec::SmallVec;
use thiserror::Error as ThisError;
use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};
use virtio_queue::DescriptorChain;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use super::SECTOR_BYTES;
use crate::memory::GuestRam;
use crate::timeline::log::{BlockKind, BlockSpan};

/// Bytes of the request's header: type, reserved, sector.
const HEADER_BYTES: usize = 16;

/// Descriptors in a chain: as many as the largest queue has.
const SEGMENTS_MAX: usize = 256;

/// A piece of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Guest-physical address.
    pub(super) address: u64,
    /// Bytes.
    pub(super) len: u32,
}

/// Pieces in a row. Most requests have so few that they take no allocation.
pub(super) type Segments = SmallVec<[Segment; 4]>;

/// A checked request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// `VIRTIO_BLK_T_*`, any value.
    pub(super) kind: u32,
    /// First sector, any value.
    pub(super) sector: u64,
    /// Data that the device reads: what follows the header.
    pub(super) readable: Segments,
    /// Data that the device writes: what precedes the status byte.
    pub(super) writable: Segments,
    /// Guest-physical address of the status byte.
    pub(super) status_address: u64,
}

/// Why a chain is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub(super) enum ChainError {
    /// It loops, leaves the descriptor table, or has more than 2^32 bytes.
    #[error("loops, leaves its table or is longer than 2^32 bytes")]
    Endless,
    /// More descriptors than a queue has.
    #[error("has more than {SEGMENTS_MAX} descriptors")]
    TooLong,
    /// A buffer outside RAM.
    #[error("has a buffer outside RAM: {0:#x}+{1:#x}")]
    Outside(u64, u32),
    /// A buffer to read after one to write.
    #[error("has a readable buffer after a writable one")]
    Order,
    /// No room for the header.
    #[error("has {0} readable bytes, fewer than a header")]
    Header(u64),
    /// No room for the status.
    #[error("has no writable byte for the status")]
    Status,
}

impl Request {
    /// Copies and checks `chain`.
    #[inline(always)]
    pub(super) fn parse(chain: DescriptorChain<&GuestMemoryMmap<()>>, ram: &GuestRam) -> Result<Request, ChainError> {
        let (mut readable, mut writable) = collect(chain, ram)?;
        let total = readable.iter().map(|segment| u64::from(segment.len)).sum();
        if total < HEADER_BYTES as u64 {
            return Err(ChainError::Header(total));
        }
        let header = take_header(&mut readable, ram);
        let status_address = take_last_byte(&mut writable).ok_or(ChainError::Status)?;
        let kind = u32::from_le_bytes(std::array::from_fn(|byte| header[byte]));
        let sector = u64::from_le_bytes(std::array::from_fn(|byte| header[8 + byte]));
        Ok(Request {
            kind,
            sector,
            readable,
            writable,
            status_address,
        })
    }

    /// First byte on the disk; only of a request whose sector lies on it.
    pub(super) fn offset(&self) -> u64 {
        self.sector.wrapping_mul(SECTOR_BYTES)
    }

    /// The beginning of its entry in the timeline; no times yet.
    pub(super) fn span(&self) -> BlockSpan {
        BlockSpan {
            kind: match self.kind {
                VIRTIO_BLK_T_IN => BlockKind::Read,
                VIRTIO_BLK_T_OUT => BlockKind::Write,
                _ => BlockKind::Other,
            },
            sector: self.sector,
            bytes: self.data_bytes(),
            ..BlockSpan::default()
        }
    }

    /// Bytes of data, in either direction. At most 2^32, because the chain is no longer.
    pub(super) fn data_bytes(&self) -> u64 {
        self.readable
            .iter()
            .chain(&self.writable)
            .map(|segment| u64::from(segment.len))
            .sum()
    }
}

/// All buffers of the chain that are not empty, by direction.
fn collect(chain: DescriptorChain<&GuestMemoryMmap<()>>, ram: &GuestRam) -> Result<(Segments, Segments), ChainError> {
    let (mut readable, mut writable) = (Segments::new(), Segments::new());
    // virtio-queue ends a malformed chain as if it were complete: then its last descriptor still names a next one.
    let mut complete = false;
    for (count, descriptor) in chain.enumerate() {
        if count >= SEGMENTS_MAX {
            return Err(ChainError::TooLong);
        }
        complete = !descriptor.has_next();
        let segment = Segment {
            address: descriptor.addr().0,
            len: descriptor.len(),
        };
        if !ram.contains(segment.address, u64::from(segment.len)) {
            return Err(ChainError::Outside(segment.address, segment.len));
        }
        match (descriptor.is_write_only(), segment.len) {
            (_, 0) => {}
            (true, _) => writable.push(segment),
            (false, _) if writable.is_empty() => readable.push(segment),
            (false, _) => return Err(ChainError::Order),
        }
    }
    if complete {
        Ok((readable, writable))
    } else {
        Err(ChainError::Endless)
    }
}

/// Removes the first [`HEADER_BYTES`] of `segments`, which hold that many, and reads them.
fn take_header(segments: &mut Segments, ram: &GuestRam) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let mut filled = 0;
    let mut emptied = 0;
    for segment in segments.iter_mut() {
        if filled == HEADER_BYTES {
            break;
        }
        let len = (HEADER_BYTES - filled).min(segment.len as usize);
        // The segment lies in RAM, so this cannot fail; if it did, the header would hold zeros: a read of sector 0.
        // (`read_slice`, made for ranges over several regions, costs hundreds of instructions more.)
        if let Ok(bytes) = ram.memory().get_slice(GuestAddress(segment.address), len) {
            bytes.copy_to(&mut header[filled..filled + len]);
        }
        filled += len;
        segment.address += len as u64;
        segment.len -= len as u32;
        emptied += usize::from(segment.len == 0);
    }
    segments.drain(..emptied);
    header
}

/// Removes the last byte of `segments`.
fn take_last_byte(segments: &mut Segments) -> Option<u64> {
    let last = segments.last_mut()?;
    last.len -= 1;
    let address = last.address + u64::from(last.len);
    if last.len == 0 {
        segments.pop();
    }
    Some(address)
}
