//! What is done to guest memory before the guest runs.
//!
//! Source: madvise(2), `MADV_POPULATE_WRITE`; Linux, Documentation/virt/kvm/api.rst, 4.143 `KVM_PRE_FAULT_MEMORY`.

use std::io;
use std::os::fd::AsRawFd;

use kvm_bindings::{KVM_CAP_PRE_FAULT_MEMORY, kvm_pre_fault_memory};
use kvm_ioctls::VcpuFd;

use faultlab_abi::lab::PageRange;
use faultlab_abi::layout::PAGE_SIZE;

use super::GuestRam;
use crate::error::{Error, HostError, KvmError};
use crate::host::Host;
use crate::vcpu::kick::StopHandle;

/// `_IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)`.
const KVM_PRE_FAULT_MEMORY: u64 =
    3 << 30 | (size_of::<kvm_pre_fault_memory>() as u64) << 16 | (kvm_bindings::KVMIO as u64) << 8 | 0xd5;

/// Brought in between two looks at whether the guest is still to run: a disk reads as much in a few milliseconds.
const PIECE_BYTES: u64 = 4 << 20;

/// How far guest memory, RAM and window, is brought in before the guest runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prepare {
    /// Not at all: touched pages are backed as they are touched.
    #[default]
    None,
    /// The host backs all of it (`MADV_POPULATE_WRITE`); KVM's second-level tables stay empty.
    Populate,
    /// The second-level tables are filled, too (`KVM_PRE_FAULT_MEMORY`).
    Prefault,
}

impl Prepare {
    /// Whether this host can.
    ///
    /// # Errors
    /// The capability that is missing.
    pub fn check(self, host: &Host) -> Result<(), HostError> {
        let wanted = self == Prepare::Prefault;
        if wanted && host.kvm().check_extension_raw(u64::from(KVM_CAP_PRE_FAULT_MEMORY)) <= 0 {
            return Err(HostError::MissingOption {
                name: "KVM_CAP_PRE_FAULT_MEMORY",
                remedy: "use Linux 6.11 or later with EPT or NPT, or --prepare populate",
            });
        }
        Ok(())
    }

    /// Does it, piece by piece, until `stop` says that the guest is not to run: then what is left does not matter.
    pub(crate) fn carry_out(self, ram: &GuestRam, vcpu: &VcpuFd, stop: &StopHandle) -> Result<(), Error> {
        if self == Prepare::None {
            return Ok(());
        }
        let piece_pages = ram.host_info().granule_bytes.max(PIECE_BYTES) / PAGE_SIZE;
        for piece in ram.ranges().into_iter().flat_map(|range| pieces(range, piece_pages)) {
            if stop.stopped().is_some() {
                break;
            }
            ram.populate(&[piece])?;
            if self == Prepare::Prefault {
                prefault(vcpu, piece.start, piece.pages * PAGE_SIZE)?;
            }
        }
        Ok(())
    }
}

/// `range` in pieces of so many pages; the last may be smaller.
fn pieces(range: PageRange, pages: u64) -> impl Iterator<Item = PageRange> {
    let firsts = (0..range.pages).step_by(usize::try_from(pages).unwrap_or(usize::MAX));
    firsts.map(move |first| PageRange {
        start: range.start + first * PAGE_SIZE,
        pages: pages.min(range.pages - first),
    })
}

fn prefault(vcpu: &VcpuFd, gpa: u64, size: u64) -> Result<(), KvmError> {
    let mut range = kvm_pre_fault_memory {
        gpa,
        size,
        ..kvm_pre_fault_memory::default()
    };
    // The call may end early; it moves `gpa` and `size` on.
    while range.size > 0 {
        // SAFETY: the record that this call takes; KVM fills tables for memory that the VM has.
        let result = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_PRE_FAULT_MEMORY, &raw mut range) };
        let error = io::Error::last_os_error();
        if result < 0 && error.kind() != io::ErrorKind::Interrupted && error.raw_os_error() != Some(libc::EAGAIN) {
            return Err(KvmError::of_io("KVM_PRE_FAULT_MEMORY")(error));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_range_once() {
        let cut = |pages| -> Vec<_> {
            let range = PageRange { start: 0x10_000, pages };
            pieces(range, 4).map(|piece| (piece.start, piece.pages)).collect()
        };
        assert_eq!(cut(9), [(0x10_000, 4), (0x14_000, 4), (0x18_000, 1)]);
        assert_eq!(cut(4), [(0x10_000, 4)]);
        assert_eq!(cut(0), []);
    }
}
