//! The machine and its kernel: `stat uptime loadavg version cpuinfo cmdline filesystems devices sysvipc/shm`. Source: Linux, fs/proc/*.c,
//! fs/filesystems.c, ipc/shm.c (`sysvipc_shm_proc_show`); proc_stat(5) and its neighbours. Rules I1, A1 to A62.

use faultlab_mm::Platform;

use super::text::{Hundredths, Octal, Out, Right, put};
use super::tree::{OSRELEASE, VERSION};
use crate::Linux;

/// Nanoseconds of a tick, in which programs are told of times. Source: Linux `USER_HZ`, 100.
pub(super) const NS_PER_TICK: u64 = 10_000_000;

impl<P: Platform> Linux<'_, P> {
    pub(super) fn show_uptime(&self, out: &mut Out<'_>) {
        let [up, idle] = self.system.uptime_ns();
        put!(out; Hundredths(up / NS_PER_TICK), " ", Hundredths(idle / NS_PER_TICK), "\n");
    }

    /// Nobody keeps averages: what is shown is the load of this moment.
    pub(super) fn show_loadavg(&self, out: &mut Out<'_>) {
        let [_, _, running, all, last] = self.system.tasks();
        for _ in 0..3 {
            put!(out; Hundredths(running * 100), " ");
        }
        put!(out; running, "/", all, " ", last, "\n");
    }

    /// Time is not counted by what it was spent on, but for being idle.
    pub(super) fn show_stat(&self, out: &mut Out<'_>) {
        let [up, idle] = self.system.uptime_ns().map(|ns| ns / NS_PER_TICK);
        let [made, switches, running, _, _] = self.system.tasks();
        for name in ["cpu  ", "cpu0 "] {
            put!(out; name, up.saturating_sub(idle), " 0 0 ", idle, " 0 0 0 0 0 0\n");
        }
        put!(out; "intr 0\nctxt ", switches, "\nbtime ", self.system.boot_s(), "\nprocesses ", made);
        put!(out; "\nprocs_running ", running, "\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n");
    }

    pub(super) fn show_version(&self, out: &mut Out<'_>) {
        put!(out; "Linux version ", OSRELEASE, " (faultlab) (rustc) ", VERSION, "\n");
    }

    pub(super) fn show_cmdline(&self, out: &mut Out<'_>) {
        let mut line = [0; 2048];
        let len = self.system.command_line(&mut line).min(line.len());
        put!(out; &line[..len], "\n");
    }

    pub(super) fn show_cpuinfo(&self, out: &mut Out<'_>) {
        let cpu = self.system.cpu();
        let trimmed = |bytes: &[u8]| bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let [family, model, stepping] = cpu.signature;
        let brand = &cpu.brand[..trimmed(&cpu.brand)];
        put!(out; "processor\t: 0\nvendor_id\t: ", &cpu.vendor[..trimmed(&cpu.vendor)], "\ncpu family\t: ", family);
        put!(out; "\nmodel\t\t: ", model, "\nmodel name\t: ", brand, "\nstepping\t: ", stepping, "\ncpu MHz\t\t: ");
        let hertz = cpu.khz % 1000;
        put!(out; cpu.khz / 1000, ".", hertz / 100, hertz / 10 % 10, hertz % 10);
        put!(out; "\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 0\ninitial apicid\t: 0");
        put!(out; "\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: ", cpu.level, "\nwp\t\t: yes\nflags\t\t: ", cpu.flags);
        put!(out; "\nbogomips\t: ", Hundredths(cpu.khz / 5), "\nclflush size\t: 64\ncache_alignment\t: 64\naddress sizes\t: ");
        put!(out; cpu.address_bits[0], " bits physical, ", cpu.address_bits[1], " bits virtual\npower management:\n\n");
    }

    pub(super) fn show_filesystems(&self, out: &mut Out<'_>) {
        put!(out; "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tramfs\n");
    }

    pub(super) fn show_devices(&self, out: &mut Out<'_>) {
        put!(out; "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n 60 faultlab\n\nBlock devices:\n253 virtblk\n");
    }

    /// Rule I1.
    pub(super) fn show_sysvipc_shm(&self, out: &mut Out<'_>) {
        const PAGE_BYTES: u64 = 4096;
        put!(out; "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime");
        put!(out; "      ctime                   rss                  swap\n");
        self.memory.shm_each(|id, ds, (rss, swap)| {
            signed(i64::from(ds.key.cast_signed()), 10, out);
            put!(out; " ");
            signed(i64::from(id), 10, out);
            put!(out; "  ", Octal(u64::from(ds.mode), 4), " ", Right(ds.segsz, 21));
            put!(out; " ", Right(u64::from(ds.cpid), 5), " ", Right(u64::from(ds.lpid), 5), "  ", Right(ds.nattch, 5));
            for id in [ds.uid, ds.gid, ds.cuid, ds.cgid] {
                put!(out; " ", Right(u64::from(id), 5));
            }
            for time in [ds.atime, ds.dtime, ds.ctime] {
                put!(out; " ");
                signed(time, 10, out);
            }
            put!(out; " ", Right(rss * PAGE_BYTES, 21), " ", Right(swap * PAGE_BYTES, 21), "\n");
        });
    }
}

/// In so many columns, to the right.
fn signed(value: i64, columns: usize, out: &mut Out<'_>) {
    if value >= 0 {
        put!(out; Right(value.unsigned_abs(), columns));
        return;
    }
    let digits = super::text::Digits::new(value.unsigned_abs(), 10);
    for _ in digits.as_bytes().len() + 1..columns {
        put!(out; " ");
    }
    put!(out; "-", digits.as_bytes());
}
