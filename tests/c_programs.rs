//! Programs of C, and of Rust's standard library, linked with the C library of this host: they do in the guest what they do here, output and
//! exit status.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::support::{Needs, Suite, faultlab, wait};

/// Sources in `tests/c`, and the status that each ends with.
const SOURCES: &[(&str, i32)] = &[
    ("processes", 5),
    ("posix_shm", 0),
    ("vectors", 0),
    ("loopers", 0),
    ("timers", 0),
    ("hostile", 0),
    ("pipes", 0),
    ("threads", 3),
    ("splices", 0),
    ("locks", 0),
    ("thread_groups", 0),
];

/// Those that are compiled once more, with musl as their C library.
const OF_MUSL: &[(&str, i32)] = &[("processes", 5), ("threads", 3), ("thread_groups", 0)];

/// Those that only root may run: they mount, or want the kernel's own accesses to be answered, too.
const OF_ROOT: &[(&str, i32)] = &[("userfaultfd", 0), ("xattrs", 0), ("file_limits", 0)];

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

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(path)
}

/// Compiles a program, and runs it here and in the guest.
fn compare_compiled(name: &str, mut compiler: Command, status: i32) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join(name);
    compiler.arg("-o").arg(&program);
    let compiled = compiler.output().expect("a compiler");
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );

    let mut here = Command::new(&program);
    here.stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let host = wait(here.spawn().expect("a program that runs"), Instant::now()).expect(status);
    let guest = faultlab("exec -q --").args([&program]).run().expect(status);
    assert_eq!(
        guest.stdout(),
        host.stdout(),
        "standard output, the guest's and the host's"
    );
}
