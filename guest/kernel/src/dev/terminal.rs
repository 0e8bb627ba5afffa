//! What comes in, and the terminal: the streams of the first program as the VMM has them.
//!
//! Nothing is read ahead: the VMM is asked when a program reads, and a program that never does leaves the input to others. A terminal is the
//! exception: what is typed there may be a signal, so it is fetched whenever the VMM says that there is some.
//!
//! The terminal belongs to the first program's session. Who may read and change it is decided here; what is typed and shown, in
//! [`faultlab_linux::tty`].
//!
//! Source: Linux, drivers/tty/tty_io.c, tty_jobctrl.c (`__tty_check_change`, `tiocspgrp`, `tiocsctty`), n_tty.c (`job_control`); ioctl_tty(2).

use core::cell::Cell;

use faultlab_abi::lab::{NOTHING_YET, kind};
use faultlab_linux::file::{File, o};
use faultlab_linux::iov::IovIter;
use faultlab_linux::poll::{Ready, event};
use faultlab_linux::signal::{Handler, Info, Signal};
use faultlab_linux::tty::termios::{TERMIOS_BYTES, lflag};
use faultlab_linux::tty::{Read, Termios, Tty, Waits};
use faultlab_linux::wait::{Keys, Queue};

use crate::dev::lab;
use crate::global::Global;
use crate::mem::platform::LINUX;
use crate::mem::{ram, uaccess};
use crate::syscall::{Errno, Outcome, is_over};
use crate::task::process::{self, Interrupted, Process, State};
use crate::task::signal;

/// Who waits for input.
const QUEUE: u64 = 0x1e37_0000_0000_0001;
/// Bytes that go to or come from the VMM at a time.
const CHUNK: usize = 256;

/// Requests. Source: ioctl_tty(2).
mod request {
    pub(super) const TCGETS: u32 = 0x5401;
    pub(super) const TCSETS: u32 = 0x5402;
    pub(super) const TCSETSF: u32 = 0x5404;
    pub(super) const TCSBRK: u32 = 0x5409;
    pub(super) const TCXONC: u32 = 0x540a;
    pub(super) const TCFLSH: u32 = 0x540b;
    pub(super) const TIOCSCTTY: u32 = 0x540e;
    pub(super) const TIOCGPGRP: u32 = 0x540f;
    pub(super) const TIOCSPGRP: u32 = 0x5410;
    pub(super) const TIOCOUTQ: u32 = 0x5411;
    pub(super) const TIOCGWINSZ: u32 = 0x5413;
    pub(super) const TIOCSWINSZ: u32 = 0x5414;
    pub(super) const FIONREAD: u32 = 0x541b;
    pub(super) const TIOCNOTTY: u32 = 0x5422;
    pub(super) const TIOCGSID: u32 = 0x5429;
}

/// In one page, for the VMM.
#[derive(Clone, Copy)]
#[repr(align(256))]
struct Chunk([u8; CHUNK]);

static TTY: Global<Tty> = Global::new(Tty::new());
/// Streams that are the terminal, a bit each.
static STREAMS: Global<Cell<u8>> = Global::new(Cell::new(0));
/// A size that a program gave the window; 0 for the host's.
static WINDOW: Global<Cell<u64>> = Global::new(Cell::new(0));
static INPUT: Global<Cell<Chunk>> = Global::new(Cell::new(Chunk([0; CHUNK])));
static OUTPUT: Global<Cell<Chunk>> = Global::new(Cell::new(Chunk([0; CHUNK])));

/// Makes streams a terminal, a bit each.
pub(crate) fn start(streams: u8) {
    STREAMS.set(streams);
}

/// The first program begins: the terminal is its session's, and from now on what is typed is fetched.
pub(crate) fn give_to(process: &Process) {
    if is_present() {
        TTY.give(process.session.get(), process.group.get());
        look();
    }
}

/// Whether there is one.
#[inline]
pub(crate) fn is_present() -> bool {
    STREAMS.get() != 0
}

/// Whether a stream is one.
#[inline]
pub(crate) fn is(stream: u64) -> bool {
    stream < 3 && STREAMS.get() >> stream & 1 != 0
}

fn keys() -> Keys {
    Keys::of(Queue::numbered(QUEUE))
}

/// Whether input could let somebody go on.
pub(crate) fn may_wake() -> bool {
    let waits = |process: &Process| process.state.get() == State::Waiting && process.waiter.keys().meets(keys());
    is_present() || process::table().iter().any(waits)
}

/// The VMM may have input: whoever waits for it is to look.
pub(crate) fn look() {
    if is_present() {
        fetch(false);
    } else {
        LINUX.wake(Queue::numbered(QUEUE));
    }
}

/// The same at an interrupt, which only a terminal brings.
#[inline]
pub(crate) fn look_if_present() {
    if is_present() {
        fetch(false);
    }
}

/// Asks the VMM for input, in memory of one page: bytes, 0 at the end, [`NOTHING_YET`].
fn ask(phys: u64, len: u64, is_wanted: bool) -> Result<u64, Errno> {
    let answer = Cell::new(0u64);
    let args = [phys, len, ram::phys_of(answer.as_ptr()), u64::from(is_wanted), 0, 0];
    match lab::command(kind::INPUT, args) {
        0 => {
            // SAFETY: a local, which the VMM wrote meanwhile.
            Ok(unsafe { answer.as_ptr().read_volatile() })
        }
        status => Err(Errno::of_status(status)),
    }
}

/// Takes all that was typed; whether a program is to have it, or it is only looked for signals.
#[cold]
fn fetch(is_wanted: bool) {
    let was_stopped = TTY.is_stopped();
    let was_readable = TTY.is_readable();
    loop {
        let answer = ask(ram::phys_of(INPUT.as_ptr()), CHUNK as u64, is_wanted);
        match answer {
            Ok(NOTHING_YET) => break,
            Ok(count @ 1..) if count as usize <= CHUNK => {
                let Chunk(bytes) = INPUT.get();
                for &byte in &bytes[..count as usize] {
                    if let Some(signal) = TTY.receive(byte, &mut show) {
                        signal_group(TTY.foreground(), signal);
                    }
                }
            }
            _ => {
                TTY.hang_up();
                break;
            }
        }
    }
    if TTY.is_readable() || was_stopped && !TTY.is_stopped() {
        LINUX.wake(Queue::numbered(QUEUE));
    }
    if TTY.is_readable() && !was_readable {
        LINUX.terminal_has_input(is);
    }
}

/// Writes to the terminal as it is.
fn show(bytes: &[u8]) {
    for part in bytes.chunks(CHUNK) {
        let mut chunk = Chunk([0; CHUNK]);
        chunk.0[..part.len()].copy_from_slice(part);
        OUTPUT.set(chunk);
        lab::command(
            kind::WRITE,
            [0, ram::phys_of(OUTPUT.as_ptr()), part.len() as u64, 0, 0, 0],
        );
    }
}

fn signal_group(group: u32, number: Signal) {
    let member =
        |process: &&Process| process.state.get() != State::Free && process.is_leader() && process.group.get() == group;
    for process in process::table().iter().filter(member) {
        // A standard signal is never refused.
        _ = signal::send(process, &Info::kernel(number));
    }
}

/// Whether the terminal is the running process's.
fn is_own() -> bool {
    TTY.session() != 0 && process::current().leader().session.get() == TTY.session()
}

/// A process in the background is stopped by what it is about to do.
///
/// # Errors
/// `EIO` where nobody could let it go on; `RESTART` when its group got the signal.
fn check_background(number: Signal) -> Result<(), Errno> {
    let (thread, own) = (process::current(), process::current().leader());
    if !is_own() || own.group.get() == TTY.foreground() {
        return Ok(());
    }
    let deaf =
        thread.signals.blocked().contains(number) || LINUX.action(&thread.signals, number).handler == Handler::Ignore;
    match (deaf, number) {
        (true, Signal::TTIN) => Err(Errno::EIO),
        (true, _) => Ok(()),
        _ if signal::is_orphaned(own.group.get()) => Err(Errno::EIO),
        _ => {
            signal_group(own.group.get(), number);
            Err(Errno::RESTART)
        }
    }
}

/// A call that a signal came in the way of is made again.
fn again(result: Result<Outcome, Errno>) -> Result<Outcome, Errno> {
    match result {
        Err(Errno::RESTART) => Ok(Outcome::Sleep(Interrupted::Restartable)),
        result => result,
    }
}

/// `read` of a stream.
pub(crate) fn read(stream: u64, file: File<'_>, mut to: IovIter) -> Result<Outcome, Errno> {
    if to.left() == 0 {
        return Ok(Outcome::Value(0));
    }
    if is(stream) {
        fetch(true);
        let result = again(check_background(Signal::TTIN).and_then(|()| read_terminal(file, &mut to)));
        return result;
    }
    let mut done = 0;
    while let Some((pfn, offset, len)) = LINUX.next_in_frame(&mut to, u64::MAX, true)? {
        match ask(pfn.phys() + offset, len, true) {
            Ok(NOTHING_YET) if done == 0 => return wait(file),
            Ok(0 | NOTHING_YET) => break,
            Ok(count) => {
                done += count;
                LINUX.done(&mut to, count);
                if count < len {
                    break;
                }
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(Outcome::Value(done))
}

fn wait(file: File<'_>) -> Result<Outcome, Errno> {
    if file.f_flags() & o::NONBLOCK != 0 {
        return Err(Errno::EAGAIN);
    }
    _ = process::current().waiter.wait(keys());
    Ok(Outcome::Sleep(Interrupted::Restartable))
}

fn read_terminal(file: File<'_>, to: &mut IovIter) -> Result<Outcome, Errno> {
    let process = process::current();
    // A read of several vectors or pages gets what goes into the first, which is allowed.
    let Some((pfn, offset, len)) = LINUX.next_in_frame(to, u64::MAX, true)? else {
        return Ok(Outcome::Value(0));
    };
    let frame = ram::frame(pfn);
    let mut at = offset as usize;
    // One of the `len` bytes from `offset` on each time.
    let mut put = |byte: u8| {
        let word = &frame[at / 8];
        let shift = 8 * (at % 8);
        word.set(word.get() & !(0xff << shift) | u64::from(byte) << shift);
        at += 1;
    };
    let read = match TTY.read(len as usize, &mut put) {
        Read::Wait(Waits::For(ns)) if file.f_flags() & o::NONBLOCK == 0 && is_over(process, Some(ns)) => {
            TTY.take(len as usize, &mut put)
        }
        read => read,
    };
    match read {
        Read::Bytes(count) => {
            process::set_deadline(process, None);
            Ok(Outcome::Value(count as u64))
        }
        Read::Wait(_) => wait(file),
    }
}

/// `write` to a stream that is a terminal.
pub(crate) fn write(stream: u64, file: File<'_>, mut from: IovIter) -> Result<Outcome, Errno> {
    if !is(stream) {
        return Err(Errno::EBADF);
    }
    if TTY.termios().lflag & lflag::TOSTOP != 0
        && let Err(errno) = check_background(Signal::TTOU)
    {
        return again(Err(errno));
    }
    if TTY.is_stopped() && from.left() != 0 {
        return wait(file);
    }
    let mut done = 0;
    while let Some((pfn, offset, len)) = LINUX.next_in_frame(&mut from, u64::MAX, false)? {
        TTY.write(
            &ram::bytes(pfn, 4096)[offset as usize..(offset + len) as usize],
            &mut show,
        );
        LINUX.done(&mut from, len);
        done += len;
    }
    Ok(Outcome::Value(done))
}

/// What a stream is ready for.
pub(crate) fn poll(stream: u64) -> Ready {
    let input = Queue::numbered(QUEUE);
    if is(stream) {
        // Whoever only asks is not stopped in the background.
        fetch(false);
        let readable = if TTY.is_readable() { event::READABLE } else { 0 };
        let writable = if TTY.is_stopped() { 0 } else { event::WRITABLE };
        return Ready::of(readable | writable, input, 0);
    }
    match stream {
        0 => match ask(0, 0, false) {
            Ok(NOTHING_YET) => Ready::of(0, input, 0),
            _ => Ready::of(event::READABLE, input, 0),
        },
        _ => Ready::of(event::WRITABLE, input, 0),
    }
}

/// `ioctl` of a stream that is a terminal.
pub(crate) fn ioctl(stream: u64, number: u32, arg: u64) -> Result<Outcome, Errno> {
    if !is(stream) {
        return Err(Errno::ENOTTY);
    }
    again(carry_out(number, arg).map(|()| Outcome::Value(0)))
}

fn carry_out(number: u32, arg: u64) -> Result<(), Errno> {
    let own = process::current().leader();
    let tell = |value: u32| uaccess::copy_to_user(arg, &value.to_le_bytes());
    let of_own = |value: u32| if is_own() { tell(value) } else { Err(Errno::ENOTTY) };
    match number {
        request::TCGETS => uaccess::copy_to_user(arg, &TTY.termios().encode()),
        request::TCSETS..=request::TCSETSF => {
            check_background(Signal::TTOU)?;
            let new = Termios::decode(&uaccess::read::<TERMIOS_BYTES>(arg)?);
            if number == request::TCSETSF {
                TTY.flush_input();
            }
            TTY.set_termios(new);
            // From now on what is typed is taken as these say.
            fetch(true);
            Ok(())
        }
        request::TCFLSH => {
            check_background(Signal::TTOU)?;
            match arg {
                0 | 2 => TTY.flush_input(),
                1 => {}
                _ => return Err(Errno::EINVAL),
            }
            Ok(())
        }
        // Output is complete when it is written.
        request::TCSBRK => check_background(Signal::TTOU),
        request::TCXONC => {
            check_background(Signal::TTOU)?;
            match arg {
                0 | 1 => {
                    TTY.flow(arg == 0);
                    LINUX.wake(Queue::numbered(QUEUE));
                }
                // Characters for whoever types: to stop, and to go on.
                2 | 3 => {}
                _ => return Err(Errno::EINVAL),
            }
            Ok(())
        }
        request::TIOCOUTQ => tell(0),
        request::FIONREAD => tell(TTY.available() as u32),
        request::TIOCGWINSZ => uaccess::copy_to_user(arg, &window().to_le_bytes()),
        request::TIOCSWINSZ => {
            let new = u64::from_le_bytes(uaccess::read(arg)?);
            if new != window() {
                WINDOW.set(new);
                signal_group(TTY.foreground(), Signal::WINCH);
            }
            Ok(())
        }
        request::TIOCGPGRP => of_own(TTY.foreground()),
        request::TIOCGSID => of_own(TTY.session()),
        request::TIOCSPGRP => set_foreground(arg),
        request::TIOCSCTTY => take(own, arg),
        request::TIOCNOTTY if !is_own() => Err(Errno::ENOTTY),
        request::TIOCNOTTY => {
            if own.session.get() == own.pid.get() {
                let group = TTY.foreground();
                TTY.give(0, 0);
                signal_group(group, Signal::HUP);
                signal_group(group, Signal::CONT);
            }
            Ok(())
        }
        _ => Err(Errno::ENOTTY),
    }
}

/// Size of the window: a program's, or the host's.
fn window() -> u64 {
    if WINDOW.get() != 0 {
        return WINDOW.get();
    }
    let answer = Cell::new(0u64);
    lab::command(kind::WINDOW_SIZE, [ram::phys_of(answer.as_ptr()), 0, 0, 0, 0, 0]);
    // SAFETY: a local, which the VMM wrote meanwhile.
    unsafe { answer.as_ptr().read_volatile() }
}

/// `TIOCSPGRP`.
fn set_foreground(arg: u64) -> Result<(), Errno> {
    check_background(Signal::TTOU).map_err(|errno| match errno {
        // One that nobody could let go on may still take the terminal back. Source: Linux `tiocspgrp`.
        Errno::EIO => Errno::ENOTTY,
        errno => errno,
    })?;
    if !is_own() {
        return Err(Errno::ENOTTY);
    }
    let group = i32::from_le_bytes(uaccess::read(arg)?);
    let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
    let member =
        |process: &&Process| process.state.get() != State::Free && process.is_leader() && process.group.get() == group;
    let leader = process::table().iter().find(member).ok_or(Errno::ESRCH)?;
    if leader.session.get() != TTY.session() {
        return Err(Errno::EPERM);
    }
    TTY.give(TTY.session(), group);
    Ok(())
}

/// `TIOCSCTTY`: a session's leader makes the terminal that of its session.
fn take(own: &Process, force: u64) -> Result<(), Errno> {
    let leads = own.session.get() == own.pid.get();
    if leads && is_own() {
        return Ok(());
    }
    let free = TTY.session() == 0 || force == 1 && own.cred.get().privileged();
    if !leads || !free {
        return Err(Errno::EPERM);
    }
    TTY.give(own.session.get(), own.group.get());
    Ok(())
}
