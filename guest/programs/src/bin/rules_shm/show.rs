//! How cases are run and shown.

use core::fmt::{self, Display};

use faultlab_programs::println;
use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::sys::sysv_shm::{self, ShmidDs, number};
use faultlab_programs::sys::{Errno, exit, memory, monotonic_ns};

/// A page.
pub(crate) const PAGE: usize = PAGE_BYTES;
/// An address where nothing is ever mapped.
pub(crate) const BAD_BUFFER: usize = 8;

/// Shows what a call came to: its value, or the error.
pub(crate) fn show<T: Display>(rule: &str, case: impl Display, result: Result<T, Errno>) {
    match result {
        Ok(value) => println!("{rule} {case}: {value}"),
        Err(errno) => println!("{rule} {case}: {errno}"),
    }
}

/// Shows whether a call worked, without its value.
pub(crate) fn show_ok<T>(rule: &str, case: impl Display, result: Result<T, Errno>) {
    show(rule, case, result.map(|_| "ok"));
}

/// The value of a call without which nothing can be shown.
pub(crate) fn need<T>(what: &str, result: Result<T, Errno>) -> T {
    match result {
        Ok(value) => value,
        Err(errno) => {
            println!("rules-shm: {what}: {errno}");
            exit(1)
        }
    }
}

/// A new private segment of root's with these rights.
pub(crate) fn new(bytes: usize, mode: u32) -> i32 {
    need("shmget", sysv_shm::get(0, bytes, mode))
}

/// Attaches a segment with flags; nothing that this program uses is ever where it does so.
pub(crate) fn at(id: i32, address: usize, flags: u32) -> Result<usize, Errno> {
    // SAFETY: addresses with SHM_REMAP are those of mappings that only the case at hand has made.
    unsafe { sysv_shm::attach_with(id, address, flags) }
}

/// Detaches.
pub(crate) fn dt(address: usize) -> Result<(), Errno> {
    // SAFETY: no references into attached segments exist; all accesses are through `load` and `store`.
    unsafe { sysv_shm::detach(address as *mut u8) }
}

/// `shmctl` without a buffer, or with one that is not there.
pub(crate) fn ctl(id: i32, command: i32, buffer: usize) -> Result<i32, Errno> {
    // SAFETY: at these addresses nothing is mapped.
    unsafe { sysv_shm::control(id, command, if buffer == 0 { 0 } else { BAD_BUFFER }) }
}

/// `shmctl` with a `struct shmid_ds`: its value and what it filled in.
pub(crate) fn ctl_ds(id: i32, command: i32, mut ds: ShmidDs) -> Result<(i32, ShmidDs), Errno> {
    // SAFETY: all commands that callers use take this structure.
    let value = unsafe { sysv_shm::control(id, command, &raw mut ds as usize) }?;
    Ok((value, ds))
}

/// Removes a segment.
pub(crate) fn rmid(id: i32) -> Result<(), Errno> {
    sysv_shm::remove(id)
}

/// What `IPC_STAT` says; the case cannot go on without.
pub(crate) fn stat(id: i32) -> ShmidDs {
    need("IPC_STAT", sysv_shm::stat(id))
}

/// Attachments of a segment now.
pub(crate) fn nattch(id: i32) -> Result<u64, Errno> {
    sysv_shm::stat(id).map(|ds| ds.nattch)
}

/// Mode of a segment with all its bits.
pub(crate) fn mode(ds: &ShmidDs) -> u32 {
    (ds.perm[2] >> 32) as u32
}

/// `struct ipc64_perm`: key, uid, gid, cuid, cgid, mode, seq.
pub(crate) fn perm(ds: &ShmidDs) -> [u32; 7] {
    let p = ds.perm;
    let (low, high) = (|at: usize| p[at] as u32, |at: usize| (p[at] >> 32) as u32);
    [low(0), high(0), low(1), high(1), low(2), high(2), low(3) & 0xffff]
}

/// The byte at an address.
pub(crate) fn load(address: usize) -> u8 {
    // SAFETY: where nothing is mapped, this ends the process, which is what its case wants to see.
    unsafe { (address as *const u8).read_volatile() }
}

/// Stores a byte.
pub(crate) fn store(address: usize, value: u8) {
    // SAFETY: as for `load`; callers store only to what they have mapped themselves.
    unsafe { (address as *mut u8).write_volatile(value) }
}

/// Unmaps whole pages that the case has mapped.
pub(crate) fn unmap(address: usize, bytes: usize) {
    // SAFETY: see `dt`.
    need("munmap", unsafe { memory::unmap(address as *mut u8, bytes) });
}

/// Changes the rights of pages that the case has mapped.
pub(crate) fn protect(address: usize, bytes: usize, protection: u32) -> Result<(), Errno> {
    // SAFETY: see `dt`.
    unsafe { memory::protect(address, bytes, protection) }
}

/// Address of some free pages.
pub(crate) fn free_pages(pages: usize) -> usize {
    need("mmap", memory::free_range(pages * PAGE))
}

/// Runs `body` in a child and waits for it: its status as a shell shows it.
pub(crate) fn in_child(body: impl FnOnce()) -> i32 {
    match need("fork", process::fork()) {
        Fork::Child => {
            body();
            exit(0)
        }
        Fork::Parent(child) => process::exit_status(need("wait4", process::wait(child))),
    }
}

/// Runs `body` in a child without root's rights.
pub(crate) fn as_user(uid: u32, gid: u32, body: impl FnOnce()) {
    let status = in_child(|| {
        need("setresuid", process::become_user(uid, gid));
        body();
    });
    if status != 0 {
        println!("rules-shm: a child ended with status {status}");
    }
}

/// Lets more than a second pass, so that times that are set again differ.
pub(crate) fn next_second() {
    let start = monotonic_ns();
    while monotonic_ns() - start < 1_100_000_000 {}
}

/// What happened to a segment between two looks at it.
pub(crate) struct Change<'a>(pub(crate) &'a ShmidDs, pub(crate) &'a ShmidDs);

impl Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change(before, after) = self;
        write!(f, "nattch {} -> {}", before.nattch, after.nattch)?;
        for (name, at) in [("atime", 0), ("dtime", 1), ("ctime", 2)] {
            let what = match (before.times[at], after.times[at]) {
                (_, 0) => "0",
                (old, new) if old == new => "same",
                (old, new) if old > new => "went back",
                _ => "now",
            };
            write!(f, ", {name} {what}")?;
        }
        let lpid = match after.lpid {
            0 => "0",
            lpid if lpid == process::id() => "self",
            lpid if lpid == before.lpid => "same",
            _ => "other",
        };
        write!(f, ", lpid {lpid}, mode {:o}", mode(after))
    }
}

/// Shows what `body` does to a segment, a second after what was done to it before.
pub(crate) fn show_change(rule: &str, case: &str, id: i32, body: impl FnOnce()) {
    let before = stat(id);
    next_second();
    body();
    println!("{rule} {case}: {}", Change(&before, &stat(id)));
}

/// All of a segment's numbers that do not depend on the machine.
pub(crate) fn show_stat(rule: &str, case: &str, id: i32) {
    match ctl_ds(id, number::IPC_STAT, ShmidDs::default()) {
        Err(errno) => println!("{rule} {case}: {errno}"),
        Ok((value, ds)) => {
            let [key, uid, gid, cuid, cgid, mode, seq] = perm(&ds);
            println!(
                "{rule} {case}: {value}, key {key:#x} uid {uid} gid {gid} cuid {cuid} cgid {cgid} mode {mode:o} seq {seq} segsz {} nattch {}",
                ds.segsz, ds.nattch
            );
        }
    }
}
