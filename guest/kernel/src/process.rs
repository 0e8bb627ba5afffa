//! Processes: saved contexts, and who is whose parent.
//!
//! | state | leaves it by |
//! |---|---|
//! | `Free` | `fork`, or being the first program |
//! | `Runnable` | a call with nothing to report: `Waiting`; a signal: `Stopped`; its end: `Zombie` |
//! | `Waiting` | what it waits for, or a signal: `Runnable`; being killed: `Zombie` |
//! | `Stopped` | `SIGCONT` or `SIGKILL`: `Runnable` |
//! | `Zombie` | its parent's `wait4`, or its parent being init: `Free` |
//!
//! Process 1 is no program: it stands for init, adopts orphans and forgets them when they end. Process 2 is the first
//! program; its end is the end of the machine.
//!
//! Invariant: `CURRENT` is the process whose context is in the registers and whose root is in CR3; its saved context is
//! stale meanwhile.

use core::cell::Cell;

use faultlab_linux::cred::Cred;
use faultlab_linux::fdtable::TableId;
use faultlab_linux::limits::Limits;
use faultlab_linux::signal::{Signal, Signals};
use faultlab_linux::vfs::{Fs, Task};
use faultlab_linux::wait::{Keys, Waiter};
use faultlab_mm::ipc::Caller;
use faultlab_mm::shmem::InodeId;
use faultlab_mm::vma::MmId;

use crate::entry::PtRegs;
use crate::fpu::FpuState;
use crate::global::Global;
use crate::{clock, preempt, trace};

/// Most processes at a time.
pub(crate) const PROCESSES_MAX: usize = 64;
/// The stand-in for init.
pub(crate) const INIT_PID: u32 = 1;
/// The first program.
pub(crate) const FIRST_PID: u32 = 2;
/// Bytes of a process's name, NUL-padded. Source: Linux `TASK_COMM_LEN`.
pub(crate) const COMM_BYTES: usize = 16;

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No process.
    Free,
    /// Runs, or could.
    Runnable,
    /// In a call that waits.
    Waiting,
    /// Until it is told to go on.
    Stopped,
    /// Ended, with this wait status.
    Zombie(i32),
}

/// What a process's parent has not been told by `wait4` yet, besides its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Report {
    /// Nothing.
    #[default]
    Nothing,
    /// It was stopped by this signal.
    Stopped(i32),
    /// It goes on.
    Continued,
}

/// Which call a process was in when it was made to wait; it makes it again when it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// None.
    #[default]
    Nothing,
    /// One that fails with `EINTR` after a handler, unless the action has `SA_RESTART`.
    Restartable,
    /// One that fails after any handler.
    Once,
}

/// The state of a process. Those that can run are counted, so that one that runs alone is left alone.
pub(crate) struct StateCell(Cell<State>);

impl StateCell {
    const fn new() -> Self {
        Self(Cell::new(State::Free))
    }

    #[inline]
    pub(crate) fn get(&self) -> State {
        self.0.get()
    }

    pub(crate) fn set(&self, state: State) {
        match (self.0.replace(state), state) {
            (State::Runnable, State::Runnable) => {}
            (State::Runnable, _) => RUNNABLE.set(RUNNABLE.get() - 1),
            (_, State::Runnable) => {
                RUNNABLE.set(RUNNABLE.get() + 1);
                if RUNNABLE.get() > 1 {
                    preempt::contended();
                }
            }
            _ => {}
        }
    }
}

/// One process.
pub(crate) struct Process {
    pub(crate) pid: Cell<u32>,
    pub(crate) parent: Cell<u32>,
    pub(crate) state: StateCell,
    pub(crate) mm: Cell<Option<MmId>>,
    pub(crate) files: Cell<Option<TableId>>,
    pub(crate) fs: Cell<Fs>,
    /// The program that it runs.
    pub(crate) exe: Cell<Option<InodeId>>,
    pub(crate) cred: Cell<Cred>,
    pub(crate) limits: Cell<Limits>,
    pub(crate) regs: Cell<PtRegs>,
    pub(crate) fs_base: Cell<u64>,
    pub(crate) gs_base: Cell<u64>,
    pub(crate) comm: Cell<[u8; COMM_BYTES]>,
    pub(crate) signals: Signals,
    pub(crate) interrupted: Cell<Interrupted>,
    /// Error code, vector and CR2 of its last fault.
    pub(crate) fault: Cell<[u64; 3]>,
    /// What its parent gets when it ends.
    pub(crate) exit_signal: Cell<Option<Signal>>,
    /// Its process group.
    pub(crate) group: Cell<u32>,
    /// Its session.
    pub(crate) session: Cell<u32>,
    /// Whether it runs another program than its parent did at the `fork`.
    pub(crate) executed: Cell<bool>,
    pub(crate) report: Cell<Report>,
    /// When a call that it sleeps in is over: monotonic nanoseconds. Set by [`set_deadline`].
    pub(crate) deadline: Cell<Option<u64>>,
    /// When it began, monotonic nanoseconds.
    pub(crate) started: Cell<u64>,
    /// What is added to its badness when memory runs out, in thousandths.
    pub(crate) oom_score_adj: Cell<i32>,
    /// What a call that waits for a descriptor remembers.
    pub(crate) waiter: Waiter,
    pub(crate) fpu: FpuState,
}

impl Process {
    /// All bytes zero, so that the table costs no space in the image.
    const fn free() -> Self {
        Self {
            pid: Cell::new(0),
            parent: Cell::new(0),
            state: StateCell::new(),
            mm: Cell::new(None),
            files: Cell::new(None),
            fs: Cell::new(Fs::NONE),
            exe: Cell::new(None),
            cred: Cell::new(Cred::ROOT),
            limits: Cell::new(Limits::NONE),
            regs: Cell::new(PtRegs::ZERO),
            fs_base: Cell::new(0),
            gs_base: Cell::new(0),
            comm: Cell::new([0; COMM_BYTES]),
            signals: Signals::new(),
            interrupted: Cell::new(Interrupted::Nothing),
            fault: Cell::new([0; 3]),
            exit_signal: Cell::new(None),
            group: Cell::new(0),
            session: Cell::new(0),
            executed: Cell::new(false),
            report: Cell::new(Report::Nothing),
            deadline: Cell::new(None),
            started: Cell::new(0),
            oom_score_adj: Cell::new(0),
            waiter: Waiter::new(),
            fpu: FpuState::new(),
        }
    }

    /// On whose behalf its paths are walked.
    ///
    /// # Panics
    /// If it has no descriptors: it has ended.
    pub(crate) fn task(&self) -> Task {
        let Some(table) = self.files.get() else {
            panic!("process {} has no descriptors", self.pid.get())
        };
        Task {
            cred: self.cred.get(),
            fs: self.fs.get(),
            table,
        }
    }

    /// Its name without padding.
    pub(crate) fn comm_len(&self) -> usize {
        self.comm.get().iter().position(|byte| *byte == 0).unwrap_or(COMM_BYTES)
    }
}

static TABLE: Global<[Process; PROCESSES_MAX]> = Global::new([const { Process::free() }; PROCESSES_MAX]);
/// The running process, and its slot.
static CURRENT: Global<Cell<&'static Process>> = Global::new(Cell::new(&TABLE.get_ref()[0]));
static CURRENT_INDEX: Global<Cell<usize>> = Global::new(Cell::new(0));
static NEXT_PID: Global<Cell<u32>> = Global::new(Cell::new(FIRST_PID));

/// Processes in [`State::Runnable`].
static RUNNABLE: Global<Cell<u32>> = Global::new(Cell::new(0));

/// How many processes can run, the running one included.
#[inline]
pub(crate) fn runnable() -> u32 {
    RUNNABLE.get()
}

/// Processes with a deadline.
static SLEEPERS: Global<Cell<u32>> = Global::new(Cell::new(0));

/// Sets when a process's call is over, or that it is in none.
pub(crate) fn set_deadline(process: &Process, deadline: Option<u64>) {
    let count = |deadline: Option<u64>| u32::from(deadline.is_some());
    SLEEPERS.set(SLEEPERS.get() + count(deadline) - count(process.deadline.replace(deadline)));
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

/// Every slot of the table.
pub(crate) fn table() -> &'static [Process; PROCESSES_MAX] {
    &TABLE
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

/// A free slot, with a new number.
pub(crate) fn alloc() -> Option<(usize, &'static Process)> {
    let (index, process) = TABLE
        .iter()
        .enumerate()
        .find(|(_, process)| process.state.get() == State::Free)?;
    // Numbers of 32 bits do not come round before the machine ends.
    process.pid.set(NEXT_PID.get());
    NEXT_PID.set(NEXT_PID.get() + 1);
    process.started.set(clock::monotonic_ns());
    Some((index, process))
}

/// The number given last.
pub(crate) fn last_pid() -> u32 {
    NEXT_PID.get() - 1
}

/// The living process or zombie with this number.
pub(crate) fn find(pid: u32) -> Option<&'static Process> {
    TABLE
        .iter()
        .find(|process| process.state.get() != State::Free && process.pid.get() == pid)
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
