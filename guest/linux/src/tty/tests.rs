use super::termios::{cc, iflag, lflag, oflag};
use super::*;
use crate::signal::Signal;

/// Types; what is shown, and the signals.
fn typed(tty: &Tty, keys: &[u8]) -> (String, Vec<Signal>) {
    let (mut shown, mut signals) = (Vec::new(), Vec::new());
    for &key in keys {
        signals.extend(tty.receive(key, &mut |bytes| shown.extend_from_slice(bytes)));
    }
    (String::from_utf8_lossy(&shown).into_owned(), signals)
}

fn read(tty: &Tty, len: usize) -> Result<String, Waits> {
    let mut bytes = Vec::new();
    match tty.read(len, &mut |byte| bytes.push(byte)) {
        Read::Bytes(count) => {
            assert_eq!(count, bytes.len());
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        Read::Wait(waits) => Err(waits),
    }
}

fn change(tty: &Tty, change: impl FnOnce(&mut Termios)) {
    let mut settings = tty.termios();
    change(&mut settings);
    tty.set_termios(settings);
}

#[test]
fn a_line_is_read_when_it_is_whole() {
    let tty = Tty::new();
    assert_eq!(typed(&tty, b"ab").0, "ab");
    assert_eq!((read(&tty, 10), tty.available()), (Err(Waits::ForEver), 0));
    assert_eq!(typed(&tty, b"c\rnext").0, "c\r\nnext");
    assert_eq!(tty.available(), 4);
    assert_eq!(read(&tty, 2), Ok("ab".into()));
    assert_eq!(read(&tty, 10), Ok("c\n".into()));
    assert_eq!(read(&tty, 10), Err(Waits::ForEver));
    typed(&tty, b"\n");
    assert!(tty.is_readable());
    assert_eq!(read(&tty, 10), Ok("next\n".into()));
}

#[test]
fn the_end_of_input() {
    let tty = Tty::new();
    typed(&tty, b"\x04");
    assert_eq!((tty.is_readable(), tty.available()), (true, 0));
    assert_eq!(read(&tty, 10), Ok(String::new()), "the end");
    typed(&tty, b"ab\x04");
    assert_eq!(read(&tty, 10), Ok("ab".into()), "what was typed before it");
    assert_eq!(read(&tty, 10), Err(Waits::ForEver), "it counts once");
    typed(&tty, b"ab\x04");
    assert_eq!(read(&tty, 2), Ok("ab".into()));
    assert_eq!(
        read(&tty, 2),
        Err(Waits::ForEver),
        "it is taken with what was asked for exactly"
    );
    tty.hang_up();
    assert_eq!(read(&tty, 2), Ok(String::new()));
}

#[test]
fn lines_are_edited() {
    let tty = Tty::new();
    assert_eq!(
        typed(&tty, b"ax\x7fb\x7f\x7f\x7fq").0,
        "ax\x08 \x08b\x08 \x08\x08 \x08q"
    );
    assert_eq!(typed(&tty, b"\x15").0, "\x08 \x08");
    assert_eq!(
        typed(&tty, b"one two  \x17x\n").0,
        "one two  ".to_owned() + &"\x08 \x08".repeat(5) + "x\r\n"
    );
    assert_eq!(read(&tty, 99), Ok("one x\n".into()));
    // A control character takes two columns, a tabulator up to eight.
    assert_eq!(typed(&tty, b"\x01\x7f").0, "^A\x08 \x08\x08 \x08");
    assert_eq!(typed(&tty, b"ab\t\x7f").0, "ab\t".to_owned() + &"\x08 \x08".repeat(6));
    assert_eq!(typed(&tty, b"\x16\x03\n").0, "^\x08^C\r\n", "quoted");
    assert_eq!(read(&tty, 99), Ok("ab\x03\n".into()));
    change(&tty, |settings| settings.iflag |= iflag::IUTF8);
    assert_eq!(typed(&tty, "é\x7f".as_bytes()).0, "é\x08 \x08");
    change(&tty, |settings| settings.lflag &= !lflag::ECHO);
    assert_eq!(typed(&tty, b"secret\x7f\n").0, "");
    assert_eq!(read(&tty, 99), Ok("secre\n".into()));
}

#[test]
fn keys_send_signals_and_what_was_typed_is_gone() {
    let tty = Tty::new();
    assert_eq!(
        typed(&tty, b"abc\x03\x1c\x1a"),
        ("abc^C^\\^Z".into(), vec![Signal::INT, Signal::QUIT, Signal::TSTP])
    );
    typed(&tty, b"\n");
    assert_eq!(read(&tty, 99), Ok("\n".into()));
    change(&tty, |settings| settings.lflag &= !lflag::ISIG);
    assert_eq!(typed(&tty, b"\x03\n").1, []);
    assert_eq!(read(&tty, 99), Ok("\x03\n".into()));
    // Those that are switched off are typed as any other.
    change(&tty, |settings| {
        settings.lflag |= lflag::ISIG;
        settings.cc[cc::INTR] = 0;
    });
    assert_eq!(typed(&tty, b"\x00\x03\n").1, []);
    assert_eq!(read(&tty, 99), Ok("\0\x03\n".into()));
}

#[test]
fn single_characters() {
    let tty = Tty::new();
    typed(&tty, b"ab");
    change(&tty, |settings| settings.lflag &= !(lflag::ICANON | lflag::ECHO));
    assert_eq!(read(&tty, 1), Ok("a".into()), "what was typed is there at once");
    assert_eq!(typed(&tty, b"\r\x04\x7f").0, "");
    assert_eq!(read(&tty, 99), Ok("b\n\x04\x7f".into()));
    assert_eq!(read(&tty, 1), Err(Waits::ForEver));
    let wait = |min: u8, time: u8| {
        change(&tty, |settings| {
            settings.cc[cc::MIN] = min;
            settings.cc[cc::TIME] = time;
        });
        read(&tty, 99)
    };
    assert_eq!(wait(0, 0), Ok(String::new()));
    assert_eq!(wait(0, 3), Err(Waits::For(300_000_000)));
    assert_eq!(wait(2, 3), Err(Waits::ForEver), "the time begins with the first");
    typed(&tty, b"x");
    assert_eq!(wait(2, 3), Err(Waits::For(300_000_000)));
    assert_eq!(wait(2, 0), Err(Waits::ForEver));
    assert_eq!(read(&tty, 1), Ok("x".into()), "no more than asked for");
    typed(&tty, b"y");
    assert!(!tty.is_readable());
    change(&tty, |settings| settings.lflag |= lflag::ICANON);
    assert_eq!(read(&tty, 9), Ok("y".into()), "a line now");
}

#[test]
fn output_is_processed() {
    let tty = Tty::new();
    let written = |text: &[u8]| {
        let mut shown = Vec::new();
        tty.write(text, &mut |bytes| shown.extend_from_slice(bytes));
        shown
    };
    assert_eq!(written(b"a\nb\r\n"), b"a\r\nb\r\r\n");
    let long = [b'\n'; 1000];
    assert_eq!(written(&long), b"\r\n".repeat(1000));
    change(&tty, |settings| settings.oflag &= !oflag::OPOST);
    assert_eq!(written(b"a\n"), b"a\n");
}

#[test]
fn more_than_the_buffer_holds_is_dropped_but_its_end() {
    let tty = Tty::new();
    typed(&tty, &[b'x'; 5000]);
    typed(&tty, b"\n");
    assert_eq!(read(&tty, 9999).map(|line| line.len()), Ok(4096));
    typed(&tty, b"y\n");
    assert_eq!(read(&tty, 9999), Ok("y\n".into()));
}

#[test]
fn settings_are_36_bytes() {
    let settings = Termios {
        line: 7,
        ..Termios::NEW
    };
    assert_eq!(Termios::decode(&settings.encode()), settings);
    assert_eq!(settings.encode()[16..20], [7, 3, 0x1c, 0x7f]);
}

#[test]
fn output_stops_and_goes_on() {
    let tty = Tty::new();
    assert_eq!(typed(&tty, b"\x13").0, "", "it is for nobody");
    assert!(tty.is_stopped());
    typed(&tty, b"a");
    assert!(tty.is_stopped(), "only with IXANY does any character do");
    typed(&tty, b"\x11");
    assert_eq!((tty.is_stopped(), read(&tty, 10)), (false, Err(Waits::ForEver)));
    typed(&tty, b"\x13\x03");
    assert!(!tty.is_stopped(), "so does a signal");
    change(&tty, |settings| settings.iflag |= iflag::IXANY);
    typed(&tty, b"\x13b");
    assert!(!tty.is_stopped());
    typed(&tty, b"\x13");
    change(&tty, |settings| settings.iflag &= !iflag::IXON);
    assert!(!tty.is_stopped(), "nobody could say that it is to go on");
    typed(&tty, b"\x13");
    assert!(!tty.is_stopped(), "a character like any other");
    change(&tty, |settings| settings.iflag |= iflag::IXON);
    tty.flow(true);
    typed(&tty, b"\x11");
    assert!(tty.is_stopped(), "a program stopped it");
    tty.flow(false);
    assert!(!tty.is_stopped());
    typed(&tty, b"\x13");
    tty.hang_up();
    assert!(!tty.is_stopped(), "nobody will type");
}
