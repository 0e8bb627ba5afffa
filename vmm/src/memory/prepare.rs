//! What is done to guest memory before the guest runs.
//!
//! Source: madvise(2), `MADV_POPULATE_WRITE`; Linux, Documentation/virt/kvm/api.rst, 4.143 `KVM_PRE_FAULT_MEMORY`.

use std::io;
use std::os::fd::AsRawFd;

use kvm_bindings::{KVM_CAP_PRE_FAULT_MEMORY, kvm_pre_fault_memory};
use kvm_ioctls::VcpuFd;

use super::GuestRam;
use crate::error::{Error, HostError, KvmError};
use crate::host::Host;

/// `_IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)`.
const KVM_PRE_FAULT_MEMORY: u64 =
    3 << 30 | (size_of::<kvm_pre_fault_memory>() as u64) << 16 | (kvm_bindings::KVMIO as u64) << 8 | 0xd5;

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

    /// Does it.
    pub(crate) fn carry_out(self, ram: &GuestRam, vcpu: &VcpuFd) -> Result<(), Error> {
        if self == Prepare::None {
            return Ok(());
        }
        let all = ram.ranges();
        ram.populate(&all)?;
        if self == Prepare::Prefault {
            for range in all {
                prefault(vcpu, range.start, range.pages * faultlab_abi::layout::PAGE_SIZE)?;
            }
        }
        Ok(())
    }
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
