use super::*;

/// Some bytes at an address.
struct Bytes(u64, Vec<u8>);

impl Memory for Bytes {
    fn read(&self, address: u64, to: &mut [u8]) -> usize {
        let Some(offset) = address
            .checked_sub(self.0)
            .and_then(|offset| usize::try_from(offset).ok())
        else {
            return 0;
        };
        let there = self.1.get(offset..).unwrap_or_default();
        let len = there.len().min(to.len());
        to[..len].copy_from_slice(&there[..len]);
        len
    }
}

const NOWHERE: Bytes = Bytes(0, Vec::new());

fn enter(pid: u32, call: Sysno, args: &[u64]) -> CallRecord {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    CallRecord {
        pid,
        event: call_event::ENTER,
        number: call as u64,
        args: all,
        result: 0,
        root: 0,
    }
}

fn leave(record: CallRecord, result: i64) -> CallRecord {
    CallRecord {
        event: call_event::LEAVE,
        args: [0; 6],
        result: result.cast_unsigned(),
        ..record
    }
}

/// The line of a call that is not cut.
fn line(call: Sysno, args: &[u64], result: i64, memory: &dyn Memory) -> String {
    let mut strace = Strace::default();
    let record = enter(7, call, args);
    assert!(strace.record(&record, memory).is_empty());
    let lines = strace.record(&leave(record, result), memory);
    assert_eq!(lines.len(), 1, "{lines:?}");
    // The column of the result is of no interest here.
    let (call, result) = lines[0].rsplit_once(" = ").unwrap();
    format!("{} = {result}", call.trim_end())
}

#[test]
fn arguments_and_results_are_decoded() {
    let text = Bytes(0x1000, b"/tmp/a\"b\n\0rest".to_vec());
    assert_eq!(
        line(Sysno::openat, &[-100_i64 as u64, 0x1000, 0o101, 0o644], -2, &text),
        "7 openat(AT_FDCWD, \"/tmp/a\\\"b\\n\", O_WRONLY|O_CREAT, 0644) = -1 ENOENT (No such file or directory)"
    );
    assert_eq!(
        line(Sysno::read, &[3, 0x1000, 100], 4, &text),
        "7 read(3, \"/tmp\", 100) = 4"
    );
    assert_eq!(
        line(Sysno::read, &[3, 0x1000, 100], -9, &text),
        "7 read(3, 0x1000, 100) = -1 EBADF (Bad file descriptor)"
    );
    assert_eq!(
        line(Sysno::write, &[1, 0x1009, 2], 2, &text),
        "7 write(1, \"\\0r\", 2) = 2"
    );
    assert_eq!(
        line(Sysno::mmap, &[0, 4096, 3, 0x22, u64::MAX, 0], 0x7000_0000, &NOWHERE),
        "7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, NULL) = 0x70000000"
    );
    assert_eq!(
        line(Sysno::open, &[0x5000, 0], 3, &NOWHERE),
        "7 open(0x5000, O_RDONLY, 0) = 3"
    );
    assert_eq!(line(Sysno::kill, &[5, 9], 0, &NOWHERE), "7 kill(5, SIGKILL) = 0");
    assert_eq!(line(Sysno::umask, &[0o22], 0o77, &NOWHERE), "7 umask(0022) = 077");
    let unknown = CallRecord {
        number: 999,
        ..enter(7, Sysno::read, &[])
    };
    let mut strace = Strace::default();
    strace.record(&unknown, &NOWHERE);
    let lines = strace.record(&leave(unknown, -38), &NOWHERE);
    assert!(
        lines[0].starts_with("7 syscall_0x3e7()") && lines[0].contains("-1 ENOSYS"),
        "{lines:?}"
    );
}

#[test]
fn a_call_that_another_process_cuts_is_resumed() {
    let mut strace = Strace::default();
    let text = Bytes(0x1000, b"abc".to_vec());
    let read = enter(2, Sysno::read, &[0, 0x1000, 3]);
    assert!(strace.record(&read, &text).is_empty());
    let other = enter(3, Sysno::getpid, &[]);
    assert_eq!(strace.record(&other, &text), ["2 read(0,  <unfinished ...>"]);
    let lines = strace.record(&leave(other, 3), &text);
    assert!(lines[0].starts_with("3 getpid()"), "{lines:?}");
    // It is made again, and still waits.
    assert!(strace.record(&read, &text).is_empty());
    let lines = strace.record(&leave(read, 3), &text);
    assert!(lines[0].starts_with("2 <... read resumed>\"abc\", 3)"), "{lines:?}");
}

#[test]
fn signals_and_ends() {
    let mut strace = Strace::default();
    let pause = enter(2, Sysno::pause, &[]);
    strace.record(&pause, &NOWHERE);
    let signal = CallRecord {
        event: call_event::SIGNAL,
        number: 2,
        args: [0, 1000 << 32 | 5, 0, 0, 0, 0],
        ..pause
    };
    let lines = strace.record(&signal, &NOWHERE);
    assert!(
        lines[0].contains("pause()") && lines[0].contains("ERESTARTSYS"),
        "{lines:?}"
    );
    assert_eq!(
        lines[1],
        "2 --- SIGINT {si_signo=SIGINT, si_code=SI_USER, si_pid=5, si_uid=1000} ---"
    );
    let end = |result: u64| CallRecord {
        event: call_event::END,
        result,
        ..pause
    };
    assert_eq!(strace.record(&end(0x300), &NOWHERE), ["2 +++ exited with 3 +++"]);
    assert_eq!(strace.record(&end(11), &NOWHERE), ["2 +++ killed by SIGSEGV +++"]);
}

/// A guest may tell anything.
#[test]
fn any_record_is_survived() {
    let text = Bytes(0x1000, vec![0xff; 5000]);
    let mut strace = Strace::default();
    let mut random = fastrand::Rng::with_seed(1);
    let value = |random: &mut fastrand::Rng| match random.u32(0..4) {
        0 => 0x1000 + random.u64(0..6000),
        1 => random.u64(0..8),
        2 => u64::MAX - random.u64(0..8),
        _ => random.u64(..),
    };
    for _ in 0..20_000 {
        let record = CallRecord {
            pid: random.u32(0..3),
            event: random.u32(0..6),
            number: random.u64(0..480),
            args: std::array::from_fn(|_| value(&mut random)),
            result: value(&mut random),
            root: 0,
        };
        for line in strace.record(&record, &text) {
            assert!(line.len() < 200_000 && !line.contains('\n'), "{line}");
        }
    }
}
