//! Which process runs: the next runnable one, in turn, when the running one waits, yields or ends.
//!
//! Source: Linux, arch/x86/kernel/process_64.c, `__switch_to` (what a switch has to carry).

use core::cell::Cell;

use faultlab_abi::lab::panic_reason;
use faultlab_abi::vmstat::Item;
use faultlab_kernel::line;
use faultlab_linux::wait::Keys;
use faultlab_mm::vma::MmId;

use crate::entry::PtRegs;
use crate::global::Global;
use crate::platform::{LINUX, MEMORY};
use crate::process::{self, Process, State};
use crate::x86::msr;
use crate::{clock, fpu, lab, panic, preempt, ram, terminal, vmstat, x86};

/// Time-stamp counter when the running process was switched to.
static SINCE: Global<Cell<u64>> = Global::new(Cell::new(0));

/// For how long the running process has run, in nanoseconds.
pub(crate) fn ran_ns() -> u64 {
    clock::ns_of_ticks(x86::rdtsc().wrapping_sub(SINCE.get()))
}

/// Saves the running process, whose registers are `regs`, and continues with another in `regs`; with the same, if no
/// other can run.
pub(crate) fn yield_now(regs: &mut PtRegs) {
    let from = process::current_index();
    let to = next_runnable(from);
    if to != from {
        save(process::current(), regs);
        load(to, regs);
    }
}

/// Continues in `regs` with some process, after the running one ended.
pub(crate) fn leave_ended(regs: &mut PtRegs) {
    load(next_runnable(process::current_index()), regs);
}

/// The next process in turn after `from`; `from` itself comes last. Waits for the first deadline if none can run.
fn next_runnable(from: usize) -> usize {
    wake_waiters();
    let mut first = wake_sleepers();
    while process::runnable() == 0 {
        match first {
            Some(deadline) => lab::idle(deadline.saturating_sub(clock::monotonic_ns())),
            None if terminal::may_wake() => lab::idle(u64::MAX),
            None => panic::stop(panic_reason::DEADLOCK, &line!["deadlock: every process waits"]),
        }
        terminal::look();
        wake_waiters();
        first = wake_sleepers();
    }
    if let Some(deadline) = first {
        preempt::at(deadline);
    }
    let table = process::table();
    let can_run = |process: &Process| process.state.get() == State::Runnable;
    let (before, after) = table.split_at((from + 1).min(table.len()));
    let next = after.iter().position(can_run).map(|index| before.len() + index);
    next.or_else(|| before.iter().position(can_run)).unwrap_or(from)
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

/// Lets those go on whose deadline is over; they find that out themselves. Returns the first of the others' deadlines.
pub(crate) fn wake_sleepers() -> Option<u64> {
    if !process::any_sleeps() {
        return None;
    }
    let now = clock::monotonic_ns();
    let mut first = None;
    for process in process::table() {
        match process.deadline.get() {
            Some(deadline) if deadline > now => first = Some(first.map_or(deadline, |first| deadline.min(first))),
            Some(_) if process.state.get() == State::Waiting => process.state.set(State::Runnable),
            _ => {}
        }
    }
    first
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
    SINCE.set(x86::rdtsc());
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
