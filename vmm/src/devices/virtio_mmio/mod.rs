//! The virtio-mmio transport, version 2, of a device with one queue.
//!
//! # Invariants
//! - Status only gains bits, in the order ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK; writing 0 resets everything.
//! - FEATURES_OK is set only if the driver took VERSION_1 and nothing that was not offered.
//! - A queue is ready only if all three of its areas lie in RAM and are aligned.
//! - The device has the queue ([`VirtioDevice::start`]) exactly while the queue is ready, the status has DRIVER_OK, and
//!   it has neither FAILED nor, when the queue was handed over, NEEDS_RESET.
//!
//! A write that breaks the order is ignored, counted and logged at a limited rate. There is no interrupt line: the
//! driver reads the used ring. Whether one would have been raised is in the interrupt status.
//!
//! Source: Virtual I/O Device (VIRTIO) 1.2, sections 2.1 (status), 3.1 (initialisation), 4.2.2 (MMIO registers).

mod halves;
mod notices;
mod queue_setup;

use std::sync::Arc;

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED,
    VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio as reg;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};

use self::halves::{half, set_half};
pub use self::notices::Notices;
use self::queue_setup::QueueSetup;
use crate::memory::GuestRam;
use crate::rate_limit::{RateLimit, warn_limited};

/// "virt", little-endian.
const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
/// "FLAB": any value is allowed for an unregistered vendor.
const VENDOR: u32 = u32::from_le_bytes(*b"FLAB");

/// A device behind the transport.
pub trait VirtioDevice {
    /// Device type. Source: VIRTIO 1.2, section 5.
    fn id(&self) -> u32;
    /// Feature bits offered, without VERSION_1.
    fn features(&self) -> u64;
    /// Largest queue; a power of two.
    fn queue_max(&self) -> u16;
    /// The configuration space; what lies past its end reads as zero.
    fn config(&self) -> &[u8];
    /// The driver took these of the features, and FEATURES_OK is set.
    fn features_accepted(&mut self, features: u64);
    /// The driver is ready: the queue is the device's until [`VirtioDevice::stop`]. What it has to say meanwhile goes to
    /// `notices`, from any thread.
    fn start(&mut self, queue: Queue, notices: &Arc<Notices>);
    /// The driver rang the doorbell of a device that was started.
    fn notify(&mut self, ram: &GuestRam);
    /// Gives the queue up. Requests that were taken are answered or forgotten, and when this returns, the device no longer
    /// touches guest memory.
    fn stop(&mut self);
    /// The driver reset the device, which was stopped before: everything that it told it is forgotten.
    fn reset(&mut self);
}

/// The queue, as far as the driver got with it.
enum QueueState {
    /// Being described.
    Setup,
    /// Ready, but the driver is not.
    Ready(Box<Queue>),
    /// The device has it.
    Started,
    /// Ready, and taken from the device, because the driver failed.
    Stopped,
}

/// The transport and its device.
pub struct VirtioMmio<D> {
    device: D,
    status: u32,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    setup: QueueSetup,
    queue: QueueState,
    notices: Arc<Notices>,
    refused: RateLimit,
}

impl<D: VirtioDevice> VirtioMmio<D> {
    /// A device after power-on.
    pub fn new(device: D) -> VirtioMmio<D> {
        let setup = QueueSetup::new(device.queue_max());
        VirtioMmio {
            device,
            status: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features: 0,
            queue_sel: 0,
            setup,
            queue: QueueState::Setup,
            notices: Arc::default(),
            refused: RateLimit::default(),
        }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Lets the device finish with its queue, for good.
    pub fn shut_down(&mut self) {
        self.stop();
        self.queue = QueueState::Setup;
    }

    /// Register accesses that were refused.
    pub fn refused(&self) -> u64 {
        self.refused.seen()
    }

    /// A load of `data.len()` bytes at `offset` in the register page.
    pub fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(start) = offset.checked_sub(u64::from(reg::VIRTIO_MMIO_CONFIG)) {
            let config = self.device.config();
            let start = config.len().min(start as usize);
            let available = &config[start..];
            let len = available.len().min(data.len());
            data[..len].copy_from_slice(&available[..len]);
        } else if data.len() == 4 && offset.is_multiple_of(4) {
            data.copy_from_slice(&self.register(offset as u32).to_le_bytes());
        } else {
            warn_limited!(self.refused, "virtio-mmio read of {} bytes at {offset:#x}", data.len());
        }
    }

    fn register(&self, offset: u32) -> u32 {
        match offset {
            reg::VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            reg::VIRTIO_MMIO_VERSION => VERSION,
            reg::VIRTIO_MMIO_DEVICE_ID => self.device.id(),
            reg::VIRTIO_MMIO_VENDOR_ID => VENDOR,
            reg::VIRTIO_MMIO_DEVICE_FEATURES => half(self.offered(), self.device_features_sel),
            reg::VIRTIO_MMIO_QUEUE_NUM_MAX if self.queue_sel == 0 => u32::from(self.device.queue_max()),
            reg::VIRTIO_MMIO_QUEUE_READY if self.queue_sel == 0 => u32::from(self.is_ready()),
            reg::VIRTIO_MMIO_INTERRUPT_STATUS => self.notices.interrupts(),
            reg::VIRTIO_MMIO_STATUS => self.status(),
            // No shared memory: "the length reads as -1" (4.2.2).
            reg::VIRTIO_MMIO_SHM_LEN_LOW..=reg::VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            // The configuration never changes, so its generation is 0; registers that can only be written read as 0.
            _ => 0,
        }
    }

    /// A store at `offset` in the register page.
    pub fn write(&mut self, offset: u64, data: &[u8], ram: &GuestRam) {
        let Ok(bytes) = <[u8; 4]>::try_from(data) else {
            warn_limited!(self.refused, "virtio-mmio write of {} bytes at {offset:#x}", data.len());
            return;
        };
        let value = u32::from_le_bytes(bytes);
        let done = match offset as u32 {
            reg::VIRTIO_MMIO_STATUS => self.set_status(value),
            reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL => assign(&mut self.device_features_sel, value),
            reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL => assign(&mut self.driver_features_sel, value),
            reg::VIRTIO_MMIO_DRIVER_FEATURES => self.set_driver_features(value),
            reg::VIRTIO_MMIO_QUEUE_SEL => assign(&mut self.queue_sel, value),
            reg::VIRTIO_MMIO_QUEUE_READY => self.set_queue_ready(value, ram),
            reg::VIRTIO_MMIO_QUEUE_NOTIFY => self.notify(value, ram),
            reg::VIRTIO_MMIO_INTERRUPT_ACK => {
                self.notices.acknowledge(value);
                true
            }
            other => self.set_queue_field(other, value),
        };
        if !done {
            warn_limited!(
                self.refused,
                "virtio-mmio refuses {value:#x} at {offset:#x} in status {:#x}",
                self.status()
            );
        }
    }

    /// Device status: what the driver wrote, and what the device found.
    fn status(&self) -> u32 {
        let broken = if self.notices.is_broken() {
            VIRTIO_CONFIG_S_NEEDS_RESET
        } else {
            0
        };
        self.status | broken
    }

    fn is_ready(&self) -> bool {
        !matches!(self.queue, QueueState::Setup)
    }

    fn offered(&self) -> u64 {
        self.device.features() | 1 << VIRTIO_F_VERSION_1
    }

    /// Whether all of `set` and none of `clear` is in the status.
    fn is(&self, set: u32, clear: u32) -> bool {
        let status = self.status();
        status & set == set && status & clear == 0
    }

    fn set_status(&mut self, value: u32) -> bool {
        if value == 0 {
            self.reset();
            return true;
        }
        if value & VIRTIO_CONFIG_S_FAILED != 0 {
            self.status |= VIRTIO_CONFIG_S_FAILED;
            if self.stop() {
                self.queue = QueueState::Stopped;
            }
            return true;
        }
        // Each bit with the one that must already be there.
        const ORDER: [(u32, u32); 4] = [
            (VIRTIO_CONFIG_S_ACKNOWLEDGE, 0),
            (VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_ACKNOWLEDGE),
            (VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER),
            (VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK),
        ];
        let known = ORDER
            .iter()
            .fold(VIRTIO_CONFIG_S_NEEDS_RESET, |bits, (bit, _)| bits | bit);
        if value & !known != 0 || self.status & !value & !VIRTIO_CONFIG_S_NEEDS_RESET != 0 {
            return false;
        }
        for (bit, required) in ORDER {
            if value & !self.status & bit == 0 {
                continue;
            }
            if self.status & required != required || (bit == VIRTIO_CONFIG_S_FEATURES_OK && !self.features_agree()) {
                return false;
            }
            self.status |= bit;
            if bit == VIRTIO_CONFIG_S_FEATURES_OK {
                self.device.features_accepted(self.driver_features);
            }
        }
        self.start_if_ready();
        true
    }

    /// Hands the queue to the device if everything is in place.
    fn start_if_ready(&mut self) {
        const HINDRANCES: u32 = VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED;
        if !self.is(VIRTIO_CONFIG_S_DRIVER_OK, HINDRANCES) || !matches!(self.queue, QueueState::Ready(_)) {
            return;
        }
        if let QueueState::Ready(mut queue) = std::mem::replace(&mut self.queue, QueueState::Started) {
            queue.set_event_idx(self.driver_features >> VIRTIO_RING_F_EVENT_IDX & 1 == 1);
            self.device.start(*queue, &self.notices);
        }
    }

    /// Takes the queue from the device; false if it does not have it.
    fn stop(&mut self) -> bool {
        let started = matches!(self.queue, QueueState::Started);
        if started {
            self.device.stop();
        }
        started
    }

    fn features_agree(&self) -> bool {
        self.driver_features & !self.offered() == 0 && self.driver_features >> VIRTIO_F_VERSION_1 & 1 == 1
    }

    fn set_driver_features(&mut self, value: u32) -> bool {
        if !self.is(VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_FEATURES_OK) {
            return false;
        }
        set_half(&mut self.driver_features, self.driver_features_sel, value)
    }

    fn set_queue_field(&mut self, offset: u32, value: u32) -> bool {
        let allowed = self.queue_sel == 0 && !self.is_ready() && self.is(VIRTIO_CONFIG_S_FEATURES_OK, 0);
        allowed && self.setup.set(offset, value)
    }

    fn set_queue_ready(&mut self, value: u32, ram: &GuestRam) -> bool {
        match value {
            _ if self.queue_sel != 0 => false,
            // Linux's driver does so behind a reset, too.
            0 => {
                self.stop();
                self.queue = QueueState::Setup;
                true
            }
            _ if !self.is(VIRTIO_CONFIG_S_FEATURES_OK, 0) => false,
            1 if !self.is_ready() => match self.setup.build(self.device.queue_max(), ram) {
                Some(queue) => {
                    self.queue = QueueState::Ready(Box::new(queue));
                    self.start_if_ready();
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    fn notify(&mut self, index: u32, ram: &GuestRam) -> bool {
        let started = matches!(self.queue, QueueState::Started);
        if index != 0 || !started || self.notices.is_broken() {
            return false;
        }
        self.device.notify(ram);
        true
    }

    fn reset(&mut self) {
        self.status = 0;
        self.device_features_sel = 0;
        self.driver_features_sel = 0;
        self.driver_features = 0;
        self.queue_sel = 0;
        self.setup = QueueSetup::new(self.device.queue_max());
        self.stop();
        self.queue = QueueState::Setup;
        self.notices.clear();
        self.device.reset();
    }
}

fn assign(field: &mut u32, value: u32) -> bool {
    *field = value;
    true
}

#[cfg(test)]
mod tests;
