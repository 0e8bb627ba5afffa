//! System V shared memory: ids, keys, permissions, attach and detach.
//!
//! A segment is an shmem object of its own with a name (`key`), a number (`id = seq * 32768 + index`) and a count of the mappings
//! that attach it. Removed while attached, it loses its key at once and its memory with the last detach.
//!
//! | file | what |
//! |---|---|
//! | `segment` | `shmget`, `IPC_STAT`, `IPC_RMID`: segments come and go |
//! | `control` | the other commands of `shmctl` |
//! | `attach` | `shmat`, `shmdt`, and what happens to mappings |
//! | `key` | from a key to its segment |
//! | `id` | numbers for segments |
//! | `exit` | what becomes of the segments of a process that ended |
//! | `limits` | what `/proc/sys/kernel/shm*` sets |
//!
//! Source: Linux, ipc/shm.c, ipc/util.c, include/uapi/linux/shm.h. Rules A1 to A20, A28 to A47, A49 to A61, A65.
//! Differs from Linux: the table of keys does not grow.

use crate::addr::{PAGE_SHIFT, VirtAddr, pages_for};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::record::{ObjId, id_type, record};
use crate::shmem::InodeId;
use crate::sync::{Word, Word32};
use crate::xarray::{Entry, Filter, XArray};

mod attach;
mod control;
mod exit;
mod id;
mod key;
mod limits;
mod segment;

pub use control::ShmInfo;
pub use limits::ShmLimits;

id_type!(
    /// Number of a [`Segment`] record (not the id that programs use).
    ShmId
);

record! {
    /// A segment. Source: Linux `struct shmid_kernel`.
    pub struct Segment[20] {
        /// The id that programs use.
        id, set_id: u64 = 0;
        /// Key; 0 is `IPC_PRIVATE`, and what is left of a key after `IPC_RMID`.
        key, set_key: u32 = 1;
        /// Permission bits, and [`mode::DEST`].
        mode, set_mode: u32 = 2;
        /// Owner.
        uid, set_uid: u32 = 3;
        /// Owner's group.
        gid, set_gid: u32 = 4;
        /// Creator.
        cuid, set_cuid: u32 = 5;
        /// Creator's group.
        cgid, set_cgid: u32 = 6;
        /// Bytes, as asked for.
        segsz, set_segsz: u64 = 7;
        /// Mappings that attach it.
        nattch, set_nattch: u64 = 8;
        /// Process that made it.
        cpid, set_cpid: u32 = 9;
        /// Process that attached or detached last.
        lpid, set_lpid: u32 = 10;
        /// Last attach, seconds since 1970.
        atime, set_atime: i64 = 11;
        /// Last detach.
        dtime, set_dtime: i64 = 12;
        /// Creation or last `IPC_SET`.
        ctime, set_ctime: i64 = 13;
        /// Its memory.
        file, set_file: Option<InodeId> = 14;
        /// User whose locked memory it counts as, while it has [`mode::LOCKED`].
        mlock_uid, set_mlock_uid: u32 = 15;
        /// Next segment with the same hash of its key.
        key_next, set_key_next: Option<ShmId> = 16;
        /// Whether the process that made it has ended. Source: Linux `shm_creator`.
        orphaned, set_orphaned: bool = 17;
        /// The key that it was made with, which is its name. Rule A15.
        made_with, set_made_with: u32 = 18;
        /// Bytes that an attachment maps: whole pages of its memory.
        mapped_bytes, set_mapped_bytes: u64 = 19;
    }
}

/// Bits of [`Segment::mode`] besides the permissions.
pub mod mode {
    /// To be destroyed with the last detach.
    pub const DEST: u32 = 0o1000;
    /// Its pages stay in memory (`SHM_LOCK`).
    pub const LOCKED: u32 = 0o2000;
}

/// Flags of `shmget` and `shmat`. Source: shmget(2), shmat(2).
pub mod shm_flag {
    /// Make the segment if there is none.
    pub const IPC_CREAT: i32 = 0o1000;
    /// Fail if there is one.
    pub const IPC_EXCL: i32 = 0o2000;
    /// `shmget`: not charged to the commit counter.
    pub const SHM_NORESERVE: i32 = 0o10000;
    /// `shmget`: of huge pages; the binary logarithm of their size is in the bits from [`SHM_HUGE_SHIFT`] on, 0 being the usual size.
    pub const SHM_HUGETLB: i32 = 0o4000;
    /// Where the size of huge pages begins, 6 bits.
    pub const SHM_HUGE_SHIFT: u32 = 26;
    /// `shmat`: attach for reading.
    pub const SHM_RDONLY: i32 = 0o10000;
    /// `shmat`: round the address down.
    pub const SHM_RND: i32 = 0o20000;
    /// `shmat`: replace what is mapped there.
    pub const SHM_REMAP: i32 = 0o40000;
    /// `shmat`: attach for execution, too.
    pub const SHM_EXEC: i32 = 0o100_000;
}

/// Largest segment, in bytes, unless set otherwise. Source: Linux `SHMMAX`.
pub const SHMMAX: u64 = u64::MAX - (1 << 24);
/// Most pages in all segments, unless set otherwise. Source: Linux `SHMALL`.
pub const SHMALL: u64 = u64::MAX - (1 << 24);
/// Most segments, unless set otherwise. Source: Linux `SHMMNI`.
pub const SHMMNI: u32 = 4096;
/// Indices that an id can name. Source: Linux `IPCMNI`.
const IPCMNI: u32 = 32768;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Process id.
    pub pid: u32,
    /// Effective user; 0 may everything.
    pub euid: u32,
    /// Effective group.
    pub egid: u32,
}

/// What `IPC_STAT` tells. Source: shmctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of shmid64_ds(3)")]
pub struct ShmidDs {
    pub key: u32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    pub seq: u32,
    pub segsz: u64,
    pub atime: i64,
    pub dtime: i64,
    pub ctime: i64,
    pub cpid: u32,
    pub lpid: u32,
    pub nattch: u64,
}

/// The segments. Source: Linux `struct ipc_ids`.
#[derive(Debug)]
pub(crate) struct IpcIds {
    /// Table of segments by index.
    head: Word,
    flags: Word,
    keys: key::KeyTable,
    in_use: Word32,
    /// Index given last, plus 1.
    next: Word32,
    seq: Word32,
    /// The id that is asked for next, plus 1; 0 for none. Rule A18.
    wanted: Word32,
    limits: limits::Limits,
    /// Pages of all segments, each rounded up. Rule A65.
    pub(crate) shm_tot: Word,
    pub(crate) current_pid: Word32,
}

impl IpcIds {
    pub(crate) const fn new() -> Self {
        Self {
            head: Word::new(0),
            flags: Word::new(0),
            keys: key::KeyTable::new(),
            in_use: Word32::new(0),
            next: Word32::new(0),
            seq: Word32::new(0),
            wanted: Word32::new(0),
            limits: limits::Limits::new(),
            shm_tot: Word::new(0),
            current_pid: Word32::new(0),
        }
    }

    pub(crate) fn table(&self) -> XArray<'_> {
        XArray::new(&self.head, &self.flags)
    }
}

/// Whether a caller may change a segment: its owner, its creator, root.
fn may_change(caller: Caller, segment: Segment<'_>) -> bool {
    caller.euid == 0 || caller.euid == segment.uid() || caller.euid == segment.cuid()
}

impl<P: Platform> Memory<P> {
    /// Whether a caller has all of the rights `wanted` (rwx bits of one class). The class is chosen once: an owner without rights is refused
    /// even if others have them. Rule A20.
    fn ipcperms(&self, caller: Caller, segment: Segment<'_>, wanted: u32) -> Result<(), Error> {
        if caller.euid == 0 {
            return Ok(());
        }
        let mode = segment.mode();
        let granted = if caller.euid == segment.uid() || caller.euid == segment.cuid() {
            mode >> 6
        } else if [segment.gid(), segment.cgid()].contains(&caller.egid) || self.is_member(segment) {
            mode >> 3
        } else {
            mode
        };
        if wanted & !granted & 7 == 0 {
            Ok(())
        } else {
            Err(Error::Eacces)
        }
    }

    /// Whether the caller belongs to a segment's groups by one of its supplementary ones.
    #[cold]
    fn is_member(&self, segment: Segment<'_>) -> bool {
        [segment.gid(), segment.cgid()]
            .iter()
            .any(|&group| self.platform.in_group(group))
    }

    /// The segment with an id, if it is there and not an older one's id. Rule A17.
    fn shm_lookup(&self, id: i32) -> Result<ShmId, Error> {
        let index = u64::from(u32::try_from(id).map_err(|_| Error::Einval)? % IPCMNI);
        let entry = self.ipc.table().load(self, index);
        let shm = shm_of_entry(entry).ok_or(Error::Einval)?;
        if self.segment(shm).id() != u64::from(id.cast_unsigned()) {
            return Err(Error::Einval);
        }
        Ok(shm)
    }

    /// Calls `each` for every segment, by index.
    fn for_each_segment(&self, mut each: impl FnMut(u32, Segment<'_>)) {
        let mut index = 0;
        while let Some((at, entry)) = self.ipc.table().find(self, index, u64::from(IPCMNI), Filter::Any) {
            if let Some(shm) = shm_of_entry(entry) {
                each(at as u32, self.segment(shm));
            }
            index = at + 1;
        }
    }
}

fn shm_of_entry(entry: Entry) -> Option<ShmId> {
    entry
        .as_value()
        .and_then(|value| ObjId::from_u32(value as u32))
        .map(ShmId)
}
