//! System V shared memory.
//!
//! Source: Linux, include/uapi/linux/shm.h and ipc.h, arch/x86 layout; `shmget(2)`, `shmop(2)`, `shmctl(2)`.

use linux_raw_sys::general;

use super::{Errno, call};

/// `IPC_PRIVATE`: a new segment that no key finds.
pub const IPC_PRIVATE: usize = 0;
const IPC_RMID: usize = 0;
const IPC_STAT: usize = 2;
const SHM_INFO: usize = 14;

/// `struct shmid_ds` (`shmid64_ds` of Linux).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ShmidDs {
    /// `struct ipc64_perm`, 48 bytes.
    pub perm: [u64; 6],
    /// Size, in bytes.
    pub segsz: u64,
    /// Last attach, detach and change, in seconds since 1970.
    pub times: [u64; 3],
    /// Process ID of the creator.
    pub cpid: i32,
    /// Process ID of the last attach or detach.
    pub lpid: i32,
    /// Attachments now.
    pub nattch: u64,
    unused: [u64; 2],
}

/// `struct shm_info`: what all segments use.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ShmInfo {
    /// Segments.
    pub used_ids: u64,
    /// Pages of all segments.
    pub tot: u64,
    /// Of these, in memory.
    pub rss: u64,
    /// Of these, on swap.
    pub swp: u64,
    unused: [u64; 2],
}

const _: () = assert!(size_of::<ShmidDs>() == 112 && size_of::<ShmInfo>() == 48);

/// `shmget(IPC_PRIVATE, bytes, 0600)`: the new segment's ID.
///
/// # Errors
/// As in the man page.
pub fn create(bytes: usize) -> Result<i32, Errno> {
    // SAFETY: touches no memory.
    unsafe { call(general::__NR_shmget, [IPC_PRIVATE, bytes, 0o600, 0, 0, 0]) }.map(|id| id as i32)
}

/// `shmat(2)` at `address`, or where the kernel likes if that is null. Never replaces a mapping (no `SHM_REMAP`).
///
/// # Errors
/// As in the man page.
pub fn attach(id: i32, address: *mut u8) -> Result<*mut u8, Errno> {
    // SAFETY: without SHM_REMAP nothing that exists is replaced.
    unsafe { call(general::__NR_shmat, [id as usize, address as usize, 0, 0, 0, 0]) }.map(|base| base as *mut u8)
}

/// `shmdt(2)`.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// Nothing uses the attachment any more.
pub unsafe fn detach(address: *mut u8) -> Result<(), Errno> {
    // SAFETY: the caller's contract.
    unsafe { call(general::__NR_shmdt, [address as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `shmctl(IPC_RMID)`: the segment goes with its last attachment.
///
/// # Errors
/// As in the man page.
pub fn remove(id: i32) -> Result<(), Errno> {
    // SAFETY: attachments stay valid.
    unsafe { call(general::__NR_shmctl, [id as usize, IPC_RMID, 0, 0, 0, 0]) }.map(drop)
}

/// `shmctl(IPC_STAT)`.
///
/// # Errors
/// As in the man page.
pub fn stat(id: i32) -> Result<ShmidDs, Errno> {
    let mut stat = ShmidDs::default();
    // SAFETY: `stat` has the layout that the call fills.
    unsafe {
        call(
            general::__NR_shmctl,
            [id as usize, IPC_STAT, &raw mut stat as usize, 0, 0, 0],
        )
    }?;
    Ok(stat)
}

/// `shmctl(SHM_INFO)`.
///
/// # Errors
/// As in the man page; `EINVAL` from a kernel without it.
pub fn info() -> Result<ShmInfo, Errno> {
    let mut info = ShmInfo::default();
    // SAFETY: `info` has the layout that the call fills.
    unsafe { call(general::__NR_shmctl, [0, SHM_INFO, &raw mut info as usize, 0, 0, 0]) }?;
    Ok(info)
}
