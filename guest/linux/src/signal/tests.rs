//! Signals over a fake machine: no registers, no stack, only what is decided.

use faultlab_mm::Memory;
use faultlab_mm::testing::{FakeMachine, machine};

use super::*;

const USR1: Signal = signal(10);
const USR2: Signal = signal(12);
const RT: Signal = signal(40);
const HANDLER: Handler = Handler::Function(0x40_1000);

const fn signal(number: u64) -> Signal {
    match Signal::new(number) {
        Some(signal) => signal,
        None => panic!("no signal"),
    }
}

fn handled(flags: u64) -> Action {
    Action {
        handler: HANDLER,
        flags,
        ..Action::DEFAULT
    }
}

fn sent(signal: Signal, pid: u32) -> Info {
    Info::sent(signal, code::USER, pid, 7)
}

/// Sends to the one thread of a process without signals to all of it.
fn send(linux: &Linux<'_, FakeMachine>, to: &Signals, info: &Info) -> Result<bool, Errno> {
    linux.send(To::Thread, to, &Shared::new(), [to], info)
}

fn next(linux: &Linux<'_, FakeMachine>, signals: &Signals) -> Option<Delivery> {
    linux.next_delivery(signals, &Shared::new())
}

fn set_action(linux: &Linux<'_, FakeMachine>, signals: &Signals, of: Signal, action: Action) -> Result<(), Errno> {
    linux.set_action(signals, &Shared::new(), [signals], of, action)
}

fn blocked(signals: &Signals) -> SigSet {
    signals.pending_blocked(&Shared::new())
}

fn is_pending(signals: &Signals) -> bool {
    signals.is_pending(&Shared::new())
}

/// Runs a case over an empty layer, and checks that it leaves nothing.
fn with_signals(case: impl FnOnce(&Linux<'_, FakeMachine>, &Signals)) {
    let memory: Memory<FakeMachine> = machine(256, 0);
    let linux = Linux::new(&memory);
    let signals = Signals::new();
    case(&linux, &signals);
    linux.exit_signals(&signals);
    for (name, objects) in linux.live_records() {
        assert_eq!(objects, 0, "{name} left");
    }
    memory.check_invariants();
}

/// signal(7), "Signal dispositions".
#[test]
fn what_is_ignored_is_gone_at_once_unless_it_is_blocked() {
    with_signals(|linux, signals| {
        assert_eq!(send(linux, signals, &sent(Signal::CHLD, 1)), Ok(false));
        assert!(!is_pending(signals));
        signals.set_blocked(SigSet::of(Signal::CHLD));
        assert_eq!(send(linux, signals, &sent(Signal::CHLD, 1)), Ok(true));
        assert_eq!(blocked(signals), SigSet::of(Signal::CHLD));
        signals.set_blocked(SigSet::EMPTY);
        assert_eq!(next(linux, signals), None, "taken, and nothing done");
        assert!(!is_pending(signals));
    });
}

/// signal(7): of a standard signal one is kept, of a real-time signal every one, in the order sent, with what was said.
#[test]
fn standard_signals_merge_and_real_time_signals_queue() {
    with_signals(|linux, signals| {
        for signal in [USR1, RT] {
            set_action(linux, signals, signal, handled(0)).expect("memory");
        }
        for pid in 1..=3 {
            assert_eq!(send(linux, signals, &sent(RT, pid)), Ok(true));
            assert_eq!(send(linux, signals, &sent(USR1, pid)), Ok(true));
        }
        let mut taken = Vec::new();
        while let Some(Delivery::Handler(info, _)) = next(linux, signals) {
            taken.push((info.signal.number(), info.rest[0] as u32));
        }
        assert_eq!(taken, [(10, 1), (40, 1), (40, 2), (40, 3)]);
    });
}

/// signal(7): those that an instruction caused come first, then the lowest number.
#[test]
fn the_order_of_several() {
    with_signals(|linux, signals| {
        for signal in [USR2, USR1, Signal::SEGV, RT] {
            set_action(linux, signals, signal, handled(0)).expect("memory");
            send(linux, signals, &sent(signal, 1)).expect("memory");
        }
        let order = std::iter::from_fn(|| next(linux, signals)).map(|delivery| match delivery {
            Delivery::Handler(info, _) => info.signal.number(),
            other => panic!("{other:?}"),
        });
        assert_eq!(order.collect::<Vec<_>>(), [11, 10, 12, 40]);
    });
}

/// sigaction(2): nothing blocks or handles SIGKILL and SIGSTOP.
#[test]
fn kill_and_stop_cannot_be_had() {
    with_signals(|linux, signals| {
        signals.set_blocked(SigSet::ALL);
        assert_eq!(signals.blocked().0, !(1 << 8 | 1 << 18));
        for unhandled in [Signal::KILL, Signal::STOP] {
            assert_eq!(set_action(linux, signals, unhandled, handled(0)), Err(Errno::EINVAL));
        }
        assert_eq!(send(linux, signals, &sent(Signal::KILL, 1)), Ok(true));
        assert_eq!(next(linux, signals), Some(Delivery::End(Signal::KILL)));
    });
}

/// signal(7): one that stops and one that continues undo each other.
#[test]
fn stopping_and_continuing_exclude_each_other() {
    with_signals(|linux, signals| {
        signals.set_blocked(SigSet::ALL);
        send(linux, signals, &sent(Signal::TSTP, 1)).expect("memory");
        send(linux, signals, &sent(Signal::CONT, 1)).expect("memory");
        assert_eq!(blocked(signals), SigSet::of(Signal::CONT));
        send(linux, signals, &sent(Signal::TTIN, 1)).expect("memory");
        assert_eq!(blocked(signals), SigSet::of(Signal::TTIN));
    });
}

/// sigaction(2): the mask of a handler, `SA_NODEFER`, `SA_RESETHAND`.
#[test]
fn what_a_handler_blocks() {
    with_signals(|linux, signals| {
        let action = Action {
            mask: SigSet::of(USR2),
            ..handled(0)
        };
        linux.handler_begins(signals, USR1, action);
        assert_eq!(signals.blocked(), SigSet::of(USR1).union(SigSet::of(USR2)));
        signals.set_blocked(SigSet::EMPTY);
        linux.handler_begins(signals, USR1, handled(sa::NODEFER));
        assert!(signals.blocked().is_empty());
        set_action(linux, signals, USR1, handled(sa::RESETHAND)).expect("memory");
        linux.handler_begins(signals, USR1, handled(sa::RESETHAND));
        assert_eq!(linux.action(signals, USR1).handler, Handler::Default);
        assert_eq!(linux.action(signals, USR1).flags, sa::RESETHAND);
    });
}

/// sigaction(2): a fault whose signal is blocked or ignored ends the process.
#[test]
fn a_fault_cannot_be_put_off() {
    with_signals(|linux, signals| {
        let fault = Info::fault(Signal::SEGV, code::SEGV_MAPERR, 8);
        assert_eq!(linux.force(signals, fault), Delivery::End(Signal::SEGV));
        set_action(linux, signals, Signal::SEGV, handled(0)).expect("memory");
        assert_eq!(linux.force(signals, fault), Delivery::Handler(fault, handled(0)));
        signals.set_blocked(SigSet::of(Signal::SEGV));
        assert_eq!(linux.force(signals, fault), Delivery::End(Signal::SEGV));
    });
}

/// sigsuspend(2): the frame keeps the mask from before the call, also if the call was made again meanwhile.
#[test]
fn suspending_brings_the_mask_back() {
    with_signals(|_, signals| {
        signals.set_blocked(SigSet::of(USR1));
        signals.suspend(SigSet::of(USR2));
        signals.suspend(SigSet::of(USR2));
        assert_eq!(signals.blocked(), SigSet::of(USR2));
        assert_eq!(signals.take_saved_mask(), SigSet::of(USR1));
        assert_eq!(signals.take_saved_mask(), SigSet::of(USR2), "only once");
    });
}

/// fork(2), execve(2).
#[test]
fn what_children_and_programs_inherit() {
    with_signals(|linux, parent| {
        let ignored = Action {
            handler: Handler::Ignore,
            ..Action::DEFAULT
        };
        set_action(linux, parent, USR1, handled(sa::SIGINFO)).expect("memory");
        set_action(linux, parent, USR2, ignored).expect("memory");
        parent.set_blocked(SigSet::of(RT));
        send(linux, parent, &sent(RT, 1)).expect("memory");
        let child = Signals::new();
        linux.fork_signals(parent, &child).expect("memory");
        assert_eq!(linux.action(&child, USR1), handled(sa::SIGINFO));
        assert_eq!((child.blocked(), blocked(&child)), (SigSet::of(RT), SigSet::EMPTY));
        set_action(linux, &child, USR1, Action::DEFAULT).expect("memory");
        assert_eq!(linux.action(parent, USR1), handled(sa::SIGINFO), "actions are copied");
        linux.exit_signals(&child);
        linux.exec_signals(parent);
        assert_eq!(linux.action(parent, USR1), Action::DEFAULT);
        assert_eq!(linux.action(parent, USR2), ignored);
        assert_eq!((parent.blocked(), blocked(parent)), (SigSet::of(RT), SigSet::of(RT)));
    });
}

/// Without memory a real-time signal is refused; of others only what they are about is lost.
#[test]
fn without_memory() {
    let memory: Memory<FakeMachine> = machine(64, 0);
    let linux = Linux::new(&memory);
    let hog = Signals::new();
    hog.set_blocked(SigSet::ALL);
    let refused = (0..100_000).find_map(|pid| send(&linux, &hog, &sent(RT, pid)).err());
    assert_eq!(refused, Some(Errno::EAGAIN));
    let signals = Signals::new();
    assert_eq!(send(&linux, &signals, &sent(USR1, 3)), Ok(true));
    assert_eq!(set_action(&linux, &signals, USR1, handled(0)), Err(Errno::ENOMEM));
    assert_eq!(next(&linux, &signals), Some(Delivery::End(USR1)));
    assert_eq!(next(&linux, &signals), None);
    linux.exit_signals(&hog);
    memory.check_invariants();
}

/// System V ABI, 3.2.2, 3.2.3: the red zone is kept, vectors are aligned, and a handler begins as any function.
#[test]
fn places_of_frames() {
    for sp in 0x7fff_0000u64..0x7fff_0040 {
        for bytes in [512, 2436] {
            let place = Place::below(sp, AltStack::NONE, true, bytes).expect("no stack to overflow");
            assert!(place.fpstate + bytes <= sp - 128 && place.fpstate.is_multiple_of(64));
            assert!(place.frame + FRAME_BYTES as u64 <= place.fpstate && place.frame % 16 == 8);
            assert!(sp - place.frame <= Place::most_bytes(bytes));
        }
    }
}

/// sigaltstack(2).
#[test]
fn alternate_stacks() {
    let bytes = |sp: u64, flags: u32, size: u64| {
        let mut bytes = [0; ALTSTACK_BYTES];
        bytes[..8].copy_from_slice(&sp.to_le_bytes());
        bytes[8..12].copy_from_slice(&flags.to_le_bytes());
        bytes[16..].copy_from_slice(&size.to_le_bytes());
        bytes
    };
    let none = AltStack::NONE;
    assert_eq!(none.encode(0x5000), bytes(0, 2, 0));
    assert_eq!(none.replaced(&bytes(0x1000, 0, 2047), 0), Err(Errno::ENOMEM));
    assert_eq!(none.replaced(&bytes(0x1000, 4, 4096), 0), Err(Errno::EINVAL));
    let stack = none.replaced(&bytes(0x1000, 0, 4096), 0).expect("valid");
    assert_eq!(stack.encode(0x2000), bytes(0x1000, 1, 4096));
    assert_eq!(stack.encode(0x1000), bytes(0x1000, 0, 4096));
    assert_eq!(stack.replaced(&bytes(0x9000, 0, 4096), 0x1800), Err(Errno::EPERM));
    let on_it = Place::below(0x7000, stack, true, 512).expect("room");
    assert_eq!(on_it.fpstate, 0x2000 - 512);
    let beside = Place::below(0x7000, stack, false, 512).expect("room");
    assert!(beside.frame > 0x2000);
    let nested = Place::below(on_it.frame, stack, true, 512).expect("room");
    assert!(nested.fpstate < on_it.frame - 128);
    assert_eq!(Place::below(0x1400, stack, true, 512), Err(NoRoom));
    assert_eq!(Place::below(0x7000, stack, true, 4000), Err(NoRoom));
    let disarmed = none.replaced(&bytes(0x1000, 1 << 31, 4096), 0).expect("valid");
    assert!(!disarmed.is_used_by(0x1800) && disarmed.disarms());
}

/// Linux, arch/x86/include/uapi/asm/sigcontext.h: a frame comes back as it went, apart from what is not a program's to choose.
#[test]
fn frames_come_back() {
    let mut general = core::array::from_fn(|index| 0x1111 * (index as u64 + 1));
    general[Registers::RFLAGS] = !0;
    let registers = Registers {
        general,
        segments: [0x10, 0x18],
        fault: [6, 14, 0x1234],
    };
    let frame = Frame {
        restorer: 0x40_2000,
        registers: &registers,
        mask: SigSet::ALL,
        altstack: AltStack::NONE,
        fpstate: 0x7000,
        extended: true,
        info: &Info::fault(Signal::SEGV, code::SEGV_ACCERR, 0x1234),
    };
    let bytes = frame.encode();
    assert_eq!(bytes[8], 7, "uc_flags");
    assert_eq!(bytes[48 + 19 * 8..][..8], 6u64.to_le_bytes(), "err");
    assert_eq!(bytes[48 + 22 * 8..][..8], 0x1234u64.to_le_bytes(), "cr2");
    assert_eq!(bytes[312..][..4], 11u32.to_le_bytes(), "si_signo");
    assert_eq!(bytes[328..][..8], 0x1234u64.to_le_bytes(), "si_addr");
    let context = bytes.first_chunk().expect("the context comes first");
    let back = Restored::decode(context, 0x202);
    assert_eq!(back.registers.general[..17], general[..17]);
    assert_eq!(
        back.registers.general[17],
        0x202 | USER_FLAGS,
        "no IOPL, NT, VM, VIF; IF stays"
    );
    assert_eq!(back.registers.segments, [0x13, 0x1b], "ring 3");
    assert_eq!((back.mask, back.fpstate), (SigSet::ALL.blockable(), 0x7000));
    assert_eq!(none_of(&back.altstack), AltStack::NONE);
}

fn none_of(bytes: &[u8; ALTSTACK_BYTES]) -> AltStack {
    AltStack::NONE.replaced(bytes, 0).expect("disabled")
}

/// Intel SDM vol. 1, 10.5.1.2, 13.8: what `fxrstor` and `xrstor` refuse with #GP is not in what is loaded.
#[test]
fn whatever_comes_back_can_be_loaded() {
    const OWN_MASK: u32 = 0xffff;
    let format = FpFormat {
        features: 0xe7,
        bytes: 2432,
    };
    let mut image = vec![0xff; format.frame_bytes()];
    sanitize(FpFormat::FXSAVE, &mut image, OWN_MASK);
    assert_eq!(image[24..28], [0xff, 0xff, 0, 0]);
    // Marked by somebody who is not the kernel: the rest is not looked at.
    sanitize(format, &mut image, OWN_MASK);
    assert_eq!(image[512..520], 3u64.to_le_bytes());
    assert!(image[520..576].iter().all(|byte| *byte == 0));
    // Marked as the kernel marks it, with parts that the processor does not have.
    image[512..].fill(0xff);
    format.mark(&mut image);
    sanitize(format, &mut image, OWN_MASK);
    assert_eq!(image[512..520], 0xe7u64.to_le_bytes());
    assert!(
        image[520..576].iter().all(|byte| *byte == 0),
        "no compaction, no reserved bits"
    );
    reset_image(&mut image);
    assert_eq!((image[0], image[1], image[24], image[25]), (0x7f, 3, 0x80, 0x1f));
    assert_eq!(own_mxcsr_mask(&image), 0xffbf);
}

/// sigaction(2), "The si_code field": SIGFPE.
#[test]
fn floating_point_exceptions() {
    let mut image = [0; FXSAVE_BYTES];
    let codes = [
        (0x01, 7),
        (0x02, 5),
        (0x04, 3),
        (0x08, 4),
        (0x10, 5),
        (0x20, 6),
        (0x21, 7),
    ];
    for (raised, code) in codes {
        reset_image(&mut image);
        image[2] = raised;
        image[24] |= raised;
        assert_eq!(
            [exception_code(&image, false), exception_code(&image, true)],
            [0, 0],
            "masked"
        );
        image[0] = 0;
        image[24..26].copy_from_slice(&[raised, 0]);
        assert_eq!(
            [exception_code(&image, false), exception_code(&image, true)],
            [code, code]
        );
    }
}

/// signal(7): a signal to a process is taken by any thread that does not block it, one to a thread by that thread only.
#[test]
fn who_takes_a_signal() {
    with_signals(|linux, first| {
        let (second, shared) = (Signals::new(), Shared::new());
        linux.share_signals(first, &second).expect("memory");
        let threads = [first, &second];
        linux
            .set_action(first, &shared, threads, USR1, handled(0))
            .expect("memory");
        assert_eq!(linux.action(&second, USR1), handled(0), "actions are shared");
        first.set_blocked(SigSet::of(USR1));
        assert_eq!(
            linux.send(To::Process, first, &shared, threads, &sent(USR1, 1)),
            Ok(true)
        );
        assert_eq!(linux.next_delivery(first, &shared), None);
        assert_eq!(first.pending_blocked(&shared), SigSet::of(USR1));
        assert!(second.is_pending(&shared) && second.wants(USR1) && !first.wants(USR1));
        let taken = linux.next_delivery(&second, &shared);
        assert_eq!(taken, Some(Delivery::Handler(sent(USR1, 1), handled(0))));
        assert!(shared.is_empty());

        assert_eq!(
            linux.send(To::Thread, first, &shared, threads, &sent(USR1, 2)),
            Ok(true)
        );
        assert_eq!(linux.next_delivery(&second, &shared), None);
        first.set_blocked(SigSet::EMPTY);
        let taken = linux.next_delivery(first, &shared);
        assert_eq!(taken, Some(Delivery::Handler(sent(USR1, 2), handled(0))));
        linux.exit_signals(&second);
        assert_eq!(linux.action(first, USR1), handled(0), "one of them is left");
    });
}

/// Linux, `prepare_signal`, `do_sigaction`: what undoes a signal undoes it for all threads.
#[test]
fn what_is_undone_is_undone_for_all_threads() {
    with_signals(|linux, first| {
        let (second, shared) = (Signals::new(), Shared::new());
        linux.share_signals(first, &second).expect("memory");
        let threads = [first, &second];
        let all = SigSet::of(Signal::TSTP).union(SigSet::of(USR1)).union(SigSet::of(USR2));
        for thread in threads {
            thread.set_blocked(all);
        }
        for to in [To::Thread, To::Process] {
            for signal in [Signal::TSTP, USR1, USR2] {
                linux
                    .send(to, &second, &shared, threads, &sent(signal, 1))
                    .expect("memory");
            }
        }
        let ignored = Action {
            handler: Handler::Ignore,
            ..Action::DEFAULT
        };
        linux
            .set_action(first, &shared, threads, USR1, ignored)
            .expect("memory");
        linux
            .send(To::Process, first, &shared, threads, &sent(Signal::CONT, 1))
            .expect("memory");
        assert_eq!(second.pending_blocked(&shared), SigSet::of(USR2));
        linux.exit_signals(&second);
        assert_eq!(first.pending_blocked(&shared), SigSet::of(USR2));
        linux.exit_shared(&shared);
        assert!(shared.is_empty());
    });
}

/// execve(2): the thread that calls it goes on as the first, with its own mask and what was sent to it, and actions that nobody else has.
#[test]
fn a_thread_takes_the_place_of_the_first() {
    with_signals(|linux, first| {
        let (second, shared) = (Signals::new(), Shared::new());
        linux.share_signals(first, &second).expect("memory");
        let threads = [first, &second];
        linux
            .set_action(first, &shared, threads, USR2, handled(0))
            .expect("memory");
        first.set_blocked(SigSet::of(USR1));
        linux
            .send(To::Thread, first, &shared, threads, &sent(USR1, 1))
            .expect("memory");
        second.set_blocked(SigSet::of(RT));
        linux
            .send(To::Thread, &second, &shared, threads, &sent(RT, 1))
            .expect("memory");
        linux.unshare_actions(&second).expect("memory");
        linux.move_signals(&second, first);
        linux.exec_signals(first);
        assert_eq!((first.blocked(), blocked(first)), (SigSet::of(RT), SigSet::of(RT)));
        assert_eq!(linux.action(first, USR2), Action::DEFAULT);
        linux.exit_signals(&second);
        linux.unshare_actions(first).expect("nothing to copy");
    });
}
