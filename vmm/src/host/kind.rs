//! Which kind of KVM this is: vendor module, second-level paging, and whether ring 0 runs natively.
//!
//! The three kinds that faultlab runs on:
//!
//! | module | parameter | second-level paging | ring 0 |
//! |---|---|---|---|
//! | `kvm_intel` | `ept=Y` / `ept=N` | EPT / shadow | native |
//! | `kvm_amd` | `npt=1` / `npt=0` | NPT / shadow | native |
//! | `kvm_pvm` | | shadow | emulated |
//!
//! Source: Linux, Documentation/admin-guide/kernel-parameters.txt (`kvm-intel.ept`, `kvm-amd.npt`).

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The vendor module that runs guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvmKind {
    /// Intel VT-x.
    KvmIntel,
    /// AMD SVM.
    KvmAmd,
    /// No hardware virtualization.
    KvmPvm,
    /// None of these was recognised.
    #[default]
    #[serde(other)]
    Unknown,
}

/// How guest-physical addresses are translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondLevelPaging {
    /// Intel extended page tables.
    Ept,
    /// AMD nested page tables.
    Npt,
    /// Shadow page tables kept by KVM: no second level in hardware.
    Shadow,
    /// Not recognised; never reported as EPT or NPT.
    #[default]
    #[serde(other)]
    Unknown,
}

/// How ring 0 of the guest runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ring0 {
    /// On the processor.
    Native,
    /// Instruction by instruction in KVM's emulator.
    Emulated,
    /// Not recognised.
    #[default]
    #[serde(other)]
    Unknown,
}

impl KvmKind {
    /// The module's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KvmKind::KvmIntel => "kvm_intel",
            KvmKind::KvmAmd => "kvm_amd",
            KvmKind::KvmPvm => "kvm_pvm",
            KvmKind::Unknown => "unknown",
        }
    }
}

impl SecondLevelPaging {
    /// As reports name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SecondLevelPaging::Ept => "EPT",
            SecondLevelPaging::Npt => "NPT",
            SecondLevelPaging::Shadow => "shadow",
            SecondLevelPaging::Unknown => "unknown",
        }
    }
}

impl Ring0 {
    /// As reports name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Ring0::Native => "native",
            Ring0::Emulated => "emulated",
            Ring0::Unknown => "unknown",
        }
    }
}

/// Recognises the KVM of a machine from `/sys/module` (given as `modules`) and the flags of `/proc/cpuinfo`.
///
/// A module may be built in although its hardware is missing, so Intel and AMD count only with `vmx` or `svm`.
pub(super) fn detect(modules: &Path, cpu_flags: &str) -> (KvmKind, SecondLevelPaging, Ring0) {
    let has_flag = |flag| cpu_flags.split_ascii_whitespace().any(|candidate| candidate == flag);
    let parameter = |path: &str| match fs::read_to_string(modules.join(path)).as_deref().map(str::trim) {
        Ok("Y" | "1") => Some(true),
        Ok("N" | "0") => Some(false),
        _ => None,
    };
    let level = |parameter, with| match parameter {
        Some(true) => with,
        Some(false) => SecondLevelPaging::Shadow,
        None => SecondLevelPaging::Unknown,
    };
    if has_flag("vmx") && modules.join("kvm_intel").is_dir() {
        let paging = level(parameter("kvm_intel/parameters/ept"), SecondLevelPaging::Ept);
        (KvmKind::KvmIntel, paging, Ring0::Native)
    } else if has_flag("svm") && modules.join("kvm_amd").is_dir() {
        let paging = level(parameter("kvm_amd/parameters/npt"), SecondLevelPaging::Npt);
        (KvmKind::KvmAmd, paging, Ring0::Native)
    } else if modules.join("kvm_pvm").is_dir() {
        (KvmKind::KvmPvm, SecondLevelPaging::Shadow, Ring0::Emulated)
    } else {
        (KvmKind::Unknown, SecondLevelPaging::Unknown, Ring0::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `/sys/module` with these parameter files (or, ending in a slash, directories).
    fn modules(name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("faultlab-kind-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn check(name: &str, files: &[(&str, &str)], flags: &str, expected: (KvmKind, SecondLevelPaging, Ring0)) {
        let root = modules(name, files);
        let found = detect(&root, flags);
        fs::remove_dir_all(&root).ok();
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn every_kind_is_recognised_and_never_promoted() {
        use KvmKind::*;
        use SecondLevelPaging::*;
        let ept = "kvm_intel/parameters/ept";
        let npt = "kvm_amd/parameters/npt";
        let pvm = ("kvm_pvm/refcnt", "0");
        check("ept", &[(ept, "Y\n")], "fpu vmx", (KvmIntel, Ept, Ring0::Native));
        check("no-ept", &[(ept, "N\n")], "fpu vmx", (KvmIntel, Shadow, Ring0::Native));
        check("npt", &[(npt, "1\n")], "svm", (KvmAmd, Npt, Ring0::Native));
        check("npt-y", &[(npt, "Y\n")], "svm", (KvmAmd, Npt, Ring0::Native));
        check("no-npt", &[(npt, "0\n")], "svm", (KvmAmd, Shadow, Ring0::Native));
        check(
            "odd-npt",
            &[("kvm_amd/refcnt", "0")],
            "svm",
            (KvmAmd, SecondLevelPaging::Unknown, Ring0::Native),
        );
        check("pvm", &[pvm], "fpu", (KvmPvm, Shadow, Ring0::Emulated));
        check(
            "built-in",
            &[pvm, (ept, "Y\n")],
            "fpu",
            (KvmPvm, Shadow, Ring0::Emulated),
        );
        check(
            "none",
            &[("x/y", "")],
            "vmx svm",
            (KvmKind::Unknown, SecondLevelPaging::Unknown, Ring0::Unknown),
        );
    }
}
