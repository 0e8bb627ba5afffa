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

/// Flags of `shmget` and `shmat`, and commands of `shmctl`.
pub mod number {
    /// `shmget`: make the segment if there is none.
    pub const IPC_CREAT: u32 = 0o1000;
    /// `shmget`: fail if there is one.
    pub const IPC_EXCL: u32 = 0o2000;
    /// `shmget`: not charged to the commit counter.
    pub const SHM_NORESERVE: u32 = 0o10000;
    /// `shmat`: for reading.
    pub const SHM_RDONLY: u32 = 0o10000;
    /// `shmat`: round the address down.
    pub const SHM_RND: u32 = 0o20000;
    /// `shmat`: replace what is mapped there.
    pub const SHM_REMAP: u32 = 0o40000;
    /// `shmat`: for execution, too.
    pub const SHM_EXEC: u32 = 0o100_000;
    /// `shmctl`: remove.
    pub const IPC_RMID: i32 = 0;
    /// `shmctl`: set owner, group and rights.
    pub const IPC_SET: i32 = 1;
    /// `shmctl`: look.
    pub const IPC_STAT: i32 = 2;
    /// `shmctl`: the limits.
    pub const IPC_INFO: i32 = 3;
    /// `shmctl`: keep in memory.
    pub const SHM_LOCK: i32 = 11;
    /// `shmctl`: let swap.
    pub const SHM_UNLOCK: i32 = 12;
    /// `shmctl`: look, by index.
    pub const SHM_STAT: i32 = 13;
    /// `shmctl`: what all segments use.
    pub const SHM_INFO: i32 = 14;
    /// `shmctl`: look, by index, whatever the rights.
    pub const SHM_STAT_ANY: i32 = 15;
}

/// `shmget(2)`.
///
/// # Errors
/// As in the man page.
pub fn get(key: i32, bytes: usize, flags: u32) -> Result<i32, Errno> {
    // SAFETY: touches no memory.
    unsafe { call(general::__NR_shmget, [key as usize, bytes, flags as usize, 0, 0, 0]) }.map(|id| id as i32)
}

/// `shmat(2)` with flags.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// With `SHM_REMAP`, nothing uses what is mapped there any more.
pub unsafe fn attach_with(id: i32, address: usize, flags: u32) -> Result<usize, Errno> {
    // SAFETY: the caller's contract.
    unsafe { call(general::__NR_shmat, [id as usize, address, flags as usize, 0, 0, 0]) }
}

/// `shmctl(2)`.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// `buffer` is what the command expects, and what it writes there is the caller's to lose; an address that nothing is mapped at is
/// answered with `EFAULT`.
pub unsafe fn control(id: i32, command: i32, buffer: usize) -> Result<i32, Errno> {
    // SAFETY: the caller's contract.
    unsafe { call(general::__NR_shmctl, [id as usize, command as usize, buffer, 0, 0, 0]) }.map(|value| value as i32)
}

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
