//! What a session does with what arrives, and what is shown of a machine that broke.

use super::super::frame::GREETING;
use super::*;

/// A session's output, and how it ended.
struct Played {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ended: Result<Option<u8>, Stop>,
}

fn play(frames: &[Frame], outputs: &[PathBuf]) -> Played {
    let mut bytes = GREETING.to_vec();
    frames.iter().for_each(|frame| frame.write(&mut bytes).unwrap());
    play_bytes(&bytes, outputs)
}

fn play_bytes(bytes: &[u8], outputs: &[PathBuf]) -> Played {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let sink = Sink {
        stdout: &mut stdout,
        stderr: &mut stderr,
        outputs,
    };
    let start = Instant::now();
    let mut session = Session {
        sink,
        decoder: Decoder::default(),
        files: BTreeMap::new(),
        start,
        started: None,
    };
    let ended = session.take(bytes);
    Played { stdout, stderr, ended }
}

fn damage(played: Played) -> String {
    match played.ended {
        Err(Stop::Damaged(how)) => how,
        Err(Stop::Failed(error)) => panic!("{error}"),
        Ok(status) => panic!("{status:?}"),
    }
}

#[test]
fn output_and_status_arrive_apart() {
    let frames = [
        Frame::Started,
        Frame::Stdout(b"a\0".to_vec()),
        Frame::Stderr(b"warning\n".to_vec()),
        Frame::Stdout(b"\xff\n".to_vec()),
        Frame::Status(121),
        Frame::Stdout(b"nothing comes after the status".to_vec()),
    ];
    let played = play(&frames, &[]);
    assert_eq!(
        (played.stdout.as_slice(), played.stderr.as_slice()),
        (b"a\0\xff\n".as_slice(), b"warning\n".as_slice())
    );
    assert!(matches!(played.ended, Ok(Some(121))));
}

#[test]
fn files_are_written_when_they_are_complete() {
    let directory = tempfile::tempdir().unwrap();
    let outputs = [
        directory.path().join("a"),
        directory.path().join("b"),
        directory.path().join("c"),
    ];
    let frames = [
        Frame::File(1, b"12".to_vec()),
        Frame::File(1, b"34".to_vec()),
        Frame::File(2, b"never complete".to_vec()),
        Frame::FileEnd(1),
        Frame::FileEnd(0),
        Frame::Status(0),
    ];
    assert!(matches!(play(&frames, &outputs).ended, Ok(Some(0))));
    assert_eq!(std::fs::read(&outputs[1]).unwrap(), b"1234");
    assert_eq!(std::fs::read(&outputs[0]).unwrap(), b"");
    assert!(!outputs[2].exists());
}

#[test]
fn nonsense_ends_the_session() {
    assert_eq!(
        damage(play(&[Frame::FileEnd(0)], &[])),
        "sent file 0, which is not one of its own"
    );
    assert_eq!(
        damage(play_bytes(&[GREETING, b"\x01\x02\0\0\0ab"].concat(), &[])),
        "sent tag 0x01 of 2 bytes"
    );
}

#[test]
fn a_failure_in_the_machine_is_reported_as_its_own() {
    let played = play(
        &[Frame::Failure(b"cannot load /m/kvm.ko: Exec format error".to_vec())],
        &[],
    );
    let Err(Stop::Failed(error)) = played.ended else {
        panic!("not a failure")
    };
    assert_eq!(
        error.to_string(),
        "the simulated machine could not be set up: cannot load /m/kvm.ko: Exec format error"
    );
    assert_eq!(error.exit_status(), crate::error::exit::FAILURE);
}

#[test]
fn a_reader_that_is_gone_is_no_failure() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert!(pass_on(&mut Gone, b"x").is_ok());
}

#[test]
fn last_words_are_the_last_lines_that_say_something() {
    let mut console = nameless_file().unwrap();
    let messages = nameless_file().unwrap();
    assert_eq!(last_words(&console, &messages), "its console is empty");
    for line in 0..20 {
        write!(console, "\x1b[1mline {line}\r\n\r\n").unwrap();
    }
    (&messages).write_all(b"qemu: no\n").unwrap();
    let words = last_words(&console, &messages);
    assert!(
        words.starts_with("its last words:\n  console: [1mline 8\n") && words.ends_with("\n  simulator: qemu: no"),
        "{words}"
    );
}

#[test]
fn of_a_panic_the_reason_is_shown() {
    let mut console = nameless_file().unwrap();
    writeln!(console, "[    0.1] harmless\n[    0.2] Kernel panic - not syncing: why").unwrap();
    (0..20).for_each(|line| writeln!(console, "line {line}").unwrap());
    let lines = last_lines(&console).unwrap();
    assert_eq!(
        (lines[0].as_str(), lines.len()),
        ("[    0.2] Kernel panic - not syncing: why", REPORTED_LINES)
    );
}
