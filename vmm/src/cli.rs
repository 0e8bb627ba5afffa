//! The command line: what may be asked of `faultlab`, and how a wrong request is answered.
//!
//! Every rejection is one line on stderr that names the value and the remedy, with status 2. Nothing is opened or
//! started before the whole command line has been accepted.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use faultlab::report::SCENARIOS;
use faultlab::swap_file::SWAP_MIN_BYTES;
use faultlab_abi::layout::{PAGE_SIZE, RAM_MAX_BYTES, RAM_MIN_BYTES};

/// What a sparse temporary file may promise.
const SWAP_MAX_BYTES: u64 = 64 << 30;

/// The most samples that one phase can hand over ([`faultlab_abi::dev::Samples::count`]).
const PAGES_MAX: u64 = 65_536;

const EXIT_STATUSES: &str = "\
Exit status:
    0  success
    1  run: the counts of a row did not add up (the row is marked, the reason printed);
       gate: that, or a scenario costs over 1 % more than the baseline says
    2  wrong command line, bad values included
   69  this host cannot run guests; `faultlab doctor` says what is missing
  121  the guest kernel panicked
  124  the guest made no progress, or --timeout was reached
  125  any other failure of faultlab itself
  126  exec: the program is not a static x86-64 ELF
  127  exec: no such program
128+n  exec: the program was killed by signal n; any command: faultlab was ended by
       SIGINT (130) or SIGTERM (143)
exec otherwise exits with the program's own status, rig with that of the command in the machine.

Sizes are bytes, or take a suffix K, M or G (binary: 64M is 67,108,864 bytes).";

/// A laboratory for guest memory faults: boots a tiny kernel on KVM and measures what its faults cost.
#[derive(Debug, Parser)]
#[command(name = "faultlab", version, after_long_help = EXIT_STATUSES, after_help = "Exit statuses: see --help.")]
#[command(max_term_width = 100, arg_required_else_help = false)]
pub(crate) struct Cli {
    /// Log more: -v what happens, -vv details for developers, -vvv everything
    #[arg(short, long, action = ArgAction::Count, global = true, display_order = 100, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true, display_order = 101)]
    pub(crate) quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the standard set of faults and print what each costs
    #[command(after_long_help = EXIT_STATUSES)]
    Run(RunArgs),
    /// Run one static Linux x86-64 program in the guest
    #[command(after_long_help = EXIT_STATUSES)]
    Exec(ExecArgs),
    /// Run a program in the guest and write what happened when, guest, VMM and host, for ui.perfetto.dev
    #[command(after_long_help = EXIT_STATUSES)]
    Trace(TraceArgs),
    /// List the bundled programs, or write them to a directory
    Programs(ProgramsArgs),
    /// Say what this host is, what it can do, and how to get what is missing
    Doctor(DoctorArgs),
    /// Run any other command inside a simulated machine: nested paging, and instruction counts that repeat
    #[command(after_long_help = EXIT_STATUSES)]
    Rig(RigArgs),
    /// Measure the standard set in a simulated machine, and fail if a fault costs over 1 % more than recorded
    #[command(after_long_help = EXIT_STATUSES)]
    Gate(GateArgs),
}

/// The guest, for every command that boots one.
#[derive(Args, Debug)]
pub(crate) struct VmArgs {
    /// Guest memory, 8M to 3G
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_memory)]
    pub(crate) memory: u64,
    /// Swap area on a temporary file of this size, removed at the end; 0 for none
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_swap, conflicts_with = "swap_file")]
    pub(crate) swap: u64,
    /// Swap area on a file (created with 64M if missing) or block device that mkswap(8) prepared; its contents are
    /// overwritten
    #[arg(long, value_name = "PATH")]
    pub(crate) swap_file: Option<PathBuf>,
    /// Time-stamp the stages of every fault; costs time, so the table then says so
    #[arg(long, value_name = "LEVEL", default_value = "off")]
    pub(crate) trace_level: TraceLevel,
    /// End the guest after this many seconds, with status 124
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: Option<u64>,
}

/// What the guest kernel records while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceLevel {
    /// Nothing
    Off,
    /// Every stage of every fault
    Stages,
}

/// `faultlab run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) vm: VmArgs,
    /// Also write the report to this file as JSON, all of it or nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Measure only these scenarios, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = PossibleValuesParser::new(SCENARIOS))]
    pub(crate) scenario: Vec<String>,
    /// Also say what the host kernel's own events tell of each row (`host_side`); needs root and tracefs, and costs time
    #[arg(long)]
    pub(crate) host_events: bool,
    /// Pages touched in each scenario, 1 to 65536; auto suits the count to the host's speed
    #[arg(long, value_name = "N", default_value = "auto", value_parser = parse_pages)]
    pub(crate) pages: Pages,
}

/// `--pages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// The program calibrates itself to its budget of time.
    Auto,
    /// Exactly so many.
    Exactly(u64),
}

/// `faultlab exec`.
#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) vm: VmArgs,
    /// A bundled program's name, or the path (with a slash) of a file on this host; then its arguments
    #[arg(value_name = "PROG", required = true, trailing_var_arg = true, num_args = 1..)]
    pub(crate) command: Vec<OsString>,
}

/// `faultlab trace`.
#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(crate) vm: VmArgs,
    /// Write the timeline to this file (Chrome trace-event JSON), all of it or nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Guest memory for the trace, 256K to 16M in a power of two; older faults are overwritten when it is full
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = parse_ring)]
    pub(crate) ring: u64,
    /// Also record the host kernel's events (KVM exits and entries, page faults); needs root and tracefs, and costs time
    #[arg(long)]
    pub(crate) host_events: bool,
    /// Also print the timeline of the longest fault, on standard error
    #[arg(long)]
    pub(crate) show: bool,
    /// A bundled program's name, or the path (with a slash) of a file on this host; then its arguments
    #[arg(value_name = "PROG", required = true, trailing_var_arg = true, num_args = 1..)]
    pub(crate) command: Vec<OsString>,
}

/// `faultlab programs`.
#[derive(Args, Debug)]
pub(crate) struct ProgramsArgs {
    /// Write the programs into this directory (created if missing) as executable files
    #[arg(long, value_name = "DIR")]
    pub(crate) extract: Option<PathBuf>,
}

/// `faultlab doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// `faultlab rig`.
#[derive(Args, Debug)]
pub(crate) struct RigArgs {
    /// Which machine
    #[arg(long, value_name = "MACHINE", default_value = "amd")]
    pub(crate) machine: RigMachine,
    /// Boot this Linux kernel (a bzImage); otherwise one from /boot, or the distribution's package, fetched once
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// The kernel's module tree; otherwise the one beside the kernel, or in /lib/modules
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<PathBuf>,
    /// Count time in instructions, so that results repeat (the default)
    #[arg(long, overrides_with = "no_icount")]
    pub(crate) icount: bool,
    /// Let time be real; faster, but results do not repeat
    #[arg(long, overrides_with = "icount")]
    pub(crate) no_icount: bool,
    /// Leave the kernel's defences against speculative execution on
    #[arg(long)]
    pub(crate) mitigations: bool,
    /// End the machine after this many seconds, with status 124
    #[arg(long, value_name = "SECS", default_value = "600", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// The command and its arguments; the files they name are taken along and brought back
    #[arg(value_name = "ARGS", required = true, last = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// `faultlab gate`.
#[derive(Args, Debug)]
pub(crate) struct GateArgs {
    /// The recorded costs to compare with, a JSON file that --record wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: PathBuf,
    /// Make what is measured the new baseline, and show what moved
    #[arg(long)]
    pub(crate) record: bool,
    /// Which machine
    #[arg(long, value_name = "MACHINE", default_value = "amd")]
    pub(crate) machine: RigMachine,
    /// Boot this Linux kernel, as in rig
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// The kernel's module tree, as in rig
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<PathBuf>,
    /// End the machine after this many seconds, with status 124
    #[arg(long, value_name = "SECS", default_value = "600", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
}

/// `--machine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RigMachine {
    /// AMD with SVM and nested paging (NPT), simulated by QEMU
    Amd,
    /// Intel with VMX and EPT, simulated by Bochs; boots in about a minute, always counts instructions
    Intel,
}

/// Bytes of `text`: digits with an optional suffix K, M or G (either case), binary multiples.
fn parse_size(text: &str) -> Result<u64, String> {
    let remedy = "give bytes or a number with K, M or G, such as 64M";
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    // `u64::from_str` alone would accept a leading `+`.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("not a size; {remedy}"));
    }
    let units: u64 = digits.parse().map_err(|_| format!("larger than 64 bits; {remedy}"))?;
    units
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("larger than 64 bits; {remedy}"))
}

/// A size of whole pages within `min..=max`.
fn parse_pages_within(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    if bytes < min || bytes > max {
        return Err(format!("out of range; give {} to {}", show_size(min), show_size(max)));
    }
    if !bytes.is_multiple_of(PAGE_SIZE) {
        return Err(format!(
            "not a multiple of the page size; give {} or a multiple of 4K",
            show_size(min)
        ));
    }
    Ok(bytes)
}

fn parse_memory(text: &str) -> Result<u64, String> {
    parse_pages_within(text, RAM_MIN_BYTES, RAM_MAX_BYTES)
}

fn parse_swap(text: &str) -> Result<u64, String> {
    if parse_size(text)? == 0 {
        return Ok(0);
    }
    parse_pages_within(text, SWAP_MIN_BYTES, SWAP_MAX_BYTES).map_err(|reason| format!("{reason}, or 0 for none"))
}

fn parse_ring(text: &str) -> Result<u64, String> {
    let (min, max) = (256 << 10, 16 << 20);
    match parse_size(text)? {
        bytes if bytes.is_power_of_two() && (min..=max).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "not a power of two from {} to {}; give one, such as 1M",
            show_size(min),
            show_size(max)
        )),
    }
}

fn parse_pages(text: &str) -> Result<Pages, String> {
    if text == "auto" {
        return Ok(Pages::Auto);
    }
    match text.parse() {
        Ok(pages @ 1..=PAGES_MAX) => Ok(Pages::Exactly(pages)),
        _ => Err(format!("not a number of pages; give 1 to {PAGES_MAX}, or auto")),
    }
}

/// `bytes` with the largest suffix that divides it: the inverse of [`parse_size`].
pub(crate) fn show_size(bytes: u64) -> String {
    for (shift, suffix) in [(30, 'G'), (20, 'M'), (10, 'K')] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{suffix}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// clap's report of a wrong command line as one line.
///
/// clap renders the sentence, indented tips and lists, the usage and a hint to `--help`, each a paragraph; here the
/// sentence and the tips are joined, and the usage is left to `--help`.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let mut sentence = String::new();
    let kept = rendered
        .lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty());
    for line in kept {
        let separator = match line.as_bytes()[0] {
            _ if sentence.is_empty() => "",
            b't' | b'[' => "; ",
            _ => " ",
        };
        sentence.push_str(separator);
        sentence.push_str(line);
    }
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    format!("faultlab: {sentence} (see `faultlab --help`)")
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
