//! `faultlab rig --machine all`: the same measurement here, on NPT and on EPT, side by side and in one report.
//!
//! Here it comes first and alone, because here it is timed; the simulated machines count, so they may share the processors.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use clap::Parser;
use faultlab::exit;
use faultlab::report::{Collection, Report, read, side_by_side};
use faultlab::rig::Machine;

use super::config::config;
use super::machine::run_in_machine;
use crate::cli::{self, Cli, RigArgs};
use crate::commands::{Failure, claim, print};

/// Where every machine writes its report.
const STDOUT: &str = "/dev/stdout";

/// What one machine gave: its exit status, and what it wrote.
type Given = Result<(u8, Vec<u8>), Failure>;

/// Measures everywhere; the exit status is the first that is not 0.
pub(super) fn all(args: &RigArgs, quiet: bool) -> Result<u8, Failure> {
    let (arguments, json) = without_json(&args.arguments)?;
    let target = json.as_deref().map(claim).transpose()?;
    let mut given = Vec::new();
    if Path::new("/dev/kvm").exists() {
        given.push(here(args, &arguments, quiet));
    }
    given.extend(simulated(args, &arguments));

    let (mut reports, mut status, mut failure) = (Vec::new(), exit::OK, None);
    for each in given {
        match each {
            Ok((ended, stdout)) => {
                reports.extend(reports_in(&stdout));
                if status == exit::OK {
                    status = ended;
                }
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let collection = Collection::of(reports);
    if !collection.reports.is_empty() {
        if let (Some(target), Some(path)) = (target, &json) {
            target
                .write(&collection)
                .map_err(|source| Failure::cannot_write(path, source))?;
        }
        print(&side_by_side::render(&collection.reports))?;
    }
    failure.map_or(Ok(status), Err)
}

/// The command without `--json FILE`, which is for the whole, and the file.
pub(in crate::commands) fn without_json(arguments: &[OsString]) -> Result<(Vec<OsString>, Option<PathBuf>), Failure> {
    let words = std::iter::once(OsStr::new("faultlab")).chain(arguments.iter().map(AsRef::as_ref));
    let parsed = Cli::try_parse_from(words).ok().map(|cli| cli.command);
    let json = match parsed {
        Some(cli::Command::Run(run)) => run.json,
        Some(cli::Command::Bench(bench)) if !bench.list => bench.json,
        _ => {
            return Err(Failure::Usage(
                "--machine all: give `run` or `bench` after `--`, which measure".to_owned(),
            ));
        }
    };
    let mut left = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--json" {
            words.next();
        } else if !word.to_string_lossy().starts_with("--json=") {
            left.push(word.clone());
        }
    }
    Ok((left, json))
}

/// On this machine, as a process of its own. It gets a terminal's signals itself.
fn here(args: &RigArgs, arguments: &[OsString], quiet: bool) -> Given {
    let run = || -> io::Result<(u8, Vec<u8>)> {
        let mut command = Command::new(env::current_exe()?);
        command.args(quiet.then_some("--quiet")).args(arguments);
        command.args(args.versus_linux.then_some("--versus-linux"));
        let output = command
            .args(["--json", STDOUT])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        let status = output.status.code().map_or(exit::FAILURE, |code| code as u8);
        Ok((status, output.stdout))
    };
    run().map_err(Failure::OnLinux)
}

/// On both simulated ones at once.
fn simulated(args: &RigArgs, arguments: &[OsString]) -> Vec<Given> {
    let on = |machine: Machine| -> Given {
        let args = RigArgs {
            arguments: [arguments, &["--json".into(), STDOUT.into()]].concat(),
            ..args.clone()
        };
        let mut stdout = Vec::new();
        let status = run_in_machine(&config(&args, machine), &mut stdout, &mut io::stderr())?;
        Ok((status, stdout))
    };
    thread::scope(|scope| {
        let running = Machine::ALL.map(|machine| scope.spawn(move || on(machine)));
        let given = running.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        given.into()
    })
}

/// The reports in the JSON that `stdout` begins with; none if the run failed before it measured.
fn reports_in(stdout: &[u8]) -> Vec<Report> {
    let mut values = serde_json::Deserializer::from_slice(stdout).into_iter::<serde_json::Value>();
    match values.next() {
        Some(Ok(_)) => read::parse(&stdout[..values.byte_offset()]).unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_file_is_for_the_whole() {
        for given in [
            ["run", "--json", "a.json", "--pages", "8"].as_slice(),
            &["run", "--json=a.json", "--pages", "8"],
        ] {
            let (left, json) = without_json(&words(given)).unwrap();
            assert_eq!(left, words(&["run", "--pages", "8"]));
            assert_eq!(json, Some("a.json".into()));
        }
    }

    #[test]
    fn what_does_not_measure_is_refused() {
        for given in [["doctor"].as_slice(), &["bench", "--list"], &["exec", "--", "hello"]] {
            let failure = without_json(&words(given)).unwrap_err();
            assert_eq!(failure.exit_status(), exit::USAGE, "{given:?}");
        }
    }
}
