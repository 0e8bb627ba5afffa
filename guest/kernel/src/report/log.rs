//! The kernel's log: lines to the lab device, or to the serial port without one.

use faultlab_abi::lab::{kind, log_level};
use faultlab_kernel::text::Line;

use crate::dev::{lab, serial};
use crate::mem::ram;

/// Something failed.
pub(crate) fn error(line: &Line) {
    write(log_level::ERROR, line);
}

/// Something is refused or missing.
pub(crate) fn warn(line: &Line) {
    write(log_level::WARN, line);
}

/// What a user may want to know.
pub(crate) fn info(line: &Line) {
    write(log_level::INFO, line);
}

/// What a developer may want to know.
pub(crate) fn debug(line: &Line) {
    write(log_level::DEBUG, line);
}

fn write(level: u64, line: &Line) {
    let bytes = line.as_bytes();
    if lab::is_present() {
        lab::command(
            kind::LOG,
            [level, ram::phys_of(bytes.as_ptr()), bytes.len() as u64, 0, 0, 0],
        );
    } else {
        serial::write(bytes);
        serial::write(b"\r\n");
    }
}
