//! `faultlab gate`: every scenario whose cost repeats, in the simulated machine, against a recorded baseline.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use faultlab::exit;
use faultlab::gate::{Baseline, Comparison, GateError, PAGES, scenarios, table};
use faultlab::paths;
use faultlab::rig::{Machine, RigConfig};
use serde_json::Value;

use super::progress::Progress;
use super::rig::{Passed, run_in_machine};
use super::{Failure, claim, print};
use crate::cli::{GateArgs, RigMachine};

/// Larger files are no baselines: a row takes less than 100 bytes.
const BASELINE_MAX_BYTES: u64 = 16 << 20;

/// Measures and compares; the exit status says whether nothing became dearer.
pub(crate) fn gate(args: &GateArgs, quiet: bool) -> Result<u8, Failure> {
    // Known before the machine boots: what cannot be read, and what cannot be written.
    let before = read(&args.baseline, args.record)?;
    let target = args.record.then(|| claim(&args.baseline)).transpose()?;
    let pages = before.as_ref().filter(|_| !args.record).map(|before| before.pages);
    let machine = machine(args.machine, before.as_ref())?;
    let pages = pages.unwrap_or(pages_on(machine));
    let (status, stdout) = measure(args, machine, pages, quiet)?;
    let (report, text) = split(&stdout);
    if status != exit::OK {
        // Costs of rows that do not add up are not worth comparing; the table says why.
        print(text)?;
        return Ok(status);
    }
    let now = report
        .as_ref()
        .ok_or(GateError::Report("is missing"))
        .and_then(|report| Baseline::of_report(report, pages))
        .map_err(Failure::Gate)?;
    let comparison = before.as_ref().map(|before| Comparison::of(before, &now));
    match &comparison {
        Some(comparison) => print(&table::render(comparison, &now, &record_command(args, machine)))?,
        None => print(&table::conditions(&now))?,
    }
    if let Some(target) = target {
        target
            .write(&now)
            .map_err(|source| Failure::cannot_write(&args.baseline, source))?;
        let scenarios = now.instructions.len();
        print(&format!(
            "Recorded {scenarios} scenarios in {}.\n",
            args.baseline.display()
        ))?;
        return Ok(exit::OK);
    }
    let passes = comparison.is_some_and(|comparison| comparison.passes());
    Ok(if passes { exit::OK } else { exit::CHECKS_FAILED })
}

/// The recorded baseline; `None` if one is to be recorded and there is none to compare with, or one of another version. Any other file is
/// refused, so that `--record` replaces nothing but a baseline.
pub(super) fn read(path: &Path, record: bool) -> Result<Option<Baseline>, Failure> {
    let told = |reason: String| Failure::Usage(format!("--baseline {}: {reason}", path.display()));
    match paths::read_text(path, BASELINE_MAX_BYTES) {
        Ok(text) if record && text.trim().is_empty() => Ok(None),
        Ok(text) => match Baseline::parse(&text) {
            Ok(baseline) => Ok(Some(baseline)),
            Err(_) if record && Baseline::is_of_another_version(&text) => Ok(None),
            Err(error) if record => Err(told(format!("{error}; name another file to record to"))),
            Err(error) => Err(told(error.to_string())),
        },
        Err(error) if record && error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(told(format!("{error}; record one with --record"))),
    }
}

/// Runs every scenario in the machine: the exit status, and what came on standard output, the JSON first.
fn measure(args: &GateArgs, machine: Machine, pages: u64, quiet: bool) -> Result<(u8, Vec<u8>), Failure> {
    // To standard output rather than a file: a temporary name would make the machine's files differ from run to run.
    let command = [
        "bench",
        "--backing",
        "anon",
        "--json",
        "/dev/stdout",
        "--pages",
        &pages.to_string(),
        "--scenario",
        &scenarios().collect::<Vec<_>>().join(","),
    ];
    let rig = RigConfig {
        machine,
        program: None,
        arguments: command.map(OsString::from).to_vec(),
        taken: Vec::new(),
        brought: Vec::new(),
        kernel: args.kernel.clone(),
        modules: args.modules.clone(),
        icount: true,
        mitigations: false,
        append: String::new(),
        disk: false,
        timeout: Duration::from_secs(args.timeout),
    };
    let mut stdout = Vec::new();
    let progress = RefCell::new(Some(Progress::start(quiet)));
    let mut stderr = Passed::new(io::stderr(), &progress);
    let ended = run_in_machine(&rig, &mut stdout, &mut stderr);
    drop(progress.take());
    Ok((ended?, stdout))
}

/// The JSON at the beginning of `stdout`, and the text after it.
fn split(stdout: &[u8]) -> (Option<Value>, &str) {
    let mut values = serde_json::Deserializer::from_slice(stdout).into_iter::<Value>();
    let report = values.next().and_then(Result::ok);
    let text = &stdout[if report.is_some() { values.byte_offset() } else { 0 }..];
    (report, std::str::from_utf8(text).unwrap_or_default().trim_start())
}

/// Pages of a baseline to be recorded: medians repeat with few, and Bochs is slow.
fn pages_on(machine: Machine) -> u64 {
    match machine {
        Machine::Amd => PAGES,
        Machine::Intel => PAGES / 4,
    }
}

/// The command that makes what was measured the baseline.
fn record_command(args: &GateArgs, machine: Machine) -> String {
    let machine = machine.name();
    format!(
        "faultlab gate --machine {machine} --baseline {} --record",
        args.baseline.display()
    )
}

/// The machine that is named, or else the baseline's: costs of another would all have moved, and mean nothing.
fn machine(named: Option<RigMachine>, before: Option<&Baseline>) -> Result<Machine, Failure> {
    let named = named.map(|named| match named {
        RigMachine::Amd => Machine::Amd,
        RigMachine::Intel => Machine::Intel,
    });
    let recorded = before.and_then(Baseline::machine);
    match (named, recorded) {
        (Some(named), Some(recorded)) if named != recorded => Err(Failure::Usage(format!(
            "--machine {}: the baseline is of the {} machine; name another file, or leave --machine out",
            named.name(),
            recorded.name()
        ))),
        (Some(machine), _) | (None, Some(machine)) => Ok(machine),
        (None, None) => Ok(Machine::Amd),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn json_and_table_are_told_apart() {
        let (report, text) = split(b"{\n  \"a\": [1]\n}\nhost  QEMU\n");
        assert_eq!(report, Some(serde_json::json!({"a": [1]})));
        assert_eq!(text, "host  QEMU\n");
        assert_eq!(split(b"no JSON\n"), (None, "no JSON\n"));
        assert_eq!(split(b""), (None, ""));
    }

    #[test]
    fn the_machine_is_the_baselines() {
        let of = |name: &str| Baseline {
            machine: format!("rig:{name}:icount"),
            ..Baseline::default()
        };
        assert_eq!(machine(None, None).unwrap(), Machine::Amd);
        assert_eq!(machine(None, Some(&of("intel"))).unwrap(), Machine::Intel);
        assert_eq!(machine(Some(RigMachine::Intel), None).unwrap(), Machine::Intel);
        let refused = machine(Some(RigMachine::Amd), Some(&of("intel"))).unwrap_err();
        assert_eq!(refused.exit_status(), exit::USAGE);
        assert!(refused.to_string().contains("of the intel machine"), "{refused}");
    }

    #[test]
    fn a_missing_baseline_matters_unless_it_is_to_be_recorded() {
        let path = Path::new("/nonexistent/amd.json");
        assert!(read(path, true).unwrap().is_none());
        let failure = read(path, false).unwrap_err();
        assert_eq!(failure.exit_status(), exit::USAGE);
        let line = failure.to_string();
        assert!(
            line.starts_with("--baseline /nonexistent/amd.json: ") && line.ends_with("--record"),
            "{line}"
        );
    }

    #[test]
    fn recording_replaces_nothing_but_a_baseline() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        fs::write(&path, "my precious notes").unwrap();
        let failure = read(&path, true).unwrap_err();
        assert_eq!(failure.exit_status(), exit::USAGE);
        assert!(
            failure.to_string().ends_with("name another file to record to"),
            "{failure}"
        );
        fs::write(&path, "").unwrap();
        assert!(read(&path, true).unwrap().is_none());
        fs::write(&path, r#"{"schema": "faultlab.baseline/0"}"#).unwrap();
        assert!(read(&path, true).unwrap().is_none());
        assert!(read(&path, false).is_err());
    }
}
