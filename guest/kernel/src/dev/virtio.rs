//! virtio over MMIO, version 2: devices with one queue.
//!
//! Source: Virtual I/O Device (VIRTIO) 1.2, 3.1 "Device Initialization", 4.2 "Virtio Over MMIO".

use faultlab_kernel::cmdline::Region;
use faultlab_kernel::virtqueue::{Areas, CHAINS_MAX, QUEUE_MAX, Ring};

use crate::dev::lab::{mmio_read32, mmio_write32};
use crate::mem::ram;

/// `VIRTIO_F_INDIRECT_DESC`.
pub(crate) const F_INDIRECT_DESC: u64 = 1 << 28;
/// `VIRTIO_F_EVENT_IDX`.
pub(crate) const F_EVENT_IDX: u64 = 1 << 29;

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

    /// Brings the device into operation with those of the `wanted` features that it has, its queue in `areas`, and returns these and the
    /// number of descriptors in the queue, more than [`CHAINS_MAX`] + 2.
    ///
    /// # Errors
    /// What it refused.
    pub(crate) fn start(self, wanted: u64, areas: &'static Areas, ring: &Ring) -> Result<(u64, usize), &'static str> {
        self.write(reg::STATUS, 0);
        self.write(reg::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        let features = self
            .negotiate(wanted)
            .inspect_err(|_| self.write(reg::STATUS, status::FAILED))?;
        self.write(reg::QUEUE_SEL, 0);
        // Any power of two up to the largest may be chosen. 2.7.
        let largest = (self.read(reg::QUEUE_NUM_MAX) as usize).min(QUEUE_MAX);
        let size = largest.checked_ilog2().map_or(0, |log2| 1 << log2);
        if size <= CHAINS_MAX + 2 {
            self.write(reg::STATUS, status::FAILED);
            return Err("its queue is too short");
        }
        ring.start(areas, size as u16, features & F_EVENT_IDX != 0);
        self.write(reg::QUEUE_NUM, size as u32);
        self.write64(reg::QUEUE_DESC, ram::phys_of(&raw const areas.descriptors));
        self.write64(reg::QUEUE_DRIVER, ram::phys_of(&raw const areas.available));
        self.write64(reg::QUEUE_DEVICE, ram::phys_of(&raw const areas.used));
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

    /// Tells the device that there are chains to take.
    #[inline(always)]
    pub(crate) fn notify(self) {
        self.write(reg::QUEUE_NOTIFY, 0);
    }

    fn read(self, offset: u64) -> u32 {
        // SAFETY: a register of the device (invariant); reading those used here has no effect.
        unsafe { mmio_read32(self.registers + offset) }
    }

    fn write(self, offset: u64, value: u32) {
        // SAFETY: a register of the device (invariant). What it makes the device touch is the queue and what its
        // descriptors name, which those who publish chains answer for.
        unsafe { mmio_write32(self.registers + offset, value) };
    }

    fn write64(self, offset: u64, value: u64) {
        self.write(offset, value as u32);
        self.write(offset + 4, (value >> 32) as u32);
    }
}
