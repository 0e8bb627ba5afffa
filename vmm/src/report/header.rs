//! The lines above the table: which machine, which KVM, which guest.
//!
//! A host without EPT or NPT is never shown as one, and a ring 0 that is interpreted is named as such: its costs are
//! not those of a processor.

use serde_json::{Map, Value};

use super::model::Report;
use crate::host::{HostIdentity, Ring0, SecondLevelPaging};
use crate::rig;

/// In a report's `vm` object: which kernel the program ran on, if not faultlab's guest.
const KERNEL: &str = "kernel";
/// Its value for this machine's own Linux; also what stands for the backing there.
pub const LINUX: &str = "linux";

/// All lines above a report's table.
#[must_use]
pub fn lines(report: &Report) -> Vec<String> {
    let mut lines = host_lines(&identity(report));
    lines.push(vm_line(&report.vm));
    lines
}

/// The host of a report; of one that was read, as far as it can be understood.
#[must_use]
pub fn identity(report: &Report) -> HostIdentity {
    let whole = serde_json::from_value(Value::Object(report.host.clone()));
    whole.unwrap_or_else(|_| {
        let text = |key: &str| report.host.get(key).and_then(Value::as_str).map(str::to_owned);
        HostIdentity {
            cpu_model: text("cpu_model").unwrap_or_else(|| "unknown".to_owned()),
            kernel_release: text("kernel_release").unwrap_or_else(|| "unknown".to_owned()),
            machine: text("machine"),
            simulator: text("simulator"),
            ..HostIdentity::default()
        }
    })
}

/// Whether a report's `vm` object says that there was none: [`on_linux`].
fn is_on_linux(vm: &Map<String, Value>) -> bool {
    vm.get(KERNEL).and_then(Value::as_str) == Some(LINUX)
}

/// The `vm` object of a report of the program as a process of this machine's own Linux ([`crate::on_linux`]).
#[must_use]
pub fn on_linux(budget_ms: u64) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert(KERNEL.to_owned(), LINUX.into());
    map.insert("backing".to_owned(), LINUX.into());
    map.insert("budget_ms".to_owned(), budget_ms.into());
    map
}

/// What a report's columns are called beside those of others: by its second-level paging, or that it is Linux.
#[must_use]
pub fn label(report: &Report) -> &'static str {
    if is_on_linux(&report.vm) {
        return "Linux";
    }
    identity(report).second_level_paging.name()
}

/// The line for the guest, from a report's `vm` object.
fn vm_line(vm: &Map<String, Value>) -> String {
    let number = |key: &str| vm.get(key).and_then(Value::as_u64);
    let text = |key: &str| vm.get(key).and_then(Value::as_str);
    let budget = number("budget_ms").map_or_else(String::new, |ms| format!(", {:.0} s budget", ms as f64 / 1e3));
    if is_on_linux(vm) {
        return format!("Linux the same program as a process of this Linux itself: no KVM, no guest{budget}");
    }
    let memory = number("memory_bytes").map_or_else(|| "unknown".to_owned(), show_size);
    let swap = match (text("swap_file"), number("swap_bytes")) {
        (Some(path), _) => format!("swap on {path}"),
        (None, Some(0)) => "no swap".to_owned(),
        (None, Some(bytes)) => {
            let place = match text("swap_backend") {
                Some("memory") => "in the host's memory",
                Some("null") => "on NOTHING (pages are lost)",
                _ => "on a temporary file",
            };
            format!("{} swap {place}", show_size(bytes))
        }
        // Older reports only count the slots.
        (None, None) if number("swap_pages").is_none_or(|pages| pages == 0) => "no swap".to_owned(),
        (None, None) => "swap on a temporary file".to_owned(),
    };
    let swap = match text("swap_areas") {
        Some(areas) => format!("{swap} and {areas}"),
        None => swap,
    };
    let swap = match vm.get("swap_direct").and_then(Value::as_bool) {
        Some(true) => format!("{swap}, past the page cache"),
        _ => swap,
    };
    let swap = match text("swap_io") {
        Some("thread") => format!("{swap}, served by an I/O thread"),
        Some("uring") => format!("{swap}, served by an I/O thread with io_uring"),
        _ => swap,
    };
    let swap = match text("swap_faults") {
        Some(faults) => format!("{swap} WITH FAULTS ON PURPOSE ({faults})"),
        None => swap,
    };
    let vcpus = match number("vcpus") {
        Some(count) if count != 1 => format!("{count} vCPUs"),
        _ => "1 vCPU".to_owned(),
    };
    let trace = match text("trace_level") {
        Some("stages") => "TRACING ON (costs include it)",
        _ => "tracing off",
    };
    format!("VM    {memory} memory, {swap}, {vcpus}, {trace}{budget}")
}

/// `bytes` with the largest suffix K, M or G (binary) that divides it.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    for (shift, suffix) in [(30, 'G'), (20, 'M'), (10, 'K')] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{suffix}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A line for the machine, one for its KVM, and one for what simulates it, if something does.
#[must_use]
pub fn host_lines(host: &HostIdentity) -> Vec<String> {
    let nested = if host.nested { ", itself a virtual machine" } else { "" };
    let gib = host.memory_bytes as f64 / f64::from(1 << 30);
    let machine = format!(
        "host  {}, {} CPUs, {gib:.1} GiB, Linux {}{nested}",
        host.cpu_model, host.cpus_online, host.kernel_release
    );
    let kvm = format!(
        "KVM   {}, {}, {}, TSC {:.1} MHz",
        host.kvm_kind.name(),
        paging(host.second_level_paging),
        ring0(host.ring0),
        host.tsc_khz as f64 / 1e3
    );
    let mut lines = vec![machine, kvm];
    if let Some(machine) = &host.machine {
        let simulator = host.simulator.as_deref().unwrap_or("an unknown simulator");
        let clock = if rig::counts_instructions(machine) {
            "one cycle = one instruction"
        } else {
            "in real time: costs are the simulator's, not a processor's"
        };
        let told = host.kernel_command_line.as_deref().unwrap_or_default();
        let defences = match told.split_ascii_whitespace().any(|word| word == "mitigations=off") {
            true => "",
            false if told.is_empty() => "",
            false => ", mitigations on",
        };
        lines.push(format!("simulated: {simulator}, {clock}{defences}"));
    }
    lines
}

/// Second-level paging in words.
#[must_use]
pub fn paging(paging: SecondLevelPaging) -> &'static str {
    match paging {
        SecondLevelPaging::Ept => "second-level paging by EPT",
        SecondLevelPaging::Npt => "second-level paging by NPT",
        SecondLevelPaging::Shadow => "shadow page tables (no EPT or NPT)",
        SecondLevelPaging::Unknown => "second-level paging unknown",
    }
}

/// How ring 0 runs, in words.
#[must_use]
pub fn ring0(ring0: Ring0) -> &'static str {
    match ring0 {
        Ring0::Native => "ring 0 native",
        Ring0::Emulated => "ring 0 emulated instruction by instruction",
        Ring0::Unknown => "ring 0 unknown",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::KvmKind;

    fn emulating_host() -> HostIdentity {
        HostIdentity {
            cpu_model: "AMD EPYC".into(),
            cpus_online: 2,
            memory_bytes: 24 << 30,
            kernel_release: "6.18.44".into(),
            kvm_kind: KvmKind::KvmPvm,
            second_level_paging: SecondLevelPaging::Shadow,
            ring0: Ring0::Emulated,
            nested: true,
            tsc_khz: 2_596_147,
            thp_enabled: "madvise".into(),
            thp_shmem_enabled: "never".into(),
            hugetlb: Vec::new(),
            capabilities: Vec::new(),
            machine: None,
            simulator: None,
            kernel_command_line: None,
        }
    }

    #[test]
    fn an_emulating_host_is_named_honestly_and_fits() {
        let lines = host_lines(&emulating_host());
        let [machine, kvm] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        assert_eq!(
            machine,
            "host  AMD EPYC, 2 CPUs, 24.0 GiB, Linux 6.18.44, itself a virtual machine"
        );
        let expected = "KVM   kvm_pvm, shadow page tables (no EPT or NPT), ring 0 emulated instruction by instruction, \
                        TSC 2596.1 MHz";
        assert_eq!(kvm, expected);
        assert!(kvm.len() <= 120);
    }

    #[test]
    fn a_simulated_host_says_what_a_cycle_is() {
        let simulated = |machine: &str| {
            let host = HostIdentity {
                machine: Some(machine.to_owned()),
                simulator: Some("QEMU 7.2".to_owned()),
                ..emulating_host()
            };
            host_lines(&host).pop()
        };
        let counted = "simulated: QEMU 7.2, one cycle = one instruction";
        assert_eq!(simulated("rig:amd:icount").as_deref(), Some(counted));
        let defended = HostIdentity {
            kernel_command_line: Some("console=ttyS0 quiet".to_owned()),
            machine: Some("rig:amd:icount".to_owned()),
            ..emulating_host()
        };
        assert!(
            host_lines(&defended)
                .pop()
                .is_some_and(|line| line.ends_with(", mitigations on"))
        );
        assert!(simulated("rig:amd").is_some_and(|line| line.contains("in real time")));
    }

    #[test]
    fn the_guest_in_a_line() {
        let line = |vm: Value| vm_line(vm.as_object().unwrap());
        let vm = json!({"memory_bytes": 64 << 20, "swap_bytes": 36 << 10, "vcpus": 1, "trace_level": "off",
            "budget_ms": 2000, "swap_file": null});
        let expected = "VM    64M memory, 36K swap on a temporary file, 1 vCPU, tracing off, 2 s budget";
        assert_eq!(line(vm), expected);
        let vm = json!({"memory_bytes": 1, "swap_file": "/s", "swap_bytes": 7, "vcpus": 4, "trace_level": "stages"});
        let expected = "VM    1 memory, swap on /s, 4 vCPUs, TRACING ON (costs include it)";
        assert_eq!(line(vm), expected);
        for (server, words) in [
            ("inline", "file, 1 vCPU"),
            ("thread", "file, served by an I/O thread, 1 vCPU"),
            ("uring", "file, served by an I/O thread with io_uring, 1 vCPU"),
        ] {
            let told = line(json!({"swap_bytes": 4096, "swap_io": server}));
            assert!(told.contains(words), "{told}");
        }
        let vm = json!({"swap_bytes": 1 << 20, "swap_areas": "2M 4M,prio=5"});
        assert!(line(vm).contains(", 1M swap on a temporary file and 2M 4M,prio=5, "));
        assert!(line(json!({"swap_bytes": 0})).contains("unknown memory, no swap, "));
        assert!(line(json!({"swap_pages": 9})).contains(", swap on a temporary file, "));
    }

    #[test]
    fn a_host_is_shown_as_far_as_it_is_understood() {
        let mut report = super::super::testing::report(super::super::Regime::Shadow);
        let mut host = |value: Value| {
            report.host = value.as_object().unwrap().clone();
            identity(&report)
        };
        let same = serde_json::to_value(emulating_host()).unwrap();
        assert_eq!(host(same), emulating_host());
        let later = host(json!({"cpu_model": "New", "kvm_kind": "kvm_new", "cpus_online": 3}));
        assert_eq!((later.kvm_kind, later.cpus_online), (KvmKind::Unknown, 3));
        let broken = host(json!({"cpu_model": "Old", "cpus_online": "many"}));
        assert_eq!((broken.cpu_model.as_str(), broken.cpus_online), ("Old", 0));
    }
}
