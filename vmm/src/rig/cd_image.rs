//! A CD from which GRUB boots the kernel: for a simulator that knows no other way to get one.
//!
//! The image ends up as a file without a name; the directory that it is made in is gone before the machine starts.
//!
//! Source: GRUB manual, "Making a GRUB bootable CD-ROM".

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::RigError;
use super::launch::Boot;

/// What makes the image.
pub(super) const COMMAND: &str = "grub-mkrescue";

/// The kernel's name on the CD.
pub(super) const KERNEL: &str = "vmlinuz";

/// The initramfs's name on the CD.
pub(super) const INITRAMFS: &str = "initramfs";

/// Where GRUB looks for its script.
const SCRIPT: &str = "boot/grub/grub.cfg";

/// Makes the image, with `script` for GRUB.
pub(super) fn build(boot: Boot, script: &str) -> Result<File, RigError> {
    let made = || -> io::Result<File> {
        let work = tempfile::Builder::new().prefix("faultlab-cd-").tempdir()?;
        let (contents, image) = (work.path().join("cd"), work.path().join("image"));
        lay_out(&contents, boot, script)?;
        let mut command = Command::new(COMMAND);
        command.args(["--fonts=", "--locales=", "--themes=", "-o"]).arg(&image);
        run(command.arg(&contents).env("TMPDIR", work.path()))?;
        File::open(image)
    };
    made().map_err(|source| RigError::Prepare {
        what: "make the boot CD".into(),
        source,
        remedy: "set TMPDIR to a directory with 100 MiB free",
    })
}

/// The files of the CD, below `contents`.
fn lay_out(contents: &Path, boot: Boot, script: &str) -> io::Result<()> {
    let script_path = contents.join(SCRIPT);
    fs::create_dir_all(script_path.parent().unwrap_or(contents))?;
    fs::write(script_path, script)?;
    for (from, name) in [(boot.kernel, KERNEL), (boot.initramfs, INITRAMFS)] {
        let copied = fs::copy(from, contents.join(name));
        copied.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", from.display())))?;
    }
    Ok(())
}

/// Runs the command; its last line, if it fails, is the error.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    let last = last.unwrap_or("no message").trim();
    let name = command.get_program().to_string_lossy();
    Err(io::Error::other(format!("{name}: {last}")))
}

#[cfg(test)]
mod tests {
    use super::super::testing::boot;
    use super::*;

    #[test]
    fn the_cd_holds_what_is_booted() {
        let directory = tempfile::tempdir().unwrap();
        let (kernel, contents) = (directory.path().join("a kernel"), directory.path().join("cd"));
        fs::write(&kernel, "kernel").unwrap();
        let boot = Boot {
            kernel: &kernel,
            initramfs: &kernel,
            ..boot()
        };
        lay_out(&contents, boot, "script").unwrap();
        for (path, text) in [(SCRIPT, "script"), (KERNEL, "kernel"), (INITRAMFS, "kernel")] {
            assert_eq!(fs::read_to_string(contents.join(path)).unwrap(), text, "{path}");
        }
        let without = Boot {
            initramfs: Path::new("/nonexistent"),
            ..boot
        };
        let error = lay_out(&contents, without, "").unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent: No such file"), "{error}");
    }

    #[test]
    fn a_command_that_fails_says_why_in_one_line() {
        let failed = run(Command::new("sh").args(["-c", "echo first >&2; echo second >&2; exit 1"]));
        assert_eq!(failed.unwrap_err().to_string(), "sh: second");
        assert!(run(&mut Command::new("true")).is_ok());
    }
}
