//! The system-call layer, as far as it is about files, signals and a process's own rights and limits: between the memory manager and the
//! kernel, and free of hardware like the former.
//!
//! Registers, a program's pointers to structures, and devices are the kernel's; what a call means is decided here, and tested on the host.
//!
//! | module | Linux | what it is |
//! |---|---|---|
//! | [`clone`] | kernel/fork.c | what `clone` is asked for |
//! | [`cred`] | kernel/sys.c | ids of users and groups |
//! | [`limits`] | kernel/sys.c | resource limits |
//! | [`errno`] | include/uapi/asm-generic/errno.h | error numbers |
//! | [`mod@file`] | fs/file_table.c | open file descriptions |
//! | [`fdtable`] | fs/file.c | the descriptors of a process |
//! | [`fs_struct`] | fs/fs_struct.c | working directory and umask, shared or not |
//! | [`fcntl`] | fs/fcntl.c | what `fcntl` asks |
//! | `fsnotify` | fs/notify | who is told of what happens to files |
//! | [`futex`] | kernel/futex | who waits for which word |
//! | [`groups`] | kernel/groups.c | supplementary groups |
//! | [`read_write`] | fs/read_write.c, fs/open.c | `read`, `write`, `lseek`, `ftruncate`, `fallocate` |
//! | [`wait`] | kernel/sched/wait.c | wait queues, and calls that wait |
//! | [`poll`] | fs/select.c | what a descriptor is ready for |
//! | [`epoll`] | fs/eventpoll.c | descriptors that watch others |
//! | [`eventfd`] | fs/eventfd.c | numbers as descriptors |
//! | [`locks`] | fs/locks.c | locks of files |
//! | [`iov`] | lib/iov_iter.c | a program's buffers |
//! | [`pipe`] | fs/pipe.c, fs/splice.c | pipes and FIFOs |
//! | [`userfault`] | fs/userfaultfd.c | descriptors of `userfaultfd` |
//! | [`copy`] | fs/read_write.c | `sendfile`, `copy_file_range` |
//! | [`memfd`] | mm/memfd.c | `memfd_create` |
//! | [`owner`] | fs/fcntl.c | whom a description tells that something happened |
//! | [`proc`] | fs/proc | `/proc` |
//! | [`proc_swaps`] | mm/swapfile.c | `/proc/swaps` |
//! | [`pidfd`] | fs/pidfs.c | processes as descriptors |
//! | [`signal`] | kernel/signal.c | signals |
//! | [`signalfd`] | fs/signalfd.c | signals as descriptors |
//! | [`stat`] | fs/stat.c | `struct stat`, `struct statx` |
//! | [`writer`] | fs/attr.c, fs/read_write.c | who writes: the limit of sizes, set-id bits |
//! | [`tty`] | drivers/tty/n_tty.c | a terminal |
//! | [`timer`] | kernel/time/ | timers of processes |
//! | [`timerfd`] | fs/timerfd.c | timers as descriptors |
//! | [`vfs`] | fs/namei.c and its neighbours | names: directories, paths, mounts |
//!
//! Records (open files, tables of descriptors) live in slabs over the memory manager's frames, so that there is no fixed number of them,
//! and every allocation can fail.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod check;
pub mod clone;
pub mod copy;
pub mod cred;
pub mod epoll;
pub mod errno;
pub mod eventfd;
pub mod fcntl;
pub mod fdtable;
pub mod file;
pub mod fs_struct;
pub(crate) mod fsnotify;
pub mod futex;
pub mod groups;
pub mod iov;
pub mod limits;
pub mod locks;
pub mod memfd;
pub mod owner;
pub mod pidfd;
pub mod pipe;
pub mod poll;
pub mod proc;
pub mod proc_swaps;
pub mod read_write;
pub mod signal;
pub mod signalfd;
pub mod stat;
pub mod timer;
pub mod timerfd;
pub mod tty;
pub mod userfault;
pub mod vfs;
pub mod wait;
pub mod writer;

#[cfg(test)]
mod tests;

pub use errno::Errno;

use faultlab_mm::record::ObjId;
use faultlab_mm::slab::{Cache, Usage};
use faultlab_mm::sync::Word;
use faultlab_mm::{Memory, Platform};

/// Everything that the layer keeps.
#[derive(Debug)]
pub struct Linux<'m, P> {
    memory: &'m Memory<P>,
    system: &'m dyn proc::System,
    files: Cache<{ file::File::WORDS }>,
    tables: Cache<{ fdtable::FdTable::WORDS }>,
    fs_structs: Cache<{ fs_struct::FsStruct::WORDS }>,
    actions: Cache<{ signal::Actions::WORDS }>,
    queued: Cache<{ signal::Queued::WORDS }>,
    timer_records: Cache<{ timer::Timer::WORDS }>,
    /// Those on the monotonic clock.
    timers: timer::TimerQueue,
    names: vfs::Names,
    texts: Cache<{ vfs::Text::WORDS }>,
    mounts: vfs::Mounts,
    chunks: Cache<{ proc::Chunk::WORDS }>,
    file_locks: Cache<{ locks::FileLock::WORDS }>,
    /// The first of all locks, and of those that are waited for.
    first_lock: Word,
    ep_items: Cache<{ epoll::EpItem::WORDS }>,
    group_infos: Cache<{ groups::GroupInfo::WORDS }>,
    pipes: Cache<{ pipe::Pipe::WORDS }>,
    /// `/proc/sys/fs`: seconds that a lease has to be given up, and whether there are any.
    lease_break_s: Word,
    leases_enabled: Word,
    pipe_users: Cache<{ pipe::PipeUser::WORDS }>,
    pipe_limits: pipe::PipeLimits,
    watch_records: Cache<{ fsnotify::Watch::WORDS }>,
    inotify_events: Cache<{ fsnotify::InotifyEvent::WORDS }>,
    /// The first of all watches.
    first_watch: Word,
    /// How many watches there are, and directories that tell by a signal.
    watching: Word,
    /// Renames that were told.
    cookies: Word,
    dir_notify_enable: Word,
    file_owners: Cache<{ owner::FileOwner::WORDS }>,
    /// The first of all of them.
    first_owner: Word,
    /// Queues that were woken, a bit each: see [`wait`].
    woken: Word,
    /// Open file descriptions that there have been.
    opened: Word,
    /// Those of signals that there are.
    signalfds: Word,
}

impl<'m, P: Platform> Linux<'m, P> {
    /// The layer over a memory manager, with nothing open, for a kernel without processes.
    #[must_use]
    pub const fn new(memory: &'m Memory<P>) -> Self {
        Self::of_system(memory, &proc::Nobody)
    }

    /// The layer over a memory manager, with nothing open.
    #[must_use]
    pub const fn of_system(memory: &'m Memory<P>, system: &'m dyn proc::System) -> Self {
        Self {
            memory,
            system,
            files: Cache::new(),
            tables: Cache::new(),
            fs_structs: Cache::new(),
            actions: Cache::new(),
            queued: Cache::new(),
            timer_records: Cache::new(),
            timers: timer::TimerQueue::new(),
            names: vfs::Names::new(),
            texts: Cache::new(),
            mounts: vfs::Mounts::new(),
            chunks: Cache::new(),
            file_locks: Cache::new(),
            first_lock: Word::new(0),
            ep_items: Cache::new(),
            group_infos: Cache::new(),
            pipes: Cache::new(),
            lease_break_s: Word::new(owner::BREAK_TIME_S),
            leases_enabled: Word::new(1),
            pipe_users: Cache::new(),
            pipe_limits: pipe::PipeLimits::new(),
            watch_records: Cache::new(),
            inotify_events: Cache::new(),
            first_watch: Word::new(0),
            watching: Word::new(0),
            cookies: Word::new(0),
            dir_notify_enable: Word::new(1),
            file_owners: Cache::new(),
            first_owner: Word::new(0),
            woken: Word::new(0),
            opened: Word::new(0),
            signalfds: Word::new(0),
        }
    }

    /// A zeroed record of a cache.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[inline]
    fn alloc_record<const WORDS: usize>(&self, cache: &Cache<WORDS>) -> Result<ObjId, Errno> {
        let allocated = self.memory.alloc_reclaiming(|| self.memory.cache_alloc(cache));
        allocated.ok_or(Errno::ENOMEM)
    }

    /// What each kind of record takes.
    pub fn slabs(&self) -> [Usage; 19] {
        [
            self.files.usage("file"),
            self.tables.usage("files_cache"),
            self.fs_structs.usage("fs_cache"),
            self.actions.usage("sighand_cache"),
            self.queued.usage("sigqueue"),
            self.timer_records.usage("timer"),
            self.names.dentries.usage("dentry"),
            self.names.long.usage("long_name"),
            self.texts.usage("link_target"),
            self.mounts.cache.usage("mount"),
            self.chunks.usage("seq_text"),
            self.file_locks.usage("file_lock"),
            self.ep_items.usage("eventpoll_epi"),
            self.pipes.usage("pipe"),
            self.group_infos.usage("groups"),
            self.file_owners.usage("file_owner"),
            self.pipe_users.usage("pipe_user"),
            self.watch_records.usage("inotify_inode_mark"),
            self.inotify_events.usage("inotify_event"),
        ]
    }

    /// Records of each kind, for tests that nothing leaks: (name, objects).
    pub fn live_records(&self) -> [(&'static str, u64); 19] {
        self.slabs().map(|slab| (slab.name, slab.objects))
    }
}
