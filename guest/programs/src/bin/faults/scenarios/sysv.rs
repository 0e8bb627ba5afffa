//! Segments of System V shared memory that nobody touches: calls on them.

use core::ptr;

use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::sysv_shm;
use faultlab_programs::tsc;

use super::calls::expected;
use crate::phase::{Failure, Phases};

/// Bytes of the segment that is attached: four page tables' worth.
const ATTACHED: usize = 8 << 20;

pub(super) fn shmat_shmdt(phases: &mut Phases, calls: usize) -> Result<(), Failure> {
    let id = sysv_shm::create(ATTACHED).map_err(|errno| Failure::Call("shmget", errno))?;
    // A refused call shows as one system call too few.
    let result = phases.time(expected(calls, 2), |_| {
        tsc::call(|| {
            let base = sysv_shm::attach(id, ptr::null_mut())?;
            // SAFETY: attached just now, and no address into it is kept.
            unsafe { sysv_shm::detach(base) }
        })
        .0
    });
    sysv_shm::remove(id).map_err(|errno| Failure::Call("shmctl", errno))?;
    result
}

pub(super) fn shmget_rmid(phases: &mut Phases, calls: usize) -> Result<(), Failure> {
    phases.time(expected(calls, 2), |_| {
        tsc::call(|| sysv_shm::create(PAGE_BYTES).and_then(sysv_shm::remove)).0
    })
}
