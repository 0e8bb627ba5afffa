//! A disk in the machine, for what is to leave the page cache and be read again: ext4 on a RAM disk.
//!
//! The machine's own files come from its initramfs, are memory, and cannot leave the page cache. To Linux a RAM disk (`brd`) is a disk: pages of a file are read
//! from it through the block layer. It answers in the thread that asks, so costs repeat, which they would not with a simulated disk, whose answers
//! take the time of this host. What a fault costs there is Linux's way to the disk and a copy, without a disk's own time. Nothing of the simulator is
//! needed, so every machine can have it.
//!
//! It is formatted in the machine, by this host's mke2fs(8), which is taken along.
//!
//! Source: Linux, Documentation/admin-guide/blockdev/ramdisk.rst; mke2fs(8); ext4(5).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, mount};

use super::kernel::Kernel;

/// Environment variable with the directory on the disk, in a machine that has one.
pub const DISK_VARIABLE: &str = "FAULTLAB_DISK";

/// Where it is in the machine.
pub(super) const DIRECTORY: &str = "/disk";

const DEVICE: &str = "/dev/ram0";

/// Of the module `brd`: one disk of 1 GiB, which takes memory as it is written to.
pub(super) const PARAMETERS: &std::ffi::CStr = c"rd_nr=1 rd_size=1048576";

/// Where systems have the program that formats.
const FORMATTERS: [&str; 3] = ["/usr/sbin/mke2fs", "/sbin/mke2fs", "/usr/bin/mke2fs"];

/// No journal and few inodes: less is written that nobody reads. Nothing of it is random.
const FORMAT: &str = "-q -F -t ext4 -b 4096 -m 0 -N 64 -O ^has_journal,^metadata_csum,^resize_inode \
    -U 00000000-0000-4000-8000-000000000001 -E nodiscard,hash_seed=00000000-0000-4000-8000-000000000002";

/// What a disk takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Disk {
    /// The program that formats it.
    pub(super) formatter: PathBuf,
    /// Modules beyond those that KVM takes, in load order.
    pub(super) modules: Vec<PathBuf>,
}

/// What a disk in a machine with `kernel` takes, or why there can be none.
pub(super) fn find(kernel: &Kernel) -> Result<Disk, String> {
    let modules = kernel.disk_modules.clone().ok_or_else(|| {
        let release = &kernel.release;
        format!("Linux {release} has no module brd or no ext4; give another by --kernel and --modules")
    })?;
    let formatter = FORMATTERS.iter().map(PathBuf::from).find(|path| path.is_file());
    let formatter = formatter.ok_or("there is no mke2fs here to format it; install e2fsprogs")?;
    Ok(Disk { formatter, modules })
}

/// Formats and mounts it, in the machine, by the program at `formatter`.
pub(super) fn set_up(formatter: &Path) -> Result<(), String> {
    let mut format = Command::new(formatter);
    format
        .args(FORMAT.split_ascii_whitespace())
        .arg(DEVICE)
        .stdin(Stdio::null());
    let cannot = |error: &dyn std::fmt::Display| format!("cannot format {DEVICE}: {error}");
    let output = format.output().map_err(|error| cannot(&error))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(cannot(&errors.lines().next().unwrap_or("no message")));
    }
    // Nothing is done later by a thread of the kernel's.
    let options = c"noinit_itable";
    let mounted = fs::create_dir_all(DIRECTORY)
        .and_then(|()| Ok(mount(DEVICE, DIRECTORY, "ext4", MountFlags::NOATIME, options)?));
    mounted.map_err(|error| format!("cannot mount {DEVICE} on {DIRECTORY}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(disk_modules: Option<Vec<PathBuf>>) -> Kernel {
        Kernel {
            image: "/k".into(),
            release: "6.1".into(),
            modules: vec![],
            disk_modules,
        }
    }

    #[test]
    fn a_kernel_without_a_disk_is_named() {
        let reason = find(&kernel(None)).unwrap_err();
        assert!(reason.contains("Linux 6.1") && reason.contains("--kernel"), "{reason}");
    }

    #[test]
    fn it_is_formatted_without_chance() {
        let Ok(disk) = find(&kernel(Some(vec![]))) else {
            return;
        };
        let image = || {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(64 << 20).unwrap();
            let format = FORMAT.split_ascii_whitespace();
            // Its times are the machine's, which are the same every time.
            let ran = Command::new(&disk.formatter)
                .args(format)
                .arg(file.path())
                .env("E2FSPROGS_FAKE_TIME", "946684800")
                .output()
                .unwrap();
            assert!(ran.status.success() && ran.stdout.is_empty(), "{ran:?}");
            fs::read(file.path()).unwrap()
        };
        assert!(image() == image());
    }
}
