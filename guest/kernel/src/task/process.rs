//! Processes and their threads: saved contexts, who is whose parent, and who shares what.
//!
//! A [`Process`] is a thread. The first thread of a process, the *leader*, has the process's number as its own, and in its slot is what all
//! threads of the process have in common; the slot stays until all of them ended. What threads, or processes that were cloned so, share
//! besides (address space, descriptors, working directory, actions of signals) are objects that count who has them.
//!
//! | state | leaves it by |
//! |---|---|
//! | `Free` | `clone`, or being the first program |
//! | `Runnable` | a call with nothing to report: `Waiting`; `vfork`: `Vfork`; a signal: `Stopped`; its end: a leader becomes `Zombie`, others `Free` |
//! | `Waiting` | what it waits for, or a signal: `Runnable`; being killed: as from `Runnable` |
//! | `Vfork` | the child's `execve` or end, or `SIGKILL`: `Runnable` |
//! | `Stopped` | `SIGCONT` or `SIGKILL`: `Runnable` |
//! | `Zombie` | when no other thread is left, its parent's `wait4`, or its parent being init: `Free`; another thread's `execve`: `Runnable` |
//!
//! Process 1 is no program: it stands for init, adopts orphans and forgets them when they end. It has a slot behind the table, so that it can be
//! asked about, but is in no walk of the table. Process 2 is the first program; its end is the end of the machine. Its parent is outside, so it
//! has the number 0, like that of a program that was started in a PID namespace from elsewhere: who sees 1 takes itself for an orphan. Source:
//! pid_namespaces(7), getppid(2).
//!
//! Invariant: `CURRENT` is the process whose context is in the registers and whose root is in CR3; its saved context is
//! stale meanwhile.

mod table;

use core::cell::Cell;

use faultlab_linux::cred::Cred;
use faultlab_linux::fdtable::TableId;
use faultlab_linux::fs_struct::FsId;
use faultlab_linux::groups::GroupsId;
use faultlab_linux::limits::Limits;
use faultlab_linux::signal::{Shared, Signal, Signals};
use faultlab_linux::timer::Timers;
use faultlab_linux::vfs::Task;
use faultlab_linux::wait::Waiter;
use faultlab_mm::shmem::InodeId;
use faultlab_mm::vma::MmId;

use table::{RUNNABLE, TABLE};
pub(crate) use table::{
    alloc, any_sleeps, caller, current, current_files, current_index, current_mm, find, find_thread, first_deadline,
    init, join, last_pid, parent_of, runnable, set_current, set_deadline, set_first_deadline, start_init, table,
    take_place_of_leader, wake,
};

use crate::cpu::fpu::FpuState;
use crate::cpu::regs::PtRegs;
use crate::mem::platform::LINUX;
use crate::task::preempt;
use crate::task::rseq::Rseq;
use crate::task::times::Times;

/// Most threads at a time, of all processes.
pub(crate) const PROCESSES_MAX: usize = 256;
/// The stand-in for init.
pub(crate) const INIT_PID: u32 = 1;
/// What the first program sees of who started it.
pub(crate) const OUTSIDE_PID: u32 = 0;
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
    /// Until the child that has its address space has another, or ended.
    Vfork,
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

/// Which call a process was in when it was made to wait; the kernel makes it again when the process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// None.
    #[default]
    Nothing,
    /// One that fails with `EINTR` after a handler, unless the action has `SA_RESTART`.
    Restartable,
    /// One that fails after any handler.
    Once,
    /// One that is made again after any handler.
    Anyway,
    /// One that fails after any signal that was noticed: a handler, or a stop. Source: signal(7), "Interruption of system calls and library
    /// functions by stop signals".
    AtStops,
    /// One of those whose process was stopped meanwhile: it has failed.
    Over,
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

/// One thread.
pub(crate) struct Process {
    /// Number of its process.
    pub(crate) pid: Cell<u32>,
    /// Its own number.
    pub(crate) tid: Cell<u32>,
    /// Its slot.
    index: Cell<usize>,
    /// Slot of its process's first thread.
    leader: Cell<usize>,
    /// Number of its process's parent.
    pub(crate) parent: Cell<u32>,
    pub(crate) state: StateCell,
    pub(crate) mm: Cell<Option<MmId>>,
    pub(crate) files: Cell<Option<TableId>>,
    pub(crate) fs: Cell<Option<FsId>>,
    /// The program that it runs.
    pub(crate) exe: Cell<Option<InodeId>>,
    pub(crate) cred: Cell<Cred>,
    /// Supplementary groups, with one count for each thread that has them.
    pub(crate) groups: Cell<Option<GroupsId>>,
    pub(crate) regs: Cell<PtRegs>,
    pub(crate) fs_base: Cell<u64>,
    pub(crate) gs_base: Cell<u64>,
    pub(crate) comm: Cell<[u8; COMM_BYTES]>,
    pub(crate) signals: Signals,
    pub(crate) interrupted: Cell<Interrupted>,
    /// Error code, vector and CR2 of its last fault.
    pub(crate) fault: Cell<[u64; 3]>,
    /// Number of the thread that waits for it in `vfork`; 0 for none.
    pub(crate) vforked_by: Cell<u32>,
    /// Address of a word to be cleared at its end; 0 for none.
    pub(crate) clear_child_tid: Cell<u64>,
    /// Address of its list of robust futexes; 0 for none.
    pub(crate) robust_list: Cell<u64>,
    /// What it said of its restartable sequences.
    pub(crate) rseq: Cell<Rseq>,
    /// Of a leader: `personality`; kept, and told.
    pub(crate) personality: Cell<u32>,
    /// Of a leader: threads of its process that have not ended.
    pub(crate) threads: Cell<u32>,
    /// Of a leader: with which wait status all threads were ended.
    pub(crate) group_exit: Cell<Option<i32>>,
    /// Of a leader: signals to the process.
    pub(crate) shared: Shared,
    /// Of a leader: limits of the process.
    pub(crate) limits: Cell<Limits>,
    /// Of a leader: what the process's parent gets when it ends.
    pub(crate) exit_signal: Cell<Option<Signal>>,
    /// Of a leader: what the process gets when its parent ends.
    pub(crate) parent_death: Cell<Option<Signal>>,
    /// Of a leader: the process group.
    pub(crate) group: Cell<u32>,
    /// Of a leader: the session.
    pub(crate) session: Cell<u32>,
    /// Of a leader: whether the process runs another program than its parent did at the `fork`.
    pub(crate) executed: Cell<bool>,
    /// Of a leader.
    pub(crate) report: Cell<Report>,
    /// When a call that it sleeps in is over: monotonic nanoseconds. Set by [`set_deadline`].
    pub(crate) deadline: Cell<Option<u64>>,
    /// When it began, monotonic nanoseconds.
    pub(crate) started: Cell<u64>,
    /// What is added to its badness when memory runs out, in thousandths.
    pub(crate) oom_score_adj: Cell<i32>,
    /// Of a leader: the process's, -20 to 19; kept, and told.
    pub(crate) nice: Cell<i32>,
    /// Of a leader: scheduling policy and real-time priority; kept, and told.
    pub(crate) policy: Cell<[u32; 2]>,
    /// Of a leader: the process's.
    pub(crate) timers: Timers,
    pub(crate) times: Times,
    /// What a call that waits for a descriptor remembers.
    pub(crate) waiter: Waiter,
    pub(crate) fpu: FpuState,
}

impl Process {
    /// All bytes zero, so that the table costs no space in the image.
    const fn free() -> Self {
        Self {
            pid: Cell::new(0),
            tid: Cell::new(0),
            index: Cell::new(0),
            leader: Cell::new(0),
            parent: Cell::new(0),
            state: StateCell::new(),
            mm: Cell::new(None),
            files: Cell::new(None),
            fs: Cell::new(None),
            exe: Cell::new(None),
            cred: Cell::new(Cred::ROOT),
            groups: Cell::new(None),
            regs: Cell::new(PtRegs::ZERO),
            fs_base: Cell::new(0),
            gs_base: Cell::new(0),
            comm: Cell::new([0; COMM_BYTES]),
            signals: Signals::new(),
            interrupted: Cell::new(Interrupted::Nothing),
            fault: Cell::new([0; 3]),
            vforked_by: Cell::new(0),
            clear_child_tid: Cell::new(0),
            robust_list: Cell::new(0),
            rseq: Cell::new(Rseq::NONE),
            personality: Cell::new(0),
            threads: Cell::new(0),
            group_exit: Cell::new(None),
            shared: Shared::new(),
            limits: Cell::new(Limits::NONE),
            exit_signal: Cell::new(None),
            parent_death: Cell::new(None),
            group: Cell::new(0),
            session: Cell::new(0),
            executed: Cell::new(false),
            report: Cell::new(Report::Nothing),
            deadline: Cell::new(None),
            started: Cell::new(0),
            oom_score_adj: Cell::new(0),
            nice: Cell::new(0),
            policy: Cell::new([0; 2]),
            timers: Timers::new(),
            times: Times::new(),
            waiter: Waiter::new(),
            fpu: FpuState::new(),
        }
    }

    /// On whose behalf its paths are walked.
    ///
    /// # Panics
    /// If it has no descriptors: it has ended.
    pub(crate) fn task(&self) -> Task {
        let (Some(table), Some(fs)) = (self.files.get(), self.fs.get()) else {
            panic!("thread {} has no descriptors or no directory", self.tid.get())
        };
        Task {
            cred: self.cred.get(),
            fs: LINUX.fs(fs),
            table,
        }
    }

    /// The first thread of its process.
    #[inline(always)]
    pub(crate) fn leader(&self) -> &'static Process {
        &TABLE[self.leader.get()]
    }

    /// Its slot.
    pub(crate) fn index(&self) -> usize {
        self.index.get()
    }

    /// Whether it is the first thread of its process.
    #[inline(always)]
    pub(crate) fn is_leader(&self) -> bool {
        self.tid.get() == self.pid.get()
    }

    /// Whether it has not ended.
    pub(crate) fn lives(&self) -> bool {
        !matches!(self.state.get(), State::Free | State::Zombie(_))
    }

    /// The threads of its process that have not ended.
    pub(crate) fn living_threads(&self) -> impl Iterator<Item = &'static Process> + use<> {
        let pid = self.pid.get();
        let of_it = move |thread: &&Process| thread.pid.get() == pid && thread.lives();
        table().iter().filter(of_it)
    }

    /// Lets all threads of its process that wait look again at what they wait for.
    pub(crate) fn wake_all(&self) {
        let leader = self.leader();
        let wake = |thread: &Process| {
            if thread.state.get() == State::Waiting {
                thread.state.set(State::Runnable);
            }
        };
        wake(leader);
        if leader.threads.get() > 1 {
            leader.living_threads().for_each(wake);
        }
    }

    /// Its name without padding.
    pub(crate) fn comm_len(&self) -> usize {
        self.comm.get().iter().position(|byte| *byte == 0).unwrap_or(COMM_BYTES)
    }
}
