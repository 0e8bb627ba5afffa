//! Which process runs: the next runnable one, in turn, when the running one waits, yields or ends.
//!
//! Source: Linux, arch/x86/kernel/process_64.c, `__switch_to` (what a switch has to carry).

use core::cell::Cell;

use faultlab_abi::lab::panic_reason;
use faultlab_abi::vmstat::Item;
use faultlab_kernel::line;
use faultlab_linux::wait::Keys;
use faultlab_mm::vma::MmId;

use crate::cpu::regs::PtRegs;
use crate::cpu::x86::msr;
use crate::cpu::{fpu, x86};
use crate::dev::{clock, lab, terminal};
use crate::global::Global;
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::ram;
use crate::report::{panic, vmstat};
use crate::task::process::{self, Process, State};
use crate::task::{page_wait, preempt, rseq, timers, times};

/// Whose turn it is. Others may come in between, because they waited for a time: it then goes on with the rest of its slice, or the next has
/// its turn.
struct Turn {
    owner: Cell<usize>,
    /// How much of its slice it used before others came in between.
    used_ns: Cell<u64>,
    /// How many came in between since it ran last.
    between: Cell<u32>,
    /// Time-stamp counter when the running process was switched to.
    since: Cell<u64>,
}

/// So many may come in between before it is the owner's turn again: sleeps that are shorter than a switch takes starve nobody.
const BETWEEN_MAX: u32 = 4;

static TURN: Global<Turn> = Global::new(Turn {
    owner: Cell::new(0),
    used_ns: Cell::new(0),
    between: Cell::new(0),
    since: Cell::new(0),
});

/// How much of its slice the running process has used, in nanoseconds.
pub(crate) fn used_ns() -> u64 {
    let before = if process::current_index() == TURN.owner.get() {
        TURN.used_ns.get()
    } else {
        0
    };
    before + clock::ns_of_ticks(x86::rdtsc().wrapping_sub(TURN.since.get()))
}

/// Saves the running process, whose registers are `regs`, and continues with another in `regs`; with the same, if no
/// other can run. It waits, or yields.
pub(crate) fn yield_now(regs: &mut PtRegs) {
    times::switched_from(true);
    let to = next();
    switch(to, regs);
}

/// The same for a process that had its slice.
pub(crate) fn preempt(regs: &mut PtRegs) {
    rseq::interrupted(regs);
    times::switched_from(false);
    let to = next();
    switch(to, regs);
}

/// Continues with a process that waited for a time, in slot `index`, if it can run.
pub(crate) fn run_out_of_turn(index: usize, regs: &mut PtRegs) {
    if index != process::current_index() && can_run(index) {
        rseq::interrupted(regs);
        keep_turn();
        times::switched_from(false);
        switch(index, regs);
    }
}

/// Continues in `regs` with some process, after the running one ended.
pub(crate) fn leave_ended(regs: &mut PtRegs) {
    load(next(), regs);
}

fn switch(to: usize, regs: &mut PtRegs) {
    if to == process::current_index() {
        begin_to_run();
    } else {
        save(process::current(), regs);
        load(to, regs);
    }
}

fn begin_to_run() {
    TURN.since.set(x86::rdtsc());
    times::switched_to();
}

/// Somebody comes in between.
fn keep_turn() {
    if process::current_index() == TURN.owner.get() {
        TURN.used_ns.set(used_ns());
    }
}

fn can_run(index: usize) -> bool {
    process::table()
        .get(index)
        .is_some_and(|process| process.state.get() == State::Runnable)
}

/// Who runs next. Waits for the first deadline if none can.
fn next() -> usize {
    wake_waiters();
    page_wait::look();
    let mut first = timers::expire();
    while process::runnable() == 0 {
        match first {
            _ if page_wait::idle(first) => {}
            Some(deadline) => lab::idle(deadline.saturating_sub(clock::monotonic_ns())),
            None if terminal::may_wake() => lab::idle(u64::MAX),
            None => panic::stop(panic_reason::DEADLOCK, &line!["deadlock: every process waits"]),
        }
        terminal::look();
        wake_waiters();
        first = timers::expire();
    }
    if let Some(deadline) = first {
        preempt::at(deadline);
    }
    let (current, owner) = (process::current_index(), TURN.owner.get());
    // Not the one that has just gone to sleep, for less time than that took, and not one after another: whose turn it is must come to it.
    let in_between = |&index: &usize| index != current && TURN.between.get() < BETWEEN_MAX && can_run(index);
    if let Some(woken) = timers::take_woken().filter(in_between) {
        TURN.between.set(TURN.between.get() + 1);
        keep_turn();
        return woken;
    }
    TURN.between.set(0);
    // The owner itself goes on after those that came in between.
    let start = if current == owner { owner + 1 } else { owner };
    let table = process::table();
    let (before, after) = table.split_at(start.min(table.len()));
    let can_run = |process: &Process| process.state.get() == State::Runnable;
    let next = after.iter().position(can_run).map(|index| before.len() + index);
    let next = next.or_else(|| before.iter().position(can_run)).unwrap_or(current);
    if next != owner || current == owner {
        TURN.owner.set(next);
        TURN.used_ns.set(0);
    }
    next
}

/// Lets those go on that wait on queues which were woken. To be called after every call that may have woken some and goes on, so that the
/// timer knows of them.
#[inline]
pub(crate) fn wake_waiters() {
    match LINUX.take_woken() {
        Keys::NONE => {}
        woken => process::wake(woken),
    }
}

fn save(process: &Process, regs: &PtRegs) {
    process.regs.set(*regs);
    // A program may have changed them itself, with `wrfsbase`.
    process.fs_base.set(x86::rdmsr(msr::FS_BASE));
    process.gs_base.set(x86::rdmsr(msr::GS_BASE));
    fpu::save(process);
}

fn load(index: usize, regs: &mut PtRegs) {
    vmstat::count(Item::NrSwitches, 1);
    process::set_current(index);
    let process = process::current();
    *regs = process.regs.get();
    set_fs_base(process.fs_base.get());
    set_gs_base(process.gs_base.get());
    fpu::load(process);
    enter_address_space(process::current_mm());
    MEMORY.set_current_pid(process.pid.get());
    begin_to_run();
    preempt::at_cpu_deadline();
}

/// Makes an address space the one in use. Threads that share it switch without losing what the TLB has of it.
pub(crate) fn enter_address_space(mm: MmId) {
    let root = MEMORY.pgd(mm).phys();
    if x86::read_cr3() == root {
        return;
    }
    // SAFETY: the root of a living address space; `Platform::init_root` gave it the kernel's half.
    unsafe { x86::write_cr3(root) };
}

/// Leaves the running process's address space for the kernel's own root, so that it can be freed.
pub(crate) fn leave_address_space() {
    // SAFETY: the root that every other root's upper half was copied from.
    unsafe { x86::write_cr3(ram::kernel_root()) };
}

/// Loads the context of the first program, apart from its registers.
pub(crate) fn load_first(index: usize) {
    let mut regs = PtRegs::ZERO;
    load(index, &mut regs);
}

/// Sets the base of FS; `base` is an address of a program.
pub(crate) fn set_fs_base(base: u64) {
    // SAFETY: ring 0 does not use FS; the address is canonical, coming from a check or from the register itself.
    unsafe { x86::wrmsr(msr::FS_BASE, base) };
}

/// Sets the base of GS; `base` is an address of a program.
pub(crate) fn set_gs_base(base: u64) {
    // SAFETY: as for FS.
    unsafe { x86::wrmsr(msr::GS_BASE, base) };
}
