//! The command line: what may be asked of `faultlab`, and how a wrong request is answered.
//!
//! Every rejection is one line on stderr that names the value and the remedy, with status 2. Nothing is opened or
//! started before the whole command line has been accepted.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use faultlab::memory::Backing;
pub(crate) use faultlab::report::header::show_size;
pub(crate) use faultlab_abi::pattern::Pattern;

mod exec;
mod refusal;
mod swap;
mod values;

pub(crate) use self::exec::{ExecArgs, Pair};
pub(crate) use self::refusal::one_line;
pub(crate) use self::swap::{SwapAreaArgs, SwapBackend, SwapFaultArgs, SwapServer};
use self::values::{
    backing_names, parse_fail_on, parse_kernel_words, parse_memory, parse_pages, parse_pattern, parse_percent,
    parse_ring, parse_size, parse_swap, parse_window, scenario_names, with_all, with_groups,
};

const EXIT_STATUSES: &str = "\
Exit status:
    0  success
    1  run, bench: the counts of a row did not add up (the row is marked, the reason printed);
       gate: that, or a scenario costs over 1 % more than the baseline says;
       compare --fail-on: a row is slower, or cannot be judged: its checks failed, it has
       fewer than 6 samples, or B does not have it
    2  wrong command line, bad values included, and files that are not what they should be
   69  this host cannot run guests, or not as asked; `faultlab doctor` says what is missing
  121  the guest kernel panicked
  122  exec --check: the guest kernel's structures do not agree with each other
  123  exec: the program ended with status 0, but not all that --out names was brought back
  124  the guest made no progress, or --timeout was reached
  125  any other failure of faultlab itself
  126  exec: the program cannot be read, or is not a static x86-64 ELF
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
    /// Measure any scenarios on any backings in any order of touching: all of them, unless told otherwise
    #[command(after_long_help = EXIT_STATUSES)]
    Bench(BenchArgs),
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
    /// Measure all scenarios in a simulated machine, and fail if one costs over 1 % more than recorded
    #[command(after_long_help = EXIT_STATUSES)]
    Gate(GateArgs),
    /// Show reports that --json wrote, or turn them into HTML, CSV or Markdown
    #[command(after_long_help = EXIT_STATUSES)]
    Report(ReportArgs),
    /// Compare two reports row by row, and call nothing different that is within noise
    #[command(after_long_help = EXIT_STATUSES)]
    Compare(CompareArgs),
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
    #[command(flatten)]
    pub(crate) backing: BackingArgs,
    /// Lab window for programs that use /dev/faultlab, up to 16G; 0 for none
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_window)]
    pub(crate) window: u64,
    /// What --swap is kept in; null loses every page and is only for measuring
    #[arg(long, value_name = "WHAT", default_value = "file", conflicts_with = "swap_file")]
    pub(crate) swap_backend: SwapBackend,
    /// Bypass the host's page cache (O_DIRECT) on the way to the swap file
    #[arg(long)]
    pub(crate) swap_direct: bool,
    /// Who serves swap requests: the vCPU's thread while it waits, or an I/O thread while the guest goes on
    #[arg(long, value_name = "WHO", default_value = "inline")]
    pub(crate) swap_io: SwapServer,
    #[command(flatten)]
    pub(crate) areas: SwapAreaArgs,
    #[command(flatten)]
    pub(crate) faults: SwapFaultArgs,
    /// Time-stamp the stages of every fault; costs time, so the table then says so
    #[arg(long, value_name = "LEVEL", default_value = "off")]
    pub(crate) trace_level: TraceLevel,
    /// End the guest after this many seconds, with status 124
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: Option<u64>,
}

/// How the host backs the guest's memory.
#[derive(Args, Debug)]
pub(crate) struct BackingArgs {
    /// The file of backings file and file-cold: created if missing, its contents are lost [default: a temporary one]
    #[arg(long, value_name = "PATH")]
    pub(crate) backing_file: Option<PathBuf>,
    /// Threads that serve userfaultfd, 1 to 64 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) uffd_threads: Option<u64>,
    /// Delay of each answer to userfaultfd in microseconds, up to 1000000 [default: 0]
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) uffd_delay_us: Option<u64>,
    /// What userfaultfd makes of a missing page [default: copy]
    #[arg(long, value_name = "FILL")]
    pub(crate) uffd_fill: Option<UffdFill>,
    /// How far guest memory is brought in before the guest runs
    #[arg(long, value_name = "WHAT", default_value = "none")]
    pub(crate) prepare: PrepareWhat,
    /// How stores to the lab window are logged, when a program asks for that
    #[arg(long, value_name = "HOW", default_value = "log")]
    pub(crate) dirty: DirtyHow,
}

/// `--uffd-fill`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UffdFill {
    /// A page of its own, by UFFDIO_COPY
    Copy,
    /// The kernel's zero page, by UFFDIO_ZEROPAGE
    Zeropage,
}

/// `--prepare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrepareWhat {
    /// Pages are backed as they are touched
    None,
    /// The host backs all pages (MADV_POPULATE_WRITE)
    Populate,
    /// KVM maps all pages, too (KVM_PRE_FAULT_MEMORY)
    Prefault,
}

/// `--dirty`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DirtyHow {
    /// The bitmap of the memory slot (KVM_GET_DIRTY_LOG)
    Log,
    /// The ring of the vCPU (KVM_CAP_DIRTY_LOG_RING)
    Ring,
}

/// Takes the name of a backing.
pub(crate) fn backing_parser() -> impl TypedValueParser<Value = Backing> {
    let names = PossibleValuesParser::new(Backing::ALL.map(Backing::name));
    names.try_map(|name| Backing::named(&name).ok_or("no such backing"))
}

/// What the guest kernel records while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceLevel {
    /// Nothing
    Off,
    /// Every stage of every fault
    Stages,
}

/// What is recorded of each row besides its costs, for every command that measures rows.
#[derive(Args, Debug)]
pub(crate) struct RowArgs {
    /// Also say what the host kernel's own events tell of each row (`host_side`); needs root and tracefs, and costs time
    #[arg(long)]
    pub(crate) host_events: bool,
}

/// `faultlab run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) vm: VmArgs,
    /// Run the same program file on this machine's own Linux, too, and print both and the ratio
    #[arg(long)]
    pub(crate) versus_linux: bool,
    /// What backs guest memory on the host; `faultlab doctor` says which of them it can
    #[arg(long, value_name = "BACKING", default_value = "anon", value_parser = backing_parser())]
    pub(crate) backing: Backing,
    /// Also write the report to this file as JSON, all of it or nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Measure these scenarios instead, separated by commas (`faultlab bench --list` says what they are)
    #[arg(long, value_name = "LIST", value_delimiter = ',', hide_possible_values = true, value_parser = PossibleValuesParser::new(scenario_names()))]
    pub(crate) scenario: Vec<String>,
    #[command(flatten)]
    pub(crate) also: RowArgs,
    /// Pages touched in each scenario, 1 to 65536; auto suits the count to the host's speed
    #[arg(long, value_name = "N", default_value = "auto", value_parser = parse_pages)]
    pub(crate) pages: Pages,
}

/// `faultlab bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) vm: VmArgs,
    /// Run the same program file on this machine's own Linux, too, and print both and the ratio
    #[arg(long)]
    pub(crate) versus_linux: bool,
    /// Also write the report to this file as JSON, all of it or nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Scenarios, separated by commas; all: all but those of the groups growth, four-way and userfault (--list says what they are)
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "all",
        hide_possible_values = true
    )]
    #[arg(value_parser = PossibleValuesParser::new(with_groups(scenario_names())))]
    pub(crate) scenario: Vec<String>,
    /// What backs guest memory on the host, separated by commas, or all that this host can do
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "all")]
    #[arg(value_parser = PossibleValuesParser::new(with_all(backing_names())))]
    pub(crate) backing: Vec<String>,
    /// Orders of touching, separated by commas: seq, rand, stride:N (every N-th page, then every N-th of the rest)
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "seq", value_parser = parse_pattern)]
    pub(crate) pattern: Vec<Pattern>,
    #[command(flatten)]
    pub(crate) also: RowArgs,
    /// How pages are touched, where the scenario leaves it open
    #[arg(long, value_name = "ACCESS", default_value = "store")]
    pub(crate) access: Access,
    /// Seed of random orders
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Pages touched in each row, 1 to 65536, fewer if a huge page each are more than there are; auto suits the count to
    /// the host's speed
    #[arg(long, value_name = "N", default_value = "auto", value_parser = parse_pages)]
    pub(crate) pages: Pages,
    /// vCPUs that touch: 1, for now
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) vcpus: u32,
    /// List the scenarios, with what each is and must be counted as, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,
}

/// `--access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Access {
    /// Plain 8-byte stores
    Store,
    /// Plain 8-byte loads
    Load,
}

/// `--pages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// The program calibrates itself to its budget of time.
    Auto,
    /// Exactly so many.
    Exactly(u64),
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pages::Auto => f.write_str("auto"),
            Pages::Exactly(pages) => write!(f, "{pages}"),
        }
    }
}

/// `faultlab trace`.
#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(crate) vm: VmArgs,
    /// What backs guest memory on the host; `faultlab doctor` says which of them it can
    #[arg(long, value_name = "BACKING", default_value = "anon", value_parser = backing_parser())]
    pub(crate) backing: Backing,
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
#[derive(Args, Clone, Debug)]
pub(crate) struct RigArgs {
    /// Which machine; all: this one, if it has KVM, and both simulated ones, side by side
    #[arg(long, value_name = "MACHINE", default_value = "amd")]
    pub(crate) machine: RigMachines,
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
    /// Further words for the command line of the machine's Linux, such as hugepages=64; may be given several times. Without such a word, huge pages
    /// are set aside for backings that are named and need them, and memory added for pages of 1G
    #[arg(long, value_name = "WORDS", value_parser = parse_kernel_words)]
    pub(crate) append: Vec<String>,
    /// End the machine after this many seconds, with status 124
    #[arg(long, value_name = "SECS", default_value = "600", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Run it on the machine's own Linux, too, and print both and the ratio: ARGS are those of run, bench or exec
    #[arg(long, conflicts_with = "exec")]
    pub(crate) versus_linux: bool,
    /// Run a program of this machine there in faultlab's place; ARGS are its path and its arguments
    #[arg(long)]
    pub(crate) exec: bool,
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
    /// Which machine; otherwise the baseline's
    #[arg(long, value_name = "MACHINE")]
    pub(crate) machine: Option<RigMachine>,
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

/// `faultlab report`.
#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// A file that --json wrote: one report, or a collection
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub(crate) file: Option<PathBuf>,
    /// Write one self-contained page with the table, the stages and the distributions
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write one line a row, with units in the names of the columns
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write a table for a comment on GitHub
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Print the JSON Schema of such files
    #[arg(long, exclusive = true)]
    pub(crate) schema: bool,
}

/// `faultlab compare`.
#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// The report or collection to compare with
    #[arg(value_name = "A")]
    pub(crate) a: PathBuf,
    /// The report or collection whose rows are called slower or faster
    #[arg(value_name = "B")]
    pub(crate) b: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// What two runs of the same thing may differ by, 0 to 1000 percent [default: 2 of cycles, 0.5 of instructions]
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub(crate) noise: Option<f64>,
    /// Exit with status 1 if a row is slower, by more than PERCENT if that is given, or cannot be judged
    #[arg(long, value_name = "slower[:PERCENT]", value_parser = parse_fail_on)]
    pub(crate) fail_on: Option<f64>,
}

/// `--machine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RigMachine {
    /// AMD with SVM and nested paging (NPT), simulated by QEMU
    Amd,
    /// Intel with VMX and EPT, simulated by Bochs; boots in about a minute, always counts instructions
    Intel,
}

/// `--machine` of rig.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RigMachines {
    /// AMD with SVM and nested paging (NPT), simulated by QEMU
    Amd,
    /// Intel with VMX and EPT, simulated by Bochs; boots in about a minute, always counts instructions
    Intel,
    /// This machine, AMD and Intel: run or bench only
    All,
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
