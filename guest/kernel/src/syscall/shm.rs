//! System V shared memory.

use faultlab_kernel::shm_ds::shmid64_ds;

use super::Errno;
use crate::platform::MEMORY;
use crate::process::{caller, current_mm};
use crate::uaccess;

#[inline(never)]
pub(super) fn shmget(key: u64, size: u64, flags: u64) -> Result<u64, Errno> {
    let id = MEMORY.shmget(caller(), key as i32, size, flags as i32)?;
    Ok(u64::from(id.cast_unsigned()))
}

#[inline(never)]
pub(super) fn shmat(id: u64, addr: u64, flags: u64) -> Result<u64, Errno> {
    Ok(MEMORY.shmat(caller(), current_mm(), id as i32, addr, flags as i32)?)
}

#[inline(never)]
pub(super) fn shmdt(addr: u64) -> Result<u64, Errno> {
    Ok(MEMORY.shmdt(caller(), current_mm(), addr).map(|()| 0)?)
}

#[inline(never)]
pub(super) fn shmctl(id: u64, command: u64, buffer: u64) -> Result<u64, Errno> {
    const IPC_RMID: i32 = 0;
    const IPC_STAT: i32 = 2;
    match command as i32 {
        IPC_RMID => MEMORY.shm_rmid(caller(), id as i32)?,
        IPC_STAT => uaccess::copy_to_user(buffer, &shmid64_ds(&MEMORY.shm_stat(caller(), id as i32)?))?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
