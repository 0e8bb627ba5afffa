//! System V shared memory.

use faultlab_kernel::shm_ds;

use super::Errno;
use crate::mem::platform::MEMORY;
use crate::mem::uaccess;
use crate::task::process::{caller, current_mm};

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

/// Commands of `shmctl`. Source: shmctl(2).
mod command {
    pub(super) const IPC_RMID: i32 = 0;
    pub(super) const IPC_SET: i32 = 1;
    pub(super) const IPC_STAT: i32 = 2;
    pub(super) const IPC_INFO: i32 = 3;
    pub(super) const SHM_LOCK: i32 = 11;
    pub(super) const SHM_UNLOCK: i32 = 12;
    pub(super) const SHM_STAT: i32 = 13;
    pub(super) const SHM_INFO: i32 = 14;
    pub(super) const SHM_STAT_ANY: i32 = 15;
}

/// What a user may lock. Source: Linux `MLOCK_LIMIT`, the default of `RLIMIT_MEMLOCK`.
const MEMLOCK_BYTES: u64 = 8 << 20;

/// `shmctl`. The order of the checks is Linux's: arguments, for `IPC_SET` the buffer, segment, rights, for the others the buffer.
/// Rules A49 to A58.
#[inline(never)]
pub(super) fn shmctl(id: u64, command: u64, buffer: u64) -> Result<u64, Errno> {
    let (id, command) = (id as i32, command as i32);
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    match command {
        command::IPC_RMID => MEMORY.shm_rmid(caller(), id)?,
        command::IPC_SET => {
            let set = shm_ds::IpcSet::parse(&uaccess::read(buffer)?);
            MEMORY.shm_set(caller(), id, set.uid, set.gid, set.mode)?;
        }
        command::IPC_STAT => {
            uaccess::copy_to_user(buffer, &shm_ds::shmid64_ds(&MEMORY.shm_stat(caller(), id)?))?;
        }
        command::SHM_STAT | command::SHM_STAT_ANY => {
            let (id, ds) = MEMORY.shm_stat_index(caller(), id, command == command::SHM_STAT_ANY)?;
            uaccess::copy_to_user(buffer, &shm_ds::shmid64_ds(&ds))?;
            return Ok(u64::from(id.cast_unsigned()));
        }
        command::IPC_INFO | command::SHM_INFO => {
            let info = MEMORY.shm_info();
            if command == command::IPC_INFO {
                uaccess::copy_to_user(buffer, &shm_ds::shminfo64(&MEMORY.shm_limits()))?;
            } else {
                uaccess::copy_to_user(buffer, &shm_ds::shm_info(&info))?;
            }
            return Ok(u64::from(info.highest_index));
        }
        command::SHM_LOCK => MEMORY.shm_lock(caller(), id, MEMLOCK_BYTES)?,
        command::SHM_UNLOCK => MEMORY.shm_unlock(caller(), id)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
