//! A driver of the swap disk that keeps a number of requests in flight.
//!
//! Source: VIRTIO 1.2, sections 2.7 (split virtqueues), 3.1 (initialisation), 4.2 (MMIO), 5.2.6 (block requests).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::fence;

use faultlab::devices::block::BlockDevice;
use faultlab::devices::virtio_mmio::VirtioMmio;
use faultlab::memory::GuestRam;
use faultlab::swap_file::SwapFile;
use faultlab::{SwapFaults, SwapIo};
use virtio_bindings::virtio_blk::VIRTIO_BLK_F_FLUSH;
use virtio_bindings::virtio_mmio as reg;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use vm_memory::{ByteValued, Bytes, GuestAddress};

use crate::{DEPTH, PAGE, Work};

/// Where things are in the guest's memory.
const DESCRIPTORS: u64 = 0x1000;
const AVAIL: u64 = 0x3000;
const USED: u64 = 0x4000;
const HEADERS: u64 = 0x6000;
const STATUS: u64 = 0x7000;
/// A page of data a request.
pub(crate) const DATA: u64 = 0x10_0000;

const QUEUE_SIZE: u16 = 64;
const NEXT: u64 = 1 << 32;
const WRITE: u64 = 2 << 32;

/// The driver, and its device.
pub(crate) struct Driver {
    mmio: VirtioMmio<BlockDevice>,
    ram: Arc<GuestRam>,
    /// Whether event indices are used: they are offered where the disk works beside the driver.
    event: bool,
    available: u16,
    used: u16,
}

impl Driver {
    /// Brings the device into operation.
    pub(crate) fn new(file: SwapFile, how: SwapIo, ram: &Arc<GuestRam>) -> io::Result<Driver> {
        let device = BlockDevice::served(file, false, &SwapFaults::default(), how, ram, None)?;
        let mut driver = Driver {
            mmio: VirtioMmio::new(device),
            ram: Arc::clone(ram),
            event: how != SwapIo::Inline,
            available: 0,
            used: 0,
        };
        let features = 1 << VIRTIO_BLK_F_FLUSH | u32::from(driver.event) << VIRTIO_RING_F_EVENT_IDX;
        for (register, value) in [
            (reg::VIRTIO_MMIO_STATUS, 1),
            (reg::VIRTIO_MMIO_STATUS, 3),
            (reg::VIRTIO_MMIO_DRIVER_FEATURES, features),
            (reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1),
            (reg::VIRTIO_MMIO_DRIVER_FEATURES, 1),
            (reg::VIRTIO_MMIO_STATUS, 11),
            (reg::VIRTIO_MMIO_QUEUE_NUM, u32::from(QUEUE_SIZE)),
            (reg::VIRTIO_MMIO_QUEUE_DESC_LOW, DESCRIPTORS as u32),
            (reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL as u32),
            (reg::VIRTIO_MMIO_QUEUE_USED_LOW, USED as u32),
            (reg::VIRTIO_MMIO_QUEUE_READY, 1),
            (reg::VIRTIO_MMIO_STATUS, 15),
        ] {
            driver.set(register, value);
        }
        Ok(driver)
    }

    /// Transfers all pages of `work`, [`DEPTH`] at a time.
    pub(crate) fn transfer(&mut self, work: Work) -> io::Result<()> {
        let mut pages = work.pages();
        let mut in_flight = 0;
        for slot in 0..DEPTH {
            if let Some(page) = pages.next() {
                self.request(slot, page, work.write);
                in_flight += 1;
            }
        }
        self.publish(DEPTH);
        while in_flight > 0 {
            let done = self.load(USED + 2, Acquire);
            let mut new = 0;
            while self.used != done {
                let element = USED + 4 + 8 * u64::from(self.used % QUEUE_SIZE);
                let slot = self.get::<u32>(element) as u16 / 3;
                if self.get::<u8>(STATUS + u64::from(slot)) != 0 {
                    return Err(io::Error::other("the device failed a request"));
                }
                self.used = self.used.wrapping_add(1);
                in_flight -= 1;
                if let Some(page) = pages.next() {
                    self.request(slot, page, work.write);
                    in_flight += 1;
                    new += 1;
                }
            }
            if new > 0 {
                self.publish(new);
            } else {
                // A guest that waits gives its processor away, too, where others want it.
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Fills the three descriptors of `slot`, and puts them into the available ring; the device does not see them yet.
    fn request(&mut self, slot: u16, page: u64, write: bool) {
        let (header, status) = (HEADERS + 16 * u64::from(slot), STATUS + u64::from(slot));
        let data = DATA + PAGE * u64::from(slot);
        self.put(header, u64::from(write));
        self.put(header + 8, page * 8);
        self.put(status, 0xff_u8);
        let first = u64::from(3 * slot);
        let direction = if write { 0 } else { WRITE };
        for (index, address, rest) in [
            (first, header, 16 | NEXT | (first + 1) << 48),
            (first + 1, data, PAGE | NEXT | direction | (first + 2) << 48),
            (first + 2, status, 1 | WRITE),
        ] {
            self.put(DESCRIPTORS + 16 * index, address);
            self.put(DESCRIPTORS + 16 * index + 8, rest);
        }
        let at = AVAIL + 4 + 2 * u64::from(self.available % QUEUE_SIZE);
        self.put(at, first as u16);
        self.available = self.available.wrapping_add(1);
    }

    /// Shows the device the last `new` requests, and rings if it wants to be rung. Source: VIRTIO 1.2, 2.7.10.
    fn publish(&mut self, new: u16) {
        let memory = self.ram.memory();
        memory
            .store(self.available, GuestAddress(AVAIL + 2), Release)
            .expect("RAM");
        fence(SeqCst);
        let event = self.load(USED + 4 + 8 * u64::from(QUEUE_SIZE), Acquire);
        if !self.event || self.available.wrapping_sub(event).wrapping_sub(1) < new {
            self.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        }
    }

    fn set(&mut self, register: u32, value: u32) {
        self.mmio.write(u64::from(register), &value.to_le_bytes(), &self.ram);
    }

    fn load(&self, address: u64, order: std::sync::atomic::Ordering) -> u16 {
        self.ram.memory().load(GuestAddress(address), order).expect("RAM")
    }

    /// What a guest's load sees.
    fn get<T: ByteValued>(&self, address: u64) -> T {
        // SAFETY: a place of this driver's structures in `ram`, which stays mapped; any bytes are a value of `T`. The device writes here, too, but
        // not to what it has given back.
        unsafe { self.at::<T>(address).read_volatile() }
    }

    /// A guest's store.
    fn put<T: ByteValued>(&self, address: u64, value: T) {
        // SAFETY: as above; the device reads it only after `publish`.
        unsafe { self.at::<T>(address).write_volatile(value) };
    }

    fn at<T>(&self, address: u64) -> *mut T {
        assert!(address.is_multiple_of(align_of::<T>() as u64) && address < DATA);
        (self.ram.host_address() + address as usize) as *mut T
    }
}
