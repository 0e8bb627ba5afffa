//! `/proc`: what the kernel and its processes are doing, as files.
//!
//! | file | Linux | what it is |
//! |---|---|---|
//! | `tree`, `what` | fs/proc/root.c, fs/proc/base.c | the names there are, and what they stand for |
//! | `lookup` | fs/proc/base.c, fs/proc/generic.c | names become objects, and are listed |
//! | `link` | fs/proc/base.c, fs/proc/self.c, fs/proc/fd.c | where links lead |
//! | `snapshot`, `read` | fs/seq_file.c | reading |
//! | `sysfs` | fs/sysfs/file.c, mm/huge_memory.c | sysfs, mounted on `/sys` |
//! | `knobs` | kernel/sysctl.c, ipc/ipc_sysctl.c | `/proc/sys` |
//! | `memory` | fs/proc/meminfo.c, mm/vmstat.c | `meminfo vmstat zoneinfo buddyinfo` |
//! | `kernel` | fs/proc/*.c, ipc/shm.c | `stat uptime cpuinfo filesystems sysvipc/shm` and so on |
//! | `slabinfo` | mm/slab_common.c | records of each kind |
//! | `mounts` | fs/proc_namespace.c | `mounts mountinfo` |
//! | `task` | fs/proc/array.c, fs/proc/base.c | processes |
//! | `task_mmu` | fs/proc/task_mmu.c | their memory |
//! | `system` | | what the kernel has to tell |
//! | `text` | | putting text together |
//!
//! Objects are made when they are looked up, as inodes and names of a file system of its own, and kept: what belongs to a process that is
//! gone is dropped when another process's directory is made, or when it is looked up again. A file's text is made when it is first read
//! and whenever it is read from its beginning, and kept with the description: readers with any buffer see one text.
//!
//! Source: proc(5). Differs from Linux: rights and owners cannot be changed; every mount of it shows the same.

mod hugepages;
mod kernel;
mod knobs;
mod link;
mod lookup;
mod memory;
mod mounts;
mod read;
mod slabinfo;
mod snapshot;
mod sysfs;
pub mod system;
mod task;
mod task_mmu;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod tree;
mod what;

pub use system::{Cpu, Nobody, Process, System};
pub use tree::{HOSTNAME, OSRELEASE, OSTYPE, VERSION};

pub(crate) use snapshot::{Chunk, SnapshotId};
pub(crate) use tree::Shows;
pub(crate) use what::{Dir, File as Shown, What};
