//! What this machine can do for a test.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use faultlab::Host;
use faultlab::host::Ring0;

/// What a test needs beyond an ordinary Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// A KVM that can run guests.
    Kvm,
    /// User and mount namespaces, and the tools of util-linux.
    Namespaces,
    /// Both.
    KvmAndNamespaces,
    /// The simulator of `faultlab rig`. The Linux in it is fetched if there is none.
    Simulator,
    /// The same, and a C compiler with a static C library.
    SimulatorAndStaticC,
    /// A KVM on which the guest's ring 0 runs natively, so that times say something.
    KvmAndNativeRing0,
    /// A KVM that can run guests, and root's rights over IPC namespaces.
    KvmAndIpcNamespace,
    /// The same and rights over mounts, on a Linux that moves several mappings at once, as the guest does: 6.17 or later.
    KvmAndRecentNamespaces,
    /// A KVM that can run guests, and a C compiler with a static C library.
    KvmAndStaticC,
    /// The same, and root's rights over mounts.
    KvmStaticCAndRoot,
    /// A KVM that can run guests, and root's rights over mounts.
    KvmAndMountNamespace,
    /// A KVM that can run guests, and the static busybox of the distribution.
    KvmAndBusybox,
    /// A KVM that can run guests, and the compiler of musl, another C library.
    KvmAndMusl,
}

impl Needs {
    fn kvm(self) -> bool {
        !matches!(
            self,
            Needs::Nothing | Needs::Namespaces | Needs::Simulator | Needs::SimulatorAndStaticC
        )
    }

    fn namespaces(self) -> bool {
        matches!(self, Needs::Namespaces | Needs::KvmAndNamespaces)
    }
}

/// Why a test cannot be run.
pub(crate) struct Lack {
    /// For people.
    pub(crate) reason: String,
    /// `FAULTLAB_REQUIRE_KVM=1` or `FAULTLAB_REQUIRE_RIG=1` says that this machine must have it.
    pub(crate) is_failure: bool,
}

/// This machine, each ability tried once, by the first test that needs it.
#[derive(Default)]
pub(crate) struct Machine {
    kvm: OnceLock<Option<String>>,
    namespaces: OnceLock<Option<String>>,
    simulator: OnceLock<Option<String>>,
    ipc_namespace: OnceLock<Option<String>>,
    static_c: OnceLock<Option<String>>,
    mount_namespace: OnceLock<Option<String>>,
}

impl Machine {
    /// Why it cannot run a test with these needs; `None` if it can.
    pub(crate) fn lacks(&self, needs: Needs) -> Option<Lack> {
        let kvm = needs.kvm().then(|| self.kvm.get_or_init(kvm_is_missing).clone());
        if let Some(reason) = kvm.flatten() {
            let is_failure = is_required("FAULTLAB_REQUIRE_KVM");
            return Some(Lack { reason, is_failure });
        }
        let simulator = matches!(needs, Needs::Simulator | Needs::SimulatorAndStaticC)
            .then(|| self.simulator.get_or_init(simulator_is_missing).clone());
        if let Some(reason) = simulator.flatten() {
            let is_failure = is_required("FAULTLAB_REQUIRE_RIG");
            return Some(Lack { reason, is_failure });
        }
        if needs == Needs::KvmAndBusybox {
            // A machine that must run guests must run this in them.
            let is_failure = is_required("FAULTLAB_REQUIRE_KVM");
            return busybox_is_missing().map(|reason| Lack { reason, is_failure });
        }
        if needs == Needs::KvmAndMusl {
            let is_failure = is_required("FAULTLAB_REQUIRE_KVM");
            return musl_is_missing().map(|reason| Lack { reason, is_failure });
        }
        let reason = match needs {
            Needs::KvmAndIpcNamespace => self.ipc_namespace.get_or_init(ipc_namespace_is_missing).clone(),
            Needs::KvmAndRecentNamespaces => {
                let missing = self.ipc_namespace.get_or_init(ipc_namespace_is_missing).clone();
                missing
                    .or_else(|| self.mount_namespace.get_or_init(mount_namespace_is_missing).clone())
                    .or_else(linux_is_old)
            }
            Needs::KvmAndNativeRing0 => ring0_is_interpreted(),
            Needs::KvmAndStaticC | Needs::SimulatorAndStaticC => self.static_c.get_or_init(static_c_is_missing).clone(),
            Needs::KvmStaticCAndRoot => {
                let missing = self.static_c.get_or_init(static_c_is_missing).clone();
                missing.or_else(|| self.mount_namespace.get_or_init(mount_namespace_is_missing).clone())
            }
            Needs::KvmAndMountNamespace => self.mount_namespace.get_or_init(mount_namespace_is_missing).clone(),
            needs if needs.namespaces() => self.namespaces.get_or_init(namespaces_are_missing).clone(),
            _ => None,
        };
        reason.map(|reason| Lack {
            reason,
            is_failure: false,
        })
    }
}

/// Whether `cc` links a program with nothing but what it brings along.
fn static_c_is_missing() -> Option<String> {
    let directory = match tempfile::tempdir() {
        Ok(directory) => directory,
        Err(error) => return Some(error.to_string()),
    };
    let (source, program) = (directory.path().join("a.c"), directory.path().join("a"));
    let written = std::fs::write(&source, "#include <stdio.h>\nint main(void) { return puts(\"\"); }\n");
    let compiled = written.and_then(|()| {
        let mut cc = Command::new("cc");
        cc.arg("-static").arg("-o").args([&program, &source]);
        cc.stdout(Stdio::null()).stderr(Stdio::null()).status()
    });
    match compiled {
        Ok(status) if status.success() => None,
        Ok(_) => Some("cc -static does not link: no static C library (package libc6-dev)".to_owned()),
        Err(error) => Some(format!("cc: {error}")),
    }
}

/// Where Debian's package `busybox-static` puts it.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

fn busybox_is_missing() -> Option<String> {
    match faultlab::boot::program::read(Path::new(BUSYBOX)) {
        Ok(_) => None,
        Err(error) => Some(format!("{error} (package busybox-static)")),
    }
}

fn musl_is_missing() -> Option<String> {
    let version = Command::new("musl-gcc").arg("--version").stdout(Stdio::null()).status();
    version
        .err()
        .map(|error| format!("musl-gcc: {error} (package musl-tools)"))
}

fn is_required(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

fn simulator_is_missing() -> Option<String> {
    const SIMULATOR: &str = "qemu-system-x86_64";
    let tried = Command::new(SIMULATOR).arg("--version").stdout(Stdio::null()).status();
    tried.err().map(|error| format!("{SIMULATOR}: {error}"))
}

fn kvm_is_missing() -> Option<String> {
    Host::open().err().map(|error| error.to_string())
}

/// One that cannot be told either way counts as native, and is measured.
fn ring0_is_interpreted() -> Option<String> {
    let ring0 = Host::open().ok()?.identity().ring0;
    let reason = "the guest's ring 0 is interpreted on this host, at a microsecond an instruction";
    (ring0 == Ring0::Emulated).then(|| reason.to_owned())
}

fn linux_is_old() -> Option<String> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (version < (6, 17)).then(|| format!("Linux {release} is older than 6.17, whose rules the guest follows"))
}

fn ipc_namespace_is_missing() -> Option<String> {
    unshare_fails(
        &["--ipc", "setpriv", "--reuid=1", "--regid=1", "--clear-groups", "true"],
        "a new IPC namespace and other users' ids are root's",
    )
}

fn mount_namespace_is_missing() -> Option<String> {
    unshare_fails(
        &["--mount", "mount", "-t", "tmpfs", "none", "/dev/shm"],
        "a new mount namespace and its mounts are root's",
    )
}

fn namespaces_are_missing() -> Option<String> {
    unshare_fails(
        &["-Urm", "setpriv", "--bounding-set", "-all", "true"],
        "user and mount namespaces are not permitted here",
    )
}

/// Why `unshare` cannot do this, if it cannot.
fn unshare_fails(arguments: &[&str], reason: &str) -> Option<String> {
    let tried = Command::new("unshare")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => None,
        Ok(_) => Some(reason.to_owned()),
        Err(error) => Some(format!("unshare(1): {error}")),
    }
}
