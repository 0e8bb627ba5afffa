//! `faultlab run`: measures the standard set of faults, prints the table, writes the JSON.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use faultlab::host::{Ring0, SecondLevelPaging};
use faultlab::report::{Builder, JsonFile, Measured, Regime, Report, SCENARIOS, header, stages, table};
use faultlab::{End, Host, HostIdentity, Observer, Outcome, PhaseRecord, Stream, Vm, VmConfig, exit};
use faultlab_abi::dev::PhaseArgs;
use serde_json::{Map, Value, json};

use super::progress::Progress;
use super::signals::StopOnSignals;
use super::{Failure, print, report_end, vm_config};
use crate::cli::{Pages, RunArgs, TraceLevel, VmArgs, show_size};

/// Time for the program, in milliseconds, where ring 0 is emulated: the whole command may take 15 s.
const EMULATED_BUDGET_MS: u64 = 11_000;
/// The same where ring 0 is native: the whole command may take 3 s.
const NATIVE_BUDGET_MS: u64 = 2_000;

/// Scenarios that cannot be measured without a swap area.
const NEED_SWAP: [&str; 2] = ["swap-out", "swap-in"];

/// Measures and reports; the exit status.
pub(crate) fn run(args: &RunArgs, quiet: bool) -> Result<u8, Failure> {
    let wanted = wanted(args)?;
    let host = Host::open()?;
    let identity = host.identity().clone();
    let budget_ms = if identity.ring0 == Ring0::Native {
        NATIVE_BUDGET_MS
    } else {
        EMULATED_BUDGET_MS
    };
    let config = VmConfig {
        host_events: args.host_events,
        ..vm_config::of(&args.vm, &command(&wanted, args.pages, budget_ms))?
    };
    let backing = config.backing.name();
    let vm = Vm::new(config, &host)?;
    let signals = StopOnSignals::listen(vm.stop_handle()).map_err(Failure::Signals)?;
    // Claimed now: a path that cannot be written is known before anything is measured.
    let json_file = args.json.as_deref().map(claim).transpose()?;

    let builder = Builder::new(
        host_map(&identity),
        backing,
        identity.tsc_khz,
        regime(&identity),
        wanted,
    );
    let mut recorder = Recorder {
        builder,
        progress: Progress::start(quiet),
    };
    let ended = vm.run(&mut recorder);
    let Recorder { builder, progress } = recorder;
    drop(progress);

    let (outcome, failure) = match ended {
        Ok(outcome) => (Some(outcome), None),
        Err(error) => (None, Some(error)),
    };
    let cut_short = match (&outcome, &failure) {
        (Some(outcome), _) => cut_short(&outcome.end),
        (None, failure) => failure.as_ref().map(ToString::to_string),
    };
    let vm = vm_map(&args.vm, backing, budget_ms, outcome.as_ref());
    let report = builder.finish(vm, cut_short);
    let written = match (json_file, &args.json) {
        (Some(file), Some(path)) => file.write(&report).map_err(|source| Failure::Write {
            path: path.clone(),
            source,
        }),
        _ => Ok(()),
    };
    drop(signals);
    // What was measured is shown even if it could not be saved.
    let lines = header_lines(&identity, &args.vm, budget_ms);
    print(&table::render(&report, &lines, colours()))?;
    if let (TraceLevel::Stages, Some(outcome)) = (args.vm.trace_level, &outcome) {
        print(&stages::render(&outcome.trace))?;
    }
    written?;
    match (outcome, failure) {
        (_, Some(error)) => Err(error.into()),
        (Some(outcome), None) => Ok(status(&report, &outcome)),
        (None, None) => Ok(exit::FAILURE),
    }
}

/// The scenarios asked for: those named, or all that this configuration allows.
fn wanted(args: &RunArgs) -> Result<Vec<String>, Failure> {
    let no_swap = args.vm.swap == 0 && args.vm.swap_file.is_none();
    let needs_swap = |name: &str| NEED_SWAP.contains(&name);
    if args.scenario.is_empty() {
        let possible = SCENARIOS.iter().filter(|name| !(no_swap && needs_swap(name)));
        return Ok(possible.map(|name| (*name).to_owned()).collect());
    }
    match args.scenario.iter().find(|name| no_swap && needs_swap(name)) {
        Some(name) => Err(Failure::Usage(format!(
            "--scenario {name} with --swap 0: give --swap a size, such as 64M"
        ))),
        // In the order of the table, each once, as the program measures them.
        None => {
            let named = SCENARIOS
                .iter()
                .filter(|name| args.scenario.iter().any(|asked| asked == *name));
            Ok(named.map(|name| (*name).to_owned()).collect())
        }
    }
}

/// The bundled program and its arguments.
fn command(wanted: &[String], pages: Pages, budget_ms: u64) -> Vec<OsString> {
    let pages = match pages {
        Pages::Auto => "auto".to_owned(),
        Pages::Exactly(pages) => pages.to_string(),
    };
    let (scenarios, budget_ms) = (wanted.join(","), budget_ms.to_string());
    let words = [
        "faults",
        "--budget-ms",
        &budget_ms,
        "--pages",
        &pages,
        "--scenario",
        &scenarios,
    ];
    words.map(OsString::from).to_vec()
}

fn claim(path: &std::path::Path) -> Result<JsonFile, Failure> {
    JsonFile::create(path).map_err(|source| Failure::Write {
        path: path.to_owned(),
        source,
    })
}

/// How this host counts. An unknown host is not given the benefit of EPT's exact rule: it fails it, visibly.
fn regime(identity: &HostIdentity) -> Regime {
    match identity.second_level_paging {
        SecondLevelPaging::Shadow => Regime::Shadow,
        SecondLevelPaging::Ept | SecondLevelPaging::Npt | SecondLevelPaging::Unknown => Regime::TwoDimensional,
    }
}

/// Why the run ended early, if it did. A program that failed has said why on its standard error.
fn cut_short(end: &End) -> Option<String> {
    match end {
        End::Exited(0) => None,
        End::Exited(status) => Some(format!("the program ended with wait status {status:#x}")),
        End::Panicked(_) => Some("the guest kernel panicked".to_owned()),
        End::Crashed(_) => Some("the guest crashed".to_owned()),
        End::Watchdog(report) => Some(report.cause.to_string()),
        End::Stopped(signal) => Some(format!("ended by signal {signal}")),
    }
}

/// The guest's end first: a run that was cut short has no verdict.
fn status(report: &Report, outcome: &Outcome) -> u8 {
    report_end(outcome);
    match &outcome.end {
        End::Exited(0) if report.adds_up() => exit::OK,
        End::Exited(0) => exit::CHECKS_FAILED,
        End::Exited(_) => exit::FAILURE,
        end => end.exit_status(),
    }
}

fn header_lines(identity: &HostIdentity, vm: &VmArgs, budget_ms: u64) -> Vec<String> {
    let mut lines = header::host_lines(identity).to_vec();
    let swap = match (&vm.swap_file, vm.swap) {
        (Some(path), _) => format!("swap on {}", path.display()),
        (None, 0) => "no swap".to_owned(),
        (None, bytes) => format!("{} swap on a temporary file", show_size(bytes)),
    };
    let trace = match vm.trace_level {
        TraceLevel::Off => "tracing off",
        TraceLevel::Stages => "TRACING ON (costs include it)",
    };
    let budget = format!("{:.0} s budget", budget_ms as f64 / 1e3);
    lines.push(format!(
        "VM    {} memory, {swap}, 1 vCPU, {trace}, {budget}",
        show_size(vm.memory)
    ));
    lines
}

/// The `host` object: the identity, and which faultlab measured.
fn host_map(identity: &HostIdentity) -> Map<String, Value> {
    // An identity has only string keys and finite numbers, so this gives an object.
    let mut map = match serde_json::to_value(identity) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    map.insert("faultlab_version".into(), env!("CARGO_PKG_VERSION").into());
    map.insert("faultlab_commit".into(), env!("FAULTLAB_COMMIT").into());
    // An unoptimised build of the same compiler costs more instructions.
    let profile = if cfg!(debug_assertions) { ", debug build" } else { "" };
    let toolchain = format!("{}{profile}", env!("FAULTLAB_TOOLCHAIN"));
    map.insert("faultlab_toolchain".into(), toolchain.into());
    map
}

/// The `vm` object: the configuration, and what the guest said and cost.
fn vm_map(args: &VmArgs, backing: &str, budget_ms: u64, outcome: Option<&Outcome>) -> Map<String, Value> {
    let swap_file = args.swap_file.as_ref().map(|path| path.display().to_string());
    let trace_level = match args.trace_level {
        TraceLevel::Off => "off",
        TraceLevel::Stages => "stages",
    };
    let mut map = Map::new();
    map.insert("memory_bytes".into(), args.memory.into());
    map.insert("backing".into(), backing.into());
    map.insert("vcpus".into(), 1.into());
    map.insert("swap_file".into(), json!(swap_file));
    map.insert("trace_level".into(), trace_level.into());
    map.insert("budget_ms".into(), budget_ms.into());
    if let Some(outcome) = outcome {
        map.insert("swap_pages".into(), json!(outcome.hello.map(|hello| hello.swap_pages)));
        map.insert(
            "managed_pages".into(),
            json!(outcome.hello.map(|hello| hello.managed_pages)),
        );
        let gate = |hello: faultlab_abi::lab::Hello| if hello.syscall_gate == 1 { "ud2" } else { "syscall" };
        map.insert("syscall_gate".into(), json!(outcome.hello.map(gate)));
        map.insert("vmm_resident_kib".into(), outcome.vmm_resident_kib.into());
        map.insert("start_to_guest_us".into(), json!(outcome.start_to_guest.as_micros()));
    }
    map
}

/// Colours on a terminal, unless <https://no-color.org> says otherwise.
fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Turns what the guest says into rows and progress.
struct Recorder {
    builder: Builder,
    progress: Progress,
}

impl Observer for Recorder {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        // The table replaces the program's own lines; its complaints are wanted.
        let level = match stream {
            Stream::Stdout => log::Level::Info,
            Stream::Stderr => log::Level::Warn,
        };
        for line in String::from_utf8_lossy(bytes).lines() {
            log::log!(level, "{line}");
        }
    }

    fn plan(&mut self, scenarios: u64) {
        self.progress.plan(scenarios);
    }

    fn phase_begin(&mut self, args: &PhaseArgs) {
        self.progress.begin(&Measured::name_of(args));
    }

    fn phase(&mut self, record: PhaseRecord) {
        let measured = Measured::from(record);
        if !measured.is_empty_phase() {
            self.progress.done();
        }
        self.builder.add(&measured);
    }
}
