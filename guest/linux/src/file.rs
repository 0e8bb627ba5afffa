//! Open file descriptions: what a descriptor names, shared by its copies. Source: Linux, fs/file_table.c, `struct file`; open(2).
//!
//! # Invariants
//! `f_count` = descriptors, in all tables, that name it, and calls that wait on it. It holds one reference to its object.

use faultlab_mm::mmap::{MapFile, map_flag, prot};
use faultlab_mm::shmem::InodeId;
use faultlab_mm::slab::object;
use faultlab_mm::userfaultfd::UserfaultId;
use faultlab_mm::{Platform, id_type, record};

use crate::epoll::EpItemId;
use crate::fsnotify::EventId;
use crate::owner::OwnerId;
use crate::proc::SnapshotId;
use crate::timer::TimerId;
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`File`].
    FileId
);

record! {
    /// An open file description.
    pub struct File[16] {
        /// Descriptors that name it.
        f_count, set_f_count: u64 = 0;
        /// [`o`] bits.
        f_flags, set_f_flags: u64 = 1;
        /// Where the next `read` or `write` begins, in bytes; at most 2^63-1. Of a directory: which names were listed.
        f_pos, set_f_pos: u64 = 2;
        /// The object, with a reference; streams have none.
        inode, set_inode: Option<InodeId> = 3;
        /// What it is: see [`Kind::to_word`].
        kind_word, set_kind_word: u64 = 4;
        /// A number that no other has had.
        opened, set_opened: u64 = 5;
        /// Of proc: the text that is being read.
        snapshot, set_snapshot: Option<SnapshotId> = 6;
        /// The context of a `userfaultfd`.
        userfault, set_userfault: Option<UserfaultId> = 7;
        /// The timer of a `timerfd`.
        timer, set_timer: Option<TimerId> = 12;
        /// Of an eventfd: how often it changed.
        edges, set_edges: u64 = 11;
        /// The first of the items that watch it.
        ep_links, set_ep_links: Option<EpItemId> = 8;
        /// Of an epoll: the first of its items.
        ep_first, set_ep_first: Option<EpItemId> = 9;
        /// Of an epoll: the last of its items.
        ep_last, set_ep_last: Option<EpItemId> = 10;
        /// Whom it tells that something happened.
        owner, set_owner: Option<OwnerId> = 13;
        /// Of an inotify instance: how many events it has.
        events, set_events: u64 = 7;
        /// The oldest of them.
        first_event, set_first_event: Option<EventId> = 14;
        /// The newest of them.
        last_event, set_last_event: Option<EventId> = 15;
        /// Of an epoll: the last walk over epolls that came by.
        ep_walk, set_ep_walk: u64 = 14;
        /// What that walk found here.
        ep_found, set_ep_found: u64 = 15;
    }
}

/// `O_*` flags. Source: open(2).
pub mod o {
    /// The bits that say for what it was opened.
    pub const ACCMODE: u64 = 3;
    /// For reading.
    pub const RDONLY: u64 = 0;
    /// For writing.
    pub const WRONLY: u64 = 1;
    /// For both.
    pub const RDWR: u64 = 2;
    /// It is made if it is not there.
    pub const CREAT: u64 = 0o100;
    /// With `CREAT`: it must not be there. With `TMPFILE`: it never gets a name.
    pub const EXCL: u64 = 0o200;
    /// A terminal does not become the process's.
    pub const NOCTTY: u64 = 0o400;
    /// It is emptied.
    pub const TRUNC: u64 = 0o1000;
    /// Every write goes to the end.
    pub const APPEND: u64 = 0o2000;
    /// Calls do not wait.
    pub const NONBLOCK: u64 = 0o4000;
    /// Signals tell of input.
    pub const ASYNC: u64 = 0o20000;
    /// No page cache.
    pub const DIRECT: u64 = 0o40000;
    /// Large sizes; always set on 64-bit machines.
    pub const LARGEFILE: u64 = 0o100_000;
    /// Reading leaves the access time alone.
    pub const NOATIME: u64 = 0o1_000_000;
    /// It must be a directory.
    pub const DIRECTORY: u64 = 0o200_000;
    /// It must not be a link.
    pub const NOFOLLOW: u64 = 0o400_000;
    /// The descriptor closes with `execve`.
    pub const CLOEXEC: u64 = 0o2_000_000;
    /// Only its place is meant: it can be neither read nor written.
    pub const PATH: u64 = 0o10_000_000;
    /// A file without a name, in this directory; with `DIRECTORY`.
    pub const TMPFILE: u64 = 0o20_000_000;
    /// Not of programs: the file was made by this `open`. Source: Linux `FMODE_CREATED`.
    pub(crate) const CREATED: u64 = 1 << 32;
    /// All that are known. Source: Linux `VALID_OPEN_FLAGS`.
    pub const VALID: u64 = 0o37_777_703;
}

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Standard input, output or error.
    Stream(u64),
    /// `/dev/faultlab`.
    Lab,
    /// A file.
    Object(InodeId),
    /// A directory.
    Directory(InodeId),
    /// Anything, opened with `O_PATH`.
    Path(InodeId),
    /// `/dev/null`.
    Null,
    /// `/dev/zero`.
    Zero,
    /// `/dev/full`.
    Full,
    /// A file of proc.
    Proc(InodeId),
    /// `/dev/random`, `/dev/urandom`.
    Random,
    /// An end of a pipe, or a FIFO.
    Pipe(InodeId),
    /// Of `userfaultfd`.
    Userfault(UserfaultId),
    /// An eventfd.
    Event {
        /// A read takes 1.
        semaphore: bool,
    },
    /// An epoll.
    Epoll,
    /// A timerfd.
    Timer,
    /// A signalfd.
    Signal,
    /// A pidfd.
    Pid,
    /// An inotify instance.
    Inotify,
}

impl Kind {
    const OBJECT: u64 = 0;
    const DIRECTORY: u64 = 1;
    const PATH: u64 = 2;
    const LAB: u64 = 3;
    const NULL: u64 = 4;
    const ZERO: u64 = 5;
    const FULL: u64 = 6;
    /// That of standard input.
    const STREAM: u64 = 7;
    const PROC: u64 = 0x101;
    const RANDOM: u64 = 0x102;
    const PIPE: u64 = 0x100;
    const USERFAULT: u64 = 0x103;
    const EVENT: u64 = 0x110;
    const SEMAPHORE: u64 = 0x111;
    const EPOLL: u64 = 0x112;
    const TIMER: u64 = 0x113;
    const SIGNAL: u64 = 0x114;
    const PID: u64 = 0x115;
    const INOTIFY: u64 = 0x116;

    /// As a word; the object is kept besides.
    fn to_word(self) -> u64 {
        match self {
            Self::Object(_) => Self::OBJECT,
            Self::Directory(_) => Self::DIRECTORY,
            Self::Path(_) => Self::PATH,
            Self::Lab => Self::LAB,
            Self::Null => Self::NULL,
            Self::Zero => Self::ZERO,
            Self::Full => Self::FULL,
            Self::Proc(_) => Self::PROC,
            Self::Random => Self::RANDOM,
            Self::Stream(stream) => Self::STREAM + stream,
            Self::Pipe(_) => Self::PIPE,
            Self::Userfault(_) => Self::USERFAULT,
            Self::Event { semaphore: false } => Self::EVENT,
            Self::Event { semaphore: true } => Self::SEMAPHORE,
            Self::Epoll => Self::EPOLL,
            Self::Timer => Self::TIMER,
            Self::Signal => Self::SIGNAL,
            Self::Pid => Self::PID,
            Self::Inotify => Self::INOTIFY,
        }
    }

    /// What a character device with this number is. Source: Linux, Documentation/admin-guide/devices.txt.
    pub(crate) fn of_device(device: u64) -> Option<Self> {
        match device {
            0x103 => Some(Self::Null),
            0x105 => Some(Self::Zero),
            0x107 => Some(Self::Full),
            0x108 | 0x109 => Some(Self::Random),
            // Where there is a terminal, it is standard input.
            TTY_DEVICE => Some(Self::Stream(0)),
            LAB_DEVICE => Some(Self::Lab),
            stream if (STREAM_DEVICE..STREAM_DEVICE + 3).contains(&stream) => {
                Some(Self::Stream(stream - STREAM_DEVICE))
            }
            _ => None,
        }
    }
}

/// Number of `/dev/tty`. Source: as above.
pub const TTY_DEVICE: u64 = 0x500;
/// Number of `/dev/faultlab`: one of those for local use. Source: as above.
pub const LAB_DEVICE: u64 = 60 << 8;
/// Number of standard input; those of the other two follow.
pub(crate) const STREAM_DEVICE: u64 = 60 << 8 | 128;

impl File<'_> {
    /// What it refers to.
    #[inline]
    #[must_use]
    pub fn kind(self) -> Kind {
        match (self.kind_word(), self.inode()) {
            (Kind::OBJECT, Some(inode)) => Kind::Object(inode),
            _ => self.other_kind(),
        }
    }

    /// A function of its own, so that calls about files, which are most, carry one comparison.
    #[inline(never)]
    fn other_kind(self) -> Kind {
        match (self.kind_word(), self.inode()) {
            (Kind::OBJECT, Some(inode)) => Kind::Object(inode),
            (Kind::DIRECTORY, Some(inode)) => Kind::Directory(inode),
            (Kind::PATH, Some(inode)) => Kind::Path(inode),
            (Kind::PROC, Some(inode)) => Kind::Proc(inode),
            (Kind::RANDOM, _) => Kind::Random,
            (Kind::LAB, _) => Kind::Lab,
            (Kind::NULL, _) => Kind::Null,
            (Kind::ZERO, _) => Kind::Zero,
            (Kind::FULL, _) => Kind::Full,
            (Kind::PIPE, Some(inode)) => Kind::Pipe(inode),
            (Kind::USERFAULT, _) => self.userfault().map_or(Kind::Null, Kind::Userfault),
            (word @ (Kind::EVENT | Kind::SEMAPHORE), _) => Kind::Event {
                semaphore: word == Kind::SEMAPHORE,
            },
            (Kind::EPOLL, _) => Kind::Epoll,
            (Kind::TIMER, _) => Kind::Timer,
            (Kind::SIGNAL, _) => Kind::Signal,
            (Kind::PID, _) => Kind::Pid,
            (Kind::INOTIFY, _) => Kind::Inotify,
            (stream, _) => Kind::Stream(stream.wrapping_sub(Kind::STREAM)),
        }
    }

    /// Whether it was opened for reading. Both bits of the mode together are neither. Source: Linux `OPEN_FMODE`.
    #[inline]
    #[must_use]
    pub fn readable(self) -> bool {
        (self.f_flags() + 1) & 1 != 0
    }

    /// Whether it was opened for writing.
    #[inline]
    #[must_use]
    pub fn writable(self) -> bool {
        (self.f_flags() + 1) & 2 != 0
    }
}

impl<P: Platform> Linux<'_, P> {
    #[inline(always)]
    pub(crate) fn file(&self, id: FileId) -> File<'_> {
        File(object(self.memory, id.0))
    }

    /// An open file description of nothing yet, named by nobody.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn alloc_file(&self) -> Result<FileId, Errno> {
        self.alloc_record(&self.files).map(FileId)
    }

    /// Takes back [`Linux::alloc_file`].
    pub(crate) fn free_empty_file(&self, id: FileId) {
        self.files.free(self.memory, id.0);
    }

    /// Says what a description is of. It takes over the caller's reference to the object.
    pub(crate) fn set_file(&self, id: FileId, kind: Kind, inode: Option<InodeId>, flags: u64) {
        let file = self.file(id);
        self.opened.add(1);
        file.set_opened(self.opened.get());
        file.set_f_flags(flags);
        file.set_inode(inode);
        file.set_kind_word(kind.to_word());
        self.count_writer(file, 1);
    }

    fn count_writer(&self, file: File<'_>, by: u64) {
        // A FIFO is written, but not its file system.
        if let Kind::Pipe(_) = file.kind() {
            return;
        }
        let sb = file.inode().and_then(|inode| self.object(inode).i_sb());
        if let Some(sb) = sb.filter(|_| file.writable()) {
            let sb = self.super_block(sb);
            sb.set_writers(sb.writers().wrapping_add(by));
        }
    }

    pub(crate) fn get_file(&self, id: FileId) {
        let file = self.file(id);
        file.set_f_count(file.f_count() + 1);
    }

    /// One descriptor less; the last takes the description along. Source: Linux `fput`.
    pub(crate) fn put_file(&self, id: FileId) {
        let file = self.file(id);
        file.set_f_count(file.f_count() - 1);
        if file.f_count() == 0 {
            self.free_file(id);
        }
    }

    pub(crate) fn free_file(&self, id: FileId) {
        let file = self.file(id);
        self.fsnotify_close(file);
        self.count_writer(file, u64::MAX);
        if let Some(text) = file.snapshot() {
            self.free_snapshot(text);
        }
        match file.kind() {
            Kind::Pipe(inode) => self.release_pipe(inode, file),
            Kind::Userfault(id) => self.release_userfault(id),
            Kind::Timer => self.release_timerfd(file),
            Kind::Signal => self.release_signalfd(),
            Kind::Inotify => self.release_inotify(id),
            _ => {}
        }
        self.remove_file_locks(file);
        if file.ep_links().is_some() || file.ep_first().is_some() {
            self.release_ep_items(file);
        }
        if let Some(owner) = file.owner() {
            self.release_owner(owner);
        }
        let inode = file.inode();
        for word in file.0 {
            word.set(0);
        }
        self.files.free(self.memory, id.0);
        if let Some(inode) = inode {
            self.put_inode(inode);
            self.reap_detached();
        }
    }

    /// What `mmap` needs to know of a descriptor's file, or which device it is.
    pub fn map_file(&self, file: File<'_>) -> Result<MapFile, Kind> {
        match file.kind() {
            Kind::Object(inode) => Ok(MapFile {
                inode,
                readable: file.readable(),
                writable: file.writable(),
                opened: file.opened(),
            }),
            device => Err(device),
        }
    }

    /// Notes that `file` was mapped: to map it is to access it, unless with `O_NOATIME`. open(2), Linux `file_accessed`.
    pub fn file_accessed(&self, file: File<'_>) {
        if let Kind::Object(inode) = file.kind()
            && file.f_flags() & o::NOATIME == 0
        {
            self.memory.file_accessed(inode);
        }
    }

    /// Why a file of a kind that nobody can map is refused: its rights are asked first. Rule B5; Linux `do_mmap`.
    pub fn refuse_map(&self, file: File<'_>, prot: u64, flags: u64) -> Errno {
        let writes = flags & map_flag::TYPE != map_flag::PRIVATE && prot & prot::WRITE != 0;
        if !file.readable() || (writes && !file.writable()) {
            Errno::EACCES
        } else {
            Errno::ENODEV
        }
    }
}
