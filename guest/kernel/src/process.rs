//! Processes: saved contexts, and who is whose parent.
//!
//! | state | leaves it by |
//! |---|---|
//! | `Free` | `fork`, or being the first program |
//! | `Runnable` | `wait4` with nothing to report: `Waiting`; its end: `Zombie` |
//! | `Waiting` | the end of a child: `Runnable`; being killed: `Zombie` |
//! | `Zombie` | its parent's `wait4`, or its parent being init: `Free` |
//!
//! Process 1 is no program: it stands for init, adopts orphans and forgets them when they end. Process 2 is the first
//! program; its end is the end of the machine.
//!
//! Invariant: `CURRENT` is the process whose context is in the registers and whose root is in CR3; its saved context is
//! stale meanwhile.

use core::cell::{Cell, UnsafeCell};

use faultlab_linux::cred::Cred;
use faultlab_linux::fdtable::TableId;
use faultlab_linux::limits::Limits;
use faultlab_linux::vfs::Fs;
use faultlab_mm::ipc::Caller;
use faultlab_mm::vma::MmId;

use crate::entry::PtRegs;
use crate::global::Global;
use crate::trace;

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
    /// In `wait4`.
    Waiting,
    /// Ended, with this wait status.
    Zombie(i32),
}

/// x87 and SSE state as `fxsave64` keeps it.
#[repr(C, align(16))]
pub(crate) struct FpuState(pub(crate) UnsafeCell<[u8; 512]>);

/// One process.
pub(crate) struct Process {
    pub(crate) pid: Cell<u32>,
    pub(crate) parent: Cell<u32>,
    pub(crate) state: Cell<State>,
    pub(crate) mm: Cell<Option<MmId>>,
    pub(crate) files: Cell<Option<TableId>>,
    pub(crate) fs: Cell<Fs>,
    pub(crate) cred: Cell<Cred>,
    pub(crate) limits: Cell<Limits>,
    pub(crate) regs: Cell<PtRegs>,
    pub(crate) fs_base: Cell<u64>,
    pub(crate) gs_base: Cell<u64>,
    pub(crate) comm: Cell<[u8; COMM_BYTES]>,
    pub(crate) fpu: FpuState,
}

impl Process {
    /// All bytes zero, so that the table costs no space in the image.
    const fn free() -> Self {
        Self {
            pid: Cell::new(0),
            parent: Cell::new(0),
            state: Cell::new(State::Free),
            mm: Cell::new(None),
            files: Cell::new(None),
            fs: Cell::new(Fs::NONE),
            cred: Cell::new(Cred::ROOT),
            limits: Cell::new(Limits::NONE),
            regs: Cell::new(PtRegs::ZERO),
            fs_base: Cell::new(0),
            gs_base: Cell::new(0),
            comm: Cell::new([0; COMM_BYTES]),
            fpu: FpuState(UnsafeCell::new([0; 512])),
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
    Some((index, process))
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
