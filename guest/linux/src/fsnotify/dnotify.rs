//! `F_NOTIFY`: whoever owns a directory's description gets a signal when something happens there. Source: Linux, fs/notify/dnotify/dnotify.c;
//! fcntl(2), "File and directory change notification".

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::fs;
use crate::cred::Cred;
use crate::file::{FileId, Kind};
use crate::owner::{Event, OwnerId, Who};
use crate::{Errno, Linux};

/// What can be asked for. Source: fcntl(2).
mod dn {
    pub(super) const EVENTS: [(u64, u32); 6] = [
        (0x1, super::fs::ACCESS),
        (0x2, super::fs::MODIFY),
        (0x4, super::fs::CREATE | super::fs::MOVED_TO),
        (0x8, super::fs::DELETE | super::fs::MOVED_FROM),
        (0x10, super::fs::RENAME),
        (0x20, super::fs::ATTRIB),
    ];
    pub(super) const MULTISHOT: u64 = 1 << 31;
}

impl<P: Platform> Linux<'_, P> {
    /// `F_NOTIFY`, under a descriptor.
    ///
    /// # Errors
    /// `EINVAL` where `/proc/sys/fs/dir-notify-enable` is 0, `ENOTDIR`, `ENOMEM`.
    pub(crate) fn f_notify(&self, cred: Cred, id: FileId, descriptor: u64, asked: u64) -> Result<(), Errno> {
        if self.dir_notify_enable.get() == 0 {
            return Err(Errno::EINVAL);
        }
        if asked as u32 & !(dn::MULTISHOT as u32) == 0 {
            if let Some(owner) = self.file(id).owner() {
                self.dnotify_flush(owner);
            }
            return Ok(());
        }
        let Kind::Directory(_) = self.file(id).kind() else {
            return Err(Errno::ENOTDIR);
        };
        let owner = self.owner_of(id)?;
        if owner.number() == 0 {
            self.set_owner(owner, cred, Who::Process, self.system.current().1);
        }
        let events = dn::EVENTS.iter().filter(|(bit, _)| asked & bit != 0);
        let mask = events.fold(0, |mask, (_, events)| mask | u64::from(*events));
        if owner.notify_mask() == 0 {
            self.watching.add(1);
        }
        owner.set_notify_mask(owner.notify_mask() | mask | asked & dn::MULTISHOT);
        owner.set_notify_descriptor(u64::from(descriptor as u32));
        Ok(())
    }

    /// A description asks for nothing any more.
    pub(crate) fn dnotify_flush(&self, id: OwnerId) {
        let owner = self.file_owner(id);
        if owner.notify_mask() != 0 {
            owner.set_notify_mask(0);
            self.watching.add(u64::MAX);
        }
    }

    pub(super) fn dnotify(&self, dir: InodeId, mask: u32) {
        for owner in self.owners() {
            let asked = owner.notify_mask();
            let of_dir = || owner.file().and_then(|file| self.file(file).inode()) == Some(dir);
            if asked & u64::from(mask & !fs::ISDIR) == 0 || !of_dir() {
                continue;
            }
            if asked & dn::MULTISHOT == 0 {
                owner.set_notify_mask(0);
                self.watching.add(u64::MAX);
            }
            self.send_sigio(owner, owner.notify_descriptor(), Event::Message);
        }
    }
}
