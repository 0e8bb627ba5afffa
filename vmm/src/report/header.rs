//! The lines above the table: which machine, which KVM, which guest.
//!
//! A host without EPT or NPT is never shown as one, and a ring 0 that is interpreted is named as such: its costs are
//! not those of a processor.

use crate::host::{HostIdentity, Ring0, SecondLevelPaging};
use crate::rig;

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
        lines.push(format!("simulated: {simulator}, {clock}"));
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
        assert!(simulated("rig:amd").is_some_and(|line| line.contains("in real time")));
    }
}
