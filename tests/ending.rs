//! Signals, a terminal's Ctrl-C, a reader that has gone and a limit of time end everything at once and in order: the
//! documented status, no process, no file, the terminal as it was.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pts, Pty, open};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat};
use rustix::process::Signal;
use rustix::termios::tcgetattr;
use serde_json::Value;

use crate::support::{Faultlab, Needs, Suite, faultlab, wait, within};

/// What "at once" means.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long something that must show may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes a line, and then reads shared memory until the end of days, with a line now and then.
const BUSY: &str = "exec -- shm-press 1M --passes 1000000";
/// Spins in ring 3 and never calls the kernel.
const SPIN: &str = "exec -- crash loop";

/// Signals that end faultlab, and the statuses that tell so.
const SIGNALS: [(Signal, &str, i32); 3] = [
    (Signal::INT, "SIGINT", 130),
    (Signal::TERM, "SIGTERM", 143),
    (Signal::HUP, "SIGHUP", 129),
];

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    for (signal, name, status) in SIGNALS {
        for arguments in [SPIN, BUSY, "run --quiet"] {
            let name = format!("ending::{name} ends faultlab {arguments}");
            suite.test(name, Needs::Kvm, move || end_by_signal(arguments, signal, status));
        }
        let name = format!("ending::{name} leaves what a run has measured");
        suite.test(name, Needs::Kvm, move || interrupted_run(signal, status));
    }
    let others: [(&str, fn()); 9] = [
        ("a reader that has gone ends the program", reader_gone),
        ("a reader that does not read holds up no limit of time", reader_idle),
        ("what cannot be told does not change the status", nothing_told),
        ("a FIFO that nobody reads can be left", fifo),
        ("--timeout ends a program that spins", timeout),
        ("--timeout ends a run, which is then partial", run_timeout),
        ("a terminal is as it was after a run", terminal_after_run),
        ("Ctrl-C on a terminal ends a run", || {
            interrupt_on_terminal("run", "warm-touch");
        }),
        ("Ctrl-C on a terminal ends a program", || {
            interrupt_on_terminal(BUSY, "pass 1");
        }),
    ];
    for (name, body) in others {
        suite.test(format!("ending::{name}"), Needs::Kvm, body);
    }
}

fn end_by_signal(arguments: &str, signal: Signal, status: i32) {
    within(AT_ONCE, || {
        let running = faultlab(arguments).start();
        running.wait_for_guest();
        let since = Instant::now();
        running.signal(signal);
        let ran = running.end().expect(status);
        assert!(ran.in_order, "the signal killed it");
        assert_eq!(ran.stderr(), "", "whoever sent the signal knows");
        (since.elapsed(), ())
    });
}

fn interrupted_run(signal: Signal, status: i32) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("report.json");
    let arguments = "run --scenario warm-touch,swap-in --pages 4096 --json";
    let running = faultlab(arguments).args([&path]).start();
    running.wait_for_guest();
    running.signal(signal);
    running.end().expect(status);
    let report = partial_report(&path);
    assert_eq!(report["ended"], format!("ended by signal {}", signal.as_raw()));
    let entries = fs::read_dir(directory.path()).expect("it is there").count();
    assert_eq!(entries, 1, "only the report");
}

/// The JSON of a run that was cut short: it says so, and every row is either there or missing.
fn partial_report(path: &Path) -> Value {
    let report: Value = serde_json::from_slice(&fs::read(path).expect("there is a report")).expect("valid JSON");
    assert_eq!(report["partial"], true);
    let missing = report["missing"].as_array().expect("a list");
    assert!(!missing.is_empty(), "{report}");
    report
}

fn reader_gone() {
    let mut running = faultlab(BUSY).start();
    let mut stdout = BufReader::new(running.child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a first line");
    assert!(line.starts_with("write: "), "{line}");
    drop(stdout);
    let ran = running.end().expect(128 + 13);
    assert_eq!(ran.stderr(), "");
}

fn reader_idle() {
    // The last pages are left: then the pipe is full.
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("a pipe has flags");
    while (&writer).write(&[7; 4096]).is_ok() {}
    for flags in [OFlags::NONBLOCK, OFlags::empty()] {
        fcntl_setfl(&writer, flags).expect("a pipe has flags");
        let theirs = writer.try_clone().expect("a descriptor");
        let ran = faultlab("exec --timeout 1 -- hello").stdout(theirs).run().expect(124);
        assert!(ran.stderr().contains("still running after 1 s"), "{}", ran.stderr());
    }
}

fn nothing_told() {
    let full = || fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let ran = faultlab("exec --trace-level stages -- hello 7").stderr(full()).run();
    assert_eq!(ran.expect(7).stdout(), "argv[0] = hello\nargv[1] = 7\n");
    // A file larger than the process may write.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("programs");
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -f 1; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_faultlab")]);
    let ran = Faultlab::started_by(limited)
        .args(["programs", "--extract"])
        .args([path])
        .run();
    ran.expect_refusal(125, &["File too large"]);
    // What was asked for by name and is lost is a failure.
    let ran = faultlab("exec --strace=/dev/full -- hello").run().expect(125);
    assert!(
        ran.stderr().contains("cannot write /dev/full: No space left"),
        "{}",
        ran.stderr()
    );
}

/// Nothing catches the signal yet while a FIFO is opened.
fn fifo() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO can be made");
    let strace = format!("exec --strace={} -- hello", path.display());
    let out = format!("trace --out {} -- hello", path.display());
    for arguments in [strace, out] {
        let running = faultlab(&arguments).start();
        running.signal(Signal::TERM);
        let ran = running.end().expect(143);
        assert_eq!(ran.stdout(), "");
    }
}

fn timeout() {
    let ran = within(Duration::from_secs(2), || {
        let ran = faultlab("exec --timeout 1 -- crash loop").run().expect(124);
        (ran.elapsed, ran)
    });
    assert!(ran.elapsed >= Duration::from_secs(1), "it took {:?}", ran.elapsed);
    let report = ran.stderr();
    for word in ["still running after 1 s", "--timeout", "rip 0x", "ring 3"] {
        assert!(report.contains(word), "{word:?} is not in:\n{report}");
    }
}

fn run_timeout() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("report.json");
    let arguments = "run --timeout 1 --json";
    let ran = faultlab(arguments).args([&path]).run().expect(124);
    let report = partial_report(&path);
    assert!(
        report["ended"].as_str().is_some_and(|why| why.contains("after 1 s")),
        "{report}"
    );
    assert!(ran.stderr().contains("still running after 1 s"), "{}", ran.stderr());
}

/// `faultlab` with a terminal of its own, which is its controlling one.
pub(crate) struct OnTerminal {
    pty: Pty,
    child: Child,
    /// Those of the terminal before; they can be compared only as text.
    modes: String,
    since: Instant,
    /// What is shown, as it comes.
    screen: Receiver<Vec<u8>>,
    // With its last user a terminal loses its modes.
    pts: Pts,
}

impl OnTerminal {
    /// Starts it with arguments that are separated by spaces.
    pub(crate) fn start(arguments: &str) -> OnTerminal {
        OnTerminal::start_with(arguments, &[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(arguments: &str, more: &[&str]) -> OnTerminal {
        let words = arguments.split_ascii_whitespace().chain(more.iter().copied());
        OnTerminal::start_command(Command::new(env!("CARGO_BIN_EXE_faultlab")).args(words))
    }

    /// Starts a shell that knows it as `$0`.
    pub(crate) fn start_shell(script: &str) -> OnTerminal {
        OnTerminal::start_command(Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_faultlab")]))
    }

    fn start_command(command: Command) -> OnTerminal {
        let (pty, pts) = open().expect("a pseudo-terminal");
        pty.resize(Size::new(24, 100)).expect("it has a size");
        let (modes, since) = (modes(&pty), Instant::now());
        let child = command
            .env("TERM", "xterm")
            .env_remove("FAULTLAB_LOG")
            .spawn_borrowed(&pts)
            .expect("the command can be started");
        let screen = watch(&pty);
        OnTerminal {
            pty,
            child,
            modes,
            since,
            screen,
            pts,
        }
    }

    /// Its process.
    pub(crate) fn child(&self) -> &Child {
        &self.child
    }

    /// Presses keys.
    pub(crate) fn type_keys(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).expect("keys can be pressed");
    }

    /// Waits until it has shown `text`. Returns all that it has shown.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let mut shown = Vec::new();
        while !String::from_utf8_lossy(&shown).contains(text) {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => shown.extend(bytes),
                Err(error) => panic!("no {text:?}: {error}; only {:?}", String::from_utf8_lossy(&shown)),
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Waits for its end. Returns the status and what it still showed; the modes must be what they were.
    pub(crate) fn end(self) -> (i32, String) {
        let ran = wait(self.child, self.since);
        assert_eq!(modes(&self.pty), self.modes, "the modes of the terminal");
        drop(self.pts);
        let shown: Vec<u8> = self.screen.iter().flatten().collect();
        (ran.status, String::from_utf8_lossy(&shown).into_owned())
    }
}

/// Reads what the terminal shows on a thread of its own, until the terminal's last user is gone.
fn watch(pty: &Pty) -> Receiver<Vec<u8>> {
    let (sender, screen) = channel();
    let mut shown = fs::File::from(pty.as_fd().try_clone_to_owned().expect("a descriptor"));
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        // At the end there is EIO.
        while let Ok(count @ 1..) = shown.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    screen
}

fn modes(pty: &Pty) -> String {
    format!("{:?}", tcgetattr(pty).expect("a terminal has modes"))
}

/// The cursor is not left hidden.
fn expect_cursor(shown: &str) {
    let (hidden, visible) = (shown.rfind("\x1b[?25l"), shown.rfind("\x1b[?25h"));
    assert!(hidden <= visible, "the cursor stays hidden: {shown:?}");
}

fn terminal_after_run() {
    let (status, shown) = OnTerminal::start("run --pages 32 --scenario warm-touch,minor").end();
    assert_eq!(status, 0, "{shown}");
    let (bar, table) = shown.split_once("scenario").expect("a table");
    assert!(bar.contains("booting"), "no progress: {bar:?}");
    assert!(table.contains("warm-touch") && table.contains("minor"), "{table:?}");
    // The bar is erased before the table is printed.
    assert!(bar.contains("\x1b[2K"), "{bar:?}");
    expect_cursor(&shown);
}

fn interrupt_on_terminal(arguments: &str, sign_of_life: &str) {
    within(AT_ONCE, || {
        let mut terminal = OnTerminal::start(arguments);
        let before = terminal.wait_for(sign_of_life);
        terminal.pty.write_all(b"\x03").expect("a key can be pressed");
        let since = Instant::now();
        let (status, after) = terminal.end();
        let took = since.elapsed();
        assert_eq!(status, 130, "{before}{after}");
        expect_cursor(&(before + &after));
        (took, ())
    });
}
