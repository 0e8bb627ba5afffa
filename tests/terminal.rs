//! Standard input, as a stream and as a terminal: an interactive shell does here what it does on Linux.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::ending::OnTerminal;
use crate::support::{BUSYBOX, Needs, Suite, faultlab};

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    let mut test = |name: &str, body: fn()| suite.test(format!("terminal::{name}"), Needs::KvmAndBusybox, body);
    test("a shell takes lines and signals", shell);
    test("a program that takes single characters", single_characters);
    test("its modes come back when faultlab is ended", modes_come_back);
    test("a job in the background that reads nothing goes on", background);
    test("what goes to another program is shown as ever", piped);
    test("input is a stream that is read as far as it is asked for", streams);
    test("input that comes late is waited for", late);
}

fn on_terminal(program: &str) -> OnTerminal {
    OnTerminal::start(&format!("exec -q --file {BUSYBOX}:{BUSYBOX} -- {program}"))
}

/// Waits for `text`, then types.
fn step(terminal: &mut OnTerminal, text: &str, keys: &str) {
    terminal.wait_for(text);
    terminal.type_keys(keys);
}

fn shell() {
    let mut terminal = on_terminal("busybox sh");
    // An erased character, a result that is not what was typed.
    step(&mut terminal, "# ", "echo ab\x7fc $((40+2))\r");
    // The shell gives the terminal its modes back before it runs what it read: what is typed from then on is the program's.
    step(&mut terminal, "ac 42\r\n", "echo rea''dy; while :; do :; done\r");
    step(&mut terminal, "\nready\r\n", "\x03");
    step(&mut terminal, "# ", "echo rea''dy; cat\r");
    step(&mut terminal, "\nready\r\n", "one\x7f\x7fut\r");
    terminal.wait_for("ut\r\nout\r\n");
    terminal.type_keys("\x04");
    // Said by the process that is to stop, which is in the foreground by then.
    step(&mut terminal, "# ", "sh -c 'echo rea\"\"dy; exec sleep 1000'\r");
    step(&mut terminal, "\nready\r\n", "\x1a");
    step(&mut terminal, "Stopped", "jobs; kill -9 %1; wait; stty size; exit 7\r");
    let shown = terminal.wait_for("24 100\r\n");
    let (status, rest) = terminal.end();
    assert_eq!(status, 7, "{shown}{rest}");
}

fn single_characters() {
    // `-n` takes the terminal out of lines, `-s` out of echo.
    let mut terminal = OnTerminal::start_with(
        &format!("exec -q --file {BUSYBOX}:{BUSYBOX} -- busybox sh -c"),
        &["echo ready; read -s -n 2 x; echo \"got $x\"; test -t 0 && test -t 1 && stty -a | busybox head -n1"],
    );
    step(&mut terminal, "ready\r\n", "xyz");
    terminal.wait_for("got xy\r\n");
    let (status, shown) = terminal.end();
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("rows 24") && shown.contains("columns 100"), "{shown}");
}

fn modes_come_back() {
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::USR1, 138)] {
        let terminal = on_terminal("busybox sh");
        terminal.wait_for("# ");
        kill_process(Pid::from_child(terminal.child()), signal).expect("it lives");
        // The modes are compared there.
        assert_eq!(terminal.end().0, status);
    }
}

fn background() {
    let job = "set -m; \"$0\" exec -- hello 7 & wait $!; echo status $?";
    let terminal = OnTerminal::start_shell(job);
    terminal.wait_for("status 7");
    assert_eq!(terminal.end().0, 0);
}

fn piped() {
    let terminal = OnTerminal::start_shell("\"$0\" exec -- hello a | cat");
    let (status, shown) = terminal.end();
    assert_eq!((status, shown.as_str()), (0, "argv[0] = hello\r\nargv[1] = a\r\n"));
}

fn streams() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("input");
    let content: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 253) as u8).collect();
    fs::write(&path, &content).expect("a file can be written");
    let busybox = format!("--file={BUSYBOX}:{BUSYBOX}");
    let input = fs::File::open(&path).expect("it was just written");
    let whole = faultlab("exec -q")
        .args([&busybox, "--", "busybox", "cat"])
        .stdin(input)
        .run()
        .expect(0);
    assert!(
        whole.stdout == content,
        "every byte, in order: {} of {}",
        whole.stdout.len(),
        content.len()
    );
    // A program that reads nothing leaves all of it, one that reads ten bytes the rest.
    let mut input = fs::File::open(&path).expect("it is there");
    let shared = input.try_clone().expect("a descriptor");
    faultlab("exec -- hello").stdin(shared).run().expect(0);
    let shared = input.try_clone().expect("a descriptor");
    let ten = ["busybox", "dd", "bs=10", "count=1"];
    faultlab("exec -q")
        .args([&busybox, "--"])
        .args(ten)
        .stdin(shared)
        .run()
        .expect(0);
    let position = std::io::Seek::stream_position(&mut input).expect("a file has one");
    assert_eq!(position, 10);
    // Without input there is the end, and neither stream is a terminal.
    let script = "read x || echo end; test -t 0 || test -t 1 || test -t 2 || echo none; echo err >&2";
    let ran = faultlab("exec -q")
        .args([&busybox, "--", "busybox", "sh", "-c", script])
        .run()
        .expect(0);
    assert_eq!((ran.stdout().as_str(), ran.stderr().as_str()), ("end\nnone\n", "err\n"));
}

fn late() {
    let busybox = format!("--file={BUSYBOX}:{BUSYBOX}");
    let script = "echo ready; read x; echo \"got $x\"; read -t 1 y || echo late; busybox cat";
    let mut running = faultlab("exec -q")
        .args([&busybox, "--", "busybox", "sh", "-c", script])
        .stdin(Stdio::piped())
        .start();
    let mut input = running.child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(running.child.stdout.take().expect("a pipe"));
    let mut expect = |line: &str| {
        let mut said = String::new();
        output.read_line(&mut said).expect("it writes");
        assert_eq!(said, line);
    };
    expect("ready\n");
    input.write_all(b"first\n").expect("it reads");
    expect("got first\n");
    // It has waited a second for what does not come.
    expect("late\n");
    input.write_all(b"last").expect("it reads");
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("it writes");
    assert_eq!(rest, "last");
    running.end().expect(0);
}
