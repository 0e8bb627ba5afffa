//! The body of discard and write-zeroes requests: a list of ranges.
//!
//! Source: VIRTIO 1.2, section 5.2.6 (`struct virtio_blk_discard_write_zeroes`, and what the device must refuse).

use vm_memory::{Bytes, GuestAddress};

use super::SECTOR_BYTES;
use super::chain::Request;
use super::job::Failure;
use crate::memory::GuestRam;

/// Ranges in a request at most.
pub(super) const RANGES_MAX: u32 = 32;
/// Sectors in a range at most: 1 GiB.
pub(super) const SECTORS_MAX: u32 = 1 << 21;

/// Bytes of a range: sector, number of sectors, flags.
const RANGE_BYTES: usize = 16;
/// The only flag: unmap.
const UNMAP: u32 = 1;

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) sector: u64,
    pub(super) sectors: u32,
    flags: u32,
}

impl Range {
    /// First byte, and number of bytes.
    pub(super) fn span(self) -> (u64, u64) {
        (self.sector * SECTOR_BYTES, u64::from(self.sectors) * SECTOR_BYTES)
    }

    pub(super) fn unmap(self) -> bool {
        self.flags & UNMAP != 0
    }

    /// Unknown flags, and `unmap` of a discard, "MUST" be answered with "unsupported".
    pub(super) fn check_flags(self, discard: bool) -> Result<(), Failure> {
        if self.flags & !UNMAP != 0 || (discard && self.unmap()) {
            return Err(Failure::Unsupported);
        }
        if self.sectors > SECTORS_MAX {
            return Err(Failure::Invalid("a range of too many sectors"));
        }
        Ok(())
    }
}

/// Copies the ranges out of the guest's memory.
pub(super) fn parse(request: &Request, ram: &GuestRam) -> Result<Vec<Range>, Failure> {
    let len = request.data_bytes();
    if !request.writable.is_empty() {
        return Err(Failure::Invalid("data in the wrong direction"));
    }
    if len == 0 || !len.is_multiple_of(RANGE_BYTES as u64) || len > u64::from(RANGES_MAX) * RANGE_BYTES as u64 {
        return Err(Failure::Invalid("not a list of ranges, or too long a one"));
    }
    let mut bytes = vec![0; len as usize];
    let mut rest = &mut bytes[..];
    for segment in &request.readable {
        let (now, later) = rest.split_at_mut(segment.len as usize);
        ram.memory()
            .read_slice(now, GuestAddress(segment.address))
            .map_err(|_| Failure::Invalid("data outside RAM"))?;
        rest = later;
    }
    let ranges = bytes.chunks_exact(RANGE_BYTES).map(|range| Range {
        sector: u64::from_le_bytes(std::array::from_fn(|byte| range[byte])),
        sectors: u32::from_le_bytes(std::array::from_fn(|byte| range[8 + byte])),
        flags: u32::from_le_bytes(std::array::from_fn(|byte| range[12 + byte])),
    });
    Ok(ranges.collect())
}
