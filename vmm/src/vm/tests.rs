use std::thread;

use faultlab_abi::dev::PhaseArgs;
use faultlab_abi::lab::{Panic, kind, panic_reason};
use faultlab_abi::layout::{KERNEL_LOAD, LAB_PIO_PORT, LAB_SCRATCH, WINDOW};

use super::*;
use crate::error::exit;
use crate::host::KvmKind;
use crate::memory::DirtyMode;
use crate::observer::{PhaseRecord, Stream};
use crate::outcome::{CrashCause, WatchdogCause};
use crate::testing::{TinyGuest, config, require_kvm};

/// Keeps everything that it is told.
#[derive(Default)]
struct Recorder {
    output: Vec<(Stream, Vec<u8>)>,
    log: Vec<(log::Level, String)>,
    phases: Vec<PhaseRecord>,
    planned: u64,
}

impl Observer for Recorder {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.output.push((stream, bytes.to_vec()));
    }

    fn log(&mut self, level: log::Level, line: &str) {
        self.log.push((level, line.to_owned()));
    }

    fn plan(&mut self, scenarios: u64) {
        self.planned = scenarios;
    }

    fn phase(&mut self, record: PhaseRecord) {
        self.phases.push(record);
    }
}

fn run(host: &Host, guest: TinyGuest) -> (Outcome, Recorder) {
    let mut recorder = Recorder::default();
    let vm = Vm::new(config(&guest.image()), host).unwrap();
    let outcome = vm.run(&mut recorder).unwrap();
    (outcome, recorder)
}

/// A little-endian word of ASCII.
fn ascii(text: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*text)
}

/// The words of a record.
fn words<T: Copy>(record: &T) -> Vec<u64> {
    // SAFETY: the records of the interface are integers without padding, a multiple of 8 bytes long.
    let words = unsafe { std::slice::from_raw_parts((&raw const *record).cast::<u64>(), size_of::<T>() / 8) };
    words.to_vec()
}

#[test]
fn a_program_writes_and_exits() {
    let Some(host) = require_kvm() else { return };
    let mut guest = TinyGuest::default();
    let text = guest.page_of(&[ascii(b"hello, w"), ascii(b"orld\n...")]);
    let guest = guest
        .command(kind::WRITE, &[1, text, 13])
        .command(kind::LOG, &[3, text, 5])
        .command(kind::PLAN, &[9])
        .command(kind::EXIT, &[42 << 8])
        .spin();
    let (outcome, recorder) = run(&host, guest);
    assert!(
        matches!(outcome.end, End::Exited(status) if status == 42 << 8),
        "{:?}",
        outcome.end
    );
    assert_eq!(outcome.end.exit_status(), 42);
    assert_eq!(recorder.output, [(Stream::Stdout, b"hello, world\n".to_vec())]);
    assert_eq!(recorder.log, [(log::Level::Info, "hello".to_owned())]);
    assert_eq!((recorder.planned, outcome.lab_refused), (9, 0));
    assert!(outcome.vmm_resident_kib > 0 && outcome.build > Duration::ZERO);
}

/// The words of a phase named "touch".
fn phase(vmstat: u64, count: u64) -> Vec<u64> {
    let mut args = PhaseArgs {
        count,
        ..PhaseArgs::default()
    };
    args.scenario[..5].copy_from_slice(b"touch");
    let mut record = words(&args);
    record.extend((0..vmstat::COUNT as u64).map(|index| vmstat + index));
    record
}

#[test]
fn a_phase_is_measured() {
    let Some(host) = require_kvm() else { return };
    let mut guest = TinyGuest::default();
    let counters = guest.page_of(&[7; vmstat::COUNT]);
    let hello = guest.page_of(&[
        u64::from(faultlab_abi::VERSION),
        counters,
        vmstat::COUNT as u64,
        0,
        0,
        1000,
        0,
    ]);
    let (begin, end) = (guest.page_of(&phase(100, 3)), guest.page_of(&phase(200, 2)));
    let samples = guest.page_of(&[11, 22, 33]);
    // Present in no page table of the host yet.
    let fresh = KERNEL_LOAD + (4 << 20);
    let guest = guest
        .command(kind::HELLO, &[hello])
        .command(kind::PHASE_BEGIN, &[begin])
        .touch(fresh)
        .touch(fresh + 4096)
        .command(kind::PHASE_END, &[end])
        .command(kind::SAMPLES, &[samples, 2])
        .command(kind::SAMPLES, &[samples + 16, 1])
        .command(kind::EXIT, &[9])
        .spin();
    let (outcome, recorder) = run(&host, guest);
    assert_eq!((outcome.end.exit_status(), outcome.lab_refused), (128 + 9, 0));
    assert_eq!(outcome.guest_vmstat, [7; vmstat::COUNT]);
    assert_eq!(outcome.hello.map(|hello| hello.managed_pages), Some(1000));
    let [record] = &recorder.phases[..] else {
        panic!("{} phases", recorder.phases.len())
    };
    assert_eq!(
        (record.args.count, record.vmstat_before[1], record.vmstat_after[1]),
        (2, 101, 201)
    );
    assert_eq!(record.samples, [11, 22, 33]);
    let moved = record.kvm_after.since(&record.kvm_before);
    assert!(
        moved.get("exits").unwrap() >= 1 && moved.get("mmio_exits").unwrap() >= 1,
        "{moved:?}"
    );
    // The command that ended the phase, and nothing else.
    assert_eq!(
        (record.bus_after.mmio - record.bus_before.mmio, record.bus_after.pio),
        (1, 0)
    );
    assert!(
        record.host_after.minor >= record.host_before.minor + 2,
        "two fresh pages were touched"
    );
}

#[test]
fn cold_pages_are_faulted_in_again() {
    let Some(host) = require_kvm() else { return };
    let mut guest = TinyGuest::default();
    let fresh = KERNEL_LOAD + (4 << 20);
    let range = guest.page_of(&[fresh, 1]);
    // After the drop the first byte of the page is zero: `mov rax, fresh; cmp qword [rax], 0; jne`, then exit 1 or 2.
    let guest = guest
        .touch(fresh)
        .command(kind::COLD, &[range, 1])
        .code(&[0x48, 0xb8])
        .code(&fresh.to_le_bytes())
        .code(&[0x48, 0x83, 0x38, 0x00, 0x75, 23])
        .command(kind::EXIT, &[1 << 8])
        .command(kind::EXIT, &[2 << 8])
        .spin();
    let (outcome, _) = run(&host, guest);
    assert_eq!(outcome.end.exit_status(), 1, "2: the page kept its contents");
}

/// A guest stores to 300 of 1,000 pages while they are logged. Returns how many pages the log then shows.
fn count_dirty(host: &Host, dirty: DirtyMode) -> u64 {
    const PAGES: u64 = 300;
    let mut guest = TinyGuest::default();
    let range = guest.page_of(&[WINDOW, 1000]);
    let answer = guest.page_of(&[0]);
    // `mov rax, WINDOW; mov rcx, PAGES; again: mov [rax], rax; add rax, 4096; dec rcx; jnz again`.
    let guest = guest
        .command(kind::WRITE_PROTECT, &[range, 1])
        .code(&[0x48, 0xb8])
        .code(&WINDOW.to_le_bytes())
        .code(&[0x48, 0xb9])
        .code(&PAGES.to_le_bytes())
        .code(&[
            0x48, 0x89, 0x00, 0x48, 0x05, 0x00, 0x10, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf2,
        ])
        .command(kind::DIRTY_PAGES, &[range, 1, answer])
        .command(kind::WRITE, &[1, answer, 8])
        .command(kind::EXIT, &[0])
        .spin();
    let mut recorder = Recorder::default();
    let config = VmConfig {
        window_bytes: 1000 * 4096,
        dirty,
        ..config(&guest.image())
    };
    let outcome = Vm::new(config, host).unwrap().run(&mut recorder).unwrap();
    assert_eq!(
        (outcome.end.exit_status(), outcome.lab_refused),
        (0, 0),
        "{:?}",
        outcome.end
    );
    let word = <[u8; 8]>::try_from(&recorder.output[0].1[..]).unwrap();
    u64::from_le_bytes(word)
}

#[test]
fn the_dirty_log_shows_what_was_stored_to() {
    let Some(host) = require_kvm() else { return };
    assert_eq!(count_dirty(&host, DirtyMode::Log), 300);
    if DirtyMode::Ring.check(&host).is_ok() {
        assert_eq!(count_dirty(&host, DirtyMode::Ring), 300);
    }
}

#[test]
fn wild_accesses_are_answered_and_counted() {
    let Some(host) = require_kvm() else { return };
    let [low, high] = LAB_PIO_PORT.to_le_bytes();
    let mut guest = TinyGuest::default().map_devices();
    // A hole, devices that are not there, two ends of RAM-less pages, and a store across the scratch page's end.
    for address in [
        0xc000_0000,
        0xd000_0000,
        0xd001_2000,
        0xffff_f000,
        0x1_0000_0000,
        LAB_SCRATCH + 4092,
    ] {
        guest = guest.store(address, u64::MAX);
    }
    let guest = guest
        .store(LAB_SCRATCH, 1)
        // `mov dx, port; out dx, al`, then an unknown port: out, in of 4 bytes, in of 1 byte.
        .code(&[0x66, 0xba, low, high, 0xee])
        .code(&[0x66, 0xba, 0x34, 0x12, 0xee, 0xed, 0xec])
        // `cmp al, 0xff; jne` past the first command.
        .code(&[0x3c, 0xff, 0x75, 23])
        .command(kind::EXIT, &[0])
        .command(kind::EXIT, &[1 << 8])
        .spin();
    let (outcome, _) = run(&host, guest);
    assert_eq!(
        outcome.end.exit_status(),
        0,
        "an unknown port reads as all ones: {:?}",
        outcome.end
    );
    assert_eq!((outcome.bus.unknown_pio, outcome.bus.pio), (3, 4));
    // A store that crosses a page reaches the bus in two parts, each in a page of its own.
    assert_eq!(
        (outcome.bus.unknown_mmio, outcome.bus.mmio),
        (6, 9),
        "{:?}",
        outcome.bus
    );
}

#[test]
fn a_triple_fault_is_a_crash_with_its_symbol() {
    let Some(host) = require_kvm() else { return };
    let (outcome, _) = run(&host, TinyGuest::default().code(&[0x90, 0x0f, 0x0b]));
    let End::Crashed(report) = &outcome.end else {
        panic!("{:?}", outcome.end)
    };
    assert_eq!(report.cause, CrashCause::TripleFault);
    // On SVM the state is undefined after a shutdown, and KVM resets it.
    if host.identity().kvm_kind != KvmKind::KvmAmd {
        assert_eq!(report.state.symbol.as_deref(), Some("entry+0x1"), "{report}");
        assert_eq!(&report.state.code[..2], [0x0f, 0x0b]);
    }
    assert_eq!(outcome.end.exit_status(), exit::GUEST_PANIC);
}

#[test]
fn a_panic_is_reported_with_registers_and_symbol() {
    let Some(host) = require_kvm() else { return };
    let mut panic = Panic {
        reason: panic_reason::EXCEPTION,
        vector: 14,
        error_code: 2,
        cr2: 0xdead_0000,
        cr3: 0x9000,
        rip: KERNEL_LOAD + 3,
        rsp: 0,
        rflags: 2,
        cs: 0x10,
        gpr: std::array::from_fn(|index| index as u64),
        text_bytes: u64::MAX,
        text: [b'x'; 256],
    };
    panic.text[..4].copy_from_slice(b"oops");
    let mut guest = TinyGuest::default();
    let record = guest.page_of(&words(&panic));
    let (outcome, _) = run(&host, guest.command(kind::PANIC, &[record]).spin());
    let End::Panicked(report) = &outcome.end else {
        panic!("{:?}", outcome.end)
    };
    assert_eq!(report.symbol.as_deref(), Some("entry+0x3"));
    assert_eq!(report.text().len(), 256, "a length past the end is cut");
    let shown = report.to_string();
    assert!(
        shown.contains("oops") && shown.contains("cr2 0xdead0000") && shown.contains("entry+0x3"),
        "{shown}"
    );
    assert_eq!(outcome.end.exit_status(), exit::GUEST_PANIC);
}

#[test]
fn a_panic_record_outside_ram_still_ends_the_run() {
    let Some(host) = require_kvm() else { return };
    let (outcome, _) = run(&host, TinyGuest::default().command(kind::PANIC, &[!7]).spin());
    assert!(
        matches!(&outcome.end, End::Panicked(report) if report.record.is_none()),
        "{:?}",
        outcome.end
    );
}

#[test]
fn halting_is_a_deadlock() {
    let Some(host) = require_kvm() else { return };
    let (outcome, _) = run(&host, TinyGuest::default().code(&[0xfa, 0xf4]).spin());
    let End::Watchdog(report) = &outcome.end else {
        panic!("{:?}", outcome.end)
    };
    assert_eq!(
        (report.cause, outcome.end.exit_status()),
        (WatchdogCause::Halted, exit::TIMEOUT)
    );
}

#[test]
fn a_guest_stuck_in_ring_0_is_ended() {
    let Some(host) = require_kvm() else { return };
    let mut guest = TinyGuest::default();
    let counters = guest.page_of(&[0; vmstat::COUNT]);
    let hello = guest.page_of(&[
        u64::from(faultlab_abi::VERSION),
        counters,
        vmstat::COUNT as u64,
        0,
        0,
        0,
        0,
    ]);
    // `cli`, then a jump to itself.
    let (outcome, _) = run(&host, guest.command(kind::HELLO, &[hello]).code(&[0xfa]).spin());
    let End::Watchdog(report) = &outcome.end else {
        panic!("{:?}", outcome.end)
    };
    assert!(
        matches!(report.cause, WatchdogCause::NoProgress { seconds: 10 }),
        "{report}"
    );
    assert!(
        report
            .state
            .symbol
            .as_deref()
            .is_some_and(|symbol| symbol.starts_with("entry+")),
        "{report}"
    );
    assert_eq!(report.state.cpl(), 0);
}

#[test]
fn a_timeout_ends_the_run() {
    let Some(host) = require_kvm() else { return };
    let limit = Duration::from_millis(50);
    let config = VmConfig {
        timeout: Some(limit),
        ..config(&TinyGuest::default().spin().image())
    };
    let outcome = Vm::new(config, &host).unwrap().run(&mut ()).unwrap();
    let End::Watchdog(report) = &outcome.end else {
        panic!("{:?}", outcome.end)
    };
    assert_eq!(report.cause, WatchdogCause::TimedOut { limit });
    assert_eq!(outcome.end.exit_status(), exit::TIMEOUT);
}

#[test]
fn a_stop_before_the_run_keeps_the_guest_from_starting() {
    let Some(host) = require_kvm() else { return };
    let guest = TinyGuest::default().command(kind::EXIT, &[0]).spin();
    let vm = Vm::new(config(&guest.image()), &host).unwrap();
    vm.stop_handle().stop(15);
    vm.stop_handle().stop(2);
    let outcome = vm.run(&mut ()).unwrap();
    assert!(
        matches!(outcome.end, End::Stopped(15)),
        "the first call counts: {:?}",
        outcome.end
    );
    assert_eq!((outcome.end.exit_status(), outcome.bus.mmio), (143, 0));
}

#[test]
fn a_stop_during_the_run_ends_it() {
    let Some(host) = require_kvm() else { return };
    /// Stops the run from another thread once the guest was heard.
    struct Stopper(StopHandle);
    impl Observer for Stopper {
        fn plan(&mut self, _scenarios: u64) {
            let handle = self.0.clone();
            thread::spawn(move || handle.stop(2));
        }
    }
    let guest = TinyGuest::default().command(kind::PLAN, &[1]).spin();
    let vm = Vm::new(config(&guest.image()), &host).unwrap();
    let mut stopper = Stopper(vm.stop_handle());
    let outcome = vm.run(&mut stopper).unwrap();
    assert_eq!(outcome.end.exit_status(), 130, "{:?}", outcome.end);
}

#[test]
fn a_kick_without_a_reason_lets_the_guest_go_on() {
    let Some(host) = require_kvm() else { return };
    struct Kicker(StopHandle);
    impl Observer for Kicker {
        fn plan(&mut self, _scenarios: u64) {
            self.0.kick();
        }
    }
    let guest = TinyGuest::default()
        .command(kind::PLAN, &[1])
        .command(kind::EXIT, &[7 << 8])
        .spin();
    let config = VmConfig {
        // Only so that a failure ends.
        timeout: Some(Duration::from_secs(120)),
        ..config(&guest.image())
    };
    let vm = Vm::new(config, &host).unwrap();
    let mut kicker = Kicker(vm.stop_handle());
    assert_eq!(vm.run(&mut kicker).unwrap().end.exit_status(), 7);
}

#[test]
fn what_cannot_run_is_refused_before_a_vm_exists() {
    let Some(host) = require_kvm() else { return };
    let good = || config(&TinyGuest::default().spin().image());
    let refuse = |config| Vm::new(config, &host).err().expect("it must be refused");
    let error = refuse(VmConfig {
        memory_bytes: 4096,
        ..good()
    });
    assert_eq!(
        (error.exit_status(), error.to_string().contains("4096")),
        (exit::USAGE, true),
        "{error}"
    );
    let error = refuse(VmConfig {
        program: b"#!/bin/sh\n".into(),
        ..good()
    });
    assert_eq!(error.exit_status(), exit::NOT_A_PROGRAM, "{error}");
    let error = refuse(VmConfig {
        kernel: b"\x7fELF".into(),
        ..good()
    });
    assert_eq!(error.exit_status(), exit::FAILURE, "{error}");
    let mut large = good().program.into_owned();
    large.resize(8 << 20, 0);
    let error = refuse(VmConfig {
        program: large.into(),
        ..good()
    });
    assert!(error.to_string().contains("give --memory 12M"), "{error}");
}
