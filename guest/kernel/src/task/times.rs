//! What threads and processes used: CPU time, page faults, switches, memory.
//!
//! Everything is counted at switches, as the difference of a counter that runs anyway: so no fault and no call pays for it. CPU time is all told
//! as the program's own: where the kernel's begins is read by nobody.
//!
//! Source: getrusage(2), times(2); Linux, kernel/sched/cputime.c, kernel/sys.c (`getrusage`). Differs from Linux, which divides CPU time
//! between program and kernel.

use core::cell::Cell;

use faultlab_abi::vmstat::Item;

use crate::cpu::x86;
use crate::dev::clock;
use crate::global::Global;
use crate::mem::platform::MEMORY;
use crate::report::vmstat;
use crate::task::process::{self, Process};

/// What a process used.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Ticks of the time-stamp counter on the processor.
    pub(crate) ticks: u64,
    /// Page faults that read nothing from a disk.
    pub(crate) minor_faults: u64,
    /// Page faults that did.
    pub(crate) major_faults: u64,
    /// Switches because it waited or yielded.
    pub(crate) voluntary: u64,
    /// Switches because its slice was over.
    pub(crate) involuntary: u64,
    /// Most pages in memory, as far as somebody looked.
    pub(crate) most_pages: u64,
}

impl Usage {
    const NONE: Self = Self {
        ticks: 0,
        minor_faults: 0,
        major_faults: 0,
        voluntary: 0,
        involuntary: 0,
        most_pages: 0,
    };

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            ticks: self.ticks + other.ticks,
            minor_faults: self.minor_faults + other.minor_faults,
            major_faults: self.major_faults + other.major_faults,
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
            most_pages: self.most_pages.max(other.most_pages),
        }
    }

    /// CPU time in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> u64 {
        clock::ns_of_ticks(self.ticks)
    }
}

/// The account of a process.
pub(crate) struct Times {
    /// Of the thread, until it was switched from.
    own: Cell<Usage>,
    /// Of a leader: of the process's threads that have ended.
    ended: Cell<Usage>,
    /// Of its children that were waited for, and of theirs.
    children: Cell<Usage>,
    /// CPU time after which it gets a `SIGXCPU`, in nanoseconds; 0 for never.
    limit_ns: Cell<u64>,
}

impl Times {
    /// All zero.
    pub(crate) const fn new() -> Self {
        Self {
            own: Cell::new(Usage::NONE),
            ended: Cell::new(Usage::NONE),
            children: Cell::new(Usage::NONE),
            limit_ns: Cell::new(0),
        }
    }

    /// Of a new thread.
    pub(crate) fn begin(&self) {
        self.own.set(Usage::NONE);
        self.ended.set(Usage::NONE);
        self.children.set(Usage::NONE);
        self.limit_ns.set(0);
    }

    /// CPU time after which it gets a `SIGXCPU`.
    pub(crate) fn limit_ns(&self) -> Option<u64> {
        Some(self.limit_ns.get()).filter(|&ns| ns != 0)
    }

    /// Sets that; none for never.
    pub(crate) fn set_limit_ns(&self, ns: Option<u64>) {
        self.limit_ns.set(ns.unwrap_or(0));
    }

    /// A child was waited for.
    pub(crate) fn add_child(&self, child: &Process) {
        let all = of_process(child).plus(child.times.children.get());
        self.children.set(self.children.get().plus(all));
    }

    /// Of its children.
    pub(crate) fn children(&self) -> Usage {
        self.children.get()
    }
}

/// Where the counters were when the running process was switched to: ticks, faults, faults that read.
static SINCE: Global<Cell<[u64; 3]>> = Global::new(Cell::new([0; 3]));

fn counters() -> [u64; 3] {
    [
        x86::rdtsc(),
        vmstat::value(Item::Pgfault),
        vmstat::value(Item::Pgmajfault),
    ]
}

/// The running process begins to run.
pub(crate) fn switched_to() {
    SINCE.set(counters());
}

/// The running process stops to run, or is looked at: what it used is put down.
fn account() {
    let own = &process::current().times.own;
    let (now, since) = (counters(), SINCE.get());
    SINCE.set(now);
    let [ticks, faults, major] = [0, 1, 2].map(|index| now[index].wrapping_sub(since[index]));
    let before = own.get();
    own.set(Usage {
        ticks: before.ticks + ticks,
        minor_faults: before.minor_faults + faults.saturating_sub(major),
        major_faults: before.major_faults + major,
        ..before
    });
}

/// The running process is switched from, of its own will or not.
pub(crate) fn switched_from(voluntary: bool) {
    account();
    let own = &process::current().times.own;
    let before = own.get();
    own.set(Usage {
        voluntary: before.voluntary + u64::from(voluntary),
        involuntary: before.involuntary + u64::from(!voluntary),
        ..before
    });
}

/// A process is about to lose its memory.
pub(crate) fn look_at_memory(process: &Process) {
    if let Some(mm) = process.mm.get() {
        let holds = MEMORY.footprint(mm);
        let own = &process.times.own;
        let mut usage = own.get();
        usage.most_pages = usage.most_pages.max(holds.rss_anon + holds.rss_file + holds.rss_shmem);
        own.set(usage);
    }
}

/// A thread ends, the running one or another, or goes on as another.
pub(crate) fn ended(thread: &Process) {
    if core::ptr::eq(thread, process::current()) {
        account();
    }
    look_at_memory(thread);
    if !thread.is_leader() {
        let ended = &thread.leader().times.ended;
        ended.set(ended.get().plus(thread.times.own.get()));
    }
}

/// What a thread used until now.
pub(crate) fn of_thread(thread: &Process) -> Usage {
    let mut usage = thread.times.own.get();
    if core::ptr::eq(thread, process::current()) {
        let (now, since) = (counters(), SINCE.get());
        let [ticks, faults, major] = [0, 1, 2].map(|index| now[index].wrapping_sub(since[index]));
        usage.ticks += ticks;
        usage.minor_faults += faults.saturating_sub(major);
        usage.major_faults += major;
    }
    usage
}

/// What the process of a thread used until now, all threads together.
pub(crate) fn of_process(thread: &Process) -> Usage {
    let leader = thread.leader();
    let mut sum = of_thread(leader).plus(leader.times.ended.get());
    if leader.threads.get() > u32::from(leader.lives()) {
        for other in leader.living_threads().filter(|other| !other.is_leader()) {
            sum = sum.plus(of_thread(other));
        }
    }
    sum
}

/// CPU time of the process of a thread until now, in nanoseconds.
pub(crate) fn cpu_ns(thread: &Process) -> u64 {
    of_process(thread).cpu_ns()
}
