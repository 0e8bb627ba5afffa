//! virtio over MMIO, version 2: one device, one queue, one request at a time.
//!
//! A request is always the chain that begins at descriptor 0, so the available ring, whose entries are all 0, is never
//! written, and a request costs little more than its own descriptors.
//!
//! Source: Virtual I/O Device (VIRTIO) 1.2, 2.7 "Split Virtqueues", 3.1 "Device Initialization", 4.2 "Virtio Over
//! MMIO".

use core::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed, fence};

use faultlab_kernel::cmdline::Region;

use crate::global::Global;
use crate::lab::{mmio_read32, mmio_write32};
use crate::{ram, x86};

/// Descriptors in the queue, at most.
pub(crate) const QUEUE_MAX: usize = 64;

/// Descriptor flags.
pub(crate) mod desc {
    /// Another descriptor follows.
    pub(crate) const NEXT: u16 = 1;
    /// The device writes.
    pub(crate) const WRITE: u16 = 2;
}

/// Register offsets.
mod reg {
    pub(super) const MAGIC: u64 = 0x000;
    pub(super) const VERSION: u64 = 0x004;
    pub(super) const DEVICE_ID: u64 = 0x008;
    pub(super) const DEVICE_FEATURES: u64 = 0x010;
    pub(super) const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub(super) const DRIVER_FEATURES: u64 = 0x020;
    pub(super) const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub(super) const QUEUE_SEL: u64 = 0x030;
    pub(super) const QUEUE_NUM_MAX: u64 = 0x034;
    pub(super) const QUEUE_NUM: u64 = 0x038;
    pub(super) const QUEUE_READY: u64 = 0x044;
    pub(super) const QUEUE_NOTIFY: u64 = 0x050;
    pub(super) const STATUS: u64 = 0x070;
    pub(super) const QUEUE_DESC: u64 = 0x080;
    pub(super) const QUEUE_DRIVER: u64 = 0x090;
    pub(super) const QUEUE_DEVICE: u64 = 0x0a0;
    pub(super) const CONFIG: u64 = 0x100;
}

/// Device status bits.
mod status {
    pub(super) const ACKNOWLEDGE: u32 = 1;
    pub(super) const DRIVER: u32 = 2;
    pub(super) const DRIVER_OK: u32 = 4;
    pub(super) const FEATURES_OK: u32 = 8;
    pub(super) const FAILED: u32 = 128;
}

/// "virt", little-endian.
const MAGIC: u32 = 0x7472_6976;
/// `VIRTIO_F_VERSION_1`, without which this is another protocol.
const F_VERSION_1: u64 = 1 << 32;
/// `VIRTQ_AVAIL_F_NO_INTERRUPT`: completions are polled for.
const NO_INTERRUPT: u16 = 1;

/// The queue's three areas. Words are atomics because the device reads and writes them, too.
#[repr(C, align(4096))]
struct Queue {
    /// Two words a descriptor: address; length, flags << 32, next << 48.
    descriptors: [[AtomicU64; 2]; QUEUE_MAX],
    /// Flags, index, ring.
    available: [AtomicU16; 2 + QUEUE_MAX],
    /// Flags, index, then 8 bytes an element; 4-byte aligned.
    used: [AtomicU16; 2 + 4 * QUEUE_MAX],
}

const _: () = assert!(core::mem::offset_of!(Queue, used) % 4 == 0);

static QUEUE: Global<Queue> = Global::new(Queue {
    descriptors: [const { [AtomicU64::new(0), AtomicU64::new(0)] }; QUEUE_MAX],
    available: [const { AtomicU16::new(0) }; 2 + QUEUE_MAX],
    used: [const { AtomicU16::new(0) }; 2 + 4 * QUEUE_MAX],
});

/// A device that was found.
///
/// # Invariants
/// `registers` is the address of its mapped registers.
#[derive(Clone, Copy)]
pub(crate) struct Device {
    registers: u64,
}

impl Device {
    /// The device at `region`, if there is one of type `device_id`.
    pub(crate) fn find(region: Region, device_id: u32) -> Option<Self> {
        let device = Self {
            registers: ram::map_mmio(region.base),
        };
        let found = device.read(reg::MAGIC) == MAGIC
            && device.read(reg::VERSION) == 2
            && device.read(reg::DEVICE_ID) == device_id;
        found.then_some(device)
    }

    /// Brings the device into operation with those of the `wanted` features that it has, and returns these and the
    /// number of descriptors in the queue.
    ///
    /// # Errors
    /// What it refused.
    pub(crate) fn start(self, wanted: u64) -> Result<(u64, usize), &'static str> {
        self.write(reg::STATUS, 0);
        self.write(reg::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        let features = self
            .negotiate(wanted)
            .inspect_err(|_| self.write(reg::STATUS, status::FAILED))?;
        self.write(reg::QUEUE_SEL, 0);
        let size = (self.read(reg::QUEUE_NUM_MAX) as usize).min(QUEUE_MAX);
        if size < 3 {
            self.write(reg::STATUS, status::FAILED);
            return Err("its queue is too short");
        }
        QUEUE.available[0].store(NO_INTERRUPT, Relaxed);
        self.write(reg::QUEUE_NUM, size as u32);
        self.write64(reg::QUEUE_DESC, ram::phys_of(&raw const QUEUE.descriptors));
        self.write64(reg::QUEUE_DRIVER, ram::phys_of(&raw const QUEUE.available));
        self.write64(reg::QUEUE_DEVICE, ram::phys_of(&raw const QUEUE.used));
        self.write(reg::QUEUE_READY, 1);
        let running = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK;
        self.write(reg::STATUS, running);
        Ok((features, size))
    }

    fn negotiate(self, wanted: u64) -> Result<u64, &'static str> {
        let mut offered = 0;
        for half in 0..2 {
            self.write(reg::DEVICE_FEATURES_SEL, half);
            offered |= u64::from(self.read(reg::DEVICE_FEATURES)) << (32 * half);
        }
        if offered & F_VERSION_1 == 0 {
            return Err("it is a legacy device");
        }
        let features = offered & (wanted | F_VERSION_1);
        for half in 0..2 {
            self.write(reg::DRIVER_FEATURES_SEL, half);
            self.write(reg::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
        self.write(reg::STATUS, status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
        if self.read(reg::STATUS) & status::FEATURES_OK == 0 {
            return Err("it refused the features it offered");
        }
        Ok(features)
    }

    /// A word of the device's configuration.
    pub(crate) fn config(self, offset: u64) -> u32 {
        self.read(reg::CONFIG + offset)
    }

    /// Hands the chain that begins at descriptor 0 to the device, and waits until it is done with it.
    pub(crate) fn transfer(self) {
        let next = QUEUE.available[1].load(Relaxed).wrapping_add(1);
        // The descriptors are written before the device may look. 2.7.13.
        fence(core::sync::atomic::Ordering::Release);
        QUEUE.available[1].store(next, Relaxed);
        fence(core::sync::atomic::Ordering::SeqCst);
        self.write(reg::QUEUE_NOTIFY, 0);
        while QUEUE.used[1].load(Relaxed) != next {
            x86::pause();
        }
        fence(core::sync::atomic::Ordering::Acquire);
    }

    fn read(self, offset: u64) -> u32 {
        // SAFETY: a register of the device (invariant); reading those used here has no effect.
        unsafe { mmio_read32(self.registers + offset) }
    }

    fn write(self, offset: u64, value: u32) {
        // SAFETY: a register of the device (invariant). What it makes the device touch is the queue and what its
        // descriptors name, which `set_descriptor`'s callers answer for.
        unsafe { mmio_write32(self.registers + offset, value) };
    }

    fn write64(self, offset: u64, value: u64) {
        self.write(offset, value as u32);
        self.write(offset + 4, (value >> 32) as u32);
    }
}

/// Writes a descriptor of the queue.
///
/// # Safety
/// `[phys, phys + len)` is memory that the device may read, or write if `flags` say so, until the next
/// [`Device::transfer`] returns.
#[inline(always)]
pub(crate) unsafe fn set_descriptor(index: usize, phys: u64, len: u32, flags: u16, next: u16) {
    let [address, rest] = &QUEUE.descriptors[index];
    address.store(phys, Relaxed);
    rest.store(u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48, Relaxed);
}
