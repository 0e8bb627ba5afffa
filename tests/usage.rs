//! A wrong command line is answered before anything is opened or started: one line on standard error that names the
//! option, the value and the remedy, and status 2. None of this needs KVM.

use crate::support::{Needs, Suite, faultlab};

/// A command line, and the words that its answer must hold.
const WRONG: &[(&str, &[&str])] = &[
    ("exec --memory 4M -- hello", &["--memory", "4M", "8M to 3G"]),
    ("exec --memory 4G -- hello", &["--memory", "4G", "8M to 3G"]),
    ("exec --memory 8388609 -- hello", &["--memory", "8388609", "4K"]),
    ("exec --memory much -- hello", &["--memory", "much", "such as 64M"]),
    ("exec --memory -1 -- hello", &["-1"]),
    ("exec --memory= -- hello", &["--memory"]),
    (
        "exec --memory 99999999999999999999G -- hello",
        &["--memory", "99999999999999999999G"],
    ),
    ("run --memory 4M", &["--memory", "4M", "8M to 3G"]),
    ("exec --swap 36K -- hello", &["--swap", "36K", "40K", "0 for none"]),
    ("exec --swap 1T -- hello", &["--swap", "1T"]),
    ("exec --swap 65G -- hello", &["--swap", "65G", "64G"]),
    ("exec --swap 64M --swap-file x -- hello", &["--swap", "--swap-file"]),
    (
        "exec --trace-level loud -- hello",
        &["--trace-level", "loud", "off", "stages"],
    ),
    ("exec --timeout 0 -- hello", &["--timeout", "0"]),
    ("exec --timeout 86401 -- hello", &["--timeout", "86401", "86400"]),
    ("exec --no-such-option -- hello", &["--no-such-option"]),
    ("exec", &["PROG"]),
    ("run --pages 0", &["--pages", "0", "65536", "auto"]),
    ("run --pages 65537", &["--pages", "65537", "65536", "auto"]),
    ("run --scenario no-such", &["--scenario", "no-such", "alloc-cold"]),
    ("run --scenario minor,no-such", &["--scenario", "no-such"]),
    ("run --scenario swap-in --swap 0", &["swap-in", "--swap"]),
    ("run hello", &["hello"]),
    ("run -v -q", &["--verbose", "--quiet"]),
    ("programs --extract", &["--extract"]),
    ("doctor now", &["now"]),
    ("rig -- run --memory 4M", &["--memory", "4M"]),
    ("gate", &["--baseline"]),
    (
        "gate --baseline /nonexistent/x",
        &["--baseline", "/nonexistent/x", "--record"],
    ),
    ("gate --baseline /dev/zero", &["--baseline", "/dev/zero", "is a device"]),
    ("report /dev/zero", &["/dev/zero", "is a device"]),
    (
        "exec --swap-latency file:/dev/zero -- hello",
        &["--swap-latency", "/dev/zero", "is a device"],
    ),
    ("exec --versus-linux --env A=b -- hello", &["--versus-linux", "--env"]),
    ("exec --versus-linux --cwd /tmp -- hello", &["--versus-linux", "--cwd"]),
    ("exec --versus-linux --uid 7 -- hello", &["--versus-linux", "--uid"]),
    (
        "exec --versus-linux --trace-level stages -- hello",
        &["--versus-linux", "--trace-level"],
    ),
    ("no-such-command", &["no-such-command"]),
    ("", &["command"]),
];

/// Adds one test a command line, and those of the help.
pub(crate) fn tests(suite: &mut Suite) {
    for (arguments, words) in WRONG {
        suite.test(format!("usage::faultlab {arguments}"), Needs::Nothing, || {
            faultlab(arguments).run().expect_refusal(2, words);
        });
    }
    suite.test("usage::help and version", Needs::Nothing, help);
    suite.test("usage::programs are listed with what they do", Needs::Nothing, list);
}

fn help() {
    for arguments in [
        "--help",
        "-h",
        "help",
        "--version",
        "run --help",
        "exec --help",
        "programs --help",
        "gate --help",
    ] {
        let ran = faultlab(arguments).run().expect(0);
        assert!(
            !ran.stdout.is_empty() && ran.stderr.is_empty(),
            "{arguments}: {}",
            ran.stderr()
        );
    }
    let text = faultlab("exec --help").run().stdout();
    for status in ["2", "69", "121", "124", "125", "126", "127", "128+n"] {
        let told = text
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{status} ")));
        assert!(told, "exit status {status} is not told:\n{text}");
    }
}

fn list() {
    let text = faultlab("programs").run().expect(0).stdout();
    for program in ["faults", "shm-pair", "shm-press"] {
        assert!(
            text.lines()
                .any(|line| line.split_ascii_whitespace().next() == Some(program)),
            "{program} is missing:\n{text}"
        );
    }
}
