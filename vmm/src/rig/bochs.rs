//! The Intel machine: Bochs, which implements VMX with EPT and page-modification logging.
//!
//! Bochs always counts instructions: the time-stamp counter and every timer advance with them, the clock starts at a
//! fixed date, and nothing waits for real time. It boots from a CD ([`cd_image`]), as it knows no other way to get a
//! kernel, and insists on a display, so it gets a terminal that nobody looks at.
//!
//! Source: Bochs 2.7, bochs(1), bochsrc(5), cpu/exception.cc (third fault); pty(7); Linux,
//! Documentation/admin-guide/kernel-parameters.txt.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::cd_image;
use super::error::RigError;
use super::launch::{Boot, Launch, memory_mib, nameless_file, path_of};
use super::packages::{Wanted, remedy};
use crate::process::inherit;

/// The command.
pub(super) const SIMULATOR: &str = "bochs";

/// Commands without which there is no machine: Bochs, and what makes the CD.
const COMMANDS: [&str; 4] = [SIMULATOR, cd_image::COMMAND, "xorriso", "mformat"];

/// (what it is, where distributions and Bochs's own installation have it)
type Part = (&'static str, &'static [&'static str]);

const BIOS: Part = (
    "BIOS for Bochs",
    &[
        "/usr/share/bochs/BIOS-bochs-latest",
        "/usr/local/share/bochs/BIOS-bochs-latest",
    ],
);
const VGA_BIOS: Part = (
    "VGA BIOS for Bochs",
    &[
        "/usr/share/vgabios/vgabios.bin",
        "/usr/share/bochs/VGABIOS-lgpl-latest",
        "/usr/local/share/bochs/VGABIOS-lgpl-latest",
    ],
);
const GRUB: Part = (
    "GRUB for the PC BIOS (i386-pc)",
    &[
        "/usr/lib/grub/i386-pc",
        "/usr/share/grub2/i386-pc",
        "/usr/local/lib/grub/i386-pc",
    ],
);

/// How Bochs says, among the first lines of its help, where its plugins are, if it has any.
const PLUGINS: &str = "using compile time default '";

/// Its display for terminals, among the plugins.
const TERMINAL_PLUGIN: &str = "libbx_term_gui.so";

/// What is installed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installation {
    /// As Bochs prints it itself.
    pub(super) version: String,
    /// Whether the debugger is built in; then the machine waits for its commands.
    debugger: bool,
    bios: &'static str,
    vga_bios: &'static str,
}

/// Instructions in a second of the machine's time, in thousands: the frequency of its time-stamp counter in kHz. Bochs's
/// CPUID states that of the processor it imitates, so Linux has to be told.
const CLOCK_KHZ: u64 = 100_000;

/// Looks for everything that a machine takes.
pub(super) fn installation() -> Result<Installation, RigError> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(command) = COMMANDS.iter().find(|name| !is_in(&path, name)) {
        return Err(RigError::NoSimulator {
            simulator: command,
            remedy: remedy(Wanted::Bochs),
        });
    }
    let help = Command::new(SIMULATOR).arg("--help").stdin(Stdio::null()).output();
    let help = help.map_err(|source| cannot(format!("run {SIMULATOR}"), source))?;
    let text = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
    if let Some(directory) = plugins(&text)
        && directory.is_dir()
        && !directory.join(TERMINAL_PLUGIN).exists()
    {
        return Err(missing("terminal display for Bochs"));
    }
    find(GRUB)?;
    Ok(Installation {
        version: version(&text),
        debugger: text.contains("-rc filename"),
        bios: find(BIOS)?,
        vga_bios: find(VGA_BIOS)?,
    })
}

/// Whether one of the directories of `path` has the command.
fn is_in(path: &std::ffi::OsStr, name: &str) -> bool {
    env::split_paths(path).any(|directory| directory.join(name).is_file())
}

fn find((what, places): Part) -> Result<&'static str, RigError> {
    let found = places.iter().copied().find(|place| Path::new(place).exists());
    found.ok_or_else(|| missing(what))
}

fn missing(part: &'static str) -> RigError {
    RigError::NoPart {
        part,
        remedy: remedy(Wanted::Bochs),
    }
}

/// The name and number among what Bochs says about itself.
fn version(help: &str) -> String {
    let line = help.lines().map(str::trim).find(|line| line.starts_with("Bochs x86 "));
    line.unwrap_or("Bochs").to_owned()
}

fn plugins(help: &str) -> Option<PathBuf> {
    let (_, rest) = help.split_once(PLUGINS)?;
    Some(rest.split_once('\'')?.0.into())
}

/// A machine ready to start.
pub(super) fn launch(boot: Boot, installation: &Installation) -> Result<Launch, RigError> {
    let image = cd_image::build(boot, &grub_cfg(boot))?;
    let (configuration, commands) = (nameless_file()?, nameless_file()?);
    let mut command = Command::new(SIMULATOR);
    command.arg("-q").arg("-f").arg(path_of(&configuration));
    if installation.debugger {
        command.arg("-rc").arg(path_of(&commands));
    }
    let prepared = || -> io::Result<Launch> {
        let (frames, end) = io::pipe()?;
        let frames_path = inherit(&mut command, end);
        let (signals, signals_path) = terminal()?;
        let text = bochsrc(
            memory_mib(boot.append),
            installation,
            &path_of(&image),
            boot.console,
            &frames_path,
            &signals_path,
        );
        (&configuration).write_all(text.as_bytes())?;
        // Continue; at the machine's end, the end of the input ends the debugger too.
        (&commands).write_all(b"c\n")?;
        let (screen, name) = terminal()?;
        let size = Winsize {
            ws_row: 25,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&screen, size)?;
        let terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(name)?;
        command.stdin(Stdio::null()).stdout(terminal).env("TERM", "linux");
        Ok(Launch {
            simulator: SIMULATOR,
            command,
            frames,
            signals,
            screen: Some(screen),
            kept: vec![image, configuration, commands],
        })
    };
    prepared().map_err(|source| cannot("prepare Bochs".into(), source))
}

/// A new pseudo-terminal: this process's end, and the name of the other.
fn terminal() -> io::Result<(File, PathBuf)> {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&end)?;
    unlockpt(&end)?;
    let name = ptsname(&end, Vec::new())?;
    Ok((end.into(), std::ffi::OsStr::from_bytes(name.as_bytes()).into()))
}

fn cannot(what: String, source: io::Error) -> RigError {
    RigError::Prepare {
        what,
        source,
        remedy: "check the simulator's installation",
    }
}

/// Where what is written to [`Launch::signals`] arrives. A port that writes to a file cannot be read from, so it is one of
/// its own.
pub(super) const SIGNALS_PORT: &str = "/dev/ttyS2";

/// Bochs's configuration. Its messages go to standard error, the few that matter. A third fault, by which a kernel that
/// panicked resets the machine, ends it.
fn bochsrc(
    memory_mib: u64,
    installation: &Installation,
    image: &Path,
    console: &Path,
    frames: &Path,
    signals: &Path,
) -> String {
    let Installation { bios, vga_bios, .. } = installation;
    let (image, console, frames) = (image.display(), console.display(), frames.display());
    let signals = signals.display();
    let ips = CLOCK_KHZ * 1000;
    format!(
        "megs: {memory_mib}\n\
         cpu: model=corei7_skylake_x, count=1, ips={ips}, reset_on_triple_fault=0\n\
         clock: sync=none, time0=946684800\n\
         romimage: file={bios}\n\
         vgaromimage: file={vga_bios}\n\
         ata0-master: type=cdrom, path={image}, status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=file, dev={console}\n\
         com2: enabled=1, mode=file, dev={frames}\n\
         com3: enabled=1, mode=term, dev={signals}\n\
         display_library: term\n\
         plugin_ctrl: speaker=0\n\
         log: -\n\
         panic: action=fatal\n\
         error: action=ignore\n\
         info: action=ignore\n\
         debug: action=ignore\n"
    )
}

/// GRUB's script. Further words stand in quotes, in which nothing means anything to GRUB. A panic resets by a third fault. Linux reports a warning of its own where page-modification logging is
/// used: only emergencies are shown.
fn grub_cfg(boot: Boot) -> String {
    let mitigations = if boot.mitigations { "" } else { " mitigations=off" };
    let (kernel, initramfs) = (cd_image::KERNEL, cd_image::INITRAMFS);
    let words = boot.append.split_ascii_whitespace();
    let append: String = words.map(|word| format!(" '{word}'")).collect();
    format!(
        "linux /{kernel} console=ttyS0 panic=-1 reboot=t quiet loglevel=1 nokaslr norandmaps \
         tsc_early_khz={CLOCK_KHZ}{mitigations}{append}\n\
         initrd /{initramfs}\n\
         boot\n"
    )
}

#[cfg(test)]
#[path = "bochs_tests.rs"]
mod tests;
