//! What a device says to its driver without being asked.
//!
//! Source: VIRTIO 1.2, sections 4.2.2 (InterruptStatus) and 2.1.2 (DEVICE_NEEDS_RESET).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_VRING};

/// Set by the thread that serves the queue, read by the transport.
#[derive(Debug, Default)]
pub struct Notices {
    interrupts: AtomicU32,
    broken: AtomicBool,
}

impl Notices {
    /// The device used buffers, and the driver wants to know.
    pub fn used(&self) {
        self.interrupts.fetch_or(VIRTIO_MMIO_INT_VRING, SeqCst);
    }

    /// The rings are broken: the device does nothing more until it is reset.
    pub fn broken(&self) {
        self.broken.store(true, SeqCst);
        self.interrupts.fetch_or(VIRTIO_MMIO_INT_CONFIG, SeqCst);
    }

    /// `VIRTIO_MMIO_INT_*` that the driver did not acknowledge.
    pub fn interrupts(&self) -> u32 {
        self.interrupts.load(SeqCst)
    }

    /// Whether the device needs a reset.
    pub fn is_broken(&self) -> bool {
        self.broken.load(SeqCst)
    }

    /// The driver heard of these.
    pub fn acknowledge(&self, interrupts: u32) {
        self.interrupts.fetch_and(!interrupts, SeqCst);
    }

    /// After a reset.
    pub(super) fn clear(&self) {
        self.broken.store(false, SeqCst);
        self.interrupts.store(0, SeqCst);
    }
}
