//! `faultlab` inside a simulated machine: nested paging and repeatable instruction counts, without special hardware.
//!
//! [`run`] builds an initramfs from this very program, boots a stock Linux kernel with it in a simulator whose CPU has
//! hardware virtualization, and gives back what the program in there writes, its files and its exit status, as if it
//! had run here. Inside, the same program is the first process ([`first_process`]).
//!
//! | module | what is in it |
//! |---|---|
//! | `kernel` | which kernel and modules to boot; fetched once if there is none |
//! | `files` | the files that the arguments name: taken along, brought back |
//! | `elf`, `libraries` | what this program needs to run elsewhere |
//! | `archive`, `initramfs`, `plan` | the machine's file system, and what its first process is to do |
//! | `disk` | a file system that is not memory to Linux |
//! | `launch`, `qemu`, `bochs`, `cd_image` | what is told to the simulators, and what they need |
//! | `machine`, `interrupt` | the simulator's process, and how it ends |
//! | `frame` | what the two sides say to each other |
//! | `init` | the other side |
//! | `packages`, `error` | what to say when something is missing |
//!
//! Invariants: a run changes no file here but its outputs and the kernel cache; equal inputs give an equal initramfs.

pub mod archive;
mod bochs;
mod cd_image;
mod disk;
mod elf;
mod error;
mod files;
mod frame;
mod init;
mod initramfs;
mod interrupt;
mod kernel;
mod launch;
mod libraries;
mod machine;
mod packages;
mod plan;
mod qemu;
#[cfg(test)]
mod testing;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub use disk::DISK_VARIABLE;
pub use error::RigError;
pub use init::{first_process, is_first_process};
pub use interrupt::{Interrupter, Interrupts, interrupts};

use launch::{Boot, nameless_file, path_of};
use machine::Sink;
use packages::{Wanted, remedy};
use plan::Plan;

/// Environment variable that tells `faultlab` in which machine it runs: `rig:` and [`Machine::name`], and `:icount` if
/// the time-stamp counter counts instructions.
pub const MACHINE_VARIABLE: &str = "FAULTLAB_MACHINE";

/// What ends [`MACHINE_VARIABLE`] when the time-stamp counter counts instructions.
const ICOUNT_SUFFIX: &str = ":icount";

/// Whether the time-stamp counter counts instructions in the machine of which [`MACHINE_VARIABLE`] says `machine`.
#[must_use]
pub fn counts_instructions(machine: &str) -> bool {
    machine.starts_with("rig:") && machine.ends_with(ICOUNT_SUFFIX)
}

/// Environment variable with the simulator's version, as it prints it itself.
pub const SIMULATOR_VARIABLE: &str = "FAULTLAB_SIMULATOR";

/// Environment variables that hold in the machine as they hold here.
const PASSED_VARIABLES: [&str; 4] = ["FAULTLAB_LOG", "NO_COLOR", "RUST_BACKTRACE", "TERM"];

/// Which machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// QEMU with AMD's SVM and nested paging.
    Amd,
    /// Bochs with Intel's VMX and EPT. It always counts instructions.
    Intel,
}

impl Machine {
    /// Every machine.
    pub const ALL: [Machine; 2] = [Machine::Amd, Machine::Intel];

    /// As the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Machine::Amd => "amd",
            Machine::Intel => "intel",
        }
    }

    /// The module without which there is no `/dev/kvm` on it.
    fn kvm_module(self) -> &'static str {
        match self {
            Machine::Amd => "kvm-amd",
            Machine::Intel => "kvm-intel",
        }
    }
}

/// What is to be run, and where.
#[derive(Clone, Debug)]
pub struct RigConfig {
    /// Which machine.
    pub machine: Machine,
    /// A program of this machine that runs there in `faultlab`'s place, with its libraries.
    pub program: Option<PathBuf>,
    /// `faultlab`'s (or that program's) arguments in there, its own name not included.
    pub arguments: Vec<OsString>,
    /// Files to take along that no argument is the name of, but names: `--file HOST:GUEST`.
    pub taken: Vec<PathBuf>,
    /// Files to bring back that are named in the same way: `--out GUEST:HOST`.
    pub brought: Vec<PathBuf>,
    /// The kernel to boot; `None` to look for one.
    pub kernel: Option<PathBuf>,
    /// Its module tree; `None` to look for it.
    pub modules: Option<PathBuf>,
    /// Whether the time-stamp counter counts instructions, so that results repeat.
    pub icount: bool,
    /// Whether the kernel in there defends itself against speculative execution.
    pub mitigations: bool,
    /// Further words for its command line, separated by spaces: printable ASCII without quotes.
    pub append: String,
    /// Whether there is to be a disk ([`DISK_VARIABLE`]), if kernel and host allow it; otherwise a warning says why not.
    pub disk: bool,
    /// When to give up, from the simulator's start.
    pub timeout: Duration,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct RigOutcome {
    /// The program's exit status; 128 + n if signal n ended it.
    pub status: u8,
    /// From the simulator's start to the program's.
    pub boot: Duration,
    /// From the simulator's start to the program's end.
    pub total: Duration,
    /// Size of the initramfs.
    pub initramfs_bytes: u64,
    /// Release of the kernel that was booted.
    pub kernel_release: String,
}

/// Runs `config.arguments` in the machine. What the program writes goes to `stdout` and `stderr` as it comes. The first
/// interrupt is passed on to a program that runs, whose files come back all the same; the second ends the machine.
///
/// # Errors
/// Something is missing here, the machine did not do its part, the time is up, or an [`Interrupter`] was used. What the
/// program itself fails at is not an error: it is in [`RigOutcome::status`].
pub fn run(
    config: &RigConfig,
    interrupts: &Interrupts,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<RigOutcome, RigError> {
    let simulator = Simulator::find(config.machine, config.icount)?;
    // Only faultlab's own options are known to name files that are written.
    let mut outputs = match config.program {
        None => files::outputs(&config.arguments)?,
        Some(_) => Vec::new(),
    };
    outputs.extend_from_slice(&config.brought);
    let whole = config.program.iter().chain(&config.taken);
    let named: Vec<OsString> = whole.map(Into::into).chain(config.arguments.clone()).collect();
    let inputs = files::inputs(&named, &outputs)?;
    let kernel = interrupts.check(kernel::find(
        config.kernel.as_deref(),
        config.modules.as_deref(),
        config.machine.kvm_module(),
        config.disk,
    ))?;
    let disk = disk(config, &kernel);
    let plan = Plan {
        program: config.program.clone().unwrap_or_default(),
        arguments: config.arguments.clone(),
        environment: environment(config, simulator.version()),
        directory: working_directory()?,
        modules: kernel.modules.clone(),
        disk_modules: disk.modules,
        formatter: disk.formatter,
        outputs: outputs.clone(),
        signals: simulator.signals_port().into(),
    };
    let (initramfs, initramfs_bytes) = write_initramfs(plan, inputs)?;
    let console = nameless_file()?;
    let (initramfs_path, console_path) = (path_of(&initramfs), path_of(&console));
    let boot = Boot {
        kernel: &kernel.image,
        initramfs: &initramfs_path,
        console: &console_path,
        icount: config.icount,
        mitigations: config.mitigations,
        append: &config.append,
    };
    log::info!(
        "booting Linux {} in {}, initramfs {} KiB",
        kernel.release,
        simulator.version(),
        initramfs_bytes >> 10
    );
    let launch = interrupts.check(simulator.launch(boot))?;
    let start = Instant::now();
    let sink = Sink {
        stdout,
        stderr,
        outputs: &outputs,
    };
    let ended = machine::run(launch, config.timeout, interrupts, sink, &console)?;
    if let Some(signal) = ended.interrupted {
        return Err(RigError::Interrupted(signal));
    }
    let total = start.elapsed();
    log::info!(
        "{:.1} s to boot, {:.1} s in all",
        ended.boot.as_secs_f64(),
        total.as_secs_f64()
    );
    Ok(RigOutcome {
        status: ended.status,
        boot: ended.boot,
        total,
        initramfs_bytes,
        kernel_release: kernel.release,
    })
}

/// The version of the simulator of `machine`, as it prints it itself.
///
/// # Errors
/// It, or something that it needs, is not installed here.
pub fn simulator(machine: Machine) -> Result<String, RigError> {
    Simulator::find(machine, true).map(|simulator| simulator.version().to_owned())
}

/// The simulator of a machine, as it is installed here.
enum Simulator {
    Qemu { version: String },
    Bochs(bochs::Installation),
}

impl Simulator {
    fn find(machine: Machine, icount: bool) -> Result<Simulator, RigError> {
        match machine {
            Machine::Amd => qemu_version().map(|version| Simulator::Qemu { version }),
            Machine::Intel if !icount => Err(RigError::AlwaysCounts {
                machine: machine.name(),
            }),
            Machine::Intel => bochs::installation().map(Simulator::Bochs),
        }
    }

    /// As it prints it itself.
    fn version(&self) -> &str {
        match self {
            Simulator::Qemu { version } => version,
            Simulator::Bochs(installation) => &installation.version,
        }
    }

    /// The machine's serial port by which it is told of signals.
    fn signals_port(&self) -> &'static str {
        match self {
            Simulator::Qemu { .. } => qemu::SIGNALS_PORT,
            Simulator::Bochs(_) => bochs::SIGNALS_PORT,
        }
    }

    fn launch(&self, boot: Boot) -> Result<launch::Launch, RigError> {
        match self {
            Simulator::Qemu { .. } => qemu::launch(boot),
            Simulator::Bochs(installation) => bochs::launch(boot, installation),
        }
    }
}

/// What the disk takes that is asked for; nothing if there is to be none.
fn disk(config: &RigConfig, kernel: &kernel::Kernel) -> disk::Disk {
    if !config.disk {
        return disk::Disk::default();
    }
    disk::find(kernel).unwrap_or_else(|reason| {
        log::warn!("no disk in the simulated machine: {reason}");
        disk::Disk::default()
    })
}

/// First line of what QEMU says about itself.
fn qemu_version() -> Result<String, RigError> {
    match Command::new(qemu::SIMULATOR).arg("--version").output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.lines().next().unwrap_or(qemu::SIMULATOR).to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(RigError::NoSimulator {
            simulator: qemu::SIMULATOR,
            remedy: remedy(Wanted::Qemu),
        }),
        Err(source) => {
            let what = format!("run {}", qemu::SIMULATOR);
            Err(RigError::Prepare {
                what,
                source,
                remedy: "check the simulator's installation",
            })
        }
    }
}

fn working_directory() -> Result<PathBuf, RigError> {
    env::current_dir().map_err(|source| {
        let remedy = "change to a directory that exists";
        RigError::Prepare {
            what: "find the working directory".into(),
            source,
            remedy,
        }
    })
}

/// The environment of `faultlab` in the machine, `NAME=value`.
fn environment(config: &RigConfig, simulator: &str) -> Vec<OsString> {
    let icount = if config.icount { ICOUNT_SUFFIX } else { "" };
    let mut environment: Vec<OsString> = vec![
        format!("{MACHINE_VARIABLE}=rig:{}{icount}", config.machine.name()).into(),
        format!("{SIMULATOR_VARIABLE}={simulator}").into(),
        "HOME=/root".into(),
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin".into(),
        "TMPDIR=/tmp".into(),
    ];
    for name in PASSED_VARIABLES {
        if let Some(value) = env::var_os(name) {
            let mut entry = OsString::from(format!("{name}="));
            entry.push(value);
            environment.push(entry);
        }
    }
    environment
}

/// The initramfs as a file without a name, and its size in bytes.
fn write_initramfs(plan: Plan, inputs: Vec<files::Input>) -> Result<(fs::File, u64), RigError> {
    let archive = initramfs::build(plan, inputs)?;
    log::debug!("{} bytes of files", archive.content_bytes());
    let file = nameless_file()?;
    let mut out = BufWriter::new(&file);
    let written = archive
        .write(&mut out)
        .and_then(|()| out.flush())
        .and_then(|()| file.metadata());
    let metadata = written.map_err(|source| {
        let remedy = "set TMPDIR to a directory with more space";
        RigError::Prepare {
            what: "write the initramfs".into(),
            source,
            remedy,
        }
    })?;
    drop(out);
    Ok((file, metadata.len()))
}
