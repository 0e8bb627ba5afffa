//! Programs of C, and of Rust's standard library, linked with the C library of this host: they do in the guest what they do here, output and
//! exit status. In the guest its kernel verifies its own structures after each (`--check`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::support::{Needs, Ran, Suite, faultlab, wait};

/// Sources in `tests/c`, and the status that each ends with.
const SOURCES: &[(&str, i32)] = &[
    ("processes", 5),
    ("posix_shm", 0),
    ("vectors", 0),
    ("loopers", 0),
    ("timers", 0),
    ("hostile", 0),
    ("gate", 0),
    ("pipes", 0),
    ("threads", 3),
    ("splices", 0),
    ("locks", 0),
    ("thread_groups", 0),
    ("restart", 0),
    ("waiting", 0),
    ("signals_last", 0),
    ("zeroes", 0),
    ("mappings", 0),
    ("pidfds", 0),
    ("watches", 0),
    ("epolls", 0),
    ("segments", 0),
];

/// Those that are compiled once more, with musl as their C library.
const OF_MUSL: &[(&str, i32)] = &[("processes", 5), ("threads", 3), ("thread_groups", 0)];

/// Those that only root may run: they mount, or want the kernel's own accesses to be answered, too.
const OF_ROOT: &[(&str, i32)] = &[
    ("userfaultfd", 0),
    ("xattrs", 0),
    ("refused", 0),
    ("pointers", 0),
    ("file_limits", 0),
    ("swap_errors", 0),
    ("notify", 0),
    ("owners", 0),
    ("told", 0),
    ("init", 0),
];

/// Adds one test a source.
pub(crate) fn tests(suite: &mut Suite) {
    for (sources, needs) in [(SOURCES, Needs::KvmAndStaticC), (OF_ROOT, Needs::KvmStaticCAndRoot)] {
        for (name, status) in sources {
            suite.test(format!("c_programs::{name}"), needs, move || compare(name, *status));
        }
    }
    for (name, status) in OF_MUSL {
        suite.test(format!("c_programs::musl_{name}"), Needs::KvmAndMusl, move || {
            compare_musl(name, *status);
        });
    }
    suite.test("c_programs::rust_threads".to_owned(), Needs::KvmAndStaticC, || {
        compare_rust("threads", 9);
    });
    // Mounts, and has System V objects of its own.
    suite.test("c_programs::proc".to_owned(), Needs::KvmStaticCAndRoot, || {
        compare("proc", 0);
    });
    // 50 ms is longer than a host stands still; where one does, a wait or two of twelve may be missing, and the program allows for that.
    for server in ["thread", "uring"] {
        suite.test(
            format!("c_programs::disk_waits {server}"),
            Needs::KvmAndStaticC,
            move || disk_waits(server),
        );
    }
    // Sets the machine's pool of huge pages, where it may.
    suite.test("c_programs::hugetlb".to_owned(), Needs::KvmStaticCAndRoot, || {
        // One after the other: there is one pool.
        ["hugetlb", "hugetlb_uffd", "hugetlb_smaps"]
            .into_iter()
            .for_each(hugetlb);
    });
    // Most of it is the guest kernel's, which the simulated machine executes faster than a KVM that interprets it.
    suite.test("c_programs::fuzz".to_owned(), Needs::SimulatorAndStaticC, || {
        fuzz("--quiet rig -- exec -q --check --", 1, 10_000);
    });
    suite.test("c_programs::fuzz here".to_owned(), Needs::KvmAndStaticC, || {
        fuzz("exec -q --check --", 2, 300);
    });
    // Mounts, and has knobs of its own.
    suite.test("c_programs::exhaustion".to_owned(), Needs::KvmStaticCAndRoot, || {
        compare("exhaustion", 0);
    });
    // What only the other kind of host shows: ring 0 that is native.
    for (name, status) in [("loopers", 0), ("vectors", 0)] {
        suite.test(
            format!("c_programs::{name}, simulated"),
            Needs::SimulatorAndStaticC,
            move || {
                compare_simulated(name, status);
            },
        );
    }
    suite.test(
        "c_programs::late, simulated".to_owned(),
        Needs::SimulatorAndStaticC,
        late,
    );
    suite.test("c_programs::mutants".to_owned(), Needs::SimulatorAndStaticC, mutants);
    suite.test("c_programs::swapoff".to_owned(), Needs::SimulatorAndStaticC, swapoff);
    suite.test("c_programs::huge".to_owned(), Needs::KvmStaticCAndRoot, || {
        compare_recorded("huge", allows_huge_pages());
    });
    // What it sets holds for the whole machine, and for every other test that runs meanwhile: on Linux only where that is said to be fine.
    suite.test("c_programs::huge_knobs".to_owned(), Needs::KvmAndStaticC, || {
        let allowed = std::env::var_os("FAULTLAB_HOST_KNOBS").is_some_and(|set| set == "1");
        compare_recorded(
            "huge_knobs",
            allowed.then_some(()).ok_or("FAULTLAB_HOST_KNOBS=1 is not set"),
        );
    });
    suite.test(
        "c_programs::what a file, a page and a segment take".to_owned(),
        Needs::SimulatorAndStaticC,
        memory_costs,
    );
}

/// F22: programs run while another's page comes from a late disk, and two have theirs read at a time.
fn disk_waits(server: &str) {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-static"]).arg(source("c/disk_waits.c"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, "disk_waits", cc);
    let options = format!("exec -q --swap-io {server} --swap-latency fixed:50ms --");
    let ran = faultlab(&options).args([&program]).run().expect(0);
    let expected = ["private", "shared"].map(|kind| format!("{kind}: others compute meanwhile: yes\n"));
    let together = ["private", "shared"].map(|kind| format!("{kind}: two wait at a time: yes\n"));
    assert_eq!(
        ran.stdout(),
        [expected.concat(), together.concat(), "killed: 9\n".into()].concat()
    );
}

/// Names another seed of `fuzz`, and another number of calls: `FAULTLAB_FUZZ=7:1000000`.
const FUZZ_VARIABLE: &str = "FAULTLAB_FUZZ";

/// Calls of any kind with any arguments do not end the guest, and who made them can be taken away. `faultlab_arguments` say which guest.
fn fuzz(faultlab_arguments: &str, seed: u64, calls: u32) {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-static"]).arg(source("c/fuzz.c"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, "fuzz", cc);
    let wanted = std::env::var(FUZZ_VARIABLE).ok();
    let wanted = wanted.as_deref().map(|text| {
        let (seed, calls) = text.split_once(':').expect("SEED:CALLS");
        (seed.parse().expect("a seed"), calls.parse().expect("a number of calls"))
    });
    let (seed, calls) = wanted.unwrap_or((seed, calls));
    let ran = faultlab(faultlab_arguments)
        .args([&program])
        .args(["--balance", "--seed", &seed.to_string(), "--calls", &calls.to_string()])
        .run()
        .expect(0);
    assert_eq!(
        ran.stdout(),
        format!("{calls} calls, and nobody is left of those who made them\n")
    );
}

/// Names another seed of `mutants`, and another number of programs: `FAULTLAB_MUTANTS=7:100000`.
const MUTANTS_VARIABLE: &str = "FAULTLAB_MUTANTS";

/// F26: a `swapoff` that there is no room for. What is recorded is what a stock Linux printed, which had the same disk
/// (`tests/accuracy/stock-linux`): this host's memory cannot be made that short.
fn swapoff() {
    let recorded = std::fs::read_to_string(source("c/swapoff.txt")).expect("what it printed");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-static"]).arg(source("c/swapoff.c"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, "swapoff", cc);
    let ran = faultlab("--quiet rig -- exec -q --check --memory 8M --swap 4M --")
        .args([&program])
        .run()
        .expect(0);
    assert_eq!(ran.stdout(), recorded);
}

/// Damaged programs harm nobody, leave nothing, and are refused as here. Some that begin here, to be killed at once, are refused there.
fn mutants() {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-static"]).arg(source("c/mutants.c"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, "mutants", cc);
    let wanted = std::env::var(MUTANTS_VARIABLE).unwrap_or_else(|_| "1:200".to_owned());
    let (seed, count) = wanted.split_once(':').expect("SEED:COUNT");
    let arguments = ["--show", "--seed", seed, "--count", count];
    let ran = faultlab("--quiet rig -- exec -q --check --")
        .args([&program])
        .args(arguments)
        .run()
        .expect(0);
    let there = ran.stdout();
    assert!(
        there.contains(&format!("{count} damaged programs of seed {seed}, 0 did")),
        "{there}"
    );
    if !rustix::process::geteuid().is_root() {
        println!("mutants: SKIPPED on this host: it mounts");
        return;
    }
    let mut host = Command::new(&program);
    host.args(arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let here = wait(host.spawn().expect("a program that runs"), Instant::now())
        .expect(0)
        .stdout();
    assert_eq!(there.lines().count(), here.lines().count());
    for (here, there) in here.lines().zip(there.lines()) {
        let stricter =
            here.contains(" began: ") && (there.contains(" began: ") || there.ends_with(" refused: Exec format error"));
        assert!(stricter || there == here, "here {here:?}, there {there:?}");
    }
}

fn compare(name: &str, status: i32) {
    let source = source(&format!("c/{name}.c"));
    let mut cc = Command::new("cc");
    // What is passed to calls that must refuse it is none of the compiler's business.
    cc.args([
        "-O2",
        "-Wall",
        "-Wno-stringop-overread",
        "-Wno-stringop-overflow",
        "-static",
    ]);
    cc.arg(source);
    compare_compiled(name, cc, status);
}

/// Compiles a program, and runs it here and in the guest of the simulated machine.
fn compare_simulated(name: &str, status: i32) {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-static"]).arg(source(&format!("c/{name}.c")));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, name, cc);
    let host = run_here(&program, status);
    let guest = faultlab("--quiet rig -- exec -q --check --")
        .args([&program])
        .run()
        .expect(status);
    assert_eq!(
        guest.stdout(),
        host.stdout(),
        "standard output, the guest's and the host's"
    );
}

/// While somebody loops, no timer is later than a slice, which is 10 ms. The simulated machine's time is the number of its instructions, so
/// what else this one does delays nothing.
fn late() {
    const SLICE_US: i64 = 10_000;
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-static"]).arg(source("c/late.c"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, "late", cc);
    let ran = faultlab("--quiet rig -- exec -q --check --")
        .args([&program])
        .run()
        .expect(0);
    let shown = ran.stdout();
    println!("worst in microseconds: {}", shown.replace('\n', " "));
    let worst: Vec<i64> = shown
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(
        worst.len() == 3 && worst.iter().all(|late| (0..SLICE_US).contains(late)),
        "{shown}"
    );
}

/// The structures of the kernel's own interface are not among musl's headers: they come from this host, after musl's.
fn compare_musl(name: &str, status: i32) {
    let mut cc = Command::new("musl-gcc");
    cc.args(["-O2", "-Wall", "-static"]);
    for directory in ["/usr/include", "/usr/include/x86_64-linux-gnu"] {
        cc.args(["-idirafter", directory]);
    }
    cc.arg(source(&format!("c/{name}.c")));
    compare_compiled(name, cc, status);
}

/// The standard library of Rust over the static C library, which begins as a position-independent program.
fn compare_rust(name: &str, status: i32) {
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static"]);
    rustc.arg(source(&format!("rust/{name}.rs")));
    compare_compiled(name, rustc, status);
}

/// Whether this host lets programs have huge pages as the programs here expect it, and has the memory for them.
fn allows_huge_pages() -> Result<(), &'static str> {
    let knob = |name: &str| {
        let path = Path::new("/sys/kernel/mm/transparent_hugepage").join(name);
        std::fs::read_to_string(path).unwrap_or_default()
    };
    if !["[always]", "[madvise]"]
        .iter()
        .any(|word| knob("enabled").contains(word))
    {
        return Err("transparent_hugepage/enabled is neither always nor madvise");
    }
    if ["[deny]", "[force]"]
        .iter()
        .any(|word| knob("shmem_enabled").contains(word))
        || knob("shmem_enabled").is_empty()
    {
        return Err("transparent_hugepage/shmem_enabled is deny or force");
    }
    // Free blocks of 2 MiB and more are counted in the last columns.
    let buddy = std::fs::read_to_string("/proc/buddyinfo").unwrap_or_default();
    let large = |line: &str| -> u64 {
        let columns = line.split_ascii_whitespace().skip(4 + 9);
        columns.filter_map(|count| count.parse::<u64>().ok()).sum()
    };
    if buddy.lines().map(large).sum::<u64>() < 64 {
        return Err("free memory is in pieces of less than 2 MiB");
    }
    Ok(())
}

/// Compiles a program, and runs it in the guest: it prints what it printed on Linux 6.18 (`tests/c/NAME.txt`). And here, if that is possible.
fn compare_recorded(name: &str, here: Result<(), &str>) {
    let recorded = std::fs::read_to_string(source(&format!("c/{name}.txt"))).expect("what it printed");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wno-unused-result", "-static"]);
    cc.arg(source(&format!("c/{name}.c")));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, name, cc);
    match here {
        Ok(()) => {
            let mut host = Command::new(&program);
            host.stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            let host = wait(host.spawn().expect("a program that runs"), Instant::now()).expect(0);
            assert_eq!(
                host.stdout(),
                recorded,
                "standard output, this host's and what is recorded"
            );
        }
        Err(reason) => println!("{name}: SKIPPED on this host: {reason}"),
    }
    let guest = faultlab("exec -q --check --").args([&program]).run().expect(0);
    assert_eq!(
        guest.stdout(),
        recorded,
        "standard output, the guest's and what is recorded"
    );
}

pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(path)
}

/// What the kernels themselves take for a file, a cached page and a segment: the guest's no more than a Linux's that has just begun. Pages share
/// nodes of 576 bytes, 64 of them each, in both.
fn memory_costs() {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-static"]).arg(source("c/memory_costs.c"));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, "memory_costs", cc);
    let costs = |arguments: &str| {
        let ran = faultlab(arguments).args([&program]).run().expect(0);
        let cost = |name: &str| -> u64 {
            let shown = ran.stdout();
            let line = shown.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().parse().ok());
            number.unwrap_or_else(|| panic!("no {name} in\n{shown}"))
        };
        ["file", "page", "segment"].map(cost)
    };
    let linux = costs("--quiet rig --exec --");
    let guest = costs("--quiet rig -- exec -q --memory 128M --");
    println!("bytes for a file, a page, a segment: Linux {linux:?}, the guest {guest:?}");
    assert!(guest[0] > 0 && guest[0] < linux[0], "{guest:?} {linux:?}");
    assert!((9..=10).contains(&guest[1]), "{guest:?}");
    assert!(guest[2] > 0 && guest[2] < linux[2], "{guest:?} {linux:?}");
}

/// The guest does with huge pages what Linux 6.18 did when `hugetlb.expected` was recorded; so does this host, if it lets the program set its pool.
fn hugetlb(name: &str) {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-static"]).arg(source(&format!("c/{name}.c")));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, name, cc);
    let expected = std::fs::read_to_string(source(&format!("c/{name}.expected"))).expect("what Linux said");
    let host = run_here(&program, 0).stdout();
    if host.starts_with("SKIPPED") {
        print!("the comparison with this host: {host}");
    } else {
        assert_eq!(host, expected, "standard output, the host's and the recorded one");
    }
    let guest = faultlab("exec -q --check --").args([&program]).run().expect(0);
    assert_eq!(
        guest.stdout(),
        expected,
        "standard output, the guest's and the recorded one"
    );
}

fn run_here(program: &Path, status: i32) -> Ran {
    let mut here = Command::new(program);
    here.stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    wait(here.spawn().expect("a program that runs"), Instant::now()).expect(status)
}

/// Compiles a program, and runs it here and in the guest.
fn compare_compiled(name: &str, compiler: Command, status: i32) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compiled(&directory, name, compiler);
    let host = run_here(&program, status);
    let guest = faultlab("exec -q --check --").args([&program]).run().expect(status);
    assert_eq!(
        guest.stdout(),
        host.stdout(),
        "standard output, the guest's and the host's"
    );
}

/// The program, compiled.
pub(crate) fn compiled(directory: &TempDir, name: &str, mut compiler: Command) -> PathBuf {
    let program = directory.path().join(name);
    let output = compiler.arg("-o").arg(&program).output().expect("a compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}
