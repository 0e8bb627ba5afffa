//! What this host lacks or refuses is told in one line with the value and the remedy, with the documented status, and
//! nothing is left behind or changed.
//!
//! A host without KVM is made by hiding it: a mount namespace has a `/dev` of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Faultlab, Needs, Ran, Suite, faultlab};

/// Status of a host that cannot run guests.
const UNAVAILABLE: i32 = 69;
/// Status of faultlab's own failures.
const FAILURE: i32 = 125;
/// A file that is not what it should be.
const USAGE: i32 = 2;

/// Shell commands that make `/dev/kvm` unusable, what happens to it then, and words of the answer.
const WITHOUT_KVM: &[(&str, &str, &[&str])] = &[
    ("missing", "exec", &["/dev/kvm does not exist", "kvm_intel"]),
    (
        "forbidden",
        ": > /dev/kvm; chmod 0 /dev/kvm; exec setpriv --bounding-set -all --inh-caps -all",
        &["no permission to open /dev/kvm", "usermod"],
    ),
    (
        "a plain file",
        ": > /dev/kvm; exec",
        &["cannot open /dev/kvm", "10:232"],
    ),
];

/// Swap areas that cannot be used: what `PATH` is, and words of the answer.
type NoSwap = (&'static str, fn(&Path), &'static [&'static str]);

const NO_SWAP: &[NoSwap] = &[
    (
        "an empty file",
        |path| write(path, b""),
        &["no swap signature", "mkswap"],
    ),
    (
        "a file without a signature",
        |path| write(path, &[b'x'; 1 << 20]),
        &["no swap signature", "mkswap"],
    ),
    (
        "a file with a damaged header",
        |path| {
            // A signature, and all else zero: version 0.
            let mut file = vec![0; 1 << 20];
            file[4086..4096].copy_from_slice(b"SWAPSPACE2");
            write(path, &file);
        },
        &["version 0", "mkswap"],
    ),
    (
        "a directory",
        |path| fs::create_dir(path).expect("a directory can be made"),
        &["swap file"],
    ),
];

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    for (what, commands, words) in WITHOUT_KVM {
        for arguments in ["run", "exec -- hello"] {
            let name = format!("host::/dev/kvm is {what}: faultlab {arguments}");
            suite.test(name, Needs::Namespaces, || {
                own_dev(commands, arguments).expect_refusal(UNAVAILABLE, words);
            });
        }
    }
    suite.test("host::doctor tells that /dev/kvm is missing", Needs::Namespaces, || {
        let ran = own_dev("exec", "doctor").expect(UNAVAILABLE);
        assert!(ran.stdout().contains("/dev/kvm"), "{}", ran.stdout());
    });
    suite.test("host::doctor finds a host that can run guests", Needs::Kvm, || {
        let ran = faultlab("doctor --json").run().expect(0);
        serde_json::from_slice::<serde_json::Value>(&ran.stdout).expect("valid JSON");
    });
    for (what, make, words) in NO_SWAP {
        suite.test(format!("host::the swap file is {what}"), Needs::Kvm, || {
            refused_swap(*make, words);
        });
    }
    suite.test(
        "host::the swap file is on a read-only mount",
        Needs::KvmAndNamespaces,
        read_only_swap,
    );
    suite.test("host::the swap file is in use", Needs::Kvm, swap_in_use);
    suite.test("host::the backing file is in use", Needs::Kvm, backing_in_use);
    suite.test("host::files are not what they should be", Needs::Kvm, || {
        let wrong: [(&str, i32, &[&str]); 9] = [
            (
                "exec --swap-file /dev/null -- hello",
                USAGE,
                &["neither a regular file"],
            ),
            (
                "exec --backing file --backing-file /dev/null -- hello",
                USAGE,
                &["/dev/null is a device", "name a regular file"],
            ),
            (
                "exec --backing file --backing-file /tmp -- hello",
                USAGE,
                &["/tmp is a directory", "name a regular file"],
            ),
            (
                "exec --file /etc/passwd:/ -- hello",
                USAGE,
                &["--file", "the whole path"],
            ),
            (
                "exec --file /etc/passwd:/etc/ -- hello",
                USAGE,
                &["--file", "the whole path"],
            ),
            (
                "exec --out /x:/no/such/new/ -- hello",
                USAGE,
                &["--out", "ends in a name"],
            ),
            ("exec --out /x:/dev/stdout -- hello", USAGE, &["--out", "another place"]),
            ("exec -- /tmp", 126, &["/tmp", "is a directory"]),
            ("exec -- /dev/zero", 126, &["/dev/zero", "is a device"]),
        ];
        for (arguments, status, words) in wrong {
            faultlab(arguments).run().expect_refusal(status, words);
        }
    });
    suite.test("host::there is no directory for the swap file", Needs::Kvm, || {
        let path = "/no/such/directory/swap";
        faultlab("exec --swap-file")
            .args([path, "--", "hello"])
            .run()
            .expect_refusal(FAILURE, &[path]);
    });
    suite.test("host::there is no directory for temporary files", Needs::Kvm, || {
        let ran = faultlab("exec -- hello").env("TMPDIR", "/no/such/directory").run();
        ran.expect_refusal(FAILURE, &["/no/such/directory", "TMPDIR"]);
    });
    suite.test("host::the report cannot be written", Needs::Kvm, || {
        let path = "/no/such/directory/report.json";
        faultlab("run --json")
            .args([path])
            .run()
            .expect_refusal(FAILURE, &[path]);
    });
    suite.test("host::the programs cannot be written", Needs::Nothing, || {
        faultlab("programs --extract /dev/null/programs")
            .run()
            .expect_refusal(FAILURE, &["/dev/null/programs"]);
    });
    suite.test("host::standard output is full", Needs::Kvm, || {
        let full = "exec 3>&1 1>/dev/full; exec";
        shell(Command::new("sh"), full, "exec -- hello").expect_refusal(FAILURE, &["standard output", "No space left"]);
    });
}

/// Runs `faultlab` from a shell that `launcher` starts and that executes `commands` first; these end in `exec`.
fn shell(mut launcher: Command, commands: &str, arguments: &str) -> Ran {
    launcher
        .args(["-c", &format!("set -e; {commands} \"$@\""), "sh"])
        .arg(env!("CARGO_BIN_EXE_faultlab"))
        .args(arguments.split_ascii_whitespace());
    Faultlab::started_by(launcher).run()
}

/// The same in namespaces of its own, as their root.
fn namespaced(commands: &str, arguments: &str) -> Ran {
    let mut launcher = Command::new("unshare");
    launcher.args(["-Urm", "sh"]);
    shell(launcher, commands, arguments)
}

/// The same with an empty `/dev`.
fn own_dev(commands: &str, arguments: &str) -> Ran {
    namespaced(&format!("mount -t tmpfs none /dev; {commands}"), arguments)
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file can be written");
}

fn refused_swap(make: fn(&Path), words: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("swap");
    make(&path);
    let before = fs::read(&path).ok();
    let shown = path.to_str().expect("a path of ASCII");
    let ran = faultlab("exec --swap-file").args([shown, "--", "hello"]).run();
    ran.expect_refusal(USAGE, &[&[shown], words].concat());
    assert!(fs::read(&path).ok() == before, "the refused file was changed");
}

fn read_only_swap() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("swap");
    let (shown, mount) = (path.display(), directory.path().display());
    let commands = format!("mount -t tmpfs none {mount}; : > {shown}; mount -o remount,ro {mount}; exec");
    let ran = namespaced(&commands, &format!("exec --swap-file {shown} -- hello"));
    ran.expect_refusal(FAILURE, &[&shown.to_string(), "Read-only file system"]);
}

/// What backs a guest cannot be taken away from it.
fn backing_in_use() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("memory");
    let shown = path.to_str().expect("a path of ASCII");
    let exec = |program: &str| faultlab(&format!("exec --backing file --backing-file {shown} -- {program}"));
    let first = exec("crash loop").start();
    first.wait_for_guest();
    exec("hello").run().expect_refusal(FAILURE, &[shown, "in use"]);
    assert_eq!(path.metadata().expect("it is there").len(), 64 << 20);
    first.signal(rustix::process::Signal::TERM);
    first.end().expect(143);
    exec("hello").run().expect(0);
}

/// A swap file is made, kept, used again, and lent to one guest at a time.
fn swap_in_use() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("swap");
    let shown = path.to_str().expect("a path of ASCII");
    faultlab("exec --swap-file")
        .args([shown, "--", "hello"])
        .run()
        .expect(0);
    assert_eq!(path.metadata().expect("the file is kept").len(), 64 << 20);
    let first = faultlab("exec --swap-file")
        .args([shown, "--", "crash", "loop"])
        .start();
    first.wait_for_guest();
    faultlab("exec --swap-file")
        .args([shown, "--", "hello"])
        .run()
        .expect_refusal(FAILURE, &[shown, "in use"]);
    first.signal(rustix::process::Signal::TERM);
    first.end().expect(143);
    faultlab("exec --swap-file")
        .args([shown, "--", "hello"])
        .run()
        .expect(0);
}
