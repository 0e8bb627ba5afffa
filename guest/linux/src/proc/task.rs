//! A process: `status stat statm comm cmdline environ limits oom_score fdinfo` and so on. Source: Linux, fs/proc/array.c, fs/proc/base.c;
//! proc_pid_status(5) and its neighbours. Rule I10.

use core::ops::Range;

use faultlab_mm::Platform;
use faultlab_mm::mmap::RLIM_INFINITY;
use faultlab_mm::task_mmu::{Layout, Sizes};

use super::kernel::NS_PER_TICK;
use super::system::Process;
use super::text::{Hex0, Left, Octal0, Out, Right, put};
use super::what::Show;
use super::{Shows, text};
use crate::cred::Ids;
use crate::{Errno, Linux};

/// KiB of a page.
const KIB: u64 = 4;
/// All capabilities there are. Source: Linux `CAP_LAST_CAP`, 40.
const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

impl<P: Platform> Linux<'_, P> {
    /// Text about a process.
    ///
    /// # Errors
    /// `ESRCH` when it is gone.
    pub(super) fn show_process(&self, show: Show, shows: Shows, out: &mut Out<'_>) -> Result<(), Errno> {
        let process = self.system.process(shows.pid).ok_or(Errno::ESRCH)?;
        match show {
            Show::Status => self.show_status(&process, out),
            Show::Stat => self.show_task_stat(&process, out),
            Show::Statm => self.show_statm(&process, out),
            Show::Comm => put!(out; name_of(&process), "\n"),
            Show::Cmdline => self.show_strings(&process, |layout| layout.arguments, out),
            Show::Auxv => self.show_auxv(&process, out),
            Show::Environ => self.show_strings(&process, |layout| layout.environment, out),
            Show::Limits => show_limits(&process, out),
            Show::Maps => self.show_maps(&process, out),
            Show::Smaps => self.show_smaps(&process, out),
            Show::SmapsRollup => self.show_smaps_rollup(&process, out)?,
            Show::Mounts => self.show_mounts(out),
            Show::Mountinfo => self.show_mountinfo(out),
            Show::OomScoreAdj => put!(out; process.oom_score_adj, "\n"),
            Show::OomScore => self.show_oom_score(&process, out),
            Show::FdInfo => self.show_fdinfo(&process, shows.descriptor, out)?,
            Show::Wchan => put!(out; "0"),
        }
        Ok(())
    }

    fn sizes(&self, process: &Process) -> Sizes {
        process.mm.map_or(Sizes::default(), |mm| self.memory.mm_sizes(mm))
    }

    fn layout(&self, process: &Process) -> Layout {
        process.mm.map_or(
            Layout {
                start_brk: 0,
                start_stack: 0,
                arguments: 0..0,
                environment: 0..0,
            },
            |mm| self.memory.mm_layout(mm),
        )
    }

    fn show_status(&self, process: &Process, out: &mut Out<'_>) {
        let state = match process.state {
            b'R' => "R (running)",
            b'S' => "S (sleeping)",
            b'T' => "T (stopped)",
            b'D' => "D (disk sleep)",
            _ => "Z (zombie)",
        };
        put!(out; "Name:\t", name_of(process), "\nUmask:\t", Octal0(u64::from(process.fs.umask), 4), "\nState:\t", state);
        put!(out; "\nTgid:\t", process.tgid, "\nNgid:\t0\nPid:\t", process.pid, "\nPPid:\t", process.parent, "\nTracerPid:\t0\n");
        for (name, Ids { real, effective, saved }) in [("Uid:", process.cred.user), ("Gid:", process.cred.group)] {
            // That for file systems is the effective one.
            put!(out; name, "\t", real, "\t", effective, "\t", saved, "\t", effective, "\n");
        }
        let slots = process.files.map_or(0, |table| self.table_slots(table));
        put!(out; "FDSize:\t", slots, "\nGroups:\t");
        for (index, group) in self.groups(process.groups).enumerate() {
            put!(out; if index == 0 { "" } else { " " }, group);
        }
        put!(out; " \nNStgid:\t", process.tgid, "\nNSpid:\t", process.pid, "\nNSpgid:\t", process.group);
        put!(out; "\nNSsid:\t", process.session, "\nKthread:\t0\n");
        if process.mm.is_some() {
            self.show_sizes(process, out);
        }
        put!(out; "Threads:\t", process.threads, "\nSigQ:\t0/0\n");
        let sets = ["SigPnd:\t", "ShdPnd:\t", "SigBlk:\t", "SigIgn:\t", "SigCgt:\t"];
        for (name, set) in sets.into_iter().zip(self.system.signals(process.pid)) {
            put!(out; name, Hex0(set, 16), "\n");
        }
        let capabilities = if process.cred.privileged() { ALL_CAPABILITIES } else { 0 };
        put!(out; "CapInh:\t", Hex0(0, 16), "\nCapPrm:\t", Hex0(capabilities, 16), "\nCapEff:\t", Hex0(capabilities, 16));
        put!(out; "\nCapBnd:\t", Hex0(ALL_CAPABILITIES, 16), "\nCapAmb:\t", Hex0(0, 16), "\nNoNewPrivs:\t0\nSeccomp:\t0\n");
        put!(out; "Cpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
        put!(out; "voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n");
    }

    fn show_sizes(&self, process: &Process, out: &mut Out<'_>) {
        let sizes = self.sizes(process);
        let mut line = |name: &str, pages: u64| put!(out; name, "\t", Right(pages * KIB, 8), " kB\n");
        let resident = sizes.anon + sizes.file + sizes.shmem;
        // The most that there was is not remembered.
        line("VmPeak:", sizes.total);
        line("VmSize:", sizes.total);
        line("VmLck:", sizes.locked);
        line("VmPin:", 0);
        line("VmHWM:", resident);
        line("VmRSS:", resident);
        line("RssAnon:", sizes.anon);
        line("RssFile:", sizes.file);
        line("RssShmem:", sizes.shmem);
        line("VmData:", sizes.data);
        line("VmStk:", sizes.stack);
        line("VmExe:", sizes.exec);
        line("VmLib:", 0);
        line("VmPTE:", sizes.tables);
        line("VmSwap:", sizes.swap);
        let thp = u64::from(process.mm.is_some_and(|mm| !self.memory.thp_disabled(mm)));
        line("HugetlbPages:", sizes.hugetlb);
        put!(out; "CoreDumping:\t0\nTHP_enabled:\t", thp, "\nuntag_mask:\t0xffffffffffffffff\n");
    }

    fn show_statm(&self, process: &Process, out: &mut Out<'_>) {
        let sizes = self.sizes(process);
        let shared = sizes.file + sizes.shmem;
        put!(out; sizes.total, " ", sizes.anon + shared, " ", shared, " ", sizes.exec, " 0 ", sizes.data + sizes.stack, " 0\n");
    }

    fn show_task_stat(&self, process: &Process, out: &mut Out<'_>) {
        const PAGE_BYTES: u64 = 4096;
        let (sizes, layout) = (self.sizes(process), self.layout(process));
        let ticks = |ns: u64| ns / NS_PER_TICK;
        put!(out; process.pid, " (", name_of(process), ") ", &[process.state][..], " ", process.parent, " ", process.group);
        // No terminal; flags are the kernel's own affair.
        put!(out; " ", process.session, " 0 -1 0 ", process.faults[0], " 0 ", process.faults[1], " 0");
        for ns in process.times_ns.into_iter().chain(process.children_ns) {
            put!(out; " ", ticks(ns));
        }
        let resident = sizes.anon + sizes.file + sizes.shmem;
        put!(out; " 20 0 ", process.threads, " 0 ", ticks(process.start_ns), " ", sizes.total * PAGE_BYTES, " ", resident);
        put!(out; " ", process.limits.get(5).map_or(RLIM_INFINITY, |limit| limit.soft), " 0 0 ", layout.start_stack, " 0 0");
        let [_, pending, blocked, ignored, caught] = self.system.signals(process.pid);
        for set in [pending, blocked, ignored, caught] {
            // Only the first 31 have room here.
            put!(out; " ", set & 0x7fff_ffff);
        }
        put!(out; " 0 0 0 17 0 0 0 0 0 0 0 0 ", layout.start_brk, " ", layout.arguments.start, " ", layout.arguments.end);
        put!(out; " ", layout.environment.start, " ", layout.environment.end, " 0\n");
    }

    /// The strings that a process was started with, as they are now in its memory.
    fn show_strings(&self, process: &Process, of: impl Fn(Layout) -> Range<u64>, out: &mut Out<'_>) {
        let Some(mm) = process.mm else { return };
        let mut range = of(self.memory.mm_layout(mm));
        let mut bytes = [0; 128];
        while !range.is_empty() {
            let len = (range.end - range.start).min(bytes.len() as u64) as usize;
            if self.memory.copy_from_user(mm, &mut bytes[..len], range.start).is_err() {
                return;
            }
            (out.0)(&bytes[..len]);
            range.start += len as u64;
        }
    }

    /// The auxiliary vector: behind the pointers to arguments and environment.
    fn show_auxv(&self, process: &Process, out: &mut Out<'_>) {
        const PAIRS_MAX: usize = 64;
        let Some(mm) = process.mm else { return };
        let mut at = self.memory.mm_layout(mm).start_stack;
        let mut word = || {
            let mut bytes = [0; 8];
            let read = self.memory.copy_from_user(mm, &mut bytes, at);
            at += 8;
            read.is_ok().then_some(u64::from_le_bytes(bytes))
        };
        let Some(arguments) = word() else { return };
        // The arguments with their null pointer, then the environment with its.
        if (0..=arguments).any(|_| word().is_none()) {
            return;
        }
        while word().is_some_and(|pointer| pointer != 0) {}
        for _ in 0..PAIRS_MAX {
            let (Some(kind), Some(value)) = (word(), word()) else {
                return;
            };
            (out.0)(&kind.to_le_bytes());
            (out.0)(&value.to_le_bytes());
            if kind == 0 {
                return;
            }
        }
    }

    /// Between 0 and 2000: a thousandth of all memory counts 1. Source: Linux `proc_oom_score`.
    fn show_oom_score(&self, process: &Process, out: &mut Out<'_>) {
        let total = (self.memory.totalram_pages() + self.memory.total_swap_pages()).max(1);
        let pages = process.mm.map_or(0, |mm| self.memory.footprint(mm).pages());
        let points = i64::from(process.oom_score_adj) + (pages * 1000 / total).cast_signed();
        let score = if process.oom_score_adj <= -1000 {
            0
        } else {
            (1000 + points).max(0) * 2 / 3
        };
        put!(out; score, "\n");
    }

    fn show_fdinfo(&self, process: &Process, descriptor: u16, out: &mut Out<'_>) -> Result<(), Errno> {
        let table = process.files.ok_or(Errno::ENOENT)?;
        let file = self.get_any(table, u64::from(descriptor)).map_err(|_| Errno::ENOENT)?;
        let inode = file.inode();
        let mount = inode.and_then(|inode| self.object(inode).i_sb());
        let cloexec = if self.closes_on_exec(table, u64::from(descriptor)) {
            0o2_000_000
        } else {
            0
        };
        put!(out; "pos:\t", file.f_pos(), "\nflags:\t0", Octal0(file.f_flags() & u64::from(u32::MAX) | cloexec, 1), "\nmnt_id:\t");
        put!(out; mount.map_or(1, |sb| self.super_block(sb).s_dev()), "\nino:\t");
        put!(out; inode.map_or(0, |inode| self.memory.getattr(inode).ino), "\n");
        Ok(())
    }

    /// Writes that a process's files take: its name, and what is added to its badness.
    ///
    /// # Errors
    /// `EINVAL` for what cannot be written or is malformed; `ESRCH` when the process is gone.
    pub(super) fn write_process(&self, show: Show, shows: Shows, bytes: &[u8], len: u64) -> Result<u64, Errno> {
        let process = self.system.process(shows.pid).ok_or(Errno::ESRCH)?;
        match show {
            Show::Comm => {
                let (_, own) = self.system.current();
                if own != process.tgid {
                    return Err(Errno::EINVAL);
                }
                let mut comm = [0; 16];
                let end = bytes.len().min(comm.len() - 1);
                comm[..end].copy_from_slice(&bytes[..end]);
                self.system.set_comm(shows.pid, comm);
                Ok(len)
            }
            Show::OomScoreAdj => {
                let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
                let value: i32 = text.trim().parse().map_err(|_| Errno::EINVAL)?;
                if !(-1000..=1000).contains(&value) {
                    return Err(Errno::EINVAL);
                }
                self.system.set_oom_score_adj(shows.pid, value);
                Ok(len)
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

fn name_of(process: &Process) -> &[u8] {
    let end = process.comm.iter().position(|&byte| byte == 0);
    &process.comm[..end.unwrap_or(process.comm.len())]
}

fn show_limits(process: &Process, out: &mut Out<'_>) {
    /// Names and units, in the order of their numbers. Source: Linux, fs/proc/base.c (`lnames`).
    const NAMES: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    put!(out; "Limit                     Soft Limit           Hard Limit           Units     \n");
    for (number, (name, unit)) in (0..).zip(NAMES) {
        let Some(limit) = process.limits.get(number) else {
            return;
        };
        put!(out; Left(name, 25), " ");
        for value in [limit.soft, limit.hard] {
            if value == RLIM_INFINITY {
                put!(out; "unlimited            ");
            } else {
                let digits = text::Digits::new(value, 10);
                let digits = core::str::from_utf8(digits.as_bytes()).unwrap_or_default();
                put!(out; Left(digits, 20), " ");
            }
        }
        put!(out; Left(unit, 10), "\n");
    }
}
