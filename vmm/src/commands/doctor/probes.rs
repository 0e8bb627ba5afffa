//! What is looked at, and the remedy for each lack. Every probe only looks: nothing is changed or left behind.
//!
//! Source: proc(5), sysfs; Linux, Documentation/admin-guide/mm/{transhuge,hugetlbpage,userfaultfd}.rst; tmpfile in
//! open(2).

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use faultlab::HostIdentity;
use faultlab::error::MemoryError;
use faultlab::host::{KvmKind, Ring0, SecondLevelPaging};
use faultlab::memory::Backing;
use faultlab::report::header;
use faultlab::rig::{self, Machine};
use rustix::fs::statvfs;
use rustix::io::Errno;
use rustix::mm::{UserfaultfdFlags, userfaultfd};

use super::Finding;
use crate::cli::show_size;

/// Free space below which the default `--swap` and a 64 MiB guest would not fit.
const COMFORTABLE_BYTES: u64 = 256 << 20;

/// Findings about an open KVM.
pub(super) fn of_kvm(host: &HostIdentity) -> Vec<Finding> {
    let hardware = "enable VT-x or SVM in the firmware, or use a machine (or a cloud instance) that offers it";
    let kind = match host.kvm_kind {
        KvmKind::Unknown => Finding::limited("KVM kind", "not recognised", "report the modules that `lsmod` lists"),
        kind => Finding::ok("KVM kind", kind.name()),
    };
    let paging = match host.second_level_paging {
        SecondLevelPaging::Ept | SecondLevelPaging::Npt => {
            Finding::ok("second-level paging", host.second_level_paging.name())
        }
        SecondLevelPaging::Shadow if host.kvm_kind == KvmKind::KvmPvm => Finding::limited(
            "second-level paging",
            header::paging(host.second_level_paging),
            hardware,
        ),
        SecondLevelPaging::Shadow => {
            let remedy = "load kvm_intel with ept=1, or kvm_amd with npt=1";
            Finding::limited("second-level paging", header::paging(host.second_level_paging), remedy)
        }
        SecondLevelPaging::Unknown => Finding::limited(
            "second-level paging",
            "unknown",
            "make /sys/module readable in this container",
        ),
    };
    let ring0 = match host.ring0 {
        Ring0::Native => Finding::ok("ring 0", "native"),
        other => Finding::limited("ring 0", header::ring0(other), hardware),
    };
    let nested = if host.nested {
        "yes: this machine is itself a virtual machine"
    } else {
        "no: bare metal"
    };
    let mut findings = vec![kind, paging, ring0, Finding::ok("nested", nested), tsc(host)];
    findings.extend(OPTIONS.map(|of| option(host, of)));
    findings.extend([thp(host), hugetlb(host)]);
    findings
}

fn tsc(host: &HostIdentity) -> Finding {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let invariant = ["constant_tsc", "nonstop_tsc"]
        .iter()
        .all(|flag| flags.split_whitespace().any(|word| word == *flag));
    let rate = format!("{:.1} MHz", host.tsc_khz as f64 / 1e3);
    match (host.tsc_khz, invariant) {
        (0, _) => Finding::limited(
            "time-stamp counter",
            "KVM does not tell its rate",
            "use Linux 2.6.35 or later",
        ),
        (_, false) => {
            let remedy = "pin the CPU frequency: without constant_tsc and nonstop_tsc cycles are not time";
            Finding::limited("time-stamp counter", format!("{rate}, not invariant"), remedy)
        }
        (_, true) => Finding::ok("time-stamp counter", format!("{rate}, invariant")),
    }
}

/// Whether KVM can do more than guests need: what it is good for, the capability, and what to do without.
const OPTIONS: [(&str, &str, &str); 3] = [
    (
        "KVM statistics",
        "KVM_CAP_BINARY_STATS_FD",
        "use Linux 5.14 or later: without it a run cannot check its counts",
    ),
    (
        "--dirty ring",
        "KVM_CAP_DIRTY_LOG_RING",
        "use Linux 5.11 or later, or --dirty log",
    ),
    (
        "--prepare prefault",
        "KVM_CAP_PRE_FAULT_MEMORY",
        "use Linux 6.11 or later with EPT or NPT, or --prepare populate",
    ),
];

fn option(host: &HostIdentity, (item, capability, remedy): (&str, &str, &str)) -> Finding {
    let is_present = |cap: &&faultlab::host::Capability| cap.name == capability && cap.present;
    match host.capabilities.iter().find(is_present) {
        Some(_) => Finding::ok(item, capability),
        None => Finding::limited(item, format!("no {capability}"), remedy),
    }
}

fn thp(host: &HostIdentity) -> Finding {
    let remedy = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled";
    match host.thp_enabled.as_str() {
        "" => Finding::limited(
            "transparent huge pages",
            "not in this kernel",
            "use one with CONFIG_TRANSPARENT_HUGEPAGE",
        ),
        "never" => Finding::limited("transparent huge pages", "never", remedy),
        enabled => {
            let shmem = if host.thp_shmem_enabled.is_empty() {
                "unknown"
            } else {
                &host.thp_shmem_enabled
            };
            Finding::ok("transparent huge pages", format!("{enabled}, shmem {shmem}"))
        }
    }
}

fn hugetlb(host: &HostIdentity) -> Finding {
    let pools: Vec<String> = host
        .hugetlb
        .iter()
        .map(|pool| {
            format!(
                "{} of {} pages of {} free",
                pool.free_pages,
                pool.total_pages,
                show_size(pool.page_bytes)
            )
        })
        .collect();
    if host.hugetlb.iter().any(|pool| pool.free_pages > 0) {
        return Finding::ok("hugetlb", pools.join(", "));
    }
    let state = if pools.is_empty() {
        "not in this kernel".to_owned()
    } else {
        pools.join(", ")
    };
    Finding::limited("hugetlb", state, "echo 64 | sudo tee /proc/sys/vm/nr_hugepages")
}

/// Findings that need no KVM.
pub(super) fn of_machine() -> Vec<Finding> {
    let mut findings = vec![
        userfault(),
        tracefs(Path::new("/sys/kernel/tracing")),
        swap_directory(&std::env::temp_dir()),
        memory(),
    ];
    findings.extend(Backing::ALL.map(backing));
    findings.extend(Machine::ALL.map(simulated));
    findings
}

/// Whether a simulated machine can be had, which needs no KVM here.
fn simulated(machine: Machine) -> Finding {
    let item = format!("rig --machine {}", machine.name());
    match rig::simulator(machine) {
        Ok(version) => Finding::ok(item, version),
        Err(error) => {
            // Messages are "what is wrong: what to do".
            let text = error.to_string();
            let (state, remedy) = text
                .split_once(": ")
                .unwrap_or((&text, "check the simulator's installation"));
            Finding::limited(item, state, remedy)
        }
    }
}

/// Whether guest memory can be backed so: the least of it is mapped, and let go again.
fn backing(backing: Backing) -> Finding {
    let item = format!("backing {}", backing.name());
    match backing.probe() {
        Ok(()) => Finding::ok(item, format!("pages of {}", show_size(backing.granule_bytes()))),
        Err(MemoryError::Unavailable { why, remedy, .. }) => Finding::limited(item, why, remedy),
        Err(error) => Finding::limited(item, error.to_string(), "see dmesg"),
    }
}

fn userfault() -> Finding {
    // Faults that KVM takes on the guest's behalf are kernel faults, so the restricted user-mode kind is not enough.
    // SAFETY: the descriptor is dropped at once, so nothing is ever registered with it.
    match unsafe { userfaultfd(UserfaultfdFlags::CLOEXEC) } {
        Ok(_) => Finding::ok("userfaultfd", "kernel faults included"),
        Err(Errno::PERM) => Finding::limited(
            "userfaultfd",
            "no permission",
            "sudo sysctl vm.unprivileged_userfaultfd=1, or run as root",
        ),
        Err(Errno::NOSYS) => Finding::limited("userfaultfd", "not in this kernel", "use one with CONFIG_USERFAULTFD"),
        Err(error) => Finding::limited("userfaultfd", error.to_string(), "see userfaultfd(2) for this error"),
    }
}

fn tracefs(root: &Path) -> Finding {
    match fs::read_dir(root.join("events/kvm")) {
        Ok(_) => Finding::ok("tracefs", "kvm events readable"),
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::PermissionDenied => "run as root, or sudo mount -o remount,mode=755 /sys/kernel/tracing",
                _ => "sudo mount -t tracefs tracefs /sys/kernel/tracing",
            };
            Finding::limited("tracefs", format!("{}: {}", root.display(), reason(&error)), remedy)
        }
    }
}

fn swap_directory(directory: &Path) -> Finding {
    let item = "swap directory";
    let remedy = "set TMPDIR to a writable directory with free space, or use --swap-file";
    match (tempfile::tempfile_in(directory), statvfs(directory)) {
        (Ok(_), Ok(space)) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let state = format!("{}, {} MiB free", directory.display(), free >> 20);
            if free < COMFORTABLE_BYTES {
                Finding::limited(item, state, remedy)
            } else {
                Finding::ok(item, state)
            }
        }
        (Err(error), _) => Finding::limited(item, format!("{}: {}", directory.display(), reason(&error)), remedy),
        (_, Err(error)) => Finding::limited(item, format!("{}: {error}", directory.display()), remedy),
    }
}

fn memory() -> Finding {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo.lines().find_map(|line| {
        let kib: u64 = line
            .strip_prefix("MemAvailable:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse()
            .ok()?;
        Some(kib * 1024)
    });
    match available {
        None => Finding::limited("memory", "unknown", "make /proc/meminfo readable"),
        Some(bytes) if bytes < COMFORTABLE_BYTES => Finding::limited(
            "memory",
            format!("{} MiB available", bytes >> 20),
            "end other programs, or give a smaller --memory",
        ),
        Some(bytes) => Finding::ok("memory", format!("{} MiB available", bytes >> 20)),
    }
}

/// The operating system's words without Rust's `(os error N)`, which may span the line of a remedy.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn what_is_not_there_is_limited_and_names_the_path() {
        let missing = Path::new("/nonexistent/place");
        for finding in [tracefs(missing), swap_directory(missing)] {
            assert_eq!(finding.verdict, Verdict::Limited);
            assert!(finding.state.starts_with("/nonexistent/place"), "{finding:?}");
        }
    }

    #[test]
    fn probing_the_swap_directory_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        swap_directory(directory.path());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
