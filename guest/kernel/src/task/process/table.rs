//! The table of processes: who there is, who runs, how many can, and process 1 behind the others.

use core::cell::Cell;

use faultlab_linux::fdtable::TableId;
use faultlab_linux::limits::Limits;
use faultlab_linux::wait::Keys;
use faultlab_mm::ipc::Caller;
use faultlab_mm::vma::MmId;

use super::{COMM_BYTES, FIRST_PID, INIT_PID, PROCESSES_MAX, Process, State};
use crate::cpu::fpu;
use crate::dev::clock;
use crate::global::Global;
use crate::mem::platform::LINUX;
use crate::report::trace;
use crate::task::times;

/// The last slot is init's.
pub(super) static TABLE: Global<[Process; PROCESSES_MAX + 1]> =
    Global::new([const { Process::free() }; PROCESSES_MAX + 1]);
/// The running process, and its slot.
static CURRENT: Global<Cell<&'static Process>> = Global::new(Cell::new(&TABLE.get_ref()[0]));
static CURRENT_INDEX: Global<Cell<usize>> = Global::new(Cell::new(0));
static NEXT_PID: Global<Cell<u32>> = Global::new(Cell::new(FIRST_PID));
/// Slots from this one on have never been used.
static USED: Global<Cell<usize>> = Global::new(Cell::new(0));

/// Processes in [`State::Runnable`].
pub(super) static RUNNABLE: Global<Cell<u32>> = Global::new(Cell::new(0));

/// How many processes can run, the running one included.
#[inline]
pub(crate) fn runnable() -> u32 {
    RUNNABLE.get()
}

/// Processes with a deadline.
static SLEEPERS: Global<Cell<u32>> = Global::new(Cell::new(0));
/// No deadline that is to come is before this.
static FIRST_DEADLINE: Global<Cell<u64>> = Global::new(Cell::new(u64::MAX));

/// Sets when a process's call is over, or that it is in none.
pub(crate) fn set_deadline(process: &Process, deadline: Option<u64>) {
    let count = |deadline: Option<u64>| u32::from(deadline.is_some());
    if let Some(deadline) = deadline {
        FIRST_DEADLINE.set(FIRST_DEADLINE.get().min(deadline));
    }
    SLEEPERS.set(SLEEPERS.get() + count(deadline) - count(process.deadline.replace(deadline)));
}

/// A time before which no deadline is over. It may be early.
pub(crate) fn first_deadline() -> u64 {
    FIRST_DEADLINE.get()
}

/// All deadlines were looked at: this is the first that is still to come.
pub(crate) fn set_first_deadline(first: Option<u64>) {
    FIRST_DEADLINE.set(first.unwrap_or(u64::MAX));
}

/// Whether any process has a deadline.
pub(crate) fn any_sleeps() -> bool {
    SLEEPERS.get() != 0
}

/// Lets those go on that wait on queues that were woken.
#[cold]
pub(crate) fn wake(woken: Keys) {
    let waits = |process: &&Process| process.state.get() == State::Waiting && process.waiter.keys().meets(woken);
    for process in table().iter().filter(waits) {
        process.state.set(State::Runnable);
    }
}

/// Every slot of the table that was ever used.
pub(crate) fn table() -> &'static [Process] {
    &TABLE[..USED.get()]
}

/// Slot of the running process.
pub(crate) fn current_index() -> usize {
    CURRENT_INDEX.get()
}

/// Makes the process in slot `index` the running one; `sched` loads its context.
pub(crate) fn set_current(index: usize) {
    CURRENT.set(&TABLE[index]);
    CURRENT_INDEX.set(index);
    trace::switched();
}

/// The running process.
#[inline(always)]
pub(crate) fn current() -> &'static Process {
    CURRENT.get()
}

/// Its address space.
///
/// # Panics
/// When it has none: only a process that ended has none, and that does not run.
#[inline(always)]
pub(crate) fn current_mm() -> MmId {
    match current().mm.get() {
        Some(mm) => mm,
        None => panic!("the running process has no address space"),
    }
}

/// Its descriptors.
///
/// # Panics
/// As [`current_mm`].
#[inline(always)]
pub(crate) fn current_files() -> TableId {
    match current().files.get() {
        Some(files) => files,
        None => panic!("the running process has no descriptors"),
    }
}

/// A free slot, as that of the only thread of a process with a new number.
pub(crate) fn alloc() -> Option<(usize, &'static Process)> {
    let free = |process: &Process| process.state.get() == State::Free;
    let index = table().iter().position(free).unwrap_or(USED.get());
    let process = TABLE[..PROCESSES_MAX].get(index)?;
    USED.set(USED.get().max(index + 1));
    // Numbers of 32 bits do not come round before the machine ends.
    let number = NEXT_PID.get();
    NEXT_PID.set(number + 1);
    process.pid.set(number);
    process.tid.set(number);
    process.index.set(index);
    process.leader.set(index);
    process.threads.set(1);
    process.started.set(clock::monotonic_ns());
    Some((index, process))
}

/// The number given last.
pub(crate) fn last_pid() -> u32 {
    NEXT_PID.get() - 1
}

/// Makes a new thread one of the process that another is of.
pub(crate) fn join(new: &Process, other: &Process) {
    let leader = other.leader();
    new.pid.set(leader.pid.get());
    new.leader.set(other.leader.get());
    leader.threads.set(leader.threads.get() + 1);
}

/// The running thread, the last of its process, goes on in the slot and with the number of the first, which has ended.
pub(crate) fn take_place_of_leader(thread: &Process) {
    let leader = thread.leader();
    leader.mm.set(thread.mm.take());
    leader.files.set(thread.files.take());
    leader.fs.set(thread.fs.take());
    leader.exe.set(thread.exe.take());
    leader.cred.set(thread.cred.get());
    leader.groups.set(thread.groups.take());
    leader.vforked_by.set(thread.vforked_by.take());
    leader.clear_child_tid.set(thread.clear_child_tid.take());
    leader.robust_list.set(thread.robust_list.take());
    leader.rseq.set(thread.rseq.take());
    leader.interrupted.set(thread.interrupted.get());
    times::ended(thread);
    fpu::move_room(thread, leader);
    LINUX.move_signals(&thread.signals, &leader.signals);
    thread.state.set(State::Free);
    leader.state.set(State::Runnable);
    set_current(thread.leader.get());
}

/// The stand-in for init: it waits for ever, and no signal reaches it, because none of its threads could take one.
pub(crate) fn init() -> &'static Process {
    &TABLE[PROCESSES_MAX]
}

/// Gives init what others see of it.
pub(crate) fn start_init() {
    let init = init();
    for number in [&init.pid, &init.tid, &init.group, &init.session] {
        number.set(INIT_PID);
    }
    for slot in [&init.index, &init.leader] {
        slot.set(PROCESSES_MAX);
    }
    let mut comm = [0; COMM_BYTES];
    comm[..4].copy_from_slice(b"init");
    init.comm.set(comm);
    init.limits.set(Limits::INIT);
    init.state.set(State::Waiting);
}

/// Who is told of a process's end: nobody, if that is init or outside.
pub(crate) fn parent_of(process: &Process) -> Option<&'static Process> {
    let parent = process.parent.get();
    find(parent).filter(|_| parent != INIT_PID)
}

/// The process with this number, by its first thread: it lives, or somebody has to be told of its end.
pub(crate) fn find(pid: u32) -> Option<&'static Process> {
    find_thread(pid).filter(|process| process.is_leader())
}

/// The thread with this number, living or zombie.
pub(crate) fn find_thread(tid: u32) -> Option<&'static Process> {
    let in_table = table()
        .iter()
        .find(|process| process.tid.get() == tid && process.state.get() != State::Free);
    in_table.or_else(|| (tid == INIT_PID).then(init))
}

/// Who asks, for calls that check permissions.
pub(crate) fn caller() -> Caller {
    let cred = current().cred.get();
    Caller {
        pid: current().pid.get(),
        euid: cred.user.effective,
        egid: cred.group.effective,
    }
}
