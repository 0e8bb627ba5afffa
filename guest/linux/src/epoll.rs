//! `epoll`: a descriptor that watches others. Source: Linux, fs/eventpoll.c; epoll(7), epoll_ctl(2), epoll_wait(2).
//!
//! An item is on two lists: that of the epoll description, in the order in which it will be looked at, and that of the description it watches,
//! so that it goes with either. Neither list counts as a reference.
//!
//! Differs from Linux: nobody puts items on a list of ready ones; `epoll_wait` looks at all of them. An edge is seen by
//! [`Ready::edges`](crate::poll::Ready::edges) having changed since the item was last told.

use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use crate::fdtable::TableId;
use crate::file::{File, FileId, Kind, o};
use crate::poll::{Ready, event};
use crate::wait::{Keys, Queue};
use crate::{Errno, Linux};

id_type!(
    /// Number of an [`EpItem`].
    EpItemId
);

record! {
    /// A descriptor that is watched.
    pub struct EpItem[16] {
        /// Who watches.
        epoll, set_epoll: Option<FileId> = 0;
        /// What is watched.
        file, set_file: Option<FileId> = 1;
        /// Under which number.
        number, set_number: u64 = 2;
        /// [`event`] and [`flag`] bits.
        events, set_events: u32 = 3;
        /// What the program is told.
        data, set_data: u64 = 4;
        /// The next item of the same epoll.
        next, set_next: Option<EpItemId> = 5;
        /// The next item that watches the same description.
        link, set_link: Option<EpItemId> = 6;
        /// The edges that the program was told of.
        edges, set_edges: u64 = 7;
        /// Whether it was told of any since it asked.
        told, set_told: bool = 8;
    }
}

/// What is said with events. Source: epoll_ctl(2).
pub mod flag {
    /// Told to one of several that wait.
    pub const EXCLUSIVE: u32 = 1 << 28;
    /// Keeps the machine awake: nothing here sleeps.
    pub const WAKEUP: u32 = 1 << 29;
    /// Told once, until asked for again.
    pub const ONESHOT: u32 = 1 << 30;
    /// Told when something happens, not as long as it is so.
    pub const ET: u32 = 1 << 31;
    /// All of them.
    pub const ALL: u32 = EXCLUSIVE | WAKEUP | ONESHOT | ET;
}

/// Bytes of a `struct epoll_event`.
pub const EVENT_BYTES: usize = 12;
/// What is called with a number and a `struct epoll_event`.
pub type EachEvent<'a> = &'a mut dyn FnMut(u64, &[u8; EVENT_BYTES]) -> Result<(), Errno>;
/// How deep epolls may watch each other. Source: Linux `EP_MAX_NESTS`.
const NESTS_MAX: u32 = 4;

/// So many ways of 1, 2, ... more steps may lead from what is watched to an epoll that nobody watches. Source: Linux `path_limits`; of the
/// shortest there may be any number.
const PATHS_MAX: [u32; NESTS_MAX as usize] = [500, 100, 50, 10];

/// What `epoll_ctl` does. Source: epoll_ctl(2).
mod op {
    pub(super) const ADD: u32 = 1;
    pub(super) const DEL: u32 = 2;
    pub(super) const MOD: u32 = 3;
}

/// Whether an operation reads what is asked for.
#[must_use]
pub fn has_event(operation: u64) -> bool {
    operation as u32 != op::DEL
}

impl<P: Platform> Linux<'_, P> {
    fn ep_item(&self, id: EpItemId) -> EpItem<'_> {
        EpItem(object(self.memory, id.0))
    }

    /// `epoll_create1`: a new descriptor.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags, `EMFILE`, `ENOMEM`.
    pub fn epoll_create1(&self, table: TableId, flags: u64) -> Result<u64, Errno> {
        if flags as u32 & !(o::CLOEXEC as u32) != 0 {
            return Err(Errno::EINVAL);
        }
        let id = self.alloc_file()?;
        self.set_file(id, Kind::Epoll, None, o::RDWR);
        self.install(table, id, 0, flags & o::CLOEXEC != 0)
    }

    /// `epoll_ctl`; `event` is a `struct epoll_event`, of operations that have one.
    ///
    /// # Errors
    /// `EBADF`, `EPERM` for what cannot be polled, `EINVAL` (also for too many ways from one epoll to another), `EEXIST`, `ENOENT`, `ELOOP`, `ENOMEM`.
    pub fn epoll_ctl(
        &self,
        table: TableId,
        epoll: u64,
        operation: u64,
        number: u64,
        event: [u8; EVENT_BYTES],
    ) -> Result<(), Errno> {
        self.get(table, epoll)?;
        self.get(table, number)?;
        let (epoll, target) = (self.get_id(table, epoll)?, self.get_id(table, number)?);
        let (file, watched) = (self.file(epoll), self.file(target));
        if !can_poll(watched.kind()) {
            return Err(Errno::EPERM);
        }
        if epoll == target || file.kind() != Kind::Epoll {
            return Err(Errno::EINVAL);
        }
        let [a, b, c, d, data @ ..] = event;
        let (events, data) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(data));
        check_exclusive(operation as u32, events, watched.kind())?;
        let number = u64::from(number as u32);
        let found = self
            .ep_items(file)
            .find(|&(_, item)| item.file() == Some(target) && item.number() == number);
        match (operation as u32, found) {
            (op::ADD, Some(_)) => return Err(Errno::EEXIST),
            (op::ADD, None) => {
                self.check_nesting(epoll, target)?;
                let is_deep = file.ep_links().is_some() || watched.kind() == Kind::Epoll;
                let (id, item) = self.add_ep_item(epoll, target)?;
                if is_deep && let Err(errno) = self.check_paths(target, self.new_walk()) {
                    self.remove_ep_item(id);
                    return Err(errno);
                }
                item.set_number(number);
                ask(item, events, data);
            }
            (op::DEL | op::MOD, None) => return Err(Errno::ENOENT),
            (op::DEL, Some((id, _))) => self.remove_ep_item(id),
            // An exclusive one stays as it is.
            (op::MOD, Some((_, item))) if item.events() & flag::EXCLUSIVE != 0 => return Err(Errno::EINVAL),
            (op::MOD, Some((_, item))) => ask(item, events, data),
            _ => return Err(Errno::EINVAL),
        }
        self.wake(queue(file));
        Ok(())
    }

    /// The items of an epoll, in order.
    fn ep_items(&self, epoll: File<'_>) -> impl Iterator<Item = (EpItemId, EpItem<'_>)> {
        let mut next = epoll.ep_first();
        core::iter::from_fn(move || {
            let id = next?;
            let item = self.ep_item(id);
            next = item.next();
            Some((id, item))
        })
    }

    fn add_ep_item(&self, epoll: FileId, target: FileId) -> Result<(EpItemId, EpItem<'_>), Errno> {
        let id = EpItemId(self.alloc_record(&self.ep_items)?);
        let (item, watched) = (self.ep_item(id), self.file(target));
        item.set_epoll(Some(epoll));
        item.set_file(Some(target));
        item.set_link(watched.ep_links());
        watched.set_ep_links(Some(id));
        self.append_ep_item(self.file(epoll), id);
        Ok((id, item))
    }

    fn append_ep_item(&self, epoll: File<'_>, id: EpItemId) {
        match epoll.ep_last() {
            Some(last) => self.ep_item(last).set_next(Some(id)),
            None => epoll.set_ep_first(Some(id)),
        }
        epoll.set_ep_last(Some(id));
    }

    /// Takes an item off its epoll's list.
    fn take_off(&self, epoll: File<'_>, id: EpItemId) {
        let next = self.ep_item(id).next();
        let before = self.ep_items(epoll).find(|(_, item)| item.next() == Some(id));
        match before {
            Some((_, before)) => before.set_next(next),
            None => epoll.set_ep_first(next),
        }
        if epoll.ep_last() == Some(id) {
            epoll.set_ep_last(before.map(|(before, _)| before));
        }
        self.ep_item(id).set_next(None);
    }

    fn remove_ep_item(&self, id: EpItemId) {
        let item = self.ep_item(id);
        if let Some(epoll) = item.epoll() {
            self.take_off(self.file(epoll), id);
        }
        if let Some(watched) = item.file().map(|file| self.file(file)) {
            let mut next = watched.ep_links();
            if next == Some(id) {
                watched.set_ep_links(item.link());
            }
            while let Some(other) = next.map(|other| self.ep_item(other)) {
                next = other.link();
                if next == Some(id) {
                    other.set_link(item.link());
                    break;
                }
            }
        }
        for word in item.0 {
            word.set(0);
        }
        self.ep_items.free(self.memory, id.0);
    }

    /// A description goes, and with it what watches it and what it watches. Source: Linux `eventpoll_release_file`, `ep_free`.
    pub(crate) fn release_ep_items(&self, file: File<'_>) {
        while let Some(id) = file.ep_links() {
            self.remove_ep_item(id);
        }
        while let Some(id) = file.ep_first() {
            self.remove_ep_item(id);
        }
    }

    /// Whether an epoll may watch another: none may watch itself in the end, nor too many each other. Source: Linux `ep_loop_check`.
    fn check_nesting(&self, epoll: FileId, target: FileId) -> Result<(), Errno> {
        if self.file(target).kind() != Kind::Epoll {
            return Ok(());
        }
        let below = self.depth_below(target, epoll, (0, self.new_walk()))?;
        if below + self.depth_above(epoll, (0, self.new_walk())) > NESTS_MAX {
            return Err(Errno::ELOOP);
        }
        Ok(())
    }

    /// A number for a walk over epolls, which looks at each once, however many ways lead there.
    fn new_walk(&self) -> u64 {
        self.opened.add(1);
        self.opened.get()
    }

    /// How many epolls are below one, itself included; an error if `except` is among them.
    fn depth_below(&self, epoll: FileId, except: FileId, (level, walk): (u32, u64)) -> Result<u32, Errno> {
        if epoll == except || level > NESTS_MAX {
            return Err(Errno::ELOOP);
        }
        let file = self.file(epoll);
        if file.ep_walk() == walk {
            return Ok(file.ep_found() as u32);
        }
        let mut most = 0;
        for target in self.ep_items(file).filter_map(|(_, item)| item.file()) {
            if self.file(target).kind() == Kind::Epoll {
                most = most.max(self.depth_below(target, except, (level + 1, walk))?);
            }
        }
        file.set_ep_walk(walk);
        file.set_ep_found(u64::from(most + 1));
        Ok(most + 1)
    }

    /// How many are above one.
    fn depth_above(&self, epoll: FileId, (level, walk): (u32, u64)) -> u32 {
        let file = self.file(epoll);
        if file.ep_walk() == walk {
            return file.ep_found() as u32;
        }
        let (mut most, mut next) = (0, file.ep_links());
        while let Some(item) = next.filter(|_| level <= NESTS_MAX).map(|id| self.ep_item(id)) {
            next = item.link();
            if let Some(above) = item.epoll() {
                most = most.max(1 + self.depth_above(above, (level + 1, walk)));
            }
        }
        file.set_ep_walk(walk);
        file.set_ep_found(u64::from(most));
        most
    }

    /// Whether not too many ways lead up from a description, or from what is watched in and below it. Source: Linux `reverse_path_check`.
    fn check_paths(&self, target: FileId, walk: u64) -> Result<(), Errno> {
        let file = self.file(target);
        if file.kind() != Kind::Epoll {
            return self.count_paths(file, 0, &mut [0; PATHS_MAX.len()]);
        }
        if file.ep_walk() == walk {
            return Ok(());
        }
        file.set_ep_walk(walk);
        self.ep_items(file)
            .filter_map(|(_, item)| item.file())
            .try_for_each(|below| self.check_paths(below, walk))
    }

    fn count_paths(&self, file: File<'_>, steps: usize, counts: &mut [u32; PATHS_MAX.len()]) -> Result<(), Errno> {
        let mut next = file.ep_links();
        while let Some(item) = next.map(|id| self.ep_item(id)) {
            next = item.link();
            let Some(above) = item.epoll().map(|above| self.file(above)) else {
                continue;
            };
            if above.ep_links().is_some() {
                if steps == PATHS_MAX.len() {
                    return Err(Errno::EINVAL);
                }
                self.count_paths(above, steps + 1, counts)?;
            } else if let Some(index) = steps.checked_sub(1) {
                counts[index] += 1;
                if counts[index] > PATHS_MAX[index] {
                    return Err(Errno::EINVAL);
                }
            }
        }
        Ok(())
    }

    /// What an item has to tell, of what it was asked for.
    fn ep_item_poll(&self, item: EpItem<'_>, walk: u64) -> Ready {
        // One that was told once says nothing until asked again.
        if item.events() & !flag::ALL == 0 {
            return Ready::default();
        }
        let Some(file) = item.file() else {
            return Ready::default();
        };
        let file = self.file(file);
        let mut ready = match file.kind() {
            Kind::Epoll => self.epoll_poll_in(file, walk),
            _ => self.poll(file),
        };
        ready.mask &= item.events();
        if item.events() & flag::ET != 0 && item.told() && item.edges() == ready.edges {
            ready.mask = 0;
        }
        ready
    }

    /// `epoll_wait`: gives up to `most` events, as `struct epoll_event`, to `each`, with a number from 0 on. How many there were, and
    /// what to wait on for more.
    ///
    /// # Errors
    /// `EINVAL` for what is no epoll; what `each` says, unless some were given.
    pub fn epoll_collect(&self, file: File<'_>, most: u64, each: EachEvent<'_>) -> Result<(u64, Keys), Errno> {
        if file.kind() != Kind::Epoll {
            return Err(Errno::EINVAL);
        }
        let (mut found, mut keys) = (0, Keys::of(queue(file)));
        let walk = self.new_walk();
        // Those that were told go behind the others, and are not looked at twice.
        let (last, mut next) = (file.ep_last(), file.ep_first());
        while let Some(id) = next.filter(|_| found < most) {
            let item = self.ep_item(id);
            next = item.next().filter(|_| Some(id) != last);
            let ready = self.ep_item_poll(item, walk);
            keys = keys.with(ready.keys);
            if ready.mask == 0 {
                continue;
            }
            let mut bytes = [0; EVENT_BYTES];
            bytes[..4].copy_from_slice(&ready.mask.to_le_bytes());
            bytes[4..].copy_from_slice(&item.data().to_le_bytes());
            match each(found, &bytes) {
                Err(errno) if found == 0 => return Err(errno),
                Err(_) => break,
                Ok(()) => found += 1,
            }
            item.set_edges(ready.edges);
            item.set_told(true);
            if item.events() & flag::ONESHOT != 0 {
                item.set_events(item.events() & flag::ALL);
            }
            self.take_off(file, id);
            self.append_ep_item(file, id);
        }
        Ok((found, keys))
    }

    /// An epoll can be read when any of its items has something to tell.
    pub(crate) fn epoll_poll(&self, file: File<'_>) -> Ready {
        self.epoll_poll_in(file, self.new_walk())
    }

    fn epoll_poll_in(&self, file: File<'_>, walk: u64) -> Ready {
        // The walk has been here on another way, and has its keys.
        if file.ep_walk() == walk {
            let found = file.ep_found();
            return Ready {
                mask: if found & 1 != 0 { event::READABLE } else { 0 },
                keys: Keys::NONE,
                edges: found >> 1,
            };
        }
        let mut all = Ready::of(0, queue(file), 0);
        for (_, item) in self.ep_items(file) {
            let ready = self.ep_item_poll(item, walk);
            all = all.with(ready);
        }
        if all.mask != 0 {
            all.mask = event::READABLE;
        }
        // As much of it as is kept.
        all.edges &= u64::MAX >> 1;
        file.set_ep_walk(walk);
        file.set_ep_found(all.edges << 1 | u64::from(all.mask != 0));
        all
    }
}

fn queue(epoll: File<'_>) -> Queue {
    Queue::numbered(epoll.opened())
}

/// What an item is asked for from now on.
fn ask(item: EpItem<'_>, events: u32, data: u64) {
    item.set_events(events | event::ERR | event::HUP);
    item.set_data(data);
    item.set_told(false);
}

/// Whether the question makes sense of a kind: files are always ready. Source: Linux `file_can_poll`.
fn can_poll(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pipe(_)
            | Kind::Event { .. }
            | Kind::Epoll
            | Kind::Stream(_)
            | Kind::Random
            | Kind::Userfault(_)
            | Kind::Timer
            | Kind::Signal
            | Kind::Pid
            | Kind::Inotify
    )
}

/// Source: Linux `do_epoll_ctl`.
fn check_exclusive(operation: u32, events: u32, target: Kind) -> Result<(), Errno> {
    const WITH: u32 = event::IN | event::OUT | event::ERR | event::HUP | flag::WAKEUP | flag::ET | flag::EXCLUSIVE;
    if events & flag::EXCLUSIVE == 0 || operation == op::DEL {
        return Ok(());
    }
    if operation == op::MOD || target == Kind::Epoll || events & !WITH != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}
