//! What `/proc` shows of the kernel: processes, time, the processor. Source: Linux, fs/proc/array.c, arch/x86/kernel/cpu/proc.c.

use core::cell::Cell;

use faultlab_abi::layout::CMDLINE_MAX_BYTES;
use faultlab_abi::vmstat::Item;
use faultlab_linux::groups::GroupsId;
use faultlab_linux::owner::{Notice, Who};
use faultlab_linux::proc::{Cpu, Process as Shown, System};
use faultlab_linux::signal::{Handler, Signal};
use faultlab_linux::vfs::Fs;

use crate::cpu::x86;
use crate::dev::{clock, random};
use crate::global::Global;
use crate::mem::platform::LINUX;
use crate::mem::ram;
use crate::report::vmstat;
use crate::task::process::{self, COMM_BYTES, Process, State};
use crate::task::{notice, times};

/// The kernel, as the system-call layer sees it.
#[derive(Debug)]
pub(crate) struct Kernel;

static COMMAND_LINE: Global<Cell<([u8; CMDLINE_MAX_BYTES], usize)>> =
    Global::new(Cell::new(([0; CMDLINE_MAX_BYTES], 0)));

/// Keeps the kernel's command line, whose memory is about to be used otherwise.
pub(crate) fn keep_command_line(line: &[u8]) {
    let mut bytes = [0; CMDLINE_MAX_BYTES];
    let len = line.len().min(bytes.len());
    bytes[..len].copy_from_slice(&line[..len]);
    COMMAND_LINE.set((bytes, len));
}

fn living() -> impl Iterator<Item = &'static Process> {
    core::iter::once(process::init())
        .chain(process::table())
        .filter(|process| process.state.get() != State::Free)
}

/// Sets of ignored and of caught signals.
fn handled(process: &Process) -> [u64; 2] {
    let mut sets = [0; 2];
    for number in 1..=64 {
        let Some(signal) = Signal::new(number) else { continue };
        match LINUX.action(&process.signals, signal).handler {
            Handler::Ignore => sets[0] |= 1 << (number - 1),
            Handler::Default => {}
            _ => sets[1] |= 1 << (number - 1),
        }
    }
    sets
}

fn state(process: &Process) -> u8 {
    match process.state.get() {
        State::Runnable => b'R',
        State::Waiting => b'S',
        State::Vfork => b'D',
        State::Stopped => b'T',
        State::Zombie(_) | State::Free => b'Z',
    }
}

impl System for Kernel {
    fn current(&self) -> (u32, u32) {
        (process::current().tid.get(), process::current().pid.get())
    }

    fn next_group(&self, from: u32) -> Option<u32> {
        living().map(|thread| thread.pid.get()).filter(|&pid| pid >= from).min()
    }

    fn next_thread(&self, tgid: u32, from: u32) -> Option<u32> {
        living()
            .filter(|thread| thread.pid.get() == tgid)
            .map(|thread| thread.tid.get())
            .filter(|&tid| tid >= from)
            .min()
    }

    fn process(&self, pid: u32) -> Option<Shown> {
        let process = process::find_thread(pid)?;
        let leader = process.leader();
        let used = if process.is_leader() {
            times::of_process(process)
        } else {
            times::of_thread(process)
        };
        Some(Shown {
            pid,
            tgid: process.pid.get(),
            parent: process.parent.get(),
            group: leader.group.get(),
            session: leader.session.get(),
            comm: process.comm.get(),
            state: state(process),
            mm: process.mm.get(),
            files: process.files.get(),
            fs: process.fs.get().map_or(Fs::NONE, |fs| LINUX.fs(fs)),
            exe: process.exe.get(),
            cred: process.cred.get(),
            groups: process.groups.get(),
            limits: leader.limits.get(),
            threads: leader.threads.get().max(1),
            start_ns: process.started.get(),
            times_ns: [used.cpu_ns(), 0],
            children_ns: [leader.times.children().cpu_ns(), 0],
            faults: [used.minor_faults, used.major_faults],
            oom_score_adj: leader.oom_score_adj.get(),
        })
    }

    fn signals(&self, pid: u32) -> [u64; 5] {
        process::find_thread(pid).map_or([0; 5], |process| {
            let [ignored, caught] = handled(process);
            let signals = &process.signals;
            let shared = process.leader().shared.pending();
            [signals.pending().0, shared.0, signals.blocked().0, ignored, caught]
        })
    }

    fn groups(&self) -> Option<GroupsId> {
        process::current().groups.get()
    }

    fn pending(&self) -> u64 {
        let own = process::current();
        own.signals.pending().0 | own.leader().shared.pending().0
    }

    fn uptime_ns(&self) -> [u64; 2] {
        [clock::monotonic_ns(), 0]
    }

    fn boot_s(&self) -> u64 {
        (clock::realtime_ns() - clock::monotonic_ns()) / 1_000_000_000
    }

    fn tasks(&self) -> [u64; 5] {
        let last = u64::from(process::last_pid());
        let running = living()
            .filter(|process| process.state.get() == State::Runnable)
            .count() as u64;
        let switches = vmstat::value(Item::NrSwitches);
        [last, switches, running, living().count() as u64, last]
    }

    fn cpu(&self) -> Cpu {
        let [level, b, c, d] = x86::cpuid(0);
        let [signature, ..] = x86::cpuid(1);
        let mut cpu = Cpu {
            vendor: [0; 12],
            signature: decoded(signature),
            brand: [0; 48],
            level,
            khz: clock::khz(),
            flags: "fpu vme de pse tsc msr pae mce cx8 pge cmov pat clflush mmx fxsr sse sse2 syscall nx lm",
            address_bits: [48; 2],
        };
        for (to, word) in cpu.vendor.chunks_exact_mut(4).zip([b, d, c]) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        let words = (0x8000_0002..=0x8000_0004).flat_map(x86::cpuid);
        for (to, word) in cpu.brand.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        let [bits, ..] = x86::cpuid(0x8000_0008);
        if bits != 0 {
            cpu.address_bits = [bits & 0xff, bits >> 8 & 0xff];
        }
        cpu
    }

    fn command_line(&self, to: &mut [u8]) -> usize {
        let (bytes, len) = COMMAND_LINE.get();
        let len = len.min(to.len());
        to[..len].copy_from_slice(&bytes[..len]);
        len
    }

    fn random(&self) -> u64 {
        random::next()
    }

    fn stack_pages(&self) -> u64 {
        ram::STACK_PAGES
    }

    fn set_comm(&self, pid: u32, comm: [u8; COMM_BYTES]) {
        if let Some(process) = process::find_thread(pid) {
            process.comm.set(comm);
        }
    }

    fn set_oom_score_adj(&self, pid: u32, adj: i32) {
        if let Some(process) = process::find_thread(pid) {
            process.leader().oom_score_adj.set(adj);
        }
    }

    fn exists(&self, who: Who, number: u32) -> bool {
        notice::exists(who, number)
    }

    fn tell(&self, told: &Notice) {
        notice::tell(told);
    }
}

/// Family, model, stepping. Source: AMD APM vol. 3, "CPUID Fn0000_0001_EAX".
fn decoded(signature: u32) -> [u32; 3] {
    let (family, model, stepping) = (signature >> 8 & 15, signature >> 4 & 15, signature & 15);
    if family == 15 {
        return [
            family + (signature >> 20 & 0xff),
            (signature >> 16 & 15) << 4 | model,
            stepping,
        ];
    }
    [
        family,
        if family == 6 {
            (signature >> 16 & 15) << 4 | model
        } else {
            model
        },
        stepping,
    ]
}
