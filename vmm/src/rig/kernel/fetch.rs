//! The distribution's kernel package, fetched once: downloaded and unpacked by the package tools without installing
//! anything, and reduced to the kernel image and the modules that the machine loads.
//!
//! Source: apt-get(8) `download`, apt-cache(8) `show`, dpkg-deb(1) `--extract`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::modules::BUILTIN_LIST;
use super::{Kernel, files, in_root};
use crate::rig::Machine;

/// The package that always depends on the newest kernel built for virtual machines: small, and quick to boot.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// Fetches the kernel into a directory of its own below `cache` and returns that directory; the error is the reason.
pub(super) fn fetch(cache: &Path) -> Result<PathBuf, String> {
    let description = run(Command::new("apt-cache").args(["show", "--no-all-versions", META_PACKAGE]))?;
    let package = dependency(&description).ok_or("apt knows no kernel package; `sudo apt-get update` may help")?;
    let cannot = |error: io::Error| format!("cannot write to {}: {error}", cache.display());
    fs::create_dir_all(cache).map_err(cannot)?;
    let work = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(cache)
        .map_err(cannot)?;

    log::warn!("fetching {package} once, to {}", cache.display());
    run(Command::new("apt-get")
        .args(["download", &package])
        .current_dir(work.path()))?;
    let archive = files(work.path())
        .into_iter()
        .find(|path| path.extension().is_some_and(|name| name == "deb"));
    let archive = archive.ok_or("apt-get download left no package file")?;
    let unpacked = work.path().join("unpacked");
    run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&unpacked))?;

    let target = cache.join(&package);
    keep_needed(&unpacked, &target)?;
    Ok(target)
}

/// Moves the kernel, and its modules for every machine, to the same places below `kept`. Another faultlab that does the
/// same, or did so before, is no harm: files appear complete, replace equal ones, and nothing is found before the last.
fn keep_needed(unpacked: &Path, kept: &Path) -> Result<(), String> {
    let kernels: Vec<Kernel> = Machine::ALL
        .iter()
        .filter_map(|machine| in_root(unpacked, None, machine.kvm_module()))
        .collect();
    let image = &kernels
        .first()
        .ok_or("the package has no kernel with its KVM modules")?
        .image;
    let modules_of =
        |kernel: &Kernel| [kernel.modules.clone(), kernel.disk_modules.clone().unwrap_or_default()].concat();
    let modules: BTreeSet<PathBuf> = kernels.iter().flat_map(modules_of).collect();
    let builtin = unpacked
        .join("lib/modules")
        .join(&kernels[0].release)
        .join(BUILTIN_LIST);
    let builtin = builtin.exists().then_some(&builtin);
    for path in modules.iter().chain(builtin).chain([image]) {
        let move_it = || -> io::Result<()> {
            let target = kept.join(path.strip_prefix(unpacked).map_err(io::Error::other)?);
            fs::create_dir_all(target.parent().unwrap_or(kept))?;
            fs::rename(path, target)
        };
        move_it().map_err(|error| format!("cannot keep {}: {error}", path.display()))?;
    }
    Ok(())
}

/// The first package of the `Depends` field of a control file.
fn dependency(description: &str) -> Option<String> {
    let field = description.lines().find_map(|line| line.strip_prefix("Depends:"))?;
    let name = field.split([',', '|', '(', ' ']).find(|word| !word.is_empty())?;
    name.starts_with("linux-image-").then(|| name.to_owned())
}

/// Runs a command to its end; its standard output, or the reason why not.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("no {name} here to fetch one"),
        _ => format!("cannot run {name}: {error}"),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no message");
    Err(format!("{name}: {}", last.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dependency_is_the_real_kernel() {
        let description = "Package: linux-image-cloud-amd64\nDepends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n";
        assert_eq!(
            dependency(description).as_deref(),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(
            dependency("Depends: linux-image-a, b\n").as_deref(),
            Some("linux-image-a")
        );
        assert_eq!(dependency("Package: x\n"), None);
        assert_eq!(dependency("Depends: libc6\n"), None);
    }

    #[test]
    fn a_command_that_fails_says_why_in_one_line() {
        assert_eq!(
            run(&mut Command::new("/nonexistent/tool")).unwrap_err(),
            "no /nonexistent/tool here to fetch one"
        );
        let failing = run(Command::new("sh").args(["-c", "echo first >&2; echo 'E: second' >&2; echo >&2; exit 3"]));
        assert_eq!(failing.unwrap_err(), "sh: E: second");
        assert_eq!(run(Command::new("sh").args(["-c", "echo $LC_ALL"])).unwrap(), "C\n");
    }

    #[test]
    fn only_what_the_machine_loads_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let unpacked = directory.path().join("unpacked");
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e] = 0x10;
        image[0x210..0x213].copy_from_slice(b"6.1");
        for (path, contents) in [
            ("boot/vmlinuz-6.1", &image),
            ("lib/modules/6.1/kvm-amd.ko", &vec![]),
            ("lib/modules/6.1/kvm-intel.ko", &vec![]),
            ("lib/modules/6.1/kvm.ko", &vec![]),
            ("lib/modules/6.1/brd.ko", &vec![]),
            ("lib/modules/6.1/modules.builtin", &b"kernel/fs/ext4/ext4.ko\n".to_vec()),
            ("lib/modules/6.1/other.ko", &vec![]),
        ] {
            let path = unpacked.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        let kept = directory.path().join("kept");
        keep_needed(&unpacked, &kept).unwrap();
        for machine in Machine::ALL {
            let kernel = in_root(&kept, None, machine.kvm_module()).unwrap();
            assert_eq!(
                (
                    kernel.release.as_str(),
                    kernel.modules.len(),
                    kernel.disk_modules.map(|modules| modules.len())
                ),
                ("6.1", 2, Some(1)),
                "{machine:?}"
            );
        }
        assert!(!kept.join("lib/modules/6.1/other.ko").exists());
        assert!(keep_needed(&unpacked, &kept).unwrap_err().contains("no kernel"));
    }
}
