//! End-to-end tests: they use the `faultlab` command as people and scripts do, and the library where only it can see.
//!
//! | module | what must hold |
//! |---|---|
//! | [`swap`] | more memory than the guest has comes back intact, all accounts of swapping agree, too little is told |
//! | [`swap_faults`] | a swap disk that is late, fails, stalls or is full costs who needs the page, and nobody a wrong byte |
//! | [`run`] | the table and the JSON: every row, its checks, the same counts twice, in time |
//! | [`backings`] | every way to back guest memory does what the lab's services say of it, or is refused with the remedy |
//! | [`bench`] | a matrix in one report, what cannot be had in one line, what a signal leaves |
//! | [`flags`] | any valid flags of `bench` together measure, or are refused in one line |
//! | [`oracle`] | a bundled program does in the guest what it does on this host, byte for byte |
//! | [`random`] | calls drawn from a seed do in the guest what they do on this host; what differs is shrunk |
//! | [`c_programs`] | C programs with this host's C library do in the guest what they do here |
//! | [`loading`] | arguments and environment arrive intact; what is no program, or is missing, is refused |
//! | [`bring`] | files, directories, variables and ids reach the guest; scripts find their interpreters |
//! | [`strace`] | every call, signal and end is told, cut and resumed where processes take turns |
//! | [`terminal`] | standard input as a stream and as a terminal, with a shell on it |
//! | [`busybox`] | the distribution's busybox does in the guest what it does here |
//! | [`gate`] | costs in the simulated machine repeat, and one that exceeds its baseline fails |
//! | [`huge_costs`] | small faults do not pay for huge pages, which cost little more than their clear |
//! | [`trace`] | the timeline is whole and well formed, tracing is cheap, the host's side is told |
//! | [`report`] | reports as files: shown, turned into other forms, compared; what is no report is refused |
//! | [`rig`] | the simulated machine passes signals on, runs programs of this host, sets Linux beside the guest |
//! | [`usage`] | a wrong command line is one line with the value and the remedy, and status 2 |
//! | [`host`] | what this host lacks or refuses is told in one line, with the documented status |
//! | [`ending`] | signals, Ctrl-C on a terminal, a reader that has gone, a limit of time end everything in order |
//! | [`support`] | the harness: what a test needs, running commands, the programs on this host |
//!
//! Every run of the command has a temporary directory of its own, which must be empty when it ends; a test that leaves
//! something there fails whatever else it checks. At most two tests run at a time, so that the limits of time mean
//! something on a machine with two processors; the long ones come first.
//!
//! A test that this machine cannot run is reported as ignored, with the reason. With `FAULTLAB_REQUIRE_KVM=1`, a
//! missing `/dev/kvm` is a failure instead; with `FAULTLAB_REQUIRE_RIG=1`, a missing simulator. To run some of them: `cargo test --release --test e2e -- oracle::`.

mod backings;
mod bench;
mod bring;
mod busybox;
mod c_programs;
mod check;
mod ending;
mod flags;
mod gate;
mod host;
mod huge_costs;
mod loading;
mod oracle;
mod random;
mod report;
mod rig;
mod run;
mod strace;
mod support;
mod swap;
mod swap_faults;
mod terminal;
mod trace;
mod usage;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use support::Suite;

/// Tests at a time.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut suite = Suite::default();
    swap::tests(&mut suite);
    swap_faults::tests(&mut suite);
    run::tests(&mut suite);
    backings::tests(&mut suite);
    c_programs::tests(&mut suite);
    check::tests(&mut suite);
    bench::tests(&mut suite);
    flags::tests(&mut suite);
    gate::tests(&mut suite);
    huge_costs::tests(&mut suite);
    trace::tests(&mut suite);
    rig::tests(&mut suite);
    oracle::tests(&mut suite);
    random::tests(&mut suite);
    ending::tests(&mut suite);
    loading::tests(&mut suite);
    bring::tests(&mut suite);
    strace::tests(&mut suite);
    terminal::tests(&mut suite);
    busybox::tests(&mut suite);
    host::tests(&mut suite);
    report::tests(&mut suite);
    usage::tests(&mut suite);
    let conclusion = libtest_mimic::run(&arguments, suite.into_trials());
    if conclusion.num_ignored > 0 {
        eprintln!("SKIPPED: {} tests; the reasons are above", conclusion.num_ignored);
    }
    conclusion.exit_code()
}
