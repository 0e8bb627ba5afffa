//! A bundled program does in the guest what it does on this host: output and exit status, byte for byte.
//!
//! The host's Linux is the judge. The status is in the table all the same, so that the two cannot be wrong together.

use std::sync::Arc;

use crate::support::{HostPrograms, Needs, Suite, faultlab};

/// One program, its arguments, and the guest's options.
struct Case {
    program: &'static str,
    arguments: &'static str,
    /// Of `faultlab exec`.
    options: &'static str,
    status: i32,
}

const fn case(program: &'static str, arguments: &'static str, options: &'static str, status: i32) -> Case {
    Case {
        program,
        arguments,
        options,
        status,
    }
}

/// Shows what an IPC namespace looks like in which nothing else is.
const RULES_SHM: &str = "rules-shm";

/// Mounts file systems of its own.
const RULES_TMPFS: &str = "rules-tmpfs";

const CASES: &[Case] = &[
    case(RULES_SHM, "", "--swap 0", 0),
    case(RULES_SHM, "limit", "", 0),
    case(RULES_SHM, "get no-such", "", 2),
    // More than memory: the pages go to swap and come back.
    case("shm-press", "10M --passes 1", "--memory 8M --swap 16M", 0),
    case("rules-mmap", "", "", 0),
    case("rules-file", "", "", 0),
    case("rules-signal", "", "", 0),
    case("rules-exec", "", "", 0),
    case(RULES_TMPFS, "", "", 0),
    case(RULES_TMPFS, "all", "", 2),
    case("shm-pair", "", "", 0),
    case("shm-pair", "1M", "", 0),
    case("shm-pair", "12345", "--memory 8M", 0),
    case("shm-pair", "7", "", 2),
    case("shm-press", "1M", "", 0),
    case("shm-press", "5000 --passes 3", "--swap 0", 0),
    case("shm-press", "", "", 2),
    case("shm-press", "0", "", 2),
    case("shm-press", "1M --passes 0", "", 2),
    case("hello", "", "", 0),
    case("hello", "42 and more", "--memory 8M --swap 0", 42),
    case("hello", "256", "", 0),
    case("hello", "", "--memory 3G", 0),
    case("faults", "--pages 32 --scenario warm-touch,minor,alloc-warm", "", 0),
    case("faults", "--pages 1 --scenario minor --budget-ms 1", "", 0),
    case("faults", "--pages none", "", 2),
    case("faults", "--scenario no-such", "", 2),
    case("faults", "--fast", "", 2),
    case("crash", "segv-null", "", 128 + 11),
    case("crash", "segv-kernel", "", 128 + 11),
    case("crash", "segv-readonly", "", 128 + 11),
    case("crash", "stack-overflow", "", 128 + 11),
    case("crash", "gp", "", 128 + 11),
    case("crash", "bus", "", 128 + 7),
    case("crash", "ud2", "", 128 + 4),
    case("crash", "divide", "", 128 + 8),
    case("crash", "panic", "", 101),
    case("crash", "exit 0", "", 0),
    case("crash", "exit 255", "", 255),
    // Statuses that faultlab also uses itself pass through as well.
    case("crash", "exit 126", "", 126),
    case("crash", "", "", 2),
];

/// Adds one test a case.
pub(crate) fn tests(suite: &mut Suite) {
    for case in CASES {
        let words = [case.options, case.program, case.arguments].join(" ");
        let name = words.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let host_programs = Arc::clone(&suite.host_programs);
        let needs = match case.program {
            RULES_SHM => Needs::KvmAndIpcNamespace,
            RULES_TMPFS => Needs::KvmAndMountNamespace,
            _ => Needs::Kvm,
        };
        suite.test(format!("oracle::{name}"), needs, move || {
            compare(case, &host_programs);
        });
    }
}

fn compare(case: &Case, host_programs: &HostPrograms) {
    let arguments: Vec<&str> = case.arguments.split_ascii_whitespace().collect();
    let host = match case.program {
        RULES_SHM => host_programs.run_in_an_ipc_namespace(case.program, &arguments),
        RULES_TMPFS => host_programs.run_in_a_mount_namespace(case.program, &arguments),
        _ => host_programs.run(case.program, &arguments, &[]),
    };
    let host = host.expect(case.status);
    let guest = faultlab("exec")
        .args(case.options.split_ascii_whitespace())
        .args(["--", case.program])
        .args(&arguments)
        .run()
        .expect(case.status);
    assert_eq!(
        without_timings(&guest.stdout()),
        without_timings(&host.stdout()),
        "standard output, the guest's and the host's"
    );
    assert_eq!(
        guest.stderr(),
        host.stderr(),
        "standard error, the guest's and the host's"
    );
}

/// `text` without the numbers that stand before the word "cycles".
fn without_timings(text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_timing = |at: usize| words.get(at + 1).is_some_and(|next| next.starts_with("cycles"));
        let shown = (0..words.len()).map(|at| if is_timing(at) { "N" } else { words[at] });
        shown.collect::<Vec<_>>().join(" ")
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}
