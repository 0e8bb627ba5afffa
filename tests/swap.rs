//! More memory than the guest has: every byte comes back, every account of the swapping agrees, and a swap area that
//! is too small ends the program and not the guest.

use std::io::Read;
use std::time::Duration;

use faultlab::{Host, Observer, Outcome, Stream, SwapArea, SwapConfig, Vm, VmConfig};
use faultlab_abi::layout::PAGE_SIZE;
use faultlab_abi::vmstat::Item;
use serde_json::Value;

use crate::support::{Needs, Suite, faultlab};

/// What verifying 24 MiB in a guest of 16 MiB may take where ring 0 is emulated.
const PRESS_LIMIT: Duration = Duration::from_secs(60);

/// What a swap-in may take beyond what its disk takes, where ring 0 is native.
const SWAP_IN_LIMIT: Duration = Duration::from_micros(20);

/// Sectors of a page.
const PAGE_SECTORS: u64 = PAGE_SIZE / 512;

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    for (faults, status) in [
        ("", 0),
        ("--swap-io thread", 0),
        ("--swap-io uring", 0),
        ("--swap-io uring --swap-direct --swap-latency normal:200us,100us", 0),
        ("--swap-errors write:0.05,torn:0.05,seed=4", 0),
        ("--swap-errors lost:0.5", 1),
        ("--swap-area 4M --swap-area 6M,prio=5 --swap-area 6M,prio=5", 0),
        (
            "--swap-area 4M,prio=0 --swap-area 6M,prio=5 --swap-errors write:0.05,torn:0.05,seed=4",
            0,
        ),
    ] {
        suite.test(format!("swap::swap-check {faults}"), Needs::Kvm, move || {
            let arguments = format!("exec --memory 8M --swap 16M --check {faults} -- swap-check --swaps 1500");
            let ran = faultlab(&arguments).run();
            if status == 0 {
                let ran = ran.expect(0);
                assert!(ran.stdout().starts_with("swap-check: ok, 15"), "{}", ran.stdout());
            } else {
                // Its own pages may be among those that are lost: then it ends by a signal.
                assert!(ran.status != 0 && !ran.stdout().contains("ok"), "{}", ran.stdout());
            }
        });
    }
    suite.test("swap::24M in a guest of 16M, within a minute", Needs::Kvm, press);
    for server in ["inline", "thread"] {
        suite.test(
            format!("swap::{server}: a swap-in takes at most 20 us more than its disk"),
            Needs::KvmAndNativeRing0,
            move || latency(server),
        );
    }
    suite.test(
        "swap::areas in the order of their priorities",
        Needs::Kvm,
        areas_in_order,
    );
    suite.test("swap::guest, disk and host count the same", Needs::Kvm, accounts_agree);
    suite.test(
        "swap::a full swap area ends the program, and says so",
        Needs::Kvm,
        too_small,
    );
    suite.test(
        "swap::the largest process is killed, the others go on",
        Needs::Kvm,
        larger_is_killed,
    );
    for (options, size) in [("--swap 1M", "16M"), ("--swap 0", "16M"), ("--swap 64M", "3G")] {
        suite.test(
            format!("swap::{options} refuses a segment of {size}"),
            Needs::Kvm,
            move || {
                let arguments = format!("exec --memory 8M {options} -- shm-press {size}");
                let ran = faultlab(&arguments).run().expect(1);
                let line = ran.stderr();
                assert!(
                    line.contains("ENOMEM") && line.contains("more memory and swap"),
                    "{line}"
                );
                assert_eq!(ran.stdout(), "");
            },
        );
    }
}

/// The time that other processes had the processors is not faultlab's.
fn press() {
    // The limit ends it should it hang; reading its output would wait for ever.
    let mut running = faultlab("exec --memory 16M --swap 64M --timeout 140 -- shm-press 24M").start();
    let mut stdout = String::new();
    let mut pipe = running.child.stdout.take().expect("a pipe");
    pipe.read_to_string(&mut stdout).expect("text");
    // Not yet waited for, so its accounts are there.
    let waited = waited_for_a_processor(running.child.id());
    let ran = running.end().expect(0);
    assert!(stdout.contains("\nshm-press: ok, 50331648 bytes verified"), "{stdout}");
    assert_eq!(ran.stderr(), "");
    let elapsed = ran.elapsed.saturating_sub(waited);
    assert!(
        elapsed < PRESS_LIMIT,
        "it took {elapsed:?}, and waited {waited:?} for a processor"
    );
}

/// How long the main thread of a process, which runs the vCPU, was ready to run and did not.
///
/// Source: Linux, Documentation/scheduler/sched-stats.rst, `/proc/<pid>/schedstat`.
fn waited_for_a_processor(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap_or_default();
    let waited_ns = stat
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(waited_ns.unwrap_or(0))
}

/// The disk that keeps nothing answers at once, so what is left is the fault, the queue, the doorbell, and the way back: the median of a
/// thousand, the best of a few runs, because the machine does other things besides.
fn latency(server: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("report.json");
    let options = format!("--scenario swap-in --pages 1024 --swap-backend null --swap-io {server}");
    let measure = || {
        let run = faultlab("run --json").args([&path]).args(options.split(' ')).run();
        run.expect(0);
        let report: Value = serde_json::from_slice(&std::fs::read(&path).expect("a report")).expect("valid JSON");
        let cycles = report["scenarios"][0]["cycles"]["p50"].as_u64().expect("a median");
        let khz = report["host"]["tsc_khz"].as_u64().expect("a frequency");
        Duration::from_nanos(cycles * 1_000_000 / khz)
    };
    let times: Vec<Duration> = (0..5).map(|_| measure()).collect();
    let best = times.iter().min().expect("some");
    assert!(*best <= SWAP_IN_LIMIT, "{times:?}");
}

/// Keeps what the program and the kernel said.
#[derive(Default)]
struct Said {
    output: String,
    log: String,
}

impl Observer for Said {
    fn output(&mut self, _stream: Stream, bytes: &[u8]) {
        self.output.push_str(&String::from_utf8_lossy(bytes));
    }

    fn log(&mut self, level: log::Level, line: &str) {
        self.log.push_str(&format!("{level}: {line}\n"));
    }
}

/// `shm-press` with these arguments in a guest of 8 MiB.
fn shm_press_config(arguments: &[&str], swap_bytes: u64) -> VmConfig {
    let words = [&["shm-press"], arguments].concat();
    let program = faultlab_images::program("shm-press").expect("a bundled program");
    VmConfig {
        memory_bytes: 8 << 20,
        swap: SwapConfig::Temporary { bytes: swap_bytes },
        account_file_io: true,
        ..VmConfig::new(program, words.iter().map(|word| word.as_bytes().to_vec()).collect())
    }
}

fn run(config: VmConfig) -> (Outcome, Said) {
    let host = Host::open().expect("the test needs KVM");
    let mut said = Said::default();
    let vm = Vm::new(config, &host).expect("a guest can be built");
    let outcome = vm.run(&mut said).expect("KVM works");
    (outcome, said)
}

/// The kernel's counters, the virtio device's, and those that the host's kernel keeps of the VMM's reads and writes.
fn accounts_agree() {
    const SEGMENT_PAGES: u64 = (12 << 20) / PAGE_SIZE;
    const RAM_PAGES: u64 = (8 << 20) / PAGE_SIZE;
    let (outcome, said) = run(shm_press_config(&["12M", "--passes", "1"], 16 << 20));
    assert_eq!(
        outcome.end.exit_status(),
        0,
        "{:?}\n{}{}",
        outcome.end,
        said.output,
        said.log
    );
    let count = |item: Item| outcome.guest_vmstat[item as usize];
    let (read, written) = (count(Item::Pswpin), count(Item::Pswpout));
    // What does not fit must have gone out before the pass, and a pass reads at least that much back.
    assert!(written >= SEGMENT_PAGES - RAM_PAGES, "{written} pages swapped out");
    assert!(read >= SEGMENT_PAGES - RAM_PAGES, "{read} pages swapped in");
    assert_eq!(count(Item::OomKill), 0);
    let block = outcome.block.expect("there is a swap disk");
    // The kernel reads the header, one page, when it starts to use the area.
    assert_eq!(block.sectors_read, (read + 1) * PAGE_SECTORS, "{block:?}");
    assert_eq!(block.sectors_written, written * PAGE_SECTORS, "{block:?}");
    let file = block.file.expect("the account was asked for");
    assert_eq!(file.bytes_read, (read + 1) * PAGE_SIZE, "{block:?}");
    assert_eq!(file.bytes_written, written * PAGE_SIZE, "{block:?}");
    let refused = (
        block.io_errors,
        block.unsupported,
        block.refused_chains,
        block.refused_accesses,
    );
    assert_eq!((refused, outcome.lab_refused), ((0, 0, 0, 0), 0));
}

/// Rule F17. What does not fit into memory fits into the area with the highest priority: it alone is written to. Rule F24: its header, and
/// no other's.
fn areas_in_order() {
    let fast = SwapArea {
        config: SwapConfig::Temporary { bytes: 16 << 20 },
        prio: Some(3),
    };
    for (more_swap, first_is_used) in [(vec![], true), (vec![fast], false)] {
        let config = VmConfig {
            more_swap,
            ..shm_press_config(&["12M", "--passes", "1"], 16 << 20)
        };
        let (outcome, said) = run(config);
        assert_eq!(outcome.end.exit_status(), 0, "{}\n{}", said.output, said.log);
        let block = outcome.block.expect("there is a swap disk");
        assert_eq!(block.sectors_written != 0, first_is_used, "{block:?}");
        assert!(outcome.guest_vmstat[Item::Pswpout as usize] > 1000);
        assert!(block.sectors_read >= PAGE_SECTORS, "every area's header is read");
    }
}

/// A segment that is just granted, as Linux grants it, but for which there is no room in the end, because tables and
/// the program need some too: the program is killed, the kernel tells why, and the machine ends in order.
fn too_small() {
    const KIB: std::ops::RangeInclusive<u32> = 4 << 10..=9 << 10;
    let press = |kib: u32| {
        let arguments = format!("exec --memory 8M --swap 1M -- shm-press {kib}K --passes 1");
        faultlab(&arguments).run()
    };
    let largest = KIB.rev().step_by(128).map(press).find(|ran| ran.status != 1);
    let ran = largest.expect("some size is granted");
    assert!(
        [128 + 7, 128 + 9].contains(&ran.status),
        "status {}: {}",
        ran.status,
        ran.stderr()
    );
    assert!(!ran.stdout().contains("ok"), "{}", ran.stdout());
    let report = ran.stderr().to_lowercase();
    assert!(
        report.contains("memory") && report.contains("shm-press"),
        "no clear report: {report:?}"
    );
    assert!(report.lines().count() <= 2, "a report, not a dump: {report}");
}

/// Rule E16. The child wants more than RAM and swap; its parent is small and finishes its work.
fn larger_is_killed() {
    let ran = faultlab("exec --memory 8M --swap 1M -- crash oom 16M").run().expect(0);
    assert_eq!(ran.stdout(), "the child ended with 137\n");
    let report = ran.stderr();
    assert_eq!(report.lines().count(), 1, "{report}");
    assert!(
        report.contains("Out of memory: Killed process") && report.contains("(crash)"),
        "{report}"
    );
}
