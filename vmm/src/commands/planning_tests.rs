//! Command lines made of the definition: whatever is asked for is planned, or refused in one line; nothing panics. Nothing is opened
//! but files that are read.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Arg, CommandFactory, Parser};
use faultlab::host::Ring0;
use proptest::prelude::*;

use super::bench::Plan;
use super::{Failure, gate, read_reports, rig, vm_config};
use crate::cli::{Cli, Command, RigMachines, one_line};

/// Values that some option means, and some that none does.
const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "17",
    "64",
    "4096",
    "65537",
    "-1",
    "8M",
    "64M",
    "3G",
    "5G",
    "16M",
    "auto",
    "none",
    "all",
    "growth",
    "four-way",
    "seq",
    "rand",
    "stride:3",
    "seq,rand",
    "stride:0",
    "slower",
    "slower:5",
    "fixed:80us",
    "normal:80us,1us",
    "read:0.1,seed=4",
    "file:/nonexistent",
    "hugepages=8",
    "a'b",
    "hello",
    "./hello",
    "/dev/null",
    "/nonexistent/x",
    "Cargo.toml",
    "a\nb",
    "",
    " ",
    "\u{1b}[31m",
    "--",
    "-",
    "-v",
    "99999999999999999999",
    "minor,cow",
    "anon,memfd",
    "uffd-missing",
    "run",
    "bench",
    "exec",
];

/// An option with a value, or a positional one, as words.
fn words_of(argument: &Arg, choice: usize) -> Vec<OsString> {
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    let value = match possible.get(choice % (possible.len() + 1)) {
        Some(name) => OsString::from(name),
        None if choice.is_multiple_of(97) => OsString::from_vec(vec![0xff, b'x']),
        None => VALUES[choice % VALUES.len()].into(),
    };
    match (argument.get_long(), argument.get_action().takes_values()) {
        (Some(long), true) => vec![format!("--{long}").into(), value],
        (Some(long), false) => vec![format!("--{long}").into()],
        (None, _) => vec![value],
    }
}

/// A command line: which command, and its options with their values by number.
fn line_of(command: usize, options: &[(usize, usize)]) -> Vec<OsString> {
    let definition = Cli::command();
    let commands: Vec<_> = definition.get_subcommands().collect();
    let command = commands[command % commands.len()];
    let arguments: Vec<_> = command.get_arguments().collect();
    let mut line: Vec<OsString> = vec!["faultlab".into(), command.get_name().into()];
    for (which, choice) in options {
        if !arguments.is_empty() {
            line.extend(words_of(arguments[which % arguments.len()], *choice));
        }
    }
    // What most commands need, that some lines get further than their first word.
    match command.get_name() {
        "exec" | "trace" => line.extend(["--", "hello", "1"].map(OsString::from)),
        "rig" => line.extend(["--", "run", "--pages", "3"].map(OsString::from)),
        _ => {}
    }
    line
}

/// Everything that a command does before it opens the host.
fn plan(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => {
            vm_config::check_backing(&args.vm.backing, &[args.backing])?;
            finish(&Plan::of_run(args)?, &args.vm)
        }
        Command::Bench(args) if args.list => Ok(()),
        Command::Bench(args) => finish(&Plan::of_bench(args)?, &args.vm),
        Command::Exec(args) => {
            vm_config::check_backing(&args.vm.backing, &[args.backing])?;
            vm_config::of(&args.vm, args.backing, &args.command).map(drop)
        }
        Command::Trace(args) => {
            vm_config::check_backing(&args.vm.backing, &[args.backing])?;
            vm_config::of(&args.vm, args.backing, &args.command).map(drop)
        }
        Command::Rig(args) => {
            rig::check_arguments(args)?;
            if args.machine == RigMachines::All {
                rig::without_json(&args.arguments)?;
            }
            Ok(())
        }
        Command::Gate(args) => gate::read(&args.baseline, args.record).map(drop),
        Command::Report(args) => args.file.as_deref().map_or(Ok(()), |file| read_reports(file).map(drop)),
        Command::Compare(args) => read_reports(&args.a).and(read_reports(&args.b)).map(drop),
        Command::Programs(_) | Command::Doctor(_) => Ok(()),
    }
}

fn finish(plan: &Plan<'_>, vm: &crate::cli::VmArgs) -> Result<(), Failure> {
    vm_config::check_backing(&vm.backing, plan.backings())?;
    let budget_ms = plan.budget_ms(Ring0::Emulated).min(plan.budget_ms(Ring0::Native));
    let backing = plan.backings().first().copied().unwrap_or_default();
    vm_config::of(vm, backing, &plan.command(budget_ms)).map(drop)
}

fn is_one_line(text: &str) -> bool {
    text.starts_with("faultlab: ") && text.len() > 20 && !text.contains(char::is_control)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_is_planned_or_refused_in_one_line(
        command in any::<usize>(),
        options in prop::collection::vec(any::<(usize, usize)>(), 0..5),
    ) {
        let line = line_of(command, &options);
        match Cli::try_parse_from(&line) {
            Ok(cli) => {
                if let Err(failure) = plan(&cli.command) {
                    prop_assert!(is_one_line(&failure.line()), "{line:?}: {:?}", failure.line());
                    prop_assert_ne!(failure.exit_status(), 0, "{:?}", line);
                }
            }
            Err(answer) if answer.use_stderr() => {
                prop_assert!(is_one_line(&one_line(&answer)), "{line:?}: {:?}", one_line(&answer));
            }
            // Help.
            Err(answer) => prop_assert_eq!(answer.exit_code(), 0, "{:?}", line),
        }
    }
}

#[test]
fn most_lines_get_past_the_parser() {
    let accepted = (0..600).filter(|&seed: &usize| {
        let options = [(seed.wrapping_mul(7), seed.wrapping_mul(31))];
        Cli::try_parse_from(line_of(seed, &options)).is_ok()
    });
    let accepted = accepted.count();
    assert!(accepted > 150, "{accepted} of 600");
}
