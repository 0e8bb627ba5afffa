//! Programs that touched a page which a disk works on: they sleep, others run, and the touch is made again when the disk is done.
//!
//! ```text
//! fault --> the memory manager begins a read, and fails with Fault::Retry -> sleep: in the page's queue; the next one runs
//! answers are taken in: after faults and calls (kswapd), at the interrupt, when nobody can run -> wake: who is in the queue touches again
//! ```
//!
//! That is for programs that are not alone: who could only wait for the disk waits in the fault, which costs less ([`others_can_run`]).
//!
//! A disk's answer brings an interrupt if somebody waits for it while a program runs: the VMM's own, the timer's, since there is no interrupt
//! controller ([`preempt`](crate::task::preempt)). When nobody can run, the answer is polled for, for as long as halting and waking up would take; after
//! that the VMM waits for it ([`lab::idle`]). A `hlt` would do neither on every host.
//!
//! Source: Linux, mm/filemap.c (`folio_wait_bit_common`, `folio_wake_bit`). Rule F22.

use faultlab_linux::wait::{Keys, Queue};
use faultlab_mm::swap::PAGE_QUEUES;

use crate::cpu::regs::PtRegs;
use crate::cpu::{ring3, x86};
use crate::dev::{clock, lab, swap_disk};
use crate::mem::platform::MEMORY;
use crate::task::process::{self, State};
use crate::task::{rseq, signal, timers};

/// The first of the queues' numbers; no record has one.
const QUEUE: u64 = 0x1e37_0000_0000_1000;

/// How long an answer is polled for before the VMM is asked to wait for it: about what that takes.
const POLL_NS: u64 = 50_000;

/// What those wait on that are in some of the queues, a bit for each.
fn keys(queues: u64) -> Keys {
    let is_named = |queue: &u64| queues & 1 << queue != 0;
    let key = |queue| Keys::of(Queue::numbered(QUEUE + queue));
    let named = (0..u64::from(PAGE_QUEUES)).filter(is_named);
    named.map(key).fold(Keys::NONE, Keys::with)
}

/// Whether there is more to do than to wait for a disk: somebody can run, waits for a disk, too, or for a time.
pub(crate) fn others_can_run() -> bool {
    (process::runnable() > 1 || MEMORY.pages_are_awaited() || process::any_sleeps()) && !ring3::runs()
}

/// The running process touched such a page: it sleeps, and touches it again.
pub(crate) fn sleep(regs: &mut PtRegs) {
    if let Some(queue) = MEMORY.take_page_wait() {
        rseq::interrupted(regs);
        process::current().waiter.wait(keys(1 << queue));
        swap_disk::interrupt_when_answered();
        signal::sleep(regs);
    }
}

/// Lets those go on whose pages disks are done with, as far as that was taken in.
#[inline]
pub(crate) fn wake() {
    match MEMORY.take_pages_done() {
        0 => {}
        queues => wake_in(queues),
    }
}

#[cold]
#[inline(never)]
fn wake_in(queues: u64) {
    let keys = keys(queues);
    for (index, process) in process::table().iter().enumerate() {
        if process.state.get() == State::Waiting && process.waiter.keys().meets(keys) {
            process.state.set(State::Runnable);
            timers::woken(index);
        }
    }
}

/// Takes in what disks have answered, if anybody waits for that, and lets go on who did.
#[inline]
pub(crate) fn look() {
    if MEMORY.pages_are_awaited() {
        MEMORY.swap_look();
        // It may have answered before; else it interrupts.
        swap_disk::interrupt_when_answered();
        MEMORY.swap_look();
    }
    wake();
}

/// When nobody can run: waits for a disk, if anybody waits for one, or until a time on the monotonic clock. Whether it did.
pub(crate) fn idle(until: Option<u64>) -> bool {
    if !MEMORY.pages_are_awaited() {
        return false;
    }
    let since = x86::rdtsc();
    while clock::ns_of_ticks(x86::rdtsc().wrapping_sub(since)) < POLL_NS {
        MEMORY.swap_look();
        wake();
        if process::runnable() != 0 {
            return true;
        }
        x86::pause();
    }
    look();
    if process::runnable() == 0 {
        let ns = until.map_or(u64::MAX, |until| until.saturating_sub(clock::monotonic_ns()));
        lab::idle(ns);
    }
    true
}
