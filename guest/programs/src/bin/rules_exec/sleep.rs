//! Sleeping.

use faultlab_programs::arena::{Plain, line, must};
use faultlab_programs::sys::process;
use faultlab_programs::sys::signals::{self, Action, Context, Info};
use faultlab_programs::sys::{self, monotonic_ns};
use linux_raw_sys::general::{CLOCK_MONOTONIC, SA_RESTART, SIGUSR1, TIMER_ABSTIME};

use crate::waits::wait4;

type Time = [u64; 2];

fn nanosleep(time: &Time, rest: &mut Time) -> Plain {
    // SAFETY: reads `time` and fills `rest`.
    Plain(unsafe { process::nanosleep([time.as_ptr() as usize, rest.as_mut_ptr() as usize]) })
}

fn clock_nanosleep(clock: u32, flags: u32, time: &Time) -> Plain {
    // SAFETY: reads `time`.
    Plain(unsafe { process::clock_nanosleep([clock as usize, flags as usize, time.as_ptr() as usize, 0]) })
}

extern "C" fn nothing(_: i32, _: &Info, _: &mut Context) {}

pub(crate) fn show() {
    const MS: u64 = 1_000_000;
    let mut rest = [7, 7];
    line(
        "nanosleep",
        "a second of nanoseconds",
        nanosleep(&[0, 1_000_000_000], &mut rest),
    );
    line("nanosleep", "a negative time", nanosleep(&[u64::MAX, 0], &mut rest));
    // SAFETY: nothing is there to be read.
    let answer = unsafe { process::nanosleep([8, 0]) };
    line("nanosleep", "a bad address", Plain(answer));
    line("nanosleep", "no time", nanosleep(&[0, 0], &mut rest));
    let before = monotonic_ns();
    line("nanosleep", "15 ms", nanosleep(&[0, 15 * MS], &mut rest));
    line("nanosleep", "not less", monotonic_ns() - before >= 15 * MS);
    line("nanosleep", "the rest is left alone", rest[0]);
    line("clock_nanosleep", "no clock", clock_nanosleep(99, 0, &[0, 0]));
    let until = monotonic_ns() + 15 * MS;
    let time = [until / 1_000_000_000, until % 1_000_000_000];
    line(
        "clock_nanosleep",
        "until",
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time),
    );
    line("clock_nanosleep", "not earlier", monotonic_ns() >= until);
    line(
        "clock_nanosleep",
        "until the past",
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &[0, 1]),
    );
    // SAFETY: the handler does nothing.
    must(unsafe { signals::action(SIGUSR1, &Action::handler(nothing, SA_RESTART)) }.map(|_| 0));
    let parent = process::id() as usize;
    let child = match process::fork() {
        Ok(process::Fork::Child) => {
            nanosleep(&[0, 15 * MS], &mut [0, 0]);
            // SAFETY: the parent handles it.
            sys::exit(i32::from(unsafe { signals::kill([parent, SIGUSR1 as usize]) }.is_err()))
        }
        Ok(process::Fork::Parent(child)) => child,
        Err(_) => return,
    };
    line(
        "nanosleep",
        "with a handler, SA_RESTART or not",
        nanosleep(&[60, 0], &mut rest),
    );
    line(
        "nanosleep",
        "the rest",
        if (50..60).contains(&rest[0]) { "told" } else { "wrong" },
    );
    line("nanosleep", "the child", wait4(child, 0, child));
}
