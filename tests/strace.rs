//! `exec --strace`: system calls, signals and ends as strace -f has them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{BUSYBOX, Needs, Suite, faultlab};

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    suite.test("strace::a small program's calls", Needs::Kvm, small);
    suite.test(
        "strace::processes take turns, a file takes the lines",
        Needs::KvmAndBusybox,
        processes,
    );
    suite.test("strace::a call that does not exist", Needs::KvmAndStaticC, unknown);
    suite.test(
        "strace::interrupts stay on",
        Needs::SimulatorAndStaticC,
        interrupts_stay_on,
    );
}

/// A line without the padding before its result.
fn squeezed(line: &str) -> String {
    line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn small() {
    let ran = faultlab("exec --strace -- hello 3").run().expect(3);
    assert_eq!(ran.stdout(), "argv[0] = hello\nargv[1] = 3\n");
    let lines: Vec<String> = ran.stderr().lines().map(squeezed).collect();
    let expected = [
        "2 write(1, \"argv[0] = hello\\n\", 16) = 16",
        "2 write(1, \"argv[1] = 3\\n\", 12) = 12",
        "2 exit_group(3) = ?",
        "2 +++ exited with 3 +++",
    ];
    assert_eq!(lines, expected);
}

fn processes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("calls");
    let script = "/bin/busybox cat /etc/group; cd /no/such; kill -USR1 $$";
    let ran = faultlab("exec -q")
        .args([
            &format!("--file={BUSYBOX}:{BUSYBOX}"),
            &format!("--strace={}", path.display()),
        ])
        .args(["--", "busybox", "sh", "-c", script])
        .run()
        .expect(128 + 10);
    assert!(ran.stdout().starts_with("root:x:0"), "{}", ran.stdout());
    let text = fs::read_to_string(&path).expect("the lines");
    let lines: Vec<String> = text.lines().map(squeezed).collect();
    let mut rest = lines.iter();
    for wanted in [
        "2 wait4(-1, <unfinished ...>",
        "3 execve(\"/bin/busybox\", [\"/bin/busybox\", \"cat\", \"/etc/group\"], 0x",
        "3 openat(AT_FDCWD, \"/etc/group\", O_RDONLY, 0) = 3",
        "3 +++ exited with 0 +++",
        "2 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 3",
        "2 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=3, si_uid=0} ---",
        "2 chdir(\"/no/such\") = -1 ENOENT (No such file or directory)",
        "2 kill(2, SIGUSR1) = 0",
        "2 --- SIGUSR1 {si_signo=SIGUSR1",
        "2 +++ killed by SIGUSR1 +++",
    ] {
        let there = rest.any(|line| line.starts_with(wanted));
        assert!(there, "{wanted:?} is not there, or not in its place:\n{text}");
    }
    let marks = [" = ", "unfinished", "+++", "---"];
    let without = lines.iter().find(|line| !marks.iter().any(|mark| line.contains(mark)));
    assert_eq!(without, None, "a line without a result");
}

/// The log names it once, the lines every time.
/// The program of `c_programs::gate`, through the entry that tells each call, where ring 0 is native: programs there can be left with
/// interrupts off, elsewhere the host's own keep coming.
fn interrupts_stay_on() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/c/gate.c");
    let (_directory, program) = compiled(&fs::read_to_string(source).expect("the source"));
    let ran = faultlab("--quiet rig -- exec --strace --")
        .args([&program])
        .run()
        .expect(0);
    assert_eq!(ran.stdout(), "others run\n");
}

/// A static program of C, in a directory of its own.
fn compiled(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (source, program) = (directory.path().join("a.c"), directory.path().join("a"));
    fs::write(&source, text).expect("a file can be written");
    let mut cc = Command::new("cc");
    let compiled = cc.arg("-static").arg("-o").args([&program, &source]).status();
    assert!(compiled.expect("a compiler").success());
    (directory, program)
}

fn unknown() {
    const PROGRAM: &str = "#include <unistd.h>\n#include <sys/syscall.h>\n\
        int main(void) { syscall(SYS_bpf, 1); return syscall(SYS_bpf, 2) == -1 ? 0 : 1; }\n";
    let (_directory, program) = compiled(PROGRAM);
    let ran = faultlab("exec --strace --").args([&program]).run().expect(0);
    let (stderr, wanted) = (ran.stderr(), "2 bpf() = -1 ENOSYS (Function not implemented)");
    let told = stderr.lines().filter(|line| squeezed(line) == wanted).count();
    let logged = stderr
        .lines()
        .filter(|line| line.contains("system call 321 does not exist"))
        .count();
    assert_eq!((told, logged), (2, 1), "{stderr}");
}
