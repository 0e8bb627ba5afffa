//! The lines above the table: which machine, which KVM, which guest.
//!
//! A host without EPT or NPT is never shown as one, and a ring 0 that is interpreted is named as such: its costs are
//! not those of a processor.

use crate::host::{HostIdentity, Ring0, SecondLevelPaging};

/// Two lines: the machine, and its KVM.
#[must_use]
pub fn host_lines(host: &HostIdentity) -> [String; 2] {
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
    [machine, kvm]
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

    #[test]
    fn an_emulating_host_is_named_honestly_and_fits() {
        let host = HostIdentity {
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
        };
        let [machine, kvm] = host_lines(&host);
        assert_eq!(
            machine,
            "host  AMD EPYC, 2 CPUs, 24.0 GiB, Linux 6.18.44, itself a virtual machine"
        );
        let expected = "KVM   kvm_pvm, shadow page tables (no EPT or NPT), ring 0 emulated instruction by instruction, \
                        TSC 2596.1 MHz";
        assert_eq!(kvm, expected);
        assert!(kvm.len() <= 120);
    }
}
