use faultlab_abi::dev::host_flag;
use faultlab_abi::lab::{Panic, Phase};
use faultlab_abi::layout::{PAGE_SIZE, RAM_MIN_BYTES, WINDOW};
use faultlab_abi::vmstat;

use super::*;
use crate::devices::bus::BusCounters;
use crate::memory::GuestRam;
use crate::observer::{Observer, PhaseRecord, Stream};
use crate::testing::ram;

const COMMAND: u64 = 0x1000;
const RECORD: u64 = 0x2000;

/// The device over its own RAM, and what it said.
struct Rig {
    ram: GuestRam,
    lab: LabDevice,
    heard: Heard,
}

#[derive(Default)]
struct Heard {
    output: Vec<(Stream, Vec<u8>)>,
    log: Vec<String>,
    phases: Vec<PhaseRecord>,
}

impl Observer for Heard {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.output.push((stream, bytes.to_vec()));
    }

    fn log(&mut self, _level: log::Level, line: &str) {
        self.log.push(line.to_owned());
    }

    fn phase(&mut self, record: PhaseRecord) {
        self.phases.push(record);
    }
}

impl Rig {
    fn new() -> Rig {
        Rig {
            ram: ram(),
            lab: LabDevice::default(),
            heard: Heard::default(),
        }
    }

    fn put(&self, address: u64, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            self.ram
                .memory()
                .write_obj(*word, GuestAddress(address + 8 * index as u64))
                .unwrap();
        }
    }

    fn ring(&mut self, address: u64) -> ControlFlow<End> {
        let mut session = Session {
            ram: &self.ram,
            observer: &mut self.heard,
            stats: None,
            host_events: None,
            exits: None,
            requests: None,
            bus: BusCounters::default(),
        };
        self.lab.write(reg::DOORBELL, &address.to_le_bytes(), &mut session)
    }

    /// Issues a command; `Err` if it ended the run.
    fn issue(&mut self, kind: u32, args: &[u64]) -> Result<i32, End> {
        let mut words = vec![u64::from(kind) | 0x7777_7777 << 32];
        words.extend_from_slice(args);
        words.resize(7, 0);
        self.put(COMMAND, &words);
        match self.ring(COMMAND) {
            ControlFlow::Break(end) => Err(end),
            ControlFlow::Continue(()) => Ok(self.ram.memory().read_obj(GuestAddress(COMMAND + 4)).unwrap()),
        }
    }

    /// Issues a command that does not end the run, and expects this status.
    #[track_caller]
    fn expect(&mut self, status: i32, kind: u32, args: &[u64]) {
        assert_eq!(self.issue(kind, args).unwrap(), status, "command {kind} with {args:x?}");
    }

    fn put_phase(&self, name: &[u8], count: u64) {
        self.put(RECORD, &[0; size_of::<Phase>() / 8]);
        self.ram.memory().write_slice(name, GuestAddress(RECORD)).unwrap();
        self.put(RECORD + 72, &[count]);
    }
}

#[test]
fn registers_answer_their_width_only() {
    let mut lab = LabDevice::default();
    let mut word = [0xaa; 4];
    lab.read(reg::MAGIC, &mut word);
    assert_eq!(&word, b"FLAB");
    lab.read(reg::VERSION, &mut word);
    assert_eq!(u32::from_le_bytes(word), faultlab_abi::VERSION);
    let mut clock = [0; 8];
    lab.read(reg::WALLCLOCK_NS, &mut clock);
    assert!(
        u64::from_le_bytes(clock) > 1_700_000_000_000_000_000,
        "the clock is past 2023"
    );
    assert_eq!(lab.refused(), 0);
    for (offset, len) in [(reg::MAGIC, 8), (reg::WALLCLOCK_NS, 4), (0x800, 4), (0xfff, 1)] {
        let mut data = [0xaa; 8];
        lab.read(offset, &mut data[..len]);
        assert_eq!(data[..len], [0; 8][..len], "{offset:#x}");
    }
    assert_eq!(lab.refused(), 4);
}

#[test]
fn wild_doorbells_are_counted_and_ignored() {
    let mut rig = Rig::new();
    let before: Vec<u8> = read_all(&rig.ram);
    for address in [u64::MAX, RAM_MIN_BYTES, RAM_MIN_BYTES - 8, COMMAND + 4, 1, 1 << 63] {
        assert!(rig.ring(address).is_continue(), "{address:#x}");
    }
    let mut session = Session {
        ram: &rig.ram,
        observer: &mut rig.heard,
        stats: None,
        host_events: None,
        exits: None,
        requests: None,
        bus: BusCounters::default(),
    };
    for (offset, data) in [
        (reg::DOORBELL, &[0; 4][..]),
        (reg::DOORBELL + 1, &[0; 8]),
        (reg::MAGIC, &[0; 4]),
    ] {
        assert!(rig.lab.write(offset, data, &mut session).is_continue());
    }
    assert_eq!((rig.lab.refused(), rig.lab.commands()), (9, 6));
    assert!(read_all(&rig.ram) == before, "nothing was written");
}

fn read_all(ram: &GuestRam) -> Vec<u8> {
    let mut bytes = vec![0; RAM_MIN_BYTES as usize];
    ram.memory().read_slice(&mut bytes, GuestAddress(0)).unwrap();
    bytes
}

#[test]
fn unknown_commands_are_enosys() {
    let mut rig = Rig::new();
    for kind in [0, 26, 0x7fff_ffff, u32::MAX] {
        rig.expect(-libc::ENOSYS, kind, &[1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn a_hello_is_checked_field_by_field() {
    let mut rig = Rig::new();
    let version = u64::from(faultlab_abi::VERSION);
    let count = vmstat::COUNT as u64;
    let good = [version, 0x4000, count, 0x8000, 2 * PAGE_SIZE, 100, 50];
    let with = |field: usize, value: u64| {
        let mut hello = good;
        hello[field] = value;
        hello
    };
    let last = RAM_MIN_BYTES - 8 * count;
    for (status, hello) in [
        (-libc::EINVAL, with(0, version + 1)),
        (-libc::EINVAL, with(0, version | 2 << 32)),
        (-libc::EINVAL, with(1, 0x4001)),
        (-libc::EINVAL, with(2, count + 1)),
        (-libc::EINVAL, with(4, 3 * PAGE_SIZE)),
        (-libc::EINVAL, with(4, PAGE_SIZE)),
        (-libc::EINVAL, with(4, 0)),
        (-libc::EFAULT, with(1, last + 8)),
        (-libc::EFAULT, with(1, u64::MAX - 7)),
        (-libc::EFAULT, with(3, RAM_MIN_BYTES - PAGE_SIZE)),
        (-libc::EFAULT, with(4, 1 << 63)),
    ] {
        rig.put(RECORD, &hello);
        rig.expect(status, kind::HELLO, &[RECORD]);
        assert!(rig.lab.hello().is_none(), "{hello:x?}");
    }
    rig.expect(-libc::EFAULT, kind::HELLO, &[RAM_MIN_BYTES - 48]);
    rig.expect(-libc::EINVAL, kind::HELLO, &[RECORD + 1]);
    rig.put(RECORD, &with(1, last));
    rig.expect(0, kind::HELLO, &[RECORD]);
    assert_eq!(
        rig.lab.hello().map(|hello| (hello.managed_pages, hello.swap_pages)),
        Some((100, 50))
    );
}

#[test]
fn output_and_log_keep_to_their_limits() {
    let mut rig = Rig::new();
    rig.ram
        .memory()
        .write_slice(b"text\n\xff", GuestAddress(RECORD))
        .unwrap();
    for (status, args) in [
        (-libc::EINVAL, [0, RECORD, 4]),
        (-libc::EINVAL, [3, RECORD, 4]),
        (-libc::EINVAL, [1, RECORD, 4097]),
        (-libc::EINVAL, [1, RECORD + 1, 4096]),
        (-libc::EINVAL, [1, RECORD, u64::MAX]),
        (-libc::EFAULT, [1, RAM_MIN_BYTES, 1]),
        (-libc::EFAULT, [1, u64::MAX, 1]),
        (0, [1, RECORD, 0]),
        (0, [2, RECORD, 6]),
        (0, [1, RECORD, 4096]),
    ] {
        rig.expect(status, kind::WRITE, &args);
    }
    assert_eq!(
        rig.heard
            .output
            .iter()
            .map(|(_, bytes)| bytes.len())
            .collect::<Vec<_>>(),
        [0, 6, 4096]
    );
    assert_eq!(rig.heard.output[1], (Stream::Stderr, b"text\n\xff".to_vec()));
    rig.expect(-libc::EINVAL, kind::LOG, &[5, RECORD, 4]);
    rig.expect(-libc::EINVAL, kind::LOG, &[1, RECORD, 513]);
    rig.expect(-libc::EFAULT, kind::LOG, &[1, RAM_MIN_BYTES - 4, 5]);
    rig.expect(0, kind::LOG, &[1, RECORD, 6]);
    assert_eq!(rig.heard.log, ["text\n\u{fffd}"]);
}

#[test]
fn cold_ranges_are_checked_before_any_is_dropped() {
    let mut rig = Rig::new();
    let victim = 0x10_0000;
    rig.put(victim, &[7]);
    let contents = |rig: &Rig| rig.ram.memory().read_obj::<u64>(GuestAddress(victim)).unwrap();
    for (status, bad) in [
        (-libc::EINVAL, [1, 1]),
        (-libc::EINVAL, [0, 0]),
        (-libc::EFAULT, [RAM_MIN_BYTES, 1]),
        (-libc::EFAULT, [0, u64::MAX]),
        (-libc::EFAULT, [u64::MAX - 4095, 1]),
    ] {
        rig.put(RECORD, &[victim, 1, bad[0], bad[1]]);
        rig.expect(status, kind::COLD, &[RECORD, 2]);
        assert_eq!(contents(&rig), 7, "{bad:x?}");
    }
    rig.expect(-libc::EINVAL, kind::COLD, &[RECORD, 257]);
    rig.expect(-libc::EINVAL, kind::COLD, &[RECORD, u64::MAX]);
    rig.expect(-libc::EFAULT, kind::COLD, &[RAM_MIN_BYTES - 16, 2]);
    rig.expect(0, kind::COLD, &[RECORD, 0]);
    rig.expect(0, kind::COLD, &[RECORD, 1]);
    assert_eq!(contents(&rig), 0);
}

#[test]
fn memory_commands_check_ranges_and_answers() {
    let mut rig = Rig::new();
    let (victim, answer) = (0x10_0000, 0x3000);
    rig.put(victim, &[7]);
    for kind in [kind::COLD, kind::WARM, kind::PRESENT] {
        for (status, bad) in [
            (-libc::EINVAL, [1, 1]),
            (-libc::EINVAL, [0, 0]),
            (-libc::EFAULT, [RAM_MIN_BYTES, 1]),
            (-libc::EFAULT, [WINDOW, 1]),
            (-libc::EFAULT, [WINDOW - PAGE_SIZE, 2]),
            (-libc::EFAULT, [0, u64::MAX]),
        ] {
            rig.put(RECORD, &[victim, 1, bad[0], bad[1]]);
            rig.put(answer, &[5]);
            rig.expect(status, kind, &[RECORD, 2, answer]);
            let word = |at| rig.ram.memory().read_obj::<u64>(GuestAddress(at)).unwrap();
            assert_eq!([word(victim), word(answer)], [7, 5], "{kind}: {bad:x?}");
        }
        rig.expect(-libc::EINVAL, kind, &[RECORD, 257, answer]);
        rig.expect(-libc::EINVAL, kind, &[RECORD + 4, 1, answer]);
        rig.expect(-libc::EFAULT, kind, &[RAM_MIN_BYTES - 16, 2, answer]);
    }
    rig.put(RECORD, &[victim, 2]);
    rig.expect(-libc::EINVAL, kind::PRESENT, &[RECORD, 1, answer + 1]);
    rig.expect(-libc::EFAULT, kind::PRESENT, &[RECORD, 1, RAM_MIN_BYTES]);
    for (kind, present) in [(kind::PRESENT, 1), (kind::WARM, 2), (kind::COLD, 0)] {
        rig.expect(0, kind, &[RECORD, 1, answer]);
        rig.expect(0, kind::PRESENT, &[RECORD, 1, answer]);
        let found: u64 = rig.ram.memory().read_obj(GuestAddress(answer)).unwrap();
        assert_eq!(found, present, "{kind}");
    }
}

#[test]
fn host_info_is_put_where_it_fits() {
    let mut rig = Rig::new();
    rig.expect(-libc::EFAULT, kind::HOST_INFO, &[RAM_MIN_BYTES - 48]);
    rig.expect(-libc::EFAULT, kind::HOST_INFO, &[u64::MAX - 7]);
    rig.expect(-libc::EINVAL, kind::HOST_INFO, &[RECORD + 4]);
    rig.expect(0, kind::HOST_INFO, &[RECORD]);
    let words: [u64; 7] = rig.ram.memory().read_obj(GuestAddress(RECORD)).unwrap();
    assert_eq!(&words[0].to_le_bytes(), b"anon\0\0\0\0");
    assert_eq!(words[4..], [PAGE_SIZE, 0, host_flag::COLD_FREE], "no window, so no log");
}

#[test]
fn without_a_log_nothing_is_protected() {
    let mut rig = Rig::new();
    rig.put(RECORD, &[WINDOW, 1]);
    rig.expect(-libc::EOPNOTSUPP, kind::WRITE_PROTECT, &[RECORD, 1]);
    rig.expect(-libc::EOPNOTSUPP, kind::DIRTY_PAGES, &[RECORD, 1, RECORD]);
    rig.expect(0, kind::DIRTY_STOP, &[]);
}

#[test]
fn halts_are_announced_within_limits() {
    let mut rig = Rig::new();
    rig.expect(-libc::EINVAL, kind::HALTS, &[65_537, 0]);
    rig.expect(-libc::EINVAL, kind::HALTS, &[u64::MAX, 1]);
    rig.expect(-libc::EINVAL, kind::HALTS, &[1, 2]);
    assert!(!rig.lab.halt(), "nothing is announced");
    for wake in [0, 1] {
        rig.expect(0, kind::HALTS, &[2, wake]);
        assert_eq!([rig.lab.halt(), rig.lab.halt(), rig.lab.halt()], [true, true, false]);
    }
    rig.expect(0, kind::HALTS, &[5, 1]);
    rig.expect(0, kind::HALTS, &[0, 0]);
    assert!(!rig.lab.halt(), "the rest is taken back");
}

#[test]
fn phases_follow_their_states() {
    let mut rig = Rig::new();
    rig.put_phase(b"minor", 4);
    rig.expect(-libc::EINVAL, kind::PHASE_END, &[RECORD]);
    rig.expect(-libc::EINVAL, kind::SAMPLES, &[RECORD, 1]);
    rig.expect(-libc::EFAULT, kind::PHASE_BEGIN, &[RAM_MIN_BYTES - 8]);
    rig.expect(0, kind::PHASE_BEGIN, &[RECORD]);
    rig.expect(-libc::EINVAL, kind::SAMPLES, &[RECORD, 1]);
    rig.put_phase(b"other", 4);
    rig.expect(-libc::EINVAL, kind::PHASE_END, &[RECORD]);
    rig.put_phase(b"minor", 3);
    rig.expect(0, kind::PHASE_END, &[RECORD]);
    for (status, args) in [
        (-libc::EINVAL, [0x3000, 513]),
        (-libc::EINVAL, [0x3008, 512]),
        (-libc::EINVAL, [0x3001, 1]),
        (-libc::EINVAL, [0x3000, u64::MAX]),
        (-libc::EFAULT, [RAM_MIN_BYTES, 1]),
        (0, [0x3000, 512]),
    ] {
        rig.expect(status, kind::SAMPLES, &args);
    }
    assert!(rig.heard.phases.is_empty(), "more samples may follow");
    // The next beginning delivers the ended one; a phase that is never ended is dropped.
    rig.expect(0, kind::PHASE_BEGIN, &[RECORD]);
    rig.expect(0, kind::PHASE_BEGIN, &[RECORD]);
    assert!(rig.issue(kind::EXIT, &[0]).is_err());
    let [record] = &rig.heard.phases[..] else {
        panic!("{} phases", rig.heard.phases.len())
    };
    assert_eq!((record.args.count, record.samples.len()), (3, 512));
}

#[test]
fn samples_of_a_phase_are_bounded() {
    let mut rig = Rig::new();
    rig.put_phase(b"minor", 4);
    rig.expect(0, kind::PHASE_BEGIN, &[RECORD]);
    rig.expect(0, kind::PHASE_END, &[RECORD]);
    for _ in 0..128 {
        rig.expect(0, kind::SAMPLES, &[0x3000, 512]);
    }
    rig.expect(-libc::EINVAL, kind::SAMPLES, &[0x3000, 1]);
    rig.expect(0, kind::SAMPLES, &[0x3000, 0]);
}

#[test]
fn the_end_of_a_run() {
    let mut rig = Rig::new();
    rig.expect(-libc::EINVAL, kind::EXIT, &[u64::MAX]);
    assert!(matches!(rig.issue(kind::EXIT, &[0x0b]), Err(End::Exited(0x0b))));
    let mut words = [0; size_of::<Panic>() / 8];
    words[0] = 1;
    rig.put(RECORD, &words);
    assert!(matches!(rig.issue(kind::PANIC, &[RECORD]), Err(End::Panicked(report)) if report.record.is_some()));
    assert!(matches!(rig.issue(kind::PANIC, &[RECORD + 1]), Err(End::Panicked(report)) if report.record.is_none()));
}
