//! How a parent learns what became of its children.

use core::fmt::{self, Display};

use faultlab_programs::arena::{Answer, Plain, line};
use faultlab_programs::sys;
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::sys::signals::{self, Info};
use linux_raw_sys::general::{
    P_ALL, P_PGID, P_PID, SIGCONT, SIGKILL, SIGSTOP, WCONTINUED, WEXITED, WNOHANG, WNOWAIT, WSTOPPED, WUNTRACED,
};

/// A child that waits to be killed.
pub(crate) fn waiting_child(first: impl FnOnce()) -> i32 {
    match process::fork() {
        Ok(Fork::Child) => {
            first();
            loop {
                // SAFETY: waits.
                _ = unsafe { signals::pause([]) };
            }
        }
        Ok(Fork::Parent(child)) => child,
        Err(_) => sys::exit(1),
    }
}

pub(crate) fn kill(pid: i32, signal: u32) -> Answer {
    // SAFETY: to children.
    unsafe { signals::kill([pid as isize as usize, signal as usize]) }
}

/// What `wait4` tells.
pub(crate) struct Waited {
    answer: Answer,
    status: i32,
    child: i32,
}

impl Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.answer {
            Ok(0) => f.write_str("nothing"),
            Ok(pid) if pid as i32 == self.child => write!(f, "the child, {:#x}", self.status),
            Ok(_) => write!(f, "another, {:#x}", self.status),
            Err(errno) => errno.fmt(f),
        }
    }
}

/// `wait4`, while there is one child.
pub(crate) fn wait4(pid: i32, options: u32, child: i32) -> Waited {
    let mut status = 0i32;
    // SAFETY: fills `status`.
    let answer = unsafe { process::wait4([pid as isize as usize, &raw mut status as usize, options as usize, 0]) };
    Waited { answer, status, child }
}

fn waitid(kind: u32, id: i32, options: u32, child: i32) -> impl Display {
    struct Told(Answer, [u64; 16], i32);
    impl Display for Told {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            // SAFETY: `Info` is the beginning of the 128 bytes; any bytes are valid.
            let info: &Info = unsafe { &*self.1.as_ptr().cast() };
            match self.0 {
                Ok(_) if info.signal == 0 => f.write_str("nothing"),
                Ok(_) => {
                    let whose = if info.pid() == self.2 { "the child" } else { "another" };
                    write!(
                        f,
                        "signal {} code {} of {whose}, status {}",
                        info.signal, info.code, info.status
                    )
                }
                Err(errno) => errno.fmt(f),
            }
        }
    }
    let mut info = [0u64; 16];
    // SAFETY: fills `info`, which has the size of `siginfo_t`.
    let answer = unsafe {
        process::waitid([
            kind as usize,
            id as usize,
            info.as_mut_ptr() as usize,
            options as usize,
            0,
        ])
    };
    Told(answer, info, child)
}

pub(crate) fn show() {
    refused();
    ended();
    stopped();
}

fn refused() {
    line("wait4", "without children", wait4(-1, 0, 0));
    line("wait4", "without children, not waiting", wait4(-1, WNOHANG, 0));
    line("wait4", "unknown options", wait4(-1, 0x40, 0));
    line("wait4", "the least number", wait4(i32::MIN, 0, 0));
    line("waitid", "without children", waitid(P_ALL, 0, WEXITED, 0));
    line("waitid", "for nothing", waitid(P_ALL, 0, WNOHANG, 0));
    line("waitid", "unknown options", waitid(P_ALL, 0, WEXITED | 0x40, 0));
    line("waitid", "no process", waitid(P_PID, 0, WEXITED, 0));
    line("waitid", "no kind", waitid(9, 0, WEXITED, 0));
}

fn ended() {
    let child = waiting_child(|| {});
    line("wait4", "a living child, not waiting", wait4(-1, WNOHANG, child));
    line(
        "waitid",
        "a living child, not waiting",
        waitid(P_ALL, 0, WEXITED | WNOHANG, child),
    );
    line("wait4", "somebody else", wait4(process::id(), WNOHANG, child));
    line("kill", "it", Plain(kill(child, SIGKILL)));
    line(
        "waitid",
        "it was killed; left",
        waitid(P_PID, child, WEXITED | WNOWAIT, child),
    );
    line(
        "waitid",
        "for stops only, left",
        waitid(P_PID, child, WSTOPPED | WNOHANG, child),
    );
    line("wait4", "it was killed", wait4(0, 0, child));
    line("wait4", "again", wait4(child, 0, child));
    let child = match process::fork() {
        Ok(Fork::Child) => sys::exit(300),
        Ok(Fork::Parent(child)) => child,
        Err(_) => return,
    };
    line("waitid", "it ended", waitid(P_PID, child, WEXITED, child));
    let child = match process::fork() {
        Ok(Fork::Child) => sys::exit(3),
        Ok(Fork::Parent(child)) => child,
        Err(_) => return,
    };
    // SAFETY: nothing is there to be written.
    let answer = unsafe { process::wait4([child as usize, 8, 0, 0]) };
    line("wait4", "a bad address", Plain(answer));
    line("wait4", "which took it all the same", wait4(-1, 0, child));
}

fn stopped() {
    let child = waiting_child(|| {});
    line("kill", "stop it", Plain(kill(child, SIGSTOP)));
    line("waitid", "left", waitid(P_PID, child, WSTOPPED | WNOWAIT, child));
    line("wait4", "stopped", wait4(child, WUNTRACED, child));
    line("wait4", "told once", wait4(child, WUNTRACED | WNOHANG, child));
    line("kill", "let it go on", Plain(kill(child, SIGCONT)));
    line("waitid", "left", waitid(P_PGID, 0, WCONTINUED | WNOWAIT, child));
    line("wait4", "goes on", wait4(child, WCONTINUED, child));
    line("wait4", "told once", wait4(child, WCONTINUED | WNOHANG, child));
    line("kill", "stop it again", Plain(kill(child, SIGSTOP)));
    line("waitid", "stopped", waitid(P_PID, child, WSTOPPED, child));
    line("kill", "a stopped one", Plain(kill(child, SIGKILL)));
    line("wait4", "killed", wait4(-1, WUNTRACED, child));
}
