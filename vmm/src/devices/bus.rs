//! Routes port and memory-mapped accesses to devices.
//!
//! An access that no device claims reads as all ones and is ignored when writing, as on a PC's bus; it is counted and
//! logged at a limited rate. An access that crosses the end of a device's window belongs to no device.

use std::ops::ControlFlow;

use faultlab_abi::lab::reg;
use faultlab_abi::layout::{LAB_MMIO, LAB_PIO_PORT, LAB_SCRATCH, PAGE_SIZE, SERIAL_PORT, VIRTIO_MMIO_BASE};

use super::Session;
use super::block::BlockDevice;
use super::lab::LabDevice;
use super::serial::{PORTS, SerialConsole};
use super::virtio_mmio::VirtioMmio;
use crate::outcome::End;
use crate::rate_limit::{RateLimit, warn_limited};

/// Swap disks at most: what the guest kernel looks for.
pub const SWAP_DISKS_MAX: usize = 4;

/// What the bus carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusCounters {
    /// Port accesses, unknown ones included.
    pub pio: u64,
    /// Memory-mapped accesses, unknown ones included, those of the next item not.
    pub mmio: u64,
    /// Stores with which the guest asked for interrupts, or waited: its own affair, and no scenario's.
    pub timer: u64,
    /// Halts that the guest had announced.
    pub hlt: u64,
    /// Port accesses that no device claims.
    pub unknown_pio: u64,
    /// Memory-mapped accesses that no device claims.
    pub unknown_mmio: u64,
}

/// All devices of a VM, and the addresses they answer at.
pub struct Bus {
    /// COM1.
    pub serial: SerialConsole,
    /// The swap disks, at most [`SWAP_DISKS_MAX`].
    pub blocks: Vec<VirtioMmio<BlockDevice>>,
    /// The lab device.
    pub lab: LabDevice,
    counters: BusCounters,
    unknown: RateLimit,
}

/// Who answers a memory-mapped access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    Block(usize),
    Lab,
    Scratch,
}

impl Bus {
    /// A bus with these devices and a serial console.
    #[must_use]
    pub fn new(blocks: impl IntoIterator<Item = VirtioMmio<BlockDevice>>, lab: LabDevice) -> Bus {
        Bus {
            serial: SerialConsole::default(),
            blocks: blocks.into_iter().collect(),
            lab,
            counters: BusCounters::default(),
            unknown: RateLimit::default(),
        }
    }

    /// What was carried so far.
    #[must_use]
    pub fn counters(&self) -> BusCounters {
        self.counters
    }

    /// `in` from `port`.
    pub fn pio_read(&mut self, port: u16, data: &mut [u8]) {
        self.counters.pio += 1;
        match serial_offset(port) {
            Some(offset) => self.serial.read(offset, data),
            None => {
                data.fill(0xff);
                self.unknown_pio("read from", port);
            }
        }
    }

    /// `out` to `port`.
    pub fn pio_write(&mut self, port: u16, data: &[u8]) {
        self.counters.pio += 1;
        match serial_offset(port) {
            Some(offset) => self.serial.write(offset, data),
            // Its only purpose is the exit.
            None if port == LAB_PIO_PORT => {}
            None => self.unknown_pio("write to", port),
        }
    }

    /// A load from device memory.
    pub fn mmio_read(&mut self, address: u64, data: &mut [u8]) {
        self.counters.mmio += 1;
        match self.window(address, data.len()) {
            Some((Window::Block(which), offset)) => self.blocks[which].read(offset, data),
            Some((Window::Lab, offset)) => self.lab.read(offset, data),
            Some((Window::Scratch, _)) => data.fill(0),
            None => {
                data.fill(0xff);
                self.unknown_mmio("read from", address, data.len());
            }
        }
    }

    /// A store to device memory; `Break` if it ends the run.
    pub fn mmio_write(&mut self, address: u64, data: &[u8], session: &mut Session<'_>) -> ControlFlow<End> {
        let window = self.window(address, data.len());
        match window {
            Some((Window::Lab, reg::TIMER_NS | reg::IDLE_NS)) => self.counters.timer += 1,
            _ => self.counters.mmio += 1,
        }
        session.bus = self.counters;
        match window {
            Some((Window::Block(which), offset)) => self.blocks[which].write(offset, data, session.ram),
            Some((Window::Lab, offset)) => return self.lab.write(offset, data, session),
            Some((Window::Scratch, _)) => {}
            None => self.unknown_mmio("write to", address, data.len()),
        }
        ControlFlow::Continue(())
    }

    /// The vCPU halted: whether the guest announced that, and goes on.
    pub fn halt(&mut self) -> bool {
        let announced = self.lab.halt();
        self.counters.hlt += u64::from(announced);
        announced
    }

    fn window(&self, address: u64, len: usize) -> Option<(Window, u64)> {
        let offset = address % PAGE_SIZE;
        let window = match address - offset {
            LAB_MMIO => Window::Lab,
            LAB_SCRATCH => Window::Scratch,
            base => {
                let which = base.checked_sub(VIRTIO_MMIO_BASE)? / PAGE_SIZE;
                Window::Block(usize::try_from(which).ok().filter(|&which| which < self.blocks.len())?)
            }
        };
        (offset + len as u64 <= PAGE_SIZE).then_some((window, offset))
    }

    fn unknown_pio(&mut self, what: &str, port: u16) {
        self.counters.unknown_pio += 1;
        warn_limited!(self.unknown, "guest {what} unknown port {port:#x}");
    }

    fn unknown_mmio(&mut self, what: &str, address: u64, len: usize) {
        self.counters.unknown_mmio += 1;
        warn_limited!(self.unknown, "guest {what} unknown address {address:#x}, {len} bytes");
    }
}

fn serial_offset(port: u16) -> Option<u8> {
    let offset = port.checked_sub(SERIAL_PORT)?;
    (offset < PORTS).then_some(offset as u8)
}

#[cfg(test)]
mod tests;
