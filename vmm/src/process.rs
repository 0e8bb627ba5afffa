//! This process: its age and its memory, for the report of a run, and what its children inherit.
//!
//! Source: proc_pid_stat(5) (`starttime`), proc_pid_statm(5), proc_pid_smaps(5).

use std::fs;
use std::io::{self, PipeWriter};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};

/// Time since this process was started, up to 10 ms too long (the kernel's clock ticks); 0 if it cannot be read.
pub(crate) fn age() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Field 22; the second, the name, may contain anything but ends with the last parenthesis.
    let ticks = stat
        .rsplit_once(')')
        .and_then(|(_, fields)| fields.split_ascii_whitespace().nth(19)?.parse::<u64>().ok());
    // SAFETY: takes a constant; -1 for an unknown name.
    let hz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    match ticks {
        Some(ticks) if hz > 0 => since_boot().saturating_sub(Duration::from_millis(ticks * 1000 / hz as u64)),
        _ => Duration::ZERO,
    }
}

/// The calling thread's id.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

fn since_boot() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live `timespec`; the clock exists since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Resident memory of this process, in KiB, without the mappings that start in `left_out`; 0 if it cannot be read.
pub(crate) fn resident_kib_without(left_out: &[Range<usize>]) -> u64 {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    resident_kib_in(&smaps, left_out)
}

fn resident_kib_in(smaps: &str, without: &[Range<usize>]) -> u64 {
    let mut left_out = false;
    let mut sum = 0;
    for line in smaps.lines() {
        if let Some((start, _)) = line.split_once('-')
            && let Ok(start) = usize::from_str_radix(start, 16)
        {
            left_out = without.iter().any(|range| range.contains(&start));
        } else if let Some(rest) = line.strip_prefix("Rss:")
            && !left_out
        {
            sum += rest.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0);
        }
    }
    sum
}

/// Lets `command` inherit the pipe's end; by which it opens it.
pub(crate) fn inherit(command: &mut Command, end: PipeWriter) -> PathBuf {
    let end = OwnedFd::from(end);
    let path = format!("/proc/self/fd/{}", end.as_raw_fd()).into();
    let keep = move || -> io::Result<()> { Ok(fcntl_setfd(&end, FdFlags::empty())?) };
    // SAFETY: between fork and exec only one system call is made, no memory is allocated and no lock taken.
    unsafe { command.pre_exec(keep) };
    path
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_inherited_pipe_ends_with_its_process() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        let path = inherit(&mut command, writer);
        command.args(["-c", &format!("printf frames > {}", path.display())]);
        let status = command.status().unwrap();
        drop(command);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((status.success(), text.as_str()), (true, "frames"));
    }

    #[test]
    fn one_mapping_is_left_out() {
        let smaps = "1000-3000 r-xp 00000000 08:01 5 /bin/a-b\nSize: 8 kB\nRss:                   8 kB\n\
                     7f00-8f00 rw-p 00000000 00:00 0\nRss:  4096 kB\nVmFlags: rd nh\n\
                     9000-a000 rw-p 00000000 00:00 0 [stack]\nRss:     4 kB\n";
        let other = 0x7000..0x8000;
        assert_eq!(resident_kib_in(smaps, std::slice::from_ref(&other)), 12);
        assert_eq!(resident_kib_in(smaps, &[]), 4108);
    }

    #[test]
    fn this_process_has_an_age() {
        assert!(age() > Duration::ZERO && age() < since_boot());
    }
}
