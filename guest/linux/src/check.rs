//! Whether the layer's records are in order, and, once every program has ended, gone: a walk that needs no memory.
//!
//! Below it, [`faultlab_mm::check`] goes through what the memory manager keeps.

use faultlab_mm::Platform;
use faultlab_mm::check::{Violation, equal};

use crate::Linux;

/// Records that only programs have, and how it is said that some are left when they have ended. The others are of files.
const OF_PROGRAMS: [(&str, &str); 15] = [
    ("file", "records left of file"),
    ("files_cache", "records left of files_cache"),
    ("fs_cache", "records left of fs_cache"),
    ("sighand_cache", "records left of sighand_cache"),
    ("sigqueue", "records left of sigqueue"),
    ("timer", "records left of timer"),
    ("seq_text", "records left of seq_text"),
    ("file_lock", "records left of file_lock"),
    ("eventpoll_epi", "records left of eventpoll_epi"),
    ("pipe", "records left of pipe"),
    ("groups", "records left of groups"),
    ("file_owner", "records left of file_owner"),
    ("pipe_user", "records left of pipe_user"),
    ("inotify_inode_mark", "records left of inotify_inode_mark"),
    ("inotify_event", "records left of inotify_event"),
];

impl<P: Platform> Linux<'_, P> {
    /// Whether all caches of records are in order.
    ///
    /// # Errors
    /// The first that is not.
    #[cold]
    #[inline(never)]
    pub fn verify(&self) -> Result<(), Violation> {
        let memory = self.memory;
        self.files.verify(memory)?;
        self.tables.verify(memory)?;
        self.fs_structs.verify(memory)?;
        self.actions.verify(memory)?;
        self.queued.verify(memory)?;
        self.timer_records.verify(memory)?;
        self.names.dentries.verify(memory)?;
        self.names.long.verify(memory)?;
        self.texts.verify(memory)?;
        self.mounts.cache.verify(memory)?;
        self.chunks.verify(memory)?;
        self.file_locks.verify(memory)?;
        self.ep_items.verify(memory)?;
        self.group_infos.verify(memory)?;
        self.watch_records.verify(memory)?;
        self.inotify_events.verify(memory)?;
        self.file_owners.verify(memory)?;
        self.pipe_users.verify(memory)?;
        self.pipes.verify(memory)
    }

    /// As [`Linux::verify`], when every program has ended.
    ///
    /// # Errors
    /// The first that is not in order, or a record that is left.
    #[cold]
    #[inline(never)]
    pub fn verify_at_rest(&self) -> Result<(), Violation> {
        self.verify()?;
        OF_PROGRAMS.into_iter().try_for_each(|(name, what)| {
            let left = self.live_records().into_iter().find(|(of, _)| *of == name);
            equal(what, 0_u32, left.map_or(0, |(_, objects)| objects), 0_u64)
        })
    }
}
