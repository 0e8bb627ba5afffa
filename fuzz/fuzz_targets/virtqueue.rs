//! Any bytes as what a hostile driver writes to memory and to registers: the block device answers, and keeps its books.
//!
//! The driver has come as far as a queue of eight descriptors. From there, four bytes at a time say what it does: they change a word where
//! the device will look (descriptors, rings, request headers, anywhere), or store to a register, or ring the bell.

#![no_main]

use faultlab::devices::block::BlockDevice;
use faultlab::devices::virtio_mmio::VirtioMmio;
use faultlab::memory::{Backing, GuestRam};
use faultlab::swap_faults::SwapFaults;
use faultlab::swap_file::{SwapConfig, SwapFile};
use faultlab_abi::layout::RAM_MIN_BYTES;
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress};

const DISK_BYTES: u64 = 256 << 10;
const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const HEADER: u64 = 0x5000;

/// virtio-mmio register offsets. Source: Virtio 1.2, 4.2.2.
const STATUS: u64 = 0x70;
const NOTIFY: u64 = 0x50;
const BRING_UP: [(u64, u64); 10] = [
    (STATUS, 3),
    (0x24, 1),
    (0x20, 1),
    (STATUS, 11),
    (0x38, 8),
    (0x80, DESCRIPTORS),
    (0x90, AVAILABLE),
    (0xa0, USED),
    (0x44, 1),
    (STATUS, 15),
];

/// A word as a guest would put it somewhere: small, an address, at the end of RAM or of all numbers.
fn word(kind: u8, value: u8) -> u64 {
    let value = u64::from(value);
    match kind % 6 {
        0 => value,
        1 => value << 9,
        2 => value << 12,
        3 => RAM_MIN_BYTES - value,
        4 => u64::MAX - value,
        // Length, flags and next of a descriptor.
        _ => (value & 0x0f) << 9 | (value >> 4 & 3) << 32 | (value >> 6) << 48,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let ram = GuestRam::new(RAM_MIN_BYTES, Backing::Anonymous).expect("memory");
    let file = SwapFile::open(&SwapConfig::Memory { bytes: DISK_BYTES });
    let file = file.expect("a disk in memory").expect("a disk");
    let mut disk = VirtioMmio::new(BlockDevice::new(file, false, &SwapFaults::default()));
    for (register, value) in BRING_UP {
        disk.write(register, &(value as u32).to_le_bytes(), &ram);
    }
    // A request as a good driver makes it: a header, a page, a status byte.
    let put = |at: u64, value: u64| ram.memory().write_obj(value, GuestAddress(at)).expect("RAM");
    for (index, (address, rest)) in [(HEADER, 16 | 1 << 32 | 1 << 48), (0x1_0000, 4096 | 1 << 32 | 2 << 48), (0x5ff0, 1 | 2 << 32)]
        .into_iter()
        .enumerate()
    {
        put(DESCRIPTORS + 16 * index as u64, address);
        put(DESCRIPTORS + 16 * index as u64 + 8, rest);
    }
    for act in bytes.chunks_exact(4).take(200) {
        let &[what, at, kind, value] = act else { continue };
        let value = word(kind, value);
        match what % 8 {
            0 => put(DESCRIPTORS + 8 * u64::from(at % 16), value),
            1 => put(AVAILABLE + u64::from(at % 24), value),
            2 => put(HEADER + 8 * u64::from(at % 4), value),
            3 => put(u64::from(at) << 12, value),
            4 => disk.write(u64::from(at) * 4 % 512, &(value as u32).to_le_bytes(), &ram),
            5 => disk.read(u64::from(at) * 4 % 512, &mut [0; 8][..1 << (kind % 4)]),
            _ => {
                // One more chain is available.
                let used: u16 = ram.memory().read_obj(GuestAddress(USED + 2)).expect("RAM");
                let next = used.wrapping_add(1);
                ram.memory().write_obj(next, GuestAddress(AVAILABLE + 2)).expect("RAM");
                disk.write(NOTIFY, &[0; 4], &ram);
            }
        }
    }
    let counters = disk.device().counters();
    let done = counters.reads + counters.writes + counters.flushes;
    let failed = counters.io_errors + counters.unsupported + counters.refused_chains;
    // Requests for the disk's identity are the only ones without a counter of their own.
    assert!(done + failed <= counters.requests, "{counters:?}");
});
