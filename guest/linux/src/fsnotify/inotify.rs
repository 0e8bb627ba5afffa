//! `inotify`: watches of objects, and what happened to them as records to be read. Source: Linux, fs/notify/inotify/; inotify(7).
//!
//! All watches are in one list, with a reference to what they watch; an instance's events are in a list of its own, from the oldest to the newest.
//! The number of the next watch is the description's position, which such a description does not have.
//!
//! Differs from Linux: a watch keeps its file system busy (`umount` says `EBUSY` instead of ending the watch).

use faultlab_mm::record::Field;
use faultlab_mm::shmem::InodeId;
use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use super::{Happened, fs};
use crate::fdtable::TableId;
use crate::file::{File, FileId, Kind, o};
use crate::iov::IovIter;
use crate::poll::{Ready, event};
use crate::vfs::{NAME_MAX, PathAt, Task, is_dir, may};
use crate::wait::{Call, Keys, Queue, Waiter};
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`Watch`].
    WatchId
);

id_type!(
    /// Number of an [`InotifyEvent`].
    EventId
);

record! {
    /// What an instance watches.
    pub struct Watch[8] {
        /// The next of all.
        next, set_next: Option<WatchId> = 0;
        /// The instance.
        file, set_file: Option<FileId> = 1;
        /// What is watched, with a reference.
        inode, set_inode: Option<InodeId> = 2;
        /// The number that the program knows it by.
        number, set_number: u64 = 3;
        /// What for.
        mask, set_mask: u32 = 4;
    }
}

record! {
    /// What happened. From word [`InotifyEvent::NAME`] on, the name.
    pub struct InotifyEvent[40] {
        /// The next of the same instance.
        next, set_next: Option<EventId> = 0;
        /// The watch's number.
        number, set_number: u64 = 1;
        /// What happened.
        mask, set_mask: u32 = 2;
        /// What two events of one `rename` have in common.
        cookie, set_cookie: u32 = 3;
        /// Bytes of the name; 0 for none.
        len, set_len: u64 = 4;
    }
}

impl InotifyEvent<'_> {
    const NAME: usize = 5;

    /// Bytes of its record. Source: inotify(7): names are padded to a multiple of the record's size.
    fn bytes(self) -> u64 {
        EVENT_BYTES
            + if self.len() == 0 {
                0
            } else {
                (self.len() + 1).next_multiple_of(EVENT_BYTES)
            }
    }

    fn name(self, to: &mut [u8; NAME_MAX + 1]) {
        for (chunk, word) in to.chunks_mut(8).zip(&self.0[Self::NAME..]) {
            chunk.copy_from_slice(&word.get().to_le_bytes());
        }
    }
}

/// Bytes of a `struct inotify_event` without a name.
const EVENT_BYTES: u64 = 16;
/// Events of an instance at most. Source: `/proc/sys/fs/inotify/max_queued_events`.
const EVENTS_MAX: u64 = 16384;
/// Source: inotify(7).
mod flag {
    pub(super) const Q_OVERFLOW: u32 = 0x4000;
    pub(super) const IGNORED: u32 = 0x8000;
    pub(super) const ONLYDIR: u32 = 0x0100_0000;
    pub(super) const DONT_FOLLOW: u32 = 0x0200_0000;
    pub(super) const EXCL_UNLINK: u32 = 0x0400_0000;
    pub(super) const MASK_CREATE: u32 = 0x1000_0000;
    pub(super) const MASK_ADD: u32 = 0x2000_0000;
    pub(super) const ONESHOT: u32 = 0x8000_0000;
    /// What happens.
    pub(super) const EVENTS: u32 = 0xfff;
    /// All that may be asked for. Source: Linux `ALL_INOTIFY_BITS`.
    pub(super) const ALL: u32 =
        EVENTS | 0xe000 | ONLYDIR | DONT_FOLLOW | EXCL_UNLINK | MASK_CREATE | MASK_ADD | super::fs::ISDIR | ONESHOT;
}

fn queue(file: File<'_>) -> Queue {
    Queue::numbered(file.opened())
}

impl<P: Platform> Linux<'_, P> {
    fn watch(&self, id: WatchId) -> Watch<'_> {
        Watch(object(self.memory, id.0))
    }

    fn inotify_event(&self, id: EventId) -> InotifyEvent<'_> {
        InotifyEvent(object(self.memory, id.0))
    }

    fn watches(&self) -> impl Iterator<Item = (WatchId, Watch<'_>)> {
        let mut next: Option<WatchId> = Field::from_word(self.first_watch.get());
        core::iter::from_fn(move || {
            let id = next?;
            let watch = self.watch(id);
            next = watch.next();
            Some((id, watch))
        })
    }

    /// `inotify_init1`: a new descriptor.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags, `EMFILE`, `ENOMEM`.
    pub fn inotify_init1(&self, table: TableId, flags: u64) -> Result<u64, Errno> {
        let flags = u64::from(flags as u32);
        if flags & !(o::CLOEXEC | o::NONBLOCK) != 0 {
            return Err(Errno::EINVAL);
        }
        let id = self.alloc_file()?;
        self.set_file(id, Kind::Inotify, None, o::RDONLY | flags & o::NONBLOCK);
        self.file(id).set_f_pos(1);
        self.install(table, id, 0, flags & o::CLOEXEC != 0)
    }

    fn instance(&self, table: TableId, number: u64) -> Result<FileId, Errno> {
        match self.get(table, number)?.kind() {
            Kind::Inotify => self.get_id(table, number),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Whether a call may add a watch: before its path is read.
    ///
    /// # Errors
    /// `EINVAL` for unknown bits and none, and for what does not go together; `EBADF`.
    pub fn check_watch(&self, table: TableId, number: u64, mask: u64) -> Result<(), Errno> {
        let mask = mask as u32;
        if mask & !flag::ALL != 0 || mask & flag::ALL == 0 {
            return Err(Errno::EINVAL);
        }
        self.get(table, number)?;
        if mask & flag::MASK_ADD != 0 && mask & flag::MASK_CREATE != 0 {
            return Err(Errno::EINVAL);
        }
        self.instance(table, number).map(|_| ())
    }

    /// `inotify_add_watch`: the watch's number. [`Linux::check_watch`] was asked.
    ///
    /// # Errors
    /// `ENOTDIR`, `EEXIST`, `EACCES`, `ENOMEM`; those of a walk.
    pub fn inotify_add_watch(&self, task: &Task, number: u64, at: PathAt<'_>, mask: u64) -> Result<u64, Errno> {
        const NOFOLLOW: u32 = crate::vfs::at::SYMLINK_NOFOLLOW;
        let mask = mask as u32;
        let id = self.instance(task.table, number)?;
        let flags = if mask & flag::DONT_FOLLOW != 0 { NOFOLLOW } else { 0 };
        let inode = self.find(task, at, flags, NOFOLLOW)?;
        if mask & flag::ONLYDIR != 0 && !is_dir(self.object(inode)) {
            return Err(Errno::ENOTDIR);
        }
        self.permission(task.cred, inode, may::READ)?;
        let wanted = mask & (flag::EVENTS | flag::ONESHOT | flag::EXCL_UNLINK);
        let known = self
            .watches()
            .find(|(_, watch)| watch.file() == Some(id) && watch.inode() == Some(inode));
        if let Some((_, watch)) = known {
            if mask & flag::MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            let before = if mask & flag::MASK_ADD != 0 { watch.mask() } else { 0 };
            watch.set_mask(before | wanted);
            return Ok(watch.number());
        }
        let new = WatchId(self.alloc_record(&self.watch_records)?);
        let (watch, file) = (self.watch(new), self.file(id));
        self.memory.ihold(inode);
        watch.set_file(Some(id));
        watch.set_inode(Some(inode));
        watch.set_mask(wanted);
        watch.set_number(file.f_pos());
        file.set_f_pos(file.f_pos() + 1);
        watch.set_next(Field::from_word(self.first_watch.get()));
        self.first_watch.set(Field::to_word(Some(new)));
        self.watching.add(1);
        Ok(watch.number())
    }

    /// `inotify_rm_watch`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for what is no instance, and no watch of it.
    pub fn inotify_rm_watch(&self, table: TableId, number: u64, watch: u64) -> Result<(), Errno> {
        let id = self.instance(table, number)?;
        let found = self
            .watches()
            .find(|(_, found)| found.file() == Some(id) && found.number() == u64::from(watch as u32));
        let (found, _) = found.ok_or(Errno::EINVAL)?;
        self.end_watch(found, true);
        Ok(())
    }

    /// A watch goes; its instance is told, unless that goes, too.
    fn end_watch(&self, id: WatchId, told: bool) {
        let watch = self.watch(id);
        match self.watches().find(|(_, before)| before.next() == Some(id)) {
            Some((_, before)) => before.set_next(watch.next()),
            None => self.first_watch.set(Field::to_word(watch.next())),
        }
        let (inode, file, number) = (watch.inode(), watch.file(), watch.number());
        watch.0.iter().for_each(|word| word.set(0));
        self.watch_records.free(self.memory, id.0);
        self.watching.add(u64::MAX);
        if let Some(file) = file.filter(|_| told) {
            let happened = Happened {
                mask: flag::IGNORED,
                name: None,
                cookie: 0,
            };
            self.queue_event(self.file(file), number, &happened);
        }
        if let Some(inode) = inode {
            self.put_inode(inode);
        }
    }

    /// An instance goes.
    pub(crate) fn release_inotify(&self, id: FileId) {
        while let Some((watch, _)) = self.watches().find(|(_, watch)| watch.file() == Some(id)) {
            self.end_watch(watch, false);
        }
        while self.pop_event(self.file(id)) {}
    }

    /// Nobody but watches has an object that lost its last name: they are told, and end. Source: Linux `fsnotify_inoderemove`.
    #[cold]
    #[inline(never)]
    pub(crate) fn last_but_watches(&self, inode: InodeId) {
        let of_it = |watch: &(WatchId, Watch<'_>)| watch.1.inode() == Some(inode);
        let count = self.watches().filter(of_it).count() as u64;
        // The caller's own is still counted.
        if count == 0 || self.object(inode).i_nlink() != 0 || self.object(inode).i_count() != count + 1 {
            return;
        }
        while let Some((id, watch)) = self.watches().find(of_it) {
            if let Some(file) = watch.file().filter(|_| watch.mask() & fs::DELETE_SELF != 0) {
                let happened = Happened {
                    mask: fs::DELETE_SELF,
                    name: None,
                    cookie: 0,
                };
                self.queue_event(self.file(file), watch.number(), &happened);
            }
            self.end_watch(id, true);
        }
    }

    pub(super) fn inotify(&self, inode: InodeId, happened: &Happened<'_>) {
        let mut next: Option<WatchId> = Field::from_word(self.first_watch.get());
        while let Some(id) = next {
            let watch = self.watch(id);
            next = watch.next();
            if watch.inode() != Some(inode) || watch.mask() & happened.mask & flag::EVENTS == 0 {
                continue;
            }
            if let Some(file) = watch.file() {
                self.queue_event(self.file(file), watch.number(), happened);
            }
            if watch.mask() & flag::ONESHOT != 0 {
                self.end_watch(id, true);
            }
        }
    }

    fn queue_event(&self, file: File<'_>, number: u64, happened: &Happened<'_>) {
        let last = file.last_event().map(|id| self.inotify_event(id));
        let name = happened.name.unwrap_or(&[]);
        let same = |event: &InotifyEvent<'_>| {
            let mut known = [0; NAME_MAX + 1];
            event.name(&mut known);
            event.number() == number && event.mask() == happened.mask && known[..event.len() as usize] == *name
        };
        // The same twice is told once.
        if last.as_ref().is_some_and(same) {
            return;
        }
        let overflow = file.events() >= EVENTS_MAX;
        if overflow && last.is_some_and(|event| event.mask() == flag::Q_OVERFLOW) {
            return;
        }
        // Without memory, it is not told. Source: Linux makes it an overflow.
        let Ok(id) = self.alloc_record(&self.inotify_events).map(EventId) else {
            return;
        };
        let event = self.inotify_event(id);
        if overflow {
            event.set_number(u64::from(u32::MAX));
            event.set_mask(flag::Q_OVERFLOW);
        } else {
            event.set_number(number);
            event.set_mask(happened.mask);
            event.set_cookie(happened.cookie);
            event.set_len(name.len() as u64);
            for (chunk, word) in name.chunks(8).zip(&event.0[InotifyEvent::NAME..]) {
                let mut bytes = [0; 8];
                bytes[..chunk.len()].copy_from_slice(chunk);
                word.set(u64::from_le_bytes(bytes));
            }
        }
        match last {
            Some(last) => last.set_next(Some(id)),
            None => file.set_first_event(Some(id)),
        }
        file.set_last_event(Some(id));
        file.set_events(file.events() + 1);
        file.set_edges(file.edges() + 1);
        self.wake(queue(file));
        self.kill_fasync_of(file, crate::owner::Event::In);
    }

    fn pop_event(&self, file: File<'_>) -> bool {
        let Some(id) = file.first_event() else { return false };
        let event = self.inotify_event(id);
        file.set_first_event(event.next());
        file.set_events(file.events() - 1);
        if file.events() == 0 {
            file.set_last_event(None);
        }
        event.0.iter().for_each(|word| word.set(0));
        self.inotify_events.free(self.memory, id.0);
        true
    }

    /// `read` of an instance: as many whole events as there are and fit.
    ///
    /// # Errors
    /// `EINVAL` where the first does not fit, `EAGAIN` where it may not wait, `EFAULT`.
    pub fn inotify_read(&self, waiter: &Waiter, file: File<'_>, mut to: IovIter) -> Result<Call, Errno> {
        let mut done = 0;
        while let Some(event) = file.first_event().map(|id| self.inotify_event(id)) {
            let bytes = event.bytes();
            if bytes > to.left() {
                break;
            }
            let mut record = [0; EVENT_BYTES as usize + NAME_MAX + 1];
            record[..4].copy_from_slice(&(event.number() as u32).to_le_bytes());
            record[4..8].copy_from_slice(&event.mask().to_le_bytes());
            record[8..12].copy_from_slice(&event.cookie().to_le_bytes());
            record[12..16].copy_from_slice(&((bytes - EVENT_BYTES) as u32).to_le_bytes());
            let mut name = [0; NAME_MAX + 1];
            event.name(&mut name);
            record[16..].copy_from_slice(&name);
            // Taken, even if the program has no place for it.
            self.pop_event(file);
            match self.poke_iter(&mut to, &record[..bytes as usize]) {
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
                Ok(()) => done += bytes,
            }
        }
        match done {
            0 if file.first_event().is_some() => Err(Errno::EINVAL),
            0 if file.f_flags() & o::NONBLOCK != 0 => Err(Errno::EAGAIN),
            0 => Ok(waiter.wait(Keys::of(queue(file)))),
            done => Ok(waiter.done(done)),
        }
    }

    /// `FIONREAD`: bytes of all events.
    #[must_use]
    pub fn inotify_available(&self, file: File<'_>) -> u64 {
        let (mut all, mut next) = (0, file.first_event());
        while let Some(event) = next.map(|id| self.inotify_event(id)) {
            all += event.bytes();
            next = event.next();
        }
        all
    }

    pub(crate) fn inotify_poll(file: File<'_>) -> Ready {
        let mask = if file.first_event().is_some() {
            event::READABLE
        } else {
            0
        };
        Ready::of(mask, queue(file), file.edges())
    }
}
