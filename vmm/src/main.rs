//! The `faultlab` command: reads the command line, starts the log, runs one command, ends with its status.

mod cli;
mod commands;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use env_logger::Target;
use log::LevelFilter;
use signal_hook::consts::SIGXFSZ;

use cli::{Cli, Command};
use commands::progress::LogWriter;

fn main() -> ExitCode {
    if faultlab::rig::is_first_process() {
        faultlab::rig::first_process();
    }
    // With a handler, which programs that are started do not inherit, a write past the limit of `ulimit -f` fails and is told.
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, Arc::default()) {
        complain(&format!("faultlab: cannot handle SIGXFSZ: {error}"));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return answer_of_clap(&answer),
    };
    start_log(cli.verbose, cli.quiet);
    let status = match &cli.command {
        Command::Run(args) => commands::run::run(args, cli.quiet),
        Command::Bench(args) => commands::bench::bench(args, cli.quiet),
        Command::Exec(args) => commands::exec::exec(args),
        Command::Trace(args) => commands::trace::trace(args),
        Command::Programs(args) => commands::programs::programs(args),
        Command::Doctor(args) => commands::doctor::doctor(args),
        Command::Rig(args) => commands::rig::rig(args, cli.quiet),
        Command::Gate(args) => commands::gate::gate(args, cli.quiet),
        Command::Report(args) => commands::report::report(args),
        Command::Compare(args) => commands::compare::compare(args),
    };
    let status = status.unwrap_or_else(|failure| {
        complain(&failure.line());
        failure.exit_status()
    });
    ExitCode::from(status)
}

/// Prints help or the version, or why the command line is wrong.
fn answer_of_clap(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        complain(&cli::one_line(answer));
        return ExitCode::from(faultlab::exit::USAGE);
    }
    // Help into a pipe that was closed (`--help | head`) has still been given.
    let _ = answer.print();
    ExitCode::from(faultlab::exit::OK)
}

/// One line on standard error; if that is closed, there is nobody left to tell.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Warnings and errors by default; `FAULTLAB_LOG` overrides `-v` and `-q` (in env_logger's syntax).
fn start_log(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (_, 0) => LevelFilter::Warn,
        (_, 1) => LevelFilter::Info,
        (_, 2) => LevelFilter::Debug,
        (_, _) => LevelFilter::Trace,
    };
    env_logger::Builder::new()
        .filter_level(level)
        .parse_env("FAULTLAB_LOG")
        .format(|line, record| {
            write!(
                line,
                "faultlab: {}: {}{}",
                record.level().as_str().to_lowercase(),
                record.args(),
                commands::terminal::line_end()
            )
        })
        .target(Target::Pipe(Box::new(LogWriter)))
        .init();
}
