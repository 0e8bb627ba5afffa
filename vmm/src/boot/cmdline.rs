//! The kernel's parameters: the devices, the rate of the time-stamp counter, the console.
//!
//! Source: Linux, Documentation/admin-guide/kernel-parameters.txt (`virtio_mmio.device`, `tsc_early_khz`, `console`).

use faultlab_abi::layout::{
    CMDLINE, CMDLINE_LAB, CMDLINE_MAX_BYTES, CMDLINE_TSC_KHZ, CMDLINE_VIRTIO, LAB_MMIO, PAGE_SIZE, VIRTIO_MMIO_BASE,
    VIRTIO_MMIO_IRQ,
};
use vm_memory::{Bytes, GuestAddress};

use crate::error::BootError;
use crate::memory::GuestRam;

/// A command line of at most [`CMDLINE_MAX_BYTES`] with its NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine(String);

impl CommandLine {
    /// Announces the lab device, the swap disks, and the rate of the counter; then `extra`.
    pub(crate) fn new(disks: usize, tsc_khz: u64, extra: &[String]) -> Result<CommandLine, BootError> {
        let mut words = vec!["console=ttyS0".to_owned(), format!("{CMDLINE_LAB}8K@{LAB_MMIO:#x}")];
        for disk in 0..disks {
            let base = VIRTIO_MMIO_BASE + disk as u64 * PAGE_SIZE;
            words.push(format!(
                "{CMDLINE_VIRTIO}4K@{base:#x}:{}",
                VIRTIO_MMIO_IRQ + disk as u32
            ));
        }
        if tsc_khz != 0 {
            words.push(format!("{CMDLINE_TSC_KHZ}{tsc_khz}"));
        }
        words.extend_from_slice(extra);
        let line = words.join(" ");
        if line.len() >= CMDLINE_MAX_BYTES || line.contains('\0') {
            return Err(BootError::CommandLine { bytes: line.len() });
        }
        Ok(CommandLine(line))
    }

    /// Its bytes without the NUL.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }

    pub(super) fn write(&self, ram: &GuestRam) -> Result<(), BootError> {
        let terminated = [self.0.as_bytes(), b"\0"].concat();
        ram.memory()
            .write_slice(&terminated, GuestAddress(CMDLINE))
            .map_err(|error| BootError::Write {
                what: "the command line",
                reason: error.to_string(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_announced_as_linux_spells_them() {
        let line = CommandLine::new(1, 2_600_000, &["faultlab.trace=stages".into()]).unwrap();
        assert_eq!(
            line.0,
            "console=ttyS0 faultlab.device=8K@0xd0010000 virtio_mmio.device=4K@0xd0000000:5 tsc_early_khz=2600000 \
             faultlab.trace=stages"
        );
        let two = CommandLine::new(2, 0, &[]).unwrap();
        let second = "virtio_mmio.device=4K@0xd0000000:5 virtio_mmio.device=4K@0xd0001000:6";
        assert!(two.0.ends_with(second), "{}", two.0);
        let without = CommandLine::new(0, 0, &[]).unwrap();
        assert_eq!(without.0, "console=ttyS0 faultlab.device=8K@0xd0010000");
    }

    #[test]
    fn a_line_that_does_not_fit_is_refused() {
        let error = CommandLine::new(1, 1, &["x".repeat(CMDLINE_MAX_BYTES)]).unwrap_err();
        assert!(matches!(error, BootError::CommandLine { .. }), "{error}");
    }
}
