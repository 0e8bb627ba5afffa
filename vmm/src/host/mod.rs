//! This machine: `/dev/kvm`, what kind of KVM is behind it, and its identity for reports.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, 4.1 `KVM_GET_API_VERSION` and 4.4 `KVM_CHECK_EXTENSION`.

mod identity;
mod kind;

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kvm_ioctls::{Cap, Kvm};

pub use identity::{Capability, HostIdentity, HugetlbPool};
pub use kind::{KvmKind, Ring0, SecondLevelPaging};

use crate::error::HostError;

/// The device file of KVM.
pub const DEVICE: &str = "/dev/kvm";

/// The only API version there is, frozen since Linux 2.6.22.
const API_VERSION: i32 = 12;

/// What a guest cannot do without, by the names of the API documentation.
const REQUIRED: &[(Cap, &str)] = &[
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::SetTssAddr, "KVM_CAP_SET_TSS_ADDR"),
];

/// What reports name when it is there.
const OPTIONAL: &[(Cap, &str)] = &[
    (Cap::SyncMmu, "KVM_CAP_SYNC_MMU"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::Irqfd, "KVM_CAP_IRQFD"),
    (Cap::Ioeventfd, "KVM_CAP_IOEVENTFD"),
    (Cap::ReadonlyMem, "KVM_CAP_READONLY_MEM"),
    (Cap::GetTscKhz, "KVM_CAP_GET_TSC_KHZ"),
    (Cap::DirtyLogRing, "KVM_CAP_DIRTY_LOG_RING"),
];

/// An open KVM device and what is known about this machine.
#[derive(Debug)]
pub struct Host {
    kvm: Kvm,
    identity: HostIdentity,
}

impl Host {
    /// Opens [`DEVICE`] and checks that it can run guests.
    ///
    /// # Errors
    /// It is missing, forbidden, something else, or lacks a required capability.
    pub fn open() -> Result<Host, HostError> {
        Self::open_device(Path::new(DEVICE))
    }

    /// The same for another path.
    ///
    /// # Errors
    /// As [`Host::open`].
    pub fn open_device(path: &Path) -> Result<Host, HostError> {
        let kvm = open_kvm(path)?;
        let found = kvm.get_api_version();
        if found != API_VERSION {
            return Err(match found {
                // Not a KVM device at all: the ioctl itself is unknown there.
                -1 => HostError::Open {
                    path: path.into(),
                    source: io::Error::from_raw_os_error(libc::ENOTTY),
                },
                _ => HostError::ApiVersion { found },
            });
        }
        if let Some((_, name)) = REQUIRED.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
            return Err(HostError::MissingCapability { name });
        }
        let mut capabilities: Vec<Capability> = OPTIONAL
            .iter()
            .map(|(cap, name)| Capability {
                name: (*name).to_owned(),
                present: kvm.check_extension(*cap),
            })
            .collect();
        // kvm-ioctls has no names for these.
        for (cap, name) in [
            (kvm_bindings::KVM_CAP_BINARY_STATS_FD, "KVM_CAP_BINARY_STATS_FD"),
            (kvm_bindings::KVM_CAP_PRE_FAULT_MEMORY, "KVM_CAP_PRE_FAULT_MEMORY"),
        ] {
            capabilities.push(Capability {
                name: name.to_owned(),
                present: kvm.check_extension_raw(u64::from(cap)) > 0,
            });
        }
        let identity = HostIdentity::gather(capabilities, &kvm);
        Ok(Host { kvm, identity })
    }

    /// What this machine is.
    #[must_use]
    pub fn identity(&self) -> &HostIdentity {
        &self.identity
    }

    /// The device, to create VMs.
    #[must_use]
    pub(crate) fn kvm(&self) -> &Kvm {
        &self.kvm
    }
}

fn open_kvm(path: &Path) -> Result<Kvm, HostError> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| HostError::Open {
        path: path.into(),
        source: io::ErrorKind::InvalidInput.into(),
    })?;
    Kvm::new_with_path(name).map_err(|error| {
        let path = path.to_path_buf();
        match error.errno() {
            libc::ENOENT | libc::ENODEV | libc::ENXIO => HostError::Missing { path },
            libc::EACCES | libc::EPERM => HostError::NoPermission { path },
            errno => HostError::Open {
                path,
                source: io::Error::from_raw_os_error(errno),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_says_so() {
        let error = Host::open_device(Path::new("/nonexistent/kvm")).unwrap_err();
        assert!(matches!(error, HostError::Missing { .. }), "{error}");
        assert!(error.to_string().contains("/nonexistent/kvm does not exist"), "{error}");
    }

    #[test]
    fn another_device_is_refused() {
        let error = Host::open_device(Path::new("/dev/null")).unwrap_err();
        assert!(matches!(error, HostError::Open { .. }), "{error}");
    }

    #[test]
    fn this_host_has_an_identity() {
        let Some(host) = crate::testing::require_kvm() else {
            return;
        };
        let identity = host.identity();
        assert!(identity.tsc_khz > 100_000, "a counter below 100 MHz: {identity:?}");
        assert!(!identity.cpu_model.is_empty() && !identity.kernel_release.is_empty());
        assert_ne!(identity.kvm_kind, KvmKind::Unknown);
    }
}
