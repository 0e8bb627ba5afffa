//! Running `faultlab`, and other programs, with a limit of time.

use std::ffi::OsStr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use process_control::{ChildExt, Control};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// The longest that any test waits for a process; then it is killed and the test fails.
const LIMIT: Duration = Duration::from_secs(150);

/// What a process did.
pub(crate) struct Ran {
    /// Exit status, or 128 + n for signal n, as a shell has it.
    pub(crate) status: i32,
    /// It exited; no signal killed it.
    pub(crate) in_order: bool,
    /// All that it wrote there.
    pub(crate) stdout: Vec<u8>,
    /// All that it wrote there.
    pub(crate) stderr: Vec<u8>,
    /// From its start to its end.
    pub(crate) elapsed: Duration,
}

impl Ran {
    /// What it wrote to standard output; none of the tests that look expect anything but UTF-8.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it wrote to standard error.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// It must have ended with `status`.
    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Ran {
        assert_eq!(
            self.status,
            status,
            "status; standard error:\n{}standard output:\n{}",
            self.stderr(),
            self.stdout()
        );
        self
    }

    /// It must have refused: this status, nothing on standard output, and one line on standard error that begins with
    /// the command's name and holds every one of `words`.
    #[track_caller]
    pub(crate) fn expect_refusal<W: AsRef<str>>(self, status: i32, words: &[W]) {
        let ran = self.expect(status);
        let (stdout, line) = (ran.stdout(), ran.stderr());
        assert_eq!(stdout, "", "a refusal says nothing on standard output");
        assert!(
            line.starts_with("faultlab: ") && line.ends_with('\n') && line.lines().count() == 1,
            "not one line of faultlab's:\n{line}"
        );
        for word in words.iter().map(AsRef::as_ref) {
            assert!(line.contains(word), "{word:?} is not in: {line}");
        }
    }
}

/// `faultlab` with arguments that are separated by spaces; more can be added.
pub(crate) fn faultlab(arguments: &str) -> Faultlab {
    Faultlab::started_by(Command::new(env!("CARGO_BIN_EXE_faultlab"))).args(arguments.split_ascii_whitespace())
}

/// The command, about to be run in a temporary directory of its own.
pub(crate) struct Faultlab {
    command: Command,
    scratch: TempDir,
}

impl Faultlab {
    /// What `command` starts, the path of `faultlab` included, and nothing on standard input.
    pub(crate) fn started_by(mut command: Command) -> Faultlab {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        command
            .env("TMPDIR", scratch.path())
            .env_remove("FAULTLAB_LOG")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Faultlab { command, scratch }
    }

    /// More arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Faultlab {
        self.command.args(arguments);
        self
    }

    /// One more variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Faultlab {
        self.command.env(name, value);
        self
    }

    /// What it reads.
    pub(crate) fn stdin(mut self, input: impl Into<Stdio>) -> Faultlab {
        self.command.stdin(input);
        self
    }

    /// Where it writes to instead of [`Ran::stdout`].
    pub(crate) fn stdout(mut self, output: impl Into<Stdio>) -> Faultlab {
        self.command.stdout(output);
        self
    }

    /// Where it complains to instead of [`Ran::stderr`].
    pub(crate) fn stderr(mut self, output: impl Into<Stdio>) -> Faultlab {
        self.command.stderr(output);
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Ran {
        self.start().end()
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Running {
        let since = Instant::now();
        Running {
            child: self.command.spawn().expect("the command can be started"),
            scratch: self.scratch,
            since,
        }
    }
}

/// Does something until it took less than `limit`, but no more than five times: what else this machine is busy with is not
/// the command's fault, so its best run counts. `run` returns what is limited, and what the caller wants of that run.
#[track_caller]
pub(crate) fn within<T>(limit: Duration, mut run: impl FnMut() -> (Duration, T)) -> T {
    let mut all = Vec::new();
    while all.len() < 5 {
        let (took, result) = run();
        if took < limit {
            return result;
        }
        all.push(took);
    }
    panic!("never within {limit:?}: {all:?}");
}

/// The command at work.
pub(crate) struct Running {
    /// The process. Streams that are taken from it are missing from [`Ran`].
    pub(crate) child: Child,
    scratch: TempDir,
    since: Instant,
}

impl Running {
    /// Its process, and its process group.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until its guest runs: from then on there is a watchdog thread.
    #[track_caller]
    pub(crate) fn wait_for_guest(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        let watched = || {
            let tasks = std::fs::read_dir(&tasks).into_iter().flatten().flatten();
            tasks
                .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
                .any(|name| name.trim_end() == "watchdog")
        };
        while !watched() {
            assert!(self.since.elapsed() < LIMIT, "no guest after {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends it a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process lives");
    }

    /// Waits for its end. Nothing may be left in its temporary directory, and no process in its group.
    #[track_caller]
    pub(crate) fn end(self) -> Ran {
        let group = self.pid();
        let ran = wait(self.child, self.since);
        let left: Vec<_> = std::fs::read_dir(self.scratch.path())
            .expect("the temporary directory is there")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert!(left.is_empty(), "left behind in TMPDIR: {left:?}");
        let others = rustix::process::test_kill_process_group(group);
        assert_eq!(others, Err(rustix::io::Errno::SRCH), "a process was left behind");
        ran
    }
}

/// Waits for the end of a process that was started at `since`, and takes what it writes.
#[track_caller]
pub(crate) fn wait(child: Child, since: Instant) -> Ran {
    let group = Pid::from_child(&child);
    let output = child
        .controlled_with_output()
        .time_limit(LIMIT)
        .terminate_for_timeout()
        .wait()
        .expect("a child can be waited for")
        .unwrap_or_else(|| {
            // Its children, too, if it leads a group.
            _ = kill_process_group(group, Signal::KILL);
            panic!("still running after {LIMIT:?}")
        })
        .into_std_lossy();
    Ran {
        status: as_in_a_shell(output.status),
        in_order: output.status.code().is_some(),
        stdout: output.stdout,
        stderr: output.stderr,
        elapsed: since.elapsed(),
    }
}

fn as_in_a_shell(status: ExitStatus) -> i32 {
    let signal = || status.signal().map(|signal| 128 + signal);
    status.code().or_else(signal).expect("a process that has ended")
}
