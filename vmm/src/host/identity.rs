//! What this machine is, for every report.
//!
//! Source: proc(5), sysfs, uname(2); CPUID leaf 1 ECX bit 31 (Intel SDM volume 2, CPUID; the bit that hypervisors set).

use std::fs;
use std::path::Path;

use kvm_ioctls::Kvm;
use serde::{Deserialize, Serialize};

use super::kind::{KvmKind, Ring0, SecondLevelPaging, detect};
use crate::rig;

/// One capability of this host's KVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Its name in the KVM API documentation.
    pub name: String,
    /// Whether `KVM_CHECK_EXTENSION` reports it.
    pub present: bool,
}

/// A pool of huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugetlbPool {
    /// Bytes of one page.
    pub page_bytes: u64,
    /// Pages in the pool.
    pub total_pages: u64,
    /// Of these, unused.
    pub free_pages: u64,
}

/// The identity of a host, in every report. What a report that is read lacks is empty, 0 or unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostIdentity {
    /// `model name` of `/proc/cpuinfo`.
    pub cpu_model: String,
    /// Logical processors that are online.
    pub cpus_online: u64,
    /// `MemTotal`, in bytes.
    pub memory_bytes: u64,
    /// As `uname -r`.
    pub kernel_release: String,
    /// The vendor module.
    pub kvm_kind: KvmKind,
    /// How guest-physical addresses are translated.
    pub second_level_paging: SecondLevelPaging,
    /// How ring 0 runs.
    pub ring0: Ring0,
    /// This machine is itself a guest (CPUID hypervisor bit), or simulated.
    pub nested: bool,
    /// Rate of the guest's time-stamp counter, in kHz; 0 if KVM does not tell.
    pub tsc_khz: u64,
    /// `transparent_hugepage/enabled`: `always`, `madvise` or `never`; empty without THP.
    pub thp_enabled: String,
    /// `transparent_hugepage/shmem_enabled`.
    pub thp_shmem_enabled: String,
    /// Pools of huge pages, smallest page first.
    pub hugetlb: Vec<HugetlbPool>,
    /// What this host's KVM can do beyond what is required.
    pub capabilities: Vec<Capability>,
    /// Which simulated machine this is ([`rig::MACHINE_VARIABLE`]); `None` on a real one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What simulates it ([`rig::SIMULATOR_VARIABLE`]); `None` on a real one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulator: Option<String>,
    /// What the Linux of a simulated machine was told at boot: whether it defends itself against speculative execution, for one; `None` on
    /// a real machine, whose command line is nobody's business.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_command_line: Option<String>,
}

impl HostIdentity {
    /// Reads everything; what cannot be read stays empty, 0 or unknown.
    pub(super) fn gather(capabilities: Vec<Capability>, kvm: &Kvm) -> HostIdentity {
        let cpuinfo = read("/proc/cpuinfo");
        let (kvm_kind, second_level_paging, ring0) =
            detect(Path::new("/sys/module"), field(&cpuinfo, "flags").unwrap_or_default());
        let simulated = std::env::var_os(rig::MACHINE_VARIABLE).is_some();
        HostIdentity {
            cpu_model: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cpus_online: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            memory_bytes: mem_total_bytes(&read("/proc/meminfo")),
            kernel_release: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            kvm_kind,
            second_level_paging,
            ring0,
            // Bochs does not set the bit.
            nested: simulated || std::arch::x86_64::__cpuid(1).ecx >> 31 == 1,
            kernel_command_line: simulated.then(|| read("/proc/cmdline").trim().to_owned()),
            tsc_khz: tsc_khz(kvm),
            thp_enabled: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
            thp_shmem_enabled: chosen(&read("/sys/kernel/mm/transparent_hugepage/shmem_enabled")),
            hugetlb: hugetlb_pools(Path::new("/sys/kernel/mm/hugepages")),
            capabilities,
            machine: std::env::var(rig::MACHINE_VARIABLE).ok(),
            simulator: std::env::var(rig::SIMULATOR_VARIABLE).ok(),
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn mem_total_bytes(meminfo: &str) -> u64 {
    let kib = field(meminfo, "MemTotal").and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The word in brackets of a sysfs choice: `always [madvise] never`.
fn chosen(choice: &str) -> String {
    choice
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("", |(word, _)| word)
        .to_owned()
}

fn hugetlb_pools(root: &Path) -> Vec<HugetlbPool> {
    let number = |path: &Path| read(path).trim().parse().unwrap_or(0);
    let mut pools: Vec<HugetlbPool> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let kib: u64 = name
                .to_str()?
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            Some(HugetlbPool {
                page_bytes: kib * 1024,
                total_pages: number(&entry.path().join("nr_hugepages")),
                free_pages: number(&entry.path().join("free_hugepages")),
            })
        })
        .collect();
    pools.sort_by_key(|pool| pool.page_bytes);
    pools
}

/// `KVM_GET_TSC_KHZ` of a new vCPU: the rate that a guest sees unless it is scaled.
fn tsc_khz(kvm: &Kvm) -> u64 {
    let rate = kvm
        .create_vm()
        .and_then(|vm| vm.create_vcpu(0))
        .and_then(|vcpu| vcpu.get_tsc_khz());
    rate.map_or(0, u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_and_sysfs_texts() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu svm\nmodel name\t: second\n";
        assert_eq!(field(cpuinfo, "model name"), Some("AMD EPYC"));
        assert_eq!(field(cpuinfo, "flags"), Some("fpu svm"));
        assert_eq!(
            mem_total_bytes("MemFree: 1 kB\nMemTotal:       24684084 kB\n"),
            24_684_084 * 1024
        );
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert_eq!(chosen(""), "");
    }
}
