//! COM1: the kernel's log before and without a lab device, line by line to the `log` crate.
//!
//! Source: the 16550A as vm-superio implements it.

use std::convert::Infallible;
use std::io::{self, Write};

use vm_superio::{Serial, Trigger};

/// Ports of a UART.
pub const PORTS: u16 = 8;

/// Longest line that is logged in one piece, in bytes.
const LINE_MAX_BYTES: usize = 512;

/// The serial console.
pub struct SerialConsole {
    uart: Serial<NoInterrupt, vm_superio::serial::NoEvents, LineLog>,
}

impl Default for SerialConsole {
    fn default() -> Self {
        SerialConsole {
            uart: Serial::new(NoInterrupt, LineLog::default()),
        }
    }
}

impl SerialConsole {
    /// A read of port `offset` (0 to 7).
    pub fn read(&mut self, offset: u8, data: &mut [u8]) {
        data.fill_with(|| self.uart.read(offset));
    }

    /// A write to port `offset` (0 to 7); several bytes are a string instruction's.
    pub fn write(&mut self, offset: u8, data: &[u8]) {
        for &byte in data {
            // Neither an interrupt that nobody gets nor a line of a log can fail.
            let _ = self.uart.write(offset, byte);
        }
    }

    /// Logs what is left of the last line.
    pub fn finish(&mut self) {
        self.uart.writer_mut().end_line();
    }
}

/// There is no interrupt controller; the guest polls.
struct NoInterrupt;

impl Trigger for NoInterrupt {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Collects bytes and logs whole lines at info level, target "guest".
#[derive(Default)]
struct LineLog {
    line: Vec<u8>,
}

impl LineLog {
    fn end_line(&mut self) {
        if !self.line.is_empty() {
            log::info!(target: "guest", "{}", String::from_utf8_lossy(&self.line).trim_end());
            self.line.clear();
        }
    }
}

impl Write for LineLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte == b'\n' || self.line.len() == LINE_MAX_BYTES {
                self.end_line();
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded() {
        let mut log = LineLog::default();
        log.write_all(&[b'x'; 3 * LINE_MAX_BYTES]).unwrap();
        assert!(log.line.len() <= LINE_MAX_BYTES);
        log.write_all(b"\n").unwrap();
        assert!(log.line.is_empty());
    }

    #[test]
    fn the_transmitter_is_always_empty() {
        let mut serial = SerialConsole::default();
        serial.write(0, b"hello");
        let mut line_status = [0];
        serial.read(5, &mut line_status);
        assert_eq!(
            line_status[0] & 0x60,
            0x60,
            "a driver that polls THRE and TEMT must not wait"
        );
    }
}
