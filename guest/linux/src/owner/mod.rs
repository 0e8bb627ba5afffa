//! Whom an open file description tells that something happened: `F_SETOWN` and its relatives, and `O_ASYNC`.
//!
//! A description gets a [`FileOwner`] when it is first asked for one. All of them are in one list, which whoever has something to tell walks: it
//! is empty in most machines, and asking whether it is costs one load.
//!
//! Source: Linux, fs/fcntl.c (`f_setown`, `send_sigio`, `kill_fasync`), `struct fown_struct`; fcntl(2), "Managing signals".
//!
//! # Invariants
//! A description's [`File::owner`] is in the list, and no other record is.

mod lease;

pub(crate) use lease::BREAK_TIME_S;

use faultlab_mm::record::{Field, Id};
use faultlab_mm::shmem::InodeId;
use faultlab_mm::slab::object;
use faultlab_mm::{Platform, id_type, record};

use crate::cred::Cred;
use crate::fdtable::TableId;
use crate::file::{File, FileId, Kind, o};
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`FileOwner`].
    OwnerId
);

record! {
    /// Whom a description tells.
    pub struct FileOwner[16] {
        /// The next of all.
        next, set_next: Option<OwnerId> = 0;
        /// The description.
        file, set_file: Option<FileId> = 1;
        /// Number of a thread, process or group; 0 for nobody.
        number, set_number: u64 = 2;
        /// See [`Who`].
        who, set_who: u64 = 3;
        /// Real user of who said so.
        user, set_user: u32 = 4;
        /// Effective user of who said so.
        effective, set_effective: u32 = 5;
        /// The signal that was asked for; 0 for `SIGIO` without more to say.
        signal, set_signal: u64 = 6;
        /// The descriptor under which `O_ASYNC` was set.
        descriptor, set_descriptor: u64 = 7;
        /// Its lease: see `lease.rs`.
        lease, set_lease: u64 = 8;
        /// What is to become of the lease.
        lease_pending, set_lease_pending: u64 = 9;
        /// When it becomes one for reading, monotonic nanoseconds; 0 for never.
        downgrade_ns, set_downgrade_ns: u64 = 10;
        /// When it goes, monotonic nanoseconds; 0 for never.
        break_ns, set_break_ns: u64 = 11;
        /// The descriptor under which it was taken.
        lease_descriptor, set_lease_descriptor: u64 = 12;
        /// What of its directory it is told of: see `fsnotify/dnotify.rs`.
        notify_mask, set_notify_mask: u64 = 13;
        /// The descriptor under which that was asked for.
        notify_descriptor, set_notify_descriptor: u64 = 14;
    }
}

/// What kind of number an owner has. Source: fcntl(2), `F_OWNER_TID` and its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A thread's.
    Thread = 0,
    /// A process's.
    Process = 1,
    /// A process group's.
    Group = 2,
}

impl Who {
    fn of(number: u64) -> Result<Self, Errno> {
        match number {
            0 => Ok(Self::Thread),
            1 => Ok(Self::Process),
            2 => Ok(Self::Group),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// What happened: `si_code` of the signal. Source: sigaction(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something can be read.
    In = 1,
    /// Something can be written.
    Out = 2,
    /// A lease is to be given up, or a directory changed.
    Message = 3,
}

impl Event {
    /// `si_band`. Source: Linux `band_table`.
    #[must_use]
    pub const fn band(self) -> u64 {
        match self {
            Self::In => 0x41,
            Self::Out => 0x304,
            Self::Message => 0x441,
        }
    }
}

/// A signal to an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whom.
    pub who: Who,
    /// Its number.
    pub number: u32,
    /// Real and effective user of who named it.
    pub users: [u32; 2],
    /// Which signal; 0 for `SIGIO` without more to say.
    pub signal: u32,
    /// Under which descriptor.
    pub descriptor: u32,
    /// What happened.
    pub event: Event,
}

/// Bytes of a `struct f_owner_ex`.
pub const OWNER_BYTES: usize = 8;
/// Signals are numbered up to here.
const SIGNALS: u64 = 64;

impl<P: Platform> Linux<'_, P> {
    pub(crate) fn file_owner(&self, id: OwnerId) -> FileOwner<'_> {
        FileOwner(object(self.memory, id.0))
    }

    /// The owners of all descriptions.
    pub(crate) fn owners(&self) -> impl Iterator<Item = FileOwner<'_>> {
        let mut next: Option<OwnerId> = Field::from_word(self.first_owner.get());
        core::iter::from_fn(move || {
            let owner = self.file_owner(next?);
            next = owner.next();
            Some(owner)
        })
    }

    /// That of a description, made if there is none. Source: Linux `file_f_owner_allocate`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn owner_of(&self, file: FileId) -> Result<FileOwner<'_>, Errno> {
        if let Some(id) = self.file(file).owner() {
            return Ok(self.file_owner(id));
        }
        let id = OwnerId(self.alloc_record(&self.file_owners)?);
        let owner = self.file_owner(id);
        owner.set_file(Some(file));
        owner.set_next(Field::from_word(self.first_owner.get()));
        self.first_owner.set(u64::from(id.object().get()));
        self.file(file).set_owner(Some(id));
        Ok(owner)
    }

    /// A description goes.
    #[cold]
    #[inline(never)]
    pub(crate) fn release_owner(&self, id: OwnerId) {
        let owner = self.file_owner(id);
        match self.owners().find(|before| before.next() == Some(id)) {
            Some(before) => before.set_next(owner.next()),
            None => self.first_owner.set(Field::to_word(owner.next())),
        }
        self.dnotify_flush(id);
        // Whoever waits for its lease looks, and finds it gone.
        self.wake_for_leases();
        for word in owner.0 {
            word.set(0);
        }
        self.file_owners.free(self.memory, id.0);
    }

    /// Names whom a description tells. Source: Linux `__f_setown`.
    pub(crate) fn set_owner(&self, owner: FileOwner<'_>, cred: Cred, who: Who, number: u32) {
        owner.set_who(who as u64);
        owner.set_number(number.into());
        owner.set_user(cred.user.real);
        owner.set_effective(cred.user.effective);
    }

    /// `F_SETOWN`: a process, or with a negative number a group.
    ///
    /// # Errors
    /// `EINVAL` for the negative number without a positive one, `ESRCH`, `ENOMEM`.
    pub(crate) fn f_setown(&self, cred: Cred, file: FileId, number: i32) -> Result<(), Errno> {
        if number == i32::MIN {
            return Err(Errno::EINVAL);
        }
        let who = if number < 0 { Who::Group } else { Who::Process };
        self.name_owner(cred, file, who, number.unsigned_abs())
    }

    fn name_owner(&self, cred: Cred, file: FileId, who: Who, number: u32) -> Result<(), Errno> {
        let owner = self.owner_of(file)?;
        let any = [Who::Thread, Who::Process, Who::Group];
        if number != 0 && !any.into_iter().any(|who| self.system.exists(who, number)) {
            return Err(Errno::ESRCH);
        }
        self.set_owner(owner, cred, who, number);
        Ok(())
    }

    /// `F_GETOWN`: 0 when whoever was named is no more.
    pub(crate) fn f_getown(&self, file: File<'_>) -> i32 {
        match self.named_owner(file) {
            (Who::Group, number) => -number.cast_signed(),
            (_, number) => number.cast_signed(),
        }
    }

    fn named_owner(&self, file: File<'_>) -> (Who, u32) {
        let Some(owner) = file.owner().map(|id| self.file_owner(id)) else {
            return (Who::Thread, 0);
        };
        let (who, number) = (Who::of(owner.who()).unwrap_or(Who::Thread), owner.number() as u32);
        (who, if self.system.exists(who, number) { number } else { 0 })
    }

    /// `F_SETOWN_EX`, of a `struct f_owner_ex`.
    ///
    /// # Errors
    /// `EINVAL` for an unknown kind, `ESRCH`, `ENOMEM`.
    pub fn set_owner_ex(&self, cred: Cred, table: TableId, number: u64, asked: [u8; OWNER_BYTES]) -> Result<(), Errno> {
        let file = self.get_id(table, number)?;
        let asked = u64::from_le_bytes(asked);
        let who = Who::of(asked & u64::from(u32::MAX))?;
        self.name_owner(cred, file, who, (asked >> 32) as u32)
    }

    /// `F_GETOWN_EX`.
    #[must_use]
    pub fn owner_ex(&self, file: File<'_>) -> [u8; OWNER_BYTES] {
        let (who, number) = self.named_owner(file);
        (who as u64 | u64::from(number) << 32).to_le_bytes()
    }

    /// `F_GETOWNER_UIDS`: real and effective user of who named the owner.
    #[must_use]
    pub fn owner_users(&self, file: File<'_>) -> [u32; 2] {
        let owner = file.owner().map(|id| self.file_owner(id));
        owner.map_or([0; 2], |owner| [owner.user(), owner.effective()])
    }

    /// `F_SETSIG`.
    ///
    /// # Errors
    /// `EINVAL` for no signal, `ENOMEM`.
    pub(crate) fn f_setsig(&self, file: FileId, signal: u64) -> Result<(), Errno> {
        if signal > SIGNALS {
            return Err(Errno::EINVAL);
        }
        self.owner_of(file)?.set_signal(signal);
        Ok(())
    }

    /// `F_GETSIG`.
    pub(crate) fn f_getsig(&self, file: File<'_>) -> u64 {
        file.owner().map_or(0, |id| self.file_owner(id).signal())
    }

    /// `O_ASYNC`, under a descriptor. What cannot tell anything stays as it is. Source: Linux, the `fasync` of each kind of file.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn set_async(&self, cred: Cred, id: FileId, descriptor: u64, on: bool) -> Result<(), Errno> {
        let file = self.file(id);
        if on == (file.f_flags() & o::ASYNC != 0) || !tells(file.kind()) {
            return Ok(());
        }
        if on {
            let owner = self.owner_of(id)?;
            owner.set_descriptor(u64::from(descriptor as u32));
            // A terminal tells whoever asked, unless somebody was named. Source: Linux `tty_fasync`.
            if let (Kind::Stream(_), 0) = (file.kind(), owner.number()) {
                self.set_owner(owner, cred, Who::Process, self.system.current().1);
            }
        }
        file.set_f_flags(file.f_flags() & !o::ASYNC | if on { o::ASYNC } else { 0 });
        Ok(())
    }

    /// `FIOASYNC`. Source: Linux `ioctl_fioasync`.
    ///
    /// # Errors
    /// `EBADF`; `ENOTTY` for what cannot tell anything; `ENOMEM`.
    pub fn fioasync(&self, cred: Cred, table: TableId, descriptor: u64, on: bool) -> Result<(), Errno> {
        let id = self.get_id(table, descriptor)?;
        let file = self.file(id);
        if on != (file.f_flags() & o::ASYNC != 0) && !tells(file.kind()) {
            return Err(Errno::ENOTTY);
        }
        self.set_async(cred, id, descriptor, on)
    }

    /// Tells whoever listens to an object through a description that `listens`. Source: Linux `kill_fasync`.
    #[inline]
    pub(crate) fn kill_fasync(&self, inode: InodeId, event: Event, listens: impl Fn(File<'_>) -> bool) {
        if self.first_owner.get() != 0 {
            self.tell_owners(event, &|file| file.inode() == Some(inode) && listens(file));
        }
    }

    /// The same of one description.
    pub(crate) fn kill_fasync_of(&self, file: File<'_>, event: Event) {
        if let Some(owner) = file.owner().filter(|_| file.f_flags() & o::ASYNC != 0) {
            let owner = self.file_owner(owner);
            self.send_sigio(owner, owner.descriptor(), event);
        }
    }

    /// The terminal has input. Source: Linux, drivers/tty/n_tty.c.
    pub fn terminal_has_input(&self, is_terminal: impl Fn(u64) -> bool) {
        if self.first_owner.get() != 0 {
            self.tell_owners(
                Event::In,
                &|file| matches!(file.kind(), Kind::Stream(stream) if is_terminal(stream)),
            );
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_owners(&self, event: Event, listens: &dyn Fn(File<'_>) -> bool) {
        for owner in self.owners() {
            let Some(file) = owner.file().map(|id| self.file(id)) else {
                continue;
            };
            if file.f_flags() & o::ASYNC != 0 && listens(file) {
                self.send_sigio(owner, owner.descriptor(), event);
            }
        }
    }

    /// Source: Linux `send_sigio`.
    pub(crate) fn send_sigio(&self, owner: FileOwner<'_>, descriptor: u64, event: Event) {
        if owner.number() == 0 {
            return;
        }
        self.system.tell(&Notice {
            who: Who::of(owner.who()).unwrap_or(Who::Process),
            number: owner.number() as u32,
            users: [owner.user(), owner.effective()],
            signal: owner.signal() as u32,
            descriptor: descriptor as u32,
            event,
        });
    }
}

/// Whether a kind can tell that it has something.
const fn tells(kind: Kind) -> bool {
    matches!(kind, Kind::Pipe(_) | Kind::Stream(_) | Kind::Random | Kind::Inotify)
}
