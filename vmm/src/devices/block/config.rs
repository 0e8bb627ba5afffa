//! The configuration space of the disk.
//!
//! Source: VIRTIO 1.2, section 5.2.4 (`struct virtio_blk_config`).

use super::SECTOR_BYTES;
use super::ranges::{RANGES_MAX, SECTORS_MAX};

/// Bytes of it, up to what write-zeroes needs.
pub(super) const BYTES: usize = 60;

/// For a disk of `sectors` sectors with a queue of `queue_max` descriptors, two of which hold no data.
pub(super) fn of(sectors: u64, queue_max: u16) -> [u8; BYTES] {
    let mut config = [0; BYTES];
    config[..8].copy_from_slice(&sectors.to_le_bytes());
    let mut put = |at: usize, value: u32| config[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(12, u32::from(queue_max) - 2); // seg_max
    put(20, SECTOR_BYTES as u32); // blk_size
    put(36, SECTORS_MAX); // max_discard_sectors
    put(40, RANGES_MAX); // max_discard_seg
    put(44, 1); // discard_sector_alignment
    put(48, SECTORS_MAX); // max_write_zeroes_sectors
    put(52, RANGES_MAX); // max_write_zeroes_seg
    put(56, 1); // write_zeroes_may_unmap, in the lowest byte
    config
}
