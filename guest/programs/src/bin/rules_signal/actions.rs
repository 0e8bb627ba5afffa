//! Actions, masks, senders, and what a child has of them.

use core::fmt::{self, Display};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

use faultlab_programs::arena::{Answer, Plain, line, must};
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::sys::signals::{self, Action, Context, Info, SET_BYTES, set};
use faultlab_programs::sys::{self, Errno};
use linux_raw_sys::general::{
    SA_NOCLDWAIT, SA_NODEFER, SA_RESETHAND, SA_RESTART, SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SIGCHLD, SIGKILL, SIGSEGV,
    SIGSTOP, SIGUSR1, SIGUSR2, SIGWINCH,
};

use crate::attempt::name;

/// How often the handler ran, how deep it is, and what it saw last.
static RUNS: AtomicU32 = AtomicU32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static PID: AtomicI32 = AtomicI32::new(0);
static STATUS: AtomicI32 = AtomicI32::new(0);
/// The mask while it ran, and the one that came back.
static INSIDE: AtomicU64 = AtomicU64::new(0);
static BACK: AtomicU64 = AtomicU64::new(0);
/// The handlers that ran, a decimal digit pair each, the latest last.
static ORDER: AtomicU64 = AtomicU64::new(0);
/// Sent by the handler while it runs, once.
static NESTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(signal: i32, info: &Info, context: &mut Context) {
    RUNS.store(RUNS.load(Relaxed) + 1, Relaxed);
    ORDER.store(ORDER.load(Relaxed) * 100 + signal as u64, Relaxed);
    CODE.store(info.code, Relaxed);
    PID.store(info.pid(), Relaxed);
    STATUS.store(info.status, Relaxed);
    BACK.store(context.mask, Relaxed);
    INSIDE.store(signals::mask(SIG_BLOCK, 0).unwrap_or(!0), Relaxed);
    let nested = NESTED.swap(0, Relaxed);
    if nested != 0 {
        _ = signals::raise(nested);
        // Seen only if it was not put off.
        ORDER.store(ORDER.load(Relaxed) * 100 + 99, Relaxed);
    }
}

fn handle(signal: u32, flags: u32) {
    handle_with(signal, flags, 0);
}

fn handle_with(signal: u32, flags: u32, mask: u64) {
    let action = Action {
        mask,
        ..Action::handler(note, flags)
    };
    // SAFETY: `note` touches statics only.
    must(unsafe { signals::action(signal, &action) }.map(|_| 0));
}

fn reset(signal: u32, action: Action) {
    // SAFETY: no handler.
    must(unsafe { signals::action(signal, &action) }.map(|_| 0));
}

/// What ran since the last time that this was asked.
struct Ran;

impl Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} runs, code {}", RUNS.swap(0, Relaxed), CODE.load(Relaxed))?;
        let pid = if PID.load(Relaxed) == process::id() {
            "own"
        } else {
            "other"
        };
        write!(f, ", {pid} process, order {}", ORDER.swap(0, Relaxed))
    }
}

/// How a child ended.
pub(crate) struct Ended(pub(crate) i32);

impl Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 & 0x7f {
            0 => write!(f, "exit status {}", self.0 >> 8),
            signal => f.write_str(name(signal)),
        }
    }
}

/// Runs `work` in a child; its wait status.
pub(crate) fn child(work: impl FnOnce() -> i32) -> Ended {
    match process::fork() {
        Ok(Fork::Child) => sys::exit(work()),
        Ok(Fork::Parent(child)) => Ended(process::wait(child).unwrap_or(-1)),
        Err(_) => Ended(-1),
    }
}

pub(crate) fn show() {
    arguments();
    one_handler();
    blocked();
    several();
    suspended();
    children();
    inherited();
    default_actions();
    senders();
    real_time();
}

fn arguments() {
    let action = |signal: usize, bytes: usize| {
        let action = Action::DEFAULT;
        // SAFETY: no handler.
        Plain(unsafe { signals::rt_sigaction([signal, &raw const action as usize, 0, bytes]) })
    };
    for signal in [0, 1, 9, 19, 32, 64, 65] {
        line("sigaction", format_args!("signal {signal}"), action(signal, SET_BYTES));
    }
    line("sigaction", "another size", action(1, 4));
    // SAFETY: asks only.
    let ask = |signal: usize| Plain(unsafe { signals::rt_sigaction([signal, 0, 0, SET_BYTES]) });
    line("sigaction", "asked of SIGKILL", ask(9));
    // SAFETY: no memory is there to be read or written.
    let answer = unsafe { signals::rt_sigaction([1, 8, 0, SET_BYTES]) };
    line("sigaction", "a bad address", Plain(answer));
    // SAFETY: as above.
    let answer = unsafe { signals::rt_sigaction([99, 8, 0, SET_BYTES]) };
    line("sigaction", "no signal, a bad address", Plain(answer));
    let unknown = Action {
        flags: 0xffff_ffff_0fff_ffff,
        mask: !0,
        ..Action::IGNORE
    };
    reset(SIGUSR1, unknown);
    let known = must(signals::current_action(SIGUSR1).map(|action| action.flags as usize));
    line("sigaction", "flags that exist", format_args!("{known:#x}"));
    let mask = must(signals::current_action(SIGUSR1).map(|action| action.mask as usize));
    line("sigaction", "what can be blocked", format_args!("{mask:#x}"));
    reset(SIGUSR1, Action::DEFAULT);
    line("sigprocmask", "how", Plain(signals::mask(3, 0).map(|_| 0)));
    must(signals::mask(SIG_SETMASK, !0).map(|_| 0));
    let all = must(signals::mask(SIG_SETMASK, 0).map(|mask| mask as usize));
    line("sigprocmask", "everything", format_args!("{all:#x}"));
}

fn one_handler() {
    handle(SIGUSR1, 0);
    must(signals::raise(SIGUSR1).map(|()| 0));
    line("signal", "raised", Ran);
    line(
        "signal",
        "blocked in the handler",
        format_args!("{:#x}", INSIDE.load(Relaxed)),
    );
    line("signal", "and after it", format_args!("{:#x}", BACK.load(Relaxed)));
    handle_with(SIGUSR1, SA_NODEFER, set(SIGUSR2) | set(SIGKILL));
    must(signals::raise(SIGUSR1).map(|()| 0));
    line("SA_NODEFER", "with a mask, raised", Ran);
    line(
        "SA_NODEFER",
        "blocked in the handler",
        format_args!("{:#x}", INSIDE.load(Relaxed)),
    );
    for (case, flags) in [("put off", 0), ("not put off", SA_NODEFER)] {
        handle(SIGUSR1, flags);
        NESTED.store(SIGUSR1, Relaxed);
        must(signals::raise(SIGUSR1).map(|()| 0));
        line("SA_NODEFER", format_args!("raised by its handler, {case}"), Ran);
    }
    handle(SIGUSR1, SA_RESETHAND);
    must(signals::raise(SIGUSR1).map(|()| 0));
    let handler = must(signals::current_action(SIGUSR1).map(|action| action.handler));
    line("SA_RESETHAND", "the handler afterwards", handler);
    line("SA_RESETHAND", "ran", Ran);
    reset(SIGUSR1, Action::IGNORE);
    must(signals::raise(SIGUSR1).map(|()| 0));
    line("SIG_IGN", "raised", Ran);
    handle(SIGWINCH, 0);
    must(signals::raise(SIGWINCH).map(|()| 0));
    line("signal", "one that is ignored by default", Ran);
    reset(SIGWINCH, Action::DEFAULT);
    must(signals::raise(SIGWINCH).map(|()| 0));
    line("signal", "ignored by default", Ran);
}

fn blocked() {
    handle(SIGUSR1, 0);
    must(signals::mask(SIG_BLOCK, set(SIGUSR1)).map(|_| 0));
    must(signals::raise(SIGUSR1).map(|()| 0));
    must(signals::raise(SIGUSR1).map(|()| 0));
    line("sigpending", "raised twice", format_args!("{:#x}", signals::pending()));
    line("sigpending", "ran", Ran);
    must(signals::mask(SIG_UNBLOCK, set(SIGUSR1)).map(|_| 0));
    line("sigprocmask", "unblocked", Ran);
    line("sigpending", "afterwards", format_args!("{:#x}", signals::pending()));
    must(signals::mask(SIG_BLOCK, set(SIGUSR1)).map(|_| 0));
    must(signals::raise(SIGUSR1).map(|()| 0));
    reset(SIGUSR1, Action::IGNORE);
    line(
        "sigaction",
        "ignored while pending",
        format_args!("{:#x}", signals::pending()),
    );
    must(signals::raise(SIGUSR1).map(|()| 0));
    line(
        "sigpending",
        "ignored and blocked",
        format_args!("{:#x}", signals::pending()),
    );
    handle(SIGUSR1, 0);
    must(signals::mask(SIG_UNBLOCK, set(SIGUSR1)).map(|_| 0));
    line("sigprocmask", "handled again and unblocked", Ran);
}

fn several() {
    handle(SIGUSR1, 0);
    handle(SIGUSR2, 0);
    handle(SIGSEGV, 0);
    let all = set(SIGUSR1) | set(SIGUSR2) | set(SIGSEGV);
    must(signals::mask(SIG_BLOCK, all).map(|_| 0));
    for signal in [SIGUSR2, SIGUSR1, SIGSEGV] {
        must(signals::raise(signal).map(|()| 0));
    }
    must(signals::mask(SIG_UNBLOCK, all).map(|_| 0));
    line("signal", "the order of several", Ran);
    reset(SIGSEGV, Action::DEFAULT);
}

fn suspend(mask: u64) -> Answer {
    // SAFETY: reads the mask.
    unsafe { signals::rt_sigsuspend([&raw const mask as usize, SET_BYTES]) }
}

fn suspended() {
    handle(SIGUSR1, SA_RESTART);
    must(signals::mask(SIG_SETMASK, set(SIGUSR1)).map(|_| 0));
    must(signals::raise(SIGUSR1).map(|()| 0));
    line("sigsuspend", "one is pending", Plain(suspend(0)));
    line("sigsuspend", "ran", Ran);
    line(
        "sigsuspend",
        "blocked in the handler",
        format_args!("{:#x}", INSIDE.load(Relaxed)),
    );
    let mask = must(signals::mask(SIG_SETMASK, 0).map(|mask| mask as usize));
    line("sigsuspend", "the mask afterwards", format_args!("{mask:#x}"));
    // SAFETY: reads nothing.
    let answer = unsafe { signals::rt_sigsuspend([0, 4]) };
    line("sigsuspend", "another size", Plain(answer));
    let parent = process::id() as usize;
    // Blocked until the call waits for it.
    must(signals::mask(SIG_SETMASK, set(SIGUSR1)).map(|_| 0));
    let sender = match process::fork() {
        // SAFETY: the parent handles it.
        Ok(Fork::Child) => sys::exit(i32::from(unsafe { signals::kill([parent, SIGUSR1 as usize]) }.is_err())),
        Ok(Fork::Parent(child)) => child,
        Err(_) => return,
    };
    line("sigsuspend", "a child's signal", Plain(suspend(0)));
    line("sigsuspend", "ran", Ran);
    line("sigsuspend", "the child", Ended(process::wait(sender).unwrap_or(-1)));
    must(signals::mask(SIG_SETMASK, 0).map(|_| 0));
}

fn pause() -> Answer {
    // SAFETY: waits.
    unsafe { signals::pause([]) }
}

fn children() {
    handle(SIGCHLD, SA_RESTART);
    line("SIGCHLD", "a child ends", child(|| 7));
    line("SIGCHLD", "status", STATUS.load(Relaxed));
    line("SIGCHLD", "ran", Ran);
    let ended = child(|| {
        _ = signals::raise(SIGKILL);
        0
    });
    line("SIGCHLD", "a child is killed", ended);
    line("SIGCHLD", "status", STATUS.load(Relaxed));
    line("SIGCHLD", "ran", Ran);
    for (case, action) in [
        ("ignored", Action::IGNORE),
        ("SA_NOCLDWAIT", Action::handler(note, SA_NOCLDWAIT | SA_RESTART)),
    ] {
        // SAFETY: `note` touches statics only.
        must(unsafe { signals::action(SIGCHLD, &action) }.map(|_| 0));
        match process::fork() {
            Ok(Fork::Child) => sys::exit(3),
            Ok(Fork::Parent(pid)) => line("SIGCHLD", case, Plain(process::wait(pid).map(|status| status as usize))),
            Err(_) => {}
        }
        line("SIGCHLD", "ran", Ran);
    }
    reset(SIGCHLD, Action::DEFAULT);
}

fn inherited() {
    handle(SIGUSR1, 0);
    reset(SIGUSR2, Action::IGNORE);
    must(signals::mask(SIG_BLOCK, set(SIGUSR1)).map(|_| 0));
    must(signals::raise(SIGUSR1).map(|()| 0));
    let seen = child(|| {
        line(
            "fork",
            "pending in the child",
            format_args!("{:#x}", signals::pending()),
        );
        _ = signals::raise(SIGUSR2);
        let mask = signals::mask(SIG_SETMASK, 0).unwrap_or(0);
        line("fork", "blocked in the child", format_args!("{mask:#x}"));
        _ = signals::raise(SIGUSR1);
        line("fork", "in the child", Ran);
        reset(SIGUSR1, Action::DEFAULT);
        0
    });
    line("fork", "the child", seen);
    must(signals::mask(SIG_UNBLOCK, set(SIGUSR1)).map(|_| 0));
    line("fork", "the parent's", Ran);
    reset(SIGUSR1, Action::DEFAULT);
    reset(SIGUSR2, Action::DEFAULT);
}

fn default_actions() {
    for signal in 1..=64 {
        // Those that stop would leave the parent waiting; those that libraries keep are numbers as others.
        if (SIGSTOP..=22).contains(&signal) {
            continue;
        }
        let ended = child(|| {
            _ = process::set_limit(linux_raw_sys::general::RLIMIT_CORE, 0, 0);
            // Whoever started this may ignore some; not all can be set.
            // SAFETY: no handler.
            _ = unsafe { signals::action(signal, &Action::DEFAULT) };
            _ = signals::raise(signal);
            0
        });
        line(
            "signal",
            format_args!("{signal} by default"),
            format_args!("{:#x}", ended.0),
        );
    }
}

fn senders() {
    let own = process::id() as usize;
    // SAFETY: numbers, and signals that do nothing.
    let kill = |pid: usize, signal: usize| Plain(unsafe { signals::kill([pid, signal]) });
    line("kill", "oneself, with nothing", kill(own, 0));
    line("kill", "nobody", kill(0x7fff_fff0, 0));
    line("kill", "nobody, with no signal", kill(0x7fff_fff0, 999));
    line("kill", "oneself, with no signal", kill(own, 65));
    line("kill", "oneself, with a negative one", kill(own, usize::MAX));
    // SAFETY: as above.
    let tgkill = |group: usize, tid: usize, signal: usize| Plain(unsafe { signals::tgkill([group, tid, signal]) });
    line("tgkill", "oneself, with nothing", tgkill(own, own, 0));
    line("tgkill", "no process", tgkill(0, own, 0));
    line("tgkill", "another's thread", tgkill(own + 1, own, 0));
    // SAFETY: as above.
    line("tkill", "nobody", Plain(unsafe { signals::tkill([0x7fff_fff0, 0]) }));
    // SAFETY: as above.
    line("tkill", "no thread", Plain(unsafe { signals::tkill([0, 0]) }));
    let killed = match process::fork() {
        Ok(Fork::Child) => loop {
            _ = pause();
        },
        Ok(Fork::Parent(pid)) => {
            line("kill", "a child", kill(pid as usize, SIGKILL as usize));
            line("kill", "a child that is gone", kill(pid as usize, 0));
            process::wait(pid).unwrap_or(-1)
        }
        Err(Errno(_)) => -1,
    };
    line("kill", "how it ended", Ended(killed));
}

/// signal(7), "Real-time signals": every one is kept, in order.
fn real_time() {
    const RT: u32 = 40;
    handle(RT, 0);
    handle(RT + 1, 0);
    let both = set(RT) | set(RT + 1);
    must(signals::mask(SIG_BLOCK, both).map(|_| 0));
    for signal in [RT + 1, RT, RT, RT + 1] {
        must(signals::raise(signal).map(|()| 0));
    }
    line("real-time", "pending", format_args!("{:#x}", signals::pending()));
    must(signals::mask(SIG_UNBLOCK, both).map(|_| 0));
    line("real-time", "in order", Ran);
    line("real-time", "afterwards", format_args!("{:#x}", signals::pending()));
    reset(RT, Action::DEFAULT);
    reset(RT + 1, Action::DEFAULT);
}
