//! What proc shows of the kernel: who runs, and since when. The kernel implements it; tests have their own.

use core::fmt::Debug;

use faultlab_mm::shmem::InodeId;
use faultlab_mm::vma::MmId;

use crate::cred::Cred;
use crate::fdtable::TableId;
use crate::groups::GroupsId;
use crate::limits::Limits;
use crate::owner::{Notice, Who};
use crate::vfs::Fs;

/// A process or thread.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// That of its thread group.
    pub tgid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// Name, NUL-padded.
    pub comm: [u8; 16],
    /// State: `R`, `S`, `D`, `T`, `Z`.
    pub state: u8,
    /// Address space; none after its end.
    pub mm: Option<MmId>,
    /// Descriptors; none after its end.
    pub files: Option<TableId>,
    /// Working directory and mask.
    pub fs: Fs,
    /// The program that it runs.
    pub exe: Option<InodeId>,
    /// Ids.
    pub cred: Cred,
    /// Supplementary groups.
    pub groups: Option<GroupsId>,
    /// Resource limits.
    pub limits: Limits,
    /// Threads of its group.
    pub threads: u32,
    /// When it began, nanoseconds since boot.
    pub start_ns: u64,
    /// Time in ring 3 and ring 0, nanoseconds.
    pub times_ns: [u64; 2],
    /// The same of its children that were waited for.
    pub children_ns: [u64; 2],
    /// Minor and major faults.
    pub faults: [u64; 2],
    /// What is added to its badness when memory runs out, in thousandths.
    pub oom_score_adj: i32,
}

/// The processor.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// `CPUID` leaf 0: `EBX`, `EDX`, `ECX`.
    pub vendor: [u8; 12],
    /// Family, model, stepping.
    pub signature: [u32; 3],
    /// Leaves 80000002 to 80000004.
    pub brand: [u8; 48],
    /// Highest basic leaf.
    pub level: u32,
    /// Rate of the time-stamp counter, kHz.
    pub khz: u64,
    /// Names of what it can do, with spaces between.
    pub flags: &'static str,
    /// Physical and virtual address bits.
    pub address_bits: [u32; 2],
}

/// What the kernel knows. All of it is read at one moment.
pub trait System: Debug + Sync {
    /// The thread that asks: its number, and that of its group.
    fn current(&self) -> (u32, u32);
    /// The thread group with the lowest number from `from` on.
    fn next_group(&self, from: u32) -> Option<u32>;
    /// The thread of a group with the lowest number from `from` on.
    fn next_thread(&self, tgid: u32, from: u32) -> Option<u32>;
    /// A process or thread that has not been reaped.
    fn process(&self, pid: u32) -> Option<Process>;
    /// Sets of signals of a process: pending for it, pending for its group, blocked, ignored, caught. Bit 0 is signal 1.
    fn signals(&self, pid: u32) -> [u64; 5];
    /// Supplementary groups of the thread that asks.
    fn groups(&self) -> Option<GroupsId> {
        None
    }
    /// Of the thread that asks: signals pending for it or for its group.
    fn pending(&self) -> u64 {
        let [own, group, ..] = self.signals(self.current().0);
        own | group
    }
    /// Nanoseconds since boot, and of them idle.
    fn uptime_ns(&self) -> [u64; 2];
    /// Seconds since 1970 at boot.
    fn boot_s(&self) -> u64;
    /// Processes made, switches between them, runnable ones, all, and the number given last.
    fn tasks(&self) -> [u64; 5];
    /// The processor.
    fn cpu(&self) -> Cpu;
    /// The kernel's own command line: bytes written to `to`.
    fn command_line(&self, to: &mut [u8]) -> usize;
    /// 64 bits that nobody guesses easily.
    fn random(&self) -> u64;
    /// Pages of the kernel's stacks.
    fn stack_pages(&self) -> u64;
    /// Sets a process's name. Only a thread of the same group may ask.
    fn set_comm(&self, pid: u32, comm: [u8; 16]);
    /// Sets [`Process::oom_score_adj`].
    fn set_oom_score_adj(&self, pid: u32, adj: i32);
    /// Whether there is a thread, process or group with this number.
    fn exists(&self, _who: Who, _number: u32) -> bool {
        false
    }
    /// Sends the signal that a descriptor's owner gets.
    fn tell(&self, _notice: &Notice) {}
}

/// A kernel without processes.
#[derive(Debug)]
pub struct Nobody;

impl System for Nobody {
    fn current(&self) -> (u32, u32) {
        (0, 0)
    }
    fn next_group(&self, _: u32) -> Option<u32> {
        None
    }
    fn next_thread(&self, _: u32, _: u32) -> Option<u32> {
        None
    }
    fn process(&self, _: u32) -> Option<Process> {
        None
    }
    fn signals(&self, _: u32) -> [u64; 5] {
        [0; 5]
    }
    fn uptime_ns(&self) -> [u64; 2] {
        [0; 2]
    }
    fn boot_s(&self) -> u64 {
        0
    }
    fn tasks(&self) -> [u64; 5] {
        [0; 5]
    }
    fn cpu(&self) -> Cpu {
        Cpu {
            vendor: [0; 12],
            signature: [0; 3],
            brand: [0; 48],
            level: 0,
            khz: 0,
            flags: "",
            address_bits: [48; 2],
        }
    }
    fn command_line(&self, _: &mut [u8]) -> usize {
        0
    }
    fn random(&self) -> u64 {
        0
    }
    fn stack_pages(&self) -> u64 {
        0
    }
    fn set_comm(&self, _: u32, _: [u8; 16]) {}
    fn set_oom_score_adj(&self, _: u32, _: i32) {}
}
