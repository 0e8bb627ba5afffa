//! Groups and sessions.

use faultlab_programs::arena::{Answer, Plain, line};
use faultlab_programs::sys;
use faultlab_programs::sys::process::{self, Fork};
use linux_raw_sys::general::{SIGKILL, SIGTERM, WNOHANG};

use crate::waits::{kill, wait4, waiting_child};

fn setpgid(pid: i32, group: i32) -> Answer {
    // SAFETY: touches no memory.
    unsafe { process::setpgid([pid as isize as usize, group as isize as usize]) }
}

fn getpgid(pid: i32) -> i32 {
    // SAFETY: touches no memory.
    unsafe { process::getpgid([pid as usize]) }.map_or(-1, |group| group as i32)
}

fn getsid(pid: i32) -> i32 {
    // SAFETY: touches no memory.
    unsafe { process::getsid([pid as usize]) }.map_or(-1, |session| session as i32)
}

pub(crate) fn show() {
    let own = process::id();
    let (first, second) = (waiting_child(|| {}), waiting_child(|| {}));
    line(
        "setpgid",
        "a child is in its parent's group",
        getpgid(first) == getpgid(0),
    );
    line("setpgid", "and session", getsid(first) == getsid(0));
    line("setpgid", "a negative group", Plain(setpgid(first, -1)));
    line("setpgid", "nobody", Plain(setpgid(0x7fff_fff0, 0)));
    line("setpgid", "the parent of all", Plain(setpgid(1, 0)));
    line("setpgid", "into a group that is not", Plain(setpgid(first, second)));
    line("setpgid", "into its own", Plain(setpgid(first, 0)));
    line("setpgid", "which it leads", getpgid(first) == first);
    line("setpgid", "into the other's", Plain(setpgid(second, first)));
    line("setpgid", "where it is", getpgid(second) == first);
    line("wait4", "for the own group", wait4(0, WNOHANG, first));
    line("wait4", "for the other, not waiting", wait4(-first, WNOHANG, first));
    line("kill", "its leader", Plain(kill(first, SIGTERM)));
    line("wait4", "for the group", wait4(-first, 0, first));
    line("kill", "the group", Plain(kill(-first, SIGTERM)));
    line("wait4", "for the group again", wait4(-first, 0, second));
    line("wait4", "for the group once more", wait4(-first, 0, second));
    line("kill", "a group that is gone", Plain(kill(-first, 0)));
    line("setpgid", "afterwards", getpgid(0) == getpgid(own));
    sessions();
}

fn sessions() {
    let child = match process::fork() {
        Ok(Fork::Child) => in_session(),
        Ok(Fork::Parent(child)) => child,
        Err(_) => return,
    };
    line("setsid", "the child", wait4(child, 0, child));
    let stranger = waiting_child(|| {
        // SAFETY: touches no memory.
        _ = unsafe { process::setsid([]) };
    });
    while getsid(stranger) != stranger {
        // SAFETY: lets the child begin.
        _ = unsafe { process::sched_yield([]) };
    }
    line(
        "setpgid",
        "a child in another session",
        Plain(setpgid(stranger, getpgid(0))),
    );
    line("kill", "it", Plain(kill(stranger, SIGKILL)));
    line("wait4", "it", wait4(stranger, 0, stranger));
}

fn in_session() -> ! {
    let own = process::id();
    // SAFETY: touches no memory.
    let setsid = || unsafe { process::setsid([]) };
    line("setsid", "its number", setsid() == Ok(own as usize));
    line("setsid", "group and session", [getpgid(0), getsid(0)] == [own, own]);
    line("setsid", "again", Plain(setsid()));
    line("setpgid", "of a session's leader", Plain(setpgid(0, 0)));
    line("getsid", "of nobody", getsid(0x7fff_fff0) == -1);
    sys::exit(0)
}
