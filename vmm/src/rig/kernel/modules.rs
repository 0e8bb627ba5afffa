//! The modules that make a kernel a KVM host, and give it a disk, in the order in which they have to be loaded.
//!
//! The order is fixed here instead of being computed from `modules.dep`, which only an installed kernel has (depmod(8)
//! writes it at installation), or from the modules themselves, which may be compressed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::files;

/// What may be loaded before the last module; each is needed by one after it. A kernel need not have all of them:
/// distributions build some in or leave them out.
const LOAD_ORDER: [&str; 4] = ["rng-core", "ccp", "irqbypass", "kvm"];

/// What a disk needs beside them: its file system and what that needs, then the disk itself.
const DISK_LOAD_ORDER: [&str; 6] = ["crc16", "crc32c-generic", "mbcache", "jbd2", FILE_SYSTEM, RAM_DISK];
/// The modules that are part of the kernel, beside those that are not.
pub(super) const BUILTIN_LIST: &str = "modules.builtin";
const FILE_SYSTEM: &str = "ext4";
const RAM_DISK: &str = "brd";

/// The module files below `directory` in load order, `kvm_module` the last; `None` if the kernel cannot have
/// `/dev/kvm` on a machine that needs that one.
pub(super) fn find_modules(directory: &Path, kvm_module: &'static str) -> Option<Vec<PathBuf>> {
    let wanted = [&LOAD_ORDER, [kvm_module].as_slice()].concat();
    let mut found = BTreeMap::new();
    walk(directory, &wanted, &mut found);
    let complete = found.contains_key(kvm_module) || is_builtin(directory, kvm_module);
    complete.then(|| wanted.iter().filter_map(|name| found.remove(name)).collect())
}

/// The same for a disk in memory with a file system; `None` if the kernel cannot have one. The disk is made as large as it has to be by loading it.
pub(super) fn find_disk_modules(directory: &Path) -> Option<Vec<PathBuf>> {
    let mut found = BTreeMap::new();
    walk(directory, &DISK_LOAD_ORDER, &mut found);
    let has_file_system = found.contains_key(FILE_SYSTEM) || is_builtin(directory, FILE_SYSTEM);
    let complete = has_file_system && found.contains_key(RAM_DISK);
    complete.then(|| DISK_LOAD_ORDER.iter().filter_map(|name| found.remove(name)).collect())
}

/// Collects the `wanted` modules below `directory`. Symbolic links (`build`, `source`) are not followed.
fn walk(directory: &Path, wanted: &[&'static str], found: &mut BTreeMap<&'static str, PathBuf>) {
    for path in files(directory) {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, wanted, found);
        } else if let Some(name) = module_name(&path)
            && let Some(known) = wanted.iter().find(|known| **known == name)
        {
            found.entry(known).or_insert(path);
        }
    }
}

/// Name of the module in a file `NAME.ko`, `.ko.xz`, `.ko.gz` or `.ko.zst`, with dashes.
fn module_name(path: &Path) -> Option<String> {
    let (name, compression) = path.file_name()?.to_str()?.split_once(".ko")?;
    matches!(compression, "" | ".xz" | ".gz" | ".zst").then(|| name.replace('_', "-"))
}

/// Whether `modules.builtin` lists the module.
fn is_builtin(directory: &Path, name: &str) -> bool {
    let list = fs::read_to_string(directory.join(BUILTIN_LIST)).unwrap_or_default();
    list.lines()
        .any(|line| module_name(Path::new(line)).is_some_and(|builtin| builtin == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for path in paths {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        directory
    }

    #[test]
    fn modules_come_in_load_order() {
        let tree = tree(&[
            "kernel/arch/x86/kvm/kvm_amd.ko.zst",
            "kernel/arch/x86/kvm/kvm.ko.zst",
            "kernel/arch/x86/kvm/kvm-intel.ko.zst",
            "kernel/virt/lib/irqbypass.ko.zst",
            "kernel/crypto/ccp.ko.sig",
            "kernel/other.ko",
        ]);
        let modules = find_modules(tree.path(), "kvm-amd").unwrap();
        let names: Vec<_> = modules.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["irqbypass.ko.zst", "kvm.ko.zst", "kvm_amd.ko.zst"]);
        assert_eq!(
            find_modules(tree.path(), "kvm-intel").unwrap().last(),
            Some(&tree.path().join("kernel/arch/x86/kvm/kvm-intel.ko.zst"))
        );
    }

    #[test]
    fn a_disk_needs_its_file_system() {
        let tree = tree(&["kernel/drivers/block/brd.ko", "kernel/lib/crc16.ko.xz"]);
        assert_eq!(find_disk_modules(tree.path()), None);
        fs::write(tree.path().join(BUILTIN_LIST), "kernel/fs/ext4/ext4.ko\n").unwrap();
        let modules = find_disk_modules(tree.path()).unwrap();
        let names: Vec<_> = modules.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["crc16.ko.xz", "brd.ko"]);
    }

    #[test]
    fn without_the_last_module_it_must_be_built_in() {
        let tree = tree(&["kernel/kvm.ko"]);
        assert_eq!(find_modules(tree.path(), "kvm-amd"), None);
        fs::write(
            tree.path().join("modules.builtin"),
            "kernel/x.ko\nkernel/arch/x86/kvm/kvm-amd.ko\n",
        )
        .unwrap();
        assert_eq!(find_modules(tree.path(), "kvm-amd").unwrap().len(), 1);
    }
}
