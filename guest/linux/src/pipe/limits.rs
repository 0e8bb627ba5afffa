//! How much pipes may hold: of one, and of all of a user. Source: Linux, fs/pipe.c (`account_pipe_buffers`, `too_many_pipe_buffers_soft`);
//! pipe(7), "/proc files".

use faultlab_mm::record::Field;
use faultlab_mm::slab::object;
use faultlab_mm::sync::Word;
use faultlab_mm::{Platform, id_type, record};

use super::ring::{PAGE_BYTES, SLOTS_DEFAULT};
use crate::cred::Cred;
use crate::{Errno, Linux};

id_type!(
    /// Number of a [`PipeUser`].
    PipeUserId
);

record! {
    /// A user with pipes.
    pub struct PipeUser[4] {
        /// The next.
        next, set_next: Option<PipeUserId> = 0;
        /// Its number.
        user, set_user: u32 = 1;
        /// Slots of all its pipes; never 0.
        slots, set_slots: u64 = 2;
    }
}

/// Bytes that can be asked for at all. Source: Linux `round_pipe_size`.
const SIZE_MAX: u64 = 1 << 31;
/// Slots of a new pipe of a user who has too many. Source: Linux `PIPE_MIN_DEF_BUFFERS`.
const SLOTS_LEAST: u64 = 2;

/// What `/proc/sys/fs` says of pipes.
#[derive(Debug)]
pub(crate) struct PipeLimits {
    /// Bytes of a pipe at most, without privilege.
    pub(crate) max_bytes: Word,
    /// Slots of a user's pipes from which on new ones are small, without privilege; 0 for none.
    pub(crate) soft: Word,
    /// And from which on there are none.
    pub(crate) hard: Word,
    first: Word,
}

impl PipeLimits {
    pub(crate) const fn new() -> Self {
        Self {
            max_bytes: Word::new(1 << 20),
            soft: Word::new(16 * 1024),
            hard: Word::new(0),
            first: Word::new(0),
        }
    }
}

/// Bytes of a pipe that is to have room for this many. Source: Linux `round_pipe_size`.
///
/// # Errors
/// `EINVAL` for more than there can be.
pub(crate) fn round_pipe_size(bytes: u64) -> Result<u64, Errno> {
    if bytes > SIZE_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(bytes.max(PAGE_BYTES).next_power_of_two())
}

impl<P: Platform> Linux<'_, P> {
    fn pipe_user(&self, id: PipeUserId) -> PipeUser<'_> {
        PipeUser(object(self.memory, id.0))
    }

    fn pipe_users(&self) -> impl Iterator<Item = (PipeUserId, PipeUser<'_>)> {
        let mut next: Option<PipeUserId> = Field::from_word(self.pipe_limits.first.get());
        core::iter::from_fn(move || {
            let id = next?;
            let user = self.pipe_user(id);
            next = user.next();
            Some((id, user))
        })
    }

    fn slots_of(&self, user: u32) -> u64 {
        self.pipe_users()
            .find(|(_, found)| found.user() == user)
            .map_or(0, |(_, found)| found.slots())
    }

    /// A user's pipes have other sizes.
    ///
    /// # Errors
    /// `ENOMEM` for somebody who had none.
    fn account(&self, user: u32, old: u64, new: u64) -> Result<(), Errno> {
        if old == new {
            return Ok(());
        }
        let Some((id, found)) = self.pipe_users().find(|(_, found)| found.user() == user) else {
            let id = PipeUserId(self.alloc_record(&self.pipe_users)?);
            let first = self.pipe_user(id);
            first.set_user(user);
            first.set_slots(new);
            first.set_next(Field::from_word(self.pipe_limits.first.get()));
            self.pipe_limits.first.set(Field::to_word(Some(id)));
            return Ok(());
        };
        found.set_slots(found.slots() + new - old);
        if found.slots() == 0 {
            match self.pipe_users().find(|(_, before)| before.next() == Some(id)) {
                Some((_, before)) => before.set_next(found.next()),
                None => self.pipe_limits.first.set(Field::to_word(found.next())),
            }
            found.0.iter().for_each(|word| word.set(0));
            self.pipe_users.free(self.memory, id.0);
        }
        Ok(())
    }

    /// Slots of a new pipe, which are counted.
    ///
    /// # Errors
    /// `ENFILE` for a user with too many, `ENOMEM`.
    pub(super) fn slots_for(&self, cred: Cred) -> Result<u64, Errno> {
        let limits = &self.pipe_limits;
        let (user, privileged) = (cred.user.real, cred.privileged());
        let mut slots = SLOTS_DEFAULT;
        if !privileged {
            slots = slots.min(limits.max_bytes.get() / PAGE_BYTES);
            let before = self.slots_of(user);
            let over = |limit: u64, slots: u64| limit != 0 && before + slots > limit;
            if over(limits.soft.get(), slots) {
                slots = SLOTS_LEAST;
            }
            if over(limits.hard.get(), slots) {
                return Err(Errno::ENFILE);
            }
        }
        self.account(user, 0, slots)?;
        Ok(slots)
    }

    /// A pipe that was counted is another's size, or goes.
    ///
    /// # Errors
    /// `EPERM`, where `cred` may not have that many. A pipe that goes cannot fail.
    pub(super) fn recount(&self, cred: Option<Cred>, user: u32, old: u64, new: u64) -> Result<(), Errno> {
        let limits = &self.pipe_limits;
        if cred.is_some_and(|cred| new > old && !cred.privileged()) {
            let all = self.slots_of(user) + new - old;
            let over = |limit: &Word| limit.get() != 0 && all > limit.get();
            if new * PAGE_BYTES > limits.max_bytes.get() || over(&limits.soft) || over(&limits.hard) {
                return Err(Errno::EPERM);
            }
        }
        self.account(user, old, new)
    }
}
