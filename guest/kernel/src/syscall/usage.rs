//! `getrusage times sysinfo getcpu`: what was used, and what there is.
//!
//! Source: getrusage(2), times(2), sysinfo(2), getcpu(2); Linux, kernel/sys.c.

use faultlab_linux::timer::NS_PER_S;

use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::clock;
use crate::mem::platform::MEMORY;
use crate::mem::uaccess;
use crate::task::process::{self, Process, State};
use crate::task::times::{self, Usage};

mod nr {
    pub(super) const GETRUSAGE: u64 = 98;
    pub(super) const SYSINFO: u64 = 99;
    pub(super) const TIMES: u64 = 100;
    pub(super) const GETCPU: u64 = 309;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs { rax, rdi, rsi, .. } = regs.volatile;
    Some(match rax {
        nr::GETRUSAGE => getrusage(rdi as i32, rsi),
        nr::SYSINFO => sysinfo(rdi),
        nr::TIMES => times(rdi),
        nr::GETCPU => getcpu(rdi, rsi),
        _ => return None,
    })
}

/// Bytes of the words, in memory's order.
fn write_words<const WORDS: usize>(addr: u64, words: [u64; WORDS]) -> Result<(), Errno> {
    for (index, word) in words.into_iter().enumerate() {
        uaccess::copy_to_user(addr.wrapping_add(8 * index as u64), &word.to_le_bytes())?;
    }
    Ok(())
}

/// A `struct rusage`.
pub(super) fn write_rusage(addr: u64, usage: Usage) -> Result<(), Errno> {
    let ns = usage.cpu_ns();
    let mut words = [0; 18];
    words[0] = ns / NS_PER_S;
    words[1] = ns % NS_PER_S / 1000;
    words[4] = usage.most_pages * 4;
    words[8] = usage.minor_faults;
    words[9] = usage.major_faults;
    words[16] = usage.voluntary;
    words[17] = usage.involuntary;
    write_words(addr, words)
}

/// What a child that ended used, with its own children: what `wait4` tells.
pub(super) fn of_child(child: &Process) -> Usage {
    times::of_process(child).plus(child.times.children())
}

fn getrusage(who: i32, addr: u64) -> Result<Outcome, Errno> {
    const SELF: i32 = 0;
    const CHILDREN: i32 = -1;
    const THREAD: i32 = 1;
    let process = process::current();
    let usage = match who {
        SELF => {
            times::look_at_memory(process);
            times::of_process(process)
        }
        THREAD => {
            times::look_at_memory(process);
            times::of_thread(process)
        }
        CHILDREN => process.leader().times.children(),
        _ => return Err(Errno::EINVAL),
    };
    write_rusage(addr, usage)?;
    Ok(Outcome::Value(0))
}

/// In hundredths of a second, also what it returns: since boot.
fn times(addr: u64) -> Result<Outcome, Errno> {
    const NS_PER_TICK: u64 = NS_PER_S / 100;
    let process = process::current();
    if addr != 0 {
        let (own, children) = (times::cpu_ns(process), process.leader().times.children().cpu_ns());
        write_words(addr, [own / NS_PER_TICK, 0, children / NS_PER_TICK, 0])?;
    }
    Ok(Outcome::Value(clock::monotonic_ns() / NS_PER_TICK))
}

/// Nobody averages the load.
fn sysinfo(addr: u64) -> Result<Outcome, Errno> {
    const BYTES: u64 = 112;
    let page = faultlab_abi::layout::PAGE_SIZE;
    let living = |process: &&Process| !matches!(process.state.get(), State::Free | State::Zombie(_));
    let processes = process::table().iter().filter(living).count() as u64;
    let swap = MEMORY.total_swap_pages();
    let words = [
        clock::monotonic_ns() / NS_PER_S,
        0,
        0,
        0,
        MEMORY.totalram_pages() * page,
        MEMORY.nr_free_pages() * page,
        crate::report::vmstat::value(faultlab_abi::vmstat::Item::NrShmem) * page,
        0,
        swap * page,
        MEMORY.nr_swap_pages() * page,
        // And process 1, which is no program.
        processes + 1,
        0,
        0,
    ];
    write_words(addr, words)?;
    uaccess::copy_to_user(addr.wrapping_add(104), &1u32.to_le_bytes())?;
    uaccess::clear_user(addr.wrapping_add(108), BYTES - 108)?;
    Ok(Outcome::Value(0))
}

/// The only processor of the only node.
fn getcpu(cpu: u64, node: u64) -> Result<Outcome, Errno> {
    for addr in [cpu, node] {
        if addr != 0 {
            uaccess::copy_to_user(addr, &0u32.to_le_bytes())?;
        }
    }
    Ok(Outcome::Value(0))
}
