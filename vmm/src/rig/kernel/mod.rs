//! The Linux kernel that the simulated machine boots, and the modules that make it a KVM host.
//!
//! Looked for in this order: what the options name, what is installed on this machine, what was fetched before, and
//! what the distribution packages ([`fetch()`]).
//!
//! Source: Linux, Documentation/arch/x86/boot.rst (`HdrS`, `kernel_version`); modinfo(8).

mod fetch;
mod modules;

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::RigError;
use super::packages::{Wanted, remedy};
use fetch::fetch;
use modules::{find_disk_modules, find_modules};

/// Bytes of a bzImage that hold its boot-sector and set-up code, where the version string is.
const SETUP_MAX_BYTES: u64 = 64 * 512;

/// A kernel that can host KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// The bzImage.
    pub(super) image: PathBuf,
    /// As `uname -r` will print it.
    pub(super) release: String,
    /// Module files, each after those that it needs; built-in ones are not listed.
    pub(super) modules: Vec<PathBuf>,
    /// The same of what a disk takes beside them; `None` if the kernel cannot have one.
    pub(super) disk_modules: Option<Vec<PathBuf>>,
}

/// The kernel to boot on a machine of which `kvm_module` is the last module that it takes to have `/dev/kvm`. `image`
/// and `modules` are the options `--kernel` and `--modules`. One that can have a disk is preferred if `disk` is wanted.
pub(super) fn find(
    image: Option<&Path>,
    modules: Option<&Path>,
    kvm_module: &'static str,
    disk: bool,
) -> Result<Kernel, RigError> {
    if let Some(image) = image {
        return from_options(image, modules, kvm_module);
    }
    let cache = cache_directory().map(|cache| cache.join("kernels"));
    let cached = cache.iter().flat_map(|cache| subdirectories(cache));
    let mut found: Vec<Kernel> = std::iter::once(PathBuf::from("/"))
        .chain(cached)
        .filter_map(|root| in_root(&root, modules, kvm_module))
        .collect();
    found.sort_by_key(|kernel| disk && kernel.disk_modules.is_none());
    let diskless = match found.into_iter().next() {
        // An earlier version kept less of the package.
        Some(kernel) if disk && modules.is_none() && kernel.disk_modules.is_none() => Some(kernel),
        Some(kernel) => return Ok(kernel),
        None => None,
    };
    let no_kernel = |reason| RigError::NoKernel {
        module: kvm_module,
        reason,
        remedy: remedy(Wanted::Kernel),
    };
    let cache = cache.ok_or_else(|| no_kernel("no cache directory: set HOME or XDG_CACHE_HOME".into()))?;
    let root = match (fetch(&cache), diskless) {
        (Err(reason), Some(kernel)) => {
            log::warn!("cannot fetch a kernel that can have a disk: {reason}");
            return Ok(kernel);
        }
        (fetched, _) => fetched.map_err(no_kernel)?,
    };
    in_root(&root, modules, kvm_module).ok_or_else(|| no_kernel(format!("none in {}", root.display())))
}

/// `$XDG_CACHE_HOME/faultlab`, or `~/.cache/faultlab`.
fn cache_directory() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("faultlab"))
}

fn from_options(image: &Path, modules: Option<&Path>, kvm_module: &'static str) -> Result<Kernel, RigError> {
    let failed = |reason| RigError::Kernel {
        path: image.into(),
        reason,
    };
    let release = release_of(image)
        .map_err(|error| failed(error.to_string()))?
        .ok_or_else(|| failed("no x86 Linux kernel".into()))?;
    // An unpacked package has its modules beside its boot directory.
    let beside = image.parent().map(|boot| boot.join("../lib/modules"));
    let places = match modules {
        Some(directory) => vec![directory.join(&release), directory.into()],
        None => beside
            .into_iter()
            .chain(["/lib/modules".into()])
            .map(|place| place.join(&release))
            .collect(),
    };
    let found = places
        .iter()
        .find_map(|place| Some((place, find_modules(place, kvm_module)?)));
    let directory = modules.map_or_else(|| Path::new("/lib/modules").join(&release), Path::to_path_buf);
    let (place, modules) = found.ok_or_else(|| RigError::Modules {
        module: kvm_module,
        release: release.clone(),
        directory,
    })?;
    Ok(Kernel {
        image: image.into(),
        release,
        modules,
        disk_modules: find_disk_modules(place),
    })
}

/// The newest kernel installed or unpacked below `root` whose modules are there too.
fn in_root(root: &Path, modules: Option<&Path>, kvm_module: &'static str) -> Option<Kernel> {
    let module_root = root.join("lib/modules");
    let in_boot = files(&root.join("boot")).into_iter().filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("vmlinuz")
    });
    let beside_modules = subdirectories(&module_root)
        .into_iter()
        .map(|directory| directory.join("vmlinuz"));
    let mut images: Vec<(String, PathBuf)> = in_boot
        .chain(beside_modules)
        .filter_map(|path| Some((release_of(&path).ok()??, path)))
        .collect();
    images.sort_by_key(|(release, _)| Reverse(version_key(release)));
    images.into_iter().find_map(|(release, image)| {
        let root = modules.unwrap_or(&module_root);
        let mut places = vec![root.join(&release)];
        places.extend(modules.map(Path::to_path_buf));
        let (place, modules) = places
            .iter()
            .find_map(|place| Some((place, find_modules(place, kvm_module)?)))?;
        Some(Kernel {
            image,
            release,
            modules,
            disk_modules: find_disk_modules(place),
        })
    })
}

/// The release that a bzImage says it is; `None` if it is none.
fn release_of(image: &Path) -> io::Result<Option<String>> {
    let mut setup = Vec::new();
    File::open(image)?.take(SETUP_MAX_BYTES).read_to_end(&mut setup)?;
    Ok(parse_release(&setup))
}

fn parse_release(setup: &[u8]) -> Option<String> {
    if setup.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    // Relative to the end of the boot sector.
    let at = u16::from_le_bytes(*setup.get(0x20e..)?.first_chunk()?) as usize + 0x200;
    let version = setup.get(at..)?.split(|byte| *byte == 0).next()?;
    let release = std::str::from_utf8(version).ok()?.split_whitespace().next()?;
    Some(release.to_owned())
}

/// Orders releases: their numbers, in order.
fn version_key(release: &str) -> Vec<u64> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// What is in `directory`, sorted; empty if it cannot be read.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    paths.sort();
    paths
}

/// Directories in `directory`, sorted; hidden ones are unfinished downloads.
fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let visible = |path: &PathBuf| {
        !path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    files(directory)
        .into_iter()
        .filter(|path| path.is_dir())
        .filter(visible)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMD: &str = "kvm-amd";

    /// The beginning of a bzImage of that release.
    fn image(release: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x120_u16.to_le_bytes());
        bytes[0x320..0x320 + release.len()].copy_from_slice(release.as_bytes());
        bytes
    }

    /// A root with these kernels, the first `with_modules` of them with their KVM modules.
    fn root(releases: &[&str], with_modules: usize) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("boot")).unwrap();
        for (index, release) in releases.iter().enumerate() {
            let uname = release.split(' ').next().unwrap();
            fs::write(
                root.path().join("boot").join(format!("vmlinuz-{uname}")),
                image(release),
            )
            .unwrap();
            let kvm = root.path().join("lib/modules").join(uname).join("kernel/kvm");
            fs::create_dir_all(&kvm).unwrap();
            if index < with_modules {
                fs::write(kvm.join("kvm-amd.ko.xz"), "").unwrap();
            }
        }
        root
    }

    #[test]
    fn a_release_is_read_from_the_setup_code() {
        let bytes = image("6.1.0-56-cloud-amd64 (builder@host) #1 SMP");
        assert_eq!(parse_release(&bytes).as_deref(), Some("6.1.0-56-cloud-amd64"));
        for length in 0..0x321 {
            assert_eq!(parse_release(&bytes[..length]), None, "{length}");
        }
        assert_eq!(parse_release(&[0; 0x400]), None);
    }

    #[test]
    fn the_newest_complete_kernel_is_taken() {
        let root = root(&["6.9.1 (x)", "6.10.0 (x)", "6.8.0 (x)", "6.11.0 (x)"], 3);
        let kernel = in_root(root.path(), None, AMD).unwrap();
        assert_eq!(kernel.release, "6.10.0", "6.11 has no module, and 10 is more than 9");
        assert_eq!(
            kernel.modules,
            [root.path().join("lib/modules/6.10.0/kernel/kvm/kvm-amd.ko.xz")]
        );
        assert_eq!(in_root(root.path(), None, "kvm-intel"), None);
        assert_eq!(in_root(Path::new("/nonexistent"), None, AMD), None);
    }

    #[test]
    fn an_unpacked_package_is_known_by_its_image_alone() {
        let root = root(&["6.1.0-test"], 1);
        let path = root.path().join("boot/vmlinuz-6.1.0-test");
        assert_eq!(from_options(&path, None, AMD).unwrap().modules.len(), 1);
        let elsewhere = root.path().join("lib/modules/6.1.0-test/kernel");
        assert_eq!(from_options(&path, Some(&elsewhere), AMD).unwrap().modules.len(), 1);
        let error = from_options(&path, Some(&root.path().join("boot")), AMD)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("no kvm-amd for kernel 6.1.0-test below "), "{error}");
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let error = from_options(Path::new("/proc/version"), None, AMD)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "--kernel /proc/version: no x86 Linux kernel; give a bzImage such as /boot/vmlinuz-*"
        );
        assert!(
            from_options(Path::new("/nonexistent"), None, AMD)
                .unwrap_err()
                .to_string()
                .contains("No such file")
        );
    }
}
