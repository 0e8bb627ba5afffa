//! Calls of the kernel that manage memory and processes, and the cheapest call there is.

use faultlab_abi::dev::{PhaseArgs, SAME_EACH_TIME};
use faultlab_programs::sys::memory::{self, MAP_ANONYMOUS, MAP_PRIVATE, PAGE_BYTES, PROT_READ, PROT_WRITE};
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::sys::{self, Errno};
use faultlab_programs::tsc;

use super::{SLACK_PAGES, warm_next_frames};
use crate::phase::{Failure, Phases};

/// Pages of the mapping of which one is protected.
const LARGER: usize = 16;

pub(super) fn getppid(phases: &mut Phases, calls: usize) -> Result<(), Failure> {
    phases.time(expected(calls, 1), |_| tsc::call(process::parent_id).0)
}

pub(super) fn mmap_munmap(phases: &mut Phases, calls: usize) -> Result<(), Failure> {
    // A refused call shows as one system call too few.
    phases.time(expected(calls, 2), |_| {
        tsc::call(|| {
            let page = private(1)?;
            unmap(page, 1)
        })
        .0
    })
}

pub(super) fn munmap(phases: &mut Phases, calls: usize) -> Result<(), Failure> {
    let first = touched(calls)?;
    let result = phases.time(expected(calls, 1), |index| {
        tsc::call(|| unmap(first.wrapping_add(index * PAGE_BYTES), 1)).0
    });
    // Whatever is left of it.
    unmap(first, calls).map_err(|errno| Failure::Call("munmap", errno))?;
    result
}

pub(super) fn mprotect(phases: &mut Phases, calls: usize) -> Result<(), Failure> {
    let first = touched(LARGER)?;
    let middle = first as usize + LARGER / 2 * PAGE_BYTES;
    // SAFETY: nobody else uses that page.
    let protect = |protection| unsafe { memory::protect(middle, PAGE_BYTES, protection) };
    let result = phases.time(expected(calls, 2), |_| {
        tsc::call(|| protect(PROT_READ).and_then(|()| protect(PROT_READ | PROT_WRITE))).0
    });
    unmap(first, LARGER).map_err(|errno| Failure::Call("munmap", errno))?;
    result
}

pub(super) fn fork(phases: &mut Phases, calls: usize) -> Result<(), Failure> {
    warm_next_frames(phases, SLACK_PAGES)?;
    let same_each_time = PhaseArgs {
        expect_pgfault: SAME_EACH_TIME,
        expect_pgalloc: SAME_EACH_TIME,
        expect_syscalls: SAME_EACH_TIME,
        ..expected(calls, 0)
    };
    phases.time(same_each_time, |_| {
        tsc::call(|| match process::fork() {
            Ok(Fork::Child) => sys::exit(0),
            Ok(Fork::Parent(child)) => process::wait(child),
            Err(errno) => Err(errno),
        })
        .0
    })
}

pub(super) fn expected(operations: usize, calls_each: usize) -> PhaseArgs {
    PhaseArgs {
        count: operations as u64,
        expect_syscalls: (operations * calls_each) as u64,
        ..PhaseArgs::default()
    }
}

#[inline(always)]
fn private(pages: usize) -> Result<*mut u8, Errno> {
    memory::map(
        pages * PAGE_BYTES,
        PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS,
        -1,
    )
}

#[inline(always)]
fn unmap(first: *mut u8, pages: usize) -> Result<(), Errno> {
    // SAFETY: callers made the mapping, and keep no other address into these pages.
    unsafe { memory::unmap(first, pages * PAGE_BYTES) }
}

/// New private memory, every page stored to.
fn touched(pages: usize) -> Result<*mut u8, Failure> {
    let first = private(pages).map_err(|errno| Failure::Call("mmap", errno))?;
    for page in 0..pages {
        // SAFETY: a page of the mapping just made.
        unsafe { first.add(page * PAGE_BYTES).write_volatile(1) };
    }
    Ok(first)
}
