//! `faultlab rig`: any other command inside a simulated machine; its output, files and exit status are the command's.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use faultlab::memory::Backing;
use faultlab::rig::{self, Machine, RigConfig, RigError};

use super::Failure;
use super::progress::Progress;
use super::rig_all;
use super::signals::StopOnSignals;
use crate::cli::{Cli, Command, Pair, RigArgs, RigMachines, one_line};

/// Runs the command in the machine; its exit status.
pub(crate) fn rig(args: &RigArgs, quiet: bool) -> Result<u8, Failure> {
    check_arguments(args)?;
    let machine = match args.machine {
        RigMachines::Amd => Machine::Amd,
        RigMachines::Intel => Machine::Intel,
        RigMachines::All => return rig_all::all(args, quiet),
    };
    let progress = RefCell::new(Some(Progress::start(quiet)));
    let mut stdout = Passed::new(io::stdout(), &progress);
    let mut stderr = Passed::new(io::stderr(), &progress);
    let ended = run_in_machine(&config(args, machine), &mut stdout, &mut stderr);
    drop(progress.take());
    ended
}

/// Runs the command in the machine until it ends or a signal arrives; its exit status, or the signal's.
pub(super) fn run_in_machine(
    config: &RigConfig,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<u8, Failure> {
    let (interrupter, interrupts) = rig::interrupts();
    let signals = StopOnSignals::listen_with(move |signal| interrupter.interrupt(signal)).map_err(Failure::Signals)?;
    let ended = rig::run(config, &interrupts, stdout, stderr);
    drop(signals);
    match ended {
        Ok(outcome) => Ok(outcome.status),
        // The user knows.
        Err(error @ RigError::Interrupted(_)) => Ok(error.exit_status()),
        Err(error) => Err(error.into()),
    }
}

/// Answers a command line that the machine would only refuse, before booting it.
pub(super) fn check_arguments(args: &RigArgs) -> Result<(), Failure> {
    if args.exec {
        return Ok(());
    }
    let arguments = arguments_there(args);
    let words = std::iter::once(OsStr::new("faultlab")).chain(arguments.iter().map(AsRef::as_ref));
    match Cli::try_parse_from(words) {
        Ok(Cli {
            command: Command::Rig(_) | Command::Gate(_),
            ..
        }) => Err(Failure::Usage(
            "a rig inside a rig: give another command after `--`".to_owned(),
        )),
        Ok(Cli {
            command: Command::Exec(exec),
            ..
        }) if !exec.dir.is_empty() || exec.out.iter().any(|pair| pair.host.is_dir()) => Err(Failure::Usage(
            "only files go into a simulated machine and come back: give --file, and --out to a file, instead"
                .to_owned(),
        )),
        Err(answer) if answer.use_stderr() => {
            let line = one_line(&answer);
            Err(Failure::Usage(
                line.strip_prefix("faultlab: ").unwrap_or(&line).to_owned(),
            ))
        }
        // Help is as good from there.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The arguments of the command in the machine.
fn arguments_there(args: &RigArgs) -> Vec<OsString> {
    let mut arguments = args.arguments.clone();
    if args.versus_linux {
        // Before what may be a program's.
        arguments.insert(1.min(arguments.len()), "--versus-linux".into());
    }
    arguments
}

/// What is asked for, on this machine.
pub(super) fn config(args: &RigArgs, machine: Machine) -> RigConfig {
    let mut arguments = arguments_there(args);
    let program = (args.exec && !arguments.is_empty()).then(|| arguments.remove(0).into());
    let (taken, brought) = match command_there(args) {
        Some(Command::Exec(exec)) => (hosts(&exec.file), hosts(&exec.out)),
        _ => Default::default(),
    };
    RigConfig {
        machine,
        program,
        arguments,
        taken,
        brought,
        kernel: args.kernel.clone(),
        modules: args.modules.clone(),
        icount: !args.no_icount,
        mitigations: args.mitigations,
        append: append(args),
        disk: takes_disk(args),
        timeout: Duration::from_secs(args.timeout),
    }
}

/// The places on this host.
fn hosts(pairs: &[Pair]) -> Vec<PathBuf> {
    pairs.iter().map(|pair| pair.host.clone()).collect()
}

/// Words for the kernel of the machine: those given, and huge pages for a backing that is asked for by name and takes some.
fn append(args: &RigArgs) -> String {
    let given = args.append.join(" ");
    if given.contains("hugepages=") || args.exec {
        return given;
    }
    let Some(command) = command_there(args) else {
        return given;
    };
    let (vm, backings) = match &command {
        Command::Run(run) => (&run.vm, vec![run.backing]),
        Command::Exec(exec) => (&exec.vm, vec![exec.backing]),
        Command::Trace(trace) => (&trace.vm, vec![trace.backing]),
        Command::Bench(bench) => {
            let named = bench.backing.iter().filter_map(|name| Backing::named(name));
            (&bench.vm, named.collect())
        }
        _ => return given,
    };
    let pools = [(Backing::Hugetlb1g, "1G"), (Backing::Hugetlb2m, "2M")];
    let pool = |&(backing, size): &(Backing, &str)| {
        let granule = backing.granule_bytes();
        let pages = vm.memory.div_ceil(granule) + vm.window.max(WINDOW_BYTES).div_ceil(granule);
        backings
            .contains(&backing)
            .then(|| format!("hugepagesz={size} hugepages={pages}"))
    };
    let pools = pools.iter().filter_map(pool);
    std::iter::once(given)
        .filter(|words| !words.is_empty())
        .chain(pools)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The command in the machine, if it is faultlab's.
fn command_there(args: &RigArgs) -> Option<Command> {
    let words = std::iter::once(OsStr::new("faultlab")).chain(args.arguments.iter().map(AsRef::as_ref));
    let parsed = (!args.exec).then(|| Cli::try_parse_from(words))?;
    Some(parsed.ok()?.command)
}

/// Whether a file may back memory there, or Linux itself is to swap: then there is to be a disk.
fn takes_disk(args: &RigArgs) -> bool {
    let command = command_there(args);
    let scenarios = match &command {
        Some(Command::Run(run)) if args.versus_linux || run.versus_linux => &run.scenario[..],
        Some(Command::Bench(bench)) if args.versus_linux || bench.versus_linux => &bench.scenario[..],
        _ => &[],
    };
    if scenarios.iter().any(|name| name.starts_with("swap-")) {
        return true;
    }
    match command {
        Some(Command::Run(run)) => run.backing.is_file(),
        Some(Command::Exec(exec)) => exec.backing.is_file(),
        Some(Command::Trace(trace)) => trace.backing.is_file(),
        Some(Command::Bench(bench)) => bench
            .backing
            .iter()
            .any(|name| name == "all" || Backing::named(name).is_some_and(Backing::is_file)),
        _ => false,
    }
}

/// What a lab window takes at most that is not asked for, if that is more than one huge page.
const WINDOW_BYTES: u64 = 64 << 20;

/// A stream before whose first byte the progress bar goes away.
pub(super) struct Passed<'a, W> {
    stream: W,
    progress: &'a RefCell<Option<Progress>>,
}

impl<'a, W> Passed<'a, W> {
    /// Passes on to `stream`.
    pub(super) fn new(stream: W, progress: &'a RefCell<Option<Progress>>) -> Self {
        Self { stream, progress }
    }
}

impl<W: Write> Write for Passed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        drop(self.progress.take());
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(words: &[&str]) -> Result<(), String> {
        let line = [&["faultlab", "rig", "--"], words].concat();
        let Command::Rig(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("not rig")
        };
        check_arguments(&args).map_err(|failure| {
            assert_eq!(failure.exit_status(), faultlab::exit::USAGE);
            failure.to_string()
        })
    }

    #[test]
    fn a_wrong_command_is_refused_before_the_machine_boots() {
        let line = checked(&["run", "--memory", "1"]).unwrap_err();
        assert!(
            line.contains("--memory") && !line.starts_with("faultlab: ") && !line.contains('\n'),
            "{line}"
        );
        assert!(
            checked(&["rig", "--", "run"])
                .unwrap_err()
                .starts_with("a rig inside a rig: ")
        );
    }

    #[test]
    fn right_commands_and_help_pass() {
        for words in [
            ["run", "--scenario=minor"].as_slice(),
            &["--help"],
            &["exec", "--", "prog", "--memory", "1"],
        ] {
            assert_eq!(checked(words), Ok(()), "{words:?}");
        }
    }

    #[test]
    fn huge_pages_are_set_aside_for_who_names_them() {
        let append = |options: &[&str], words: &[&str]| {
            let line = [&["faultlab", "rig"], options, &["--"], words].concat();
            let Command::Rig(args) = Cli::try_parse_from(line).unwrap().command else {
                panic!("not rig")
            };
            config(&args, Machine::Amd).append
        };
        let bench = |backing| ["bench", "--backing", backing];
        assert_eq!(append(&[], &bench("anon")), "");
        assert_eq!(append(&[], &bench("all")), "");
        assert_eq!(append(&[], &bench("hugetlb-2m")), "hugepagesz=2M hugepages=64");
        assert_eq!(
            append(&["--append", "quiet"], &bench("anon,hugetlb-1g")),
            "quiet hugepagesz=1G hugepages=2"
        );
        assert_eq!(
            append(&["--append", "hugepages=96"], &bench("hugetlb-2m")),
            "hugepages=96"
        );
    }

    #[test]
    fn a_file_has_a_disk_behind_it() {
        let disk = |words: &[&str]| {
            let line = [&["faultlab", "rig", "--"], words].concat();
            let Command::Rig(args) = Cli::try_parse_from(line).unwrap().command else {
                panic!("not rig")
            };
            config(&args, Machine::Amd).disk
        };
        assert!(
            disk(&["bench", "--backing", "anon,file-cold"]) && disk(&["bench"]) && disk(&["run", "--backing", "file"])
        );
        let swap = ["bench", "--backing", "anon", "--scenario", "minor,swap-in"];
        assert!(disk(&[&swap[..], &["--versus-linux"]].concat()) && !disk(&swap));
        assert!(!disk(&["bench", "--backing", "anon"]) && !disk(&["run"]) && !disk(&["doctor"]));
    }

    #[test]
    fn instructions_are_counted_unless_told_otherwise() {
        let counted = |options: &[&str]| {
            let line = [&["faultlab", "rig"], options, &["--", "run"]].concat();
            let Command::Rig(args) = Cli::try_parse_from(line).unwrap().command else {
                panic!("not rig")
            };
            config(&args, Machine::Amd).icount
        };
        assert!(counted(&[]) && counted(&["--icount"]) && counted(&["--no-icount", "--icount"]));
        assert!(!counted(&["--no-icount"]) && !counted(&["--icount", "--no-icount"]));
    }
}
