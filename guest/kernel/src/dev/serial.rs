//! The serial port: where the kernel's words go when there is no lab device.

use faultlab_abi::layout::SERIAL_PORT;

use crate::cpu::x86;

/// Writes bytes to COM1's transmit register. The VMM's port takes them as fast as they come, so nothing is polled.
pub(crate) fn write(bytes: &[u8]) {
    for &byte in bytes {
        x86::outb(SERIAL_PORT, byte);
    }
}
