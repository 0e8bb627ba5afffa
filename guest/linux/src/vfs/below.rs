//! Everything below a directory, walked without a stack: down to the newest name, then to the next older one, then up.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::dentry::DentryId;
use super::is_dir;
use crate::Linux;

impl<P: Platform> Linux<'_, P> {
    /// The entry below a directory, or below what is below it, that names an object.
    pub(crate) fn name_below(&self, top: InodeId, wanted: InodeId) -> Option<DentryId> {
        let mut next = self.newest_name(top);
        while let Some(entry) = next {
            let inode = self.dentry(entry).inode()?;
            if inode == wanted {
                return Some(entry);
            }
            let down = is_dir(self.object(inode)).then(|| self.newest_name(inode)).flatten();
            next = down.or_else(|| self.next_after(entry, top));
        }
        None
    }

    /// Visits what every name below a directory names.
    pub(super) fn for_each_below(&self, top: InodeId, mut each: impl FnMut(InodeId)) {
        let mut next = self.newest_name(top);
        while let Some(entry) = next {
            let Some(inode) = self.dentry(entry).inode() else {
                return;
            };
            each(inode);
            let down = is_dir(self.object(inode)).then(|| self.newest_name(inode)).flatten();
            next = down.or_else(|| self.next_after(entry, top));
        }
    }

    /// The next name in a walk of a tree, what is below `entry` left out.
    fn next_after(&self, mut entry: DentryId, top: InodeId) -> Option<DentryId> {
        loop {
            let dentry = self.dentry(entry);
            if let Some(older) = dentry.older() {
                return Some(older);
            }
            let dir = dentry.parent().filter(|&dir| dir != top)?;
            entry = self.name_of_dir(dir)?;
        }
    }

    /// Removes every name below a directory, those without names below them first.
    pub(crate) fn remove_all(&self, top: InodeId) {
        let mut dir = top;
        loop {
            match self.newest_name(dir) {
                Some(entry) => match self.dentry(entry).inode().filter(|&inode| is_dir(self.object(inode))) {
                    Some(below) if self.newest_name(below).is_some() => dir = below,
                    Some(_) => self.remove_dir(entry),
                    None => self.remove_link(entry),
                },
                None if dir == top => return,
                None => {
                    let above = self.name_of_dir(dir).and_then(|entry| self.dentry(entry).parent());
                    dir = above.unwrap_or(top);
                }
            }
        }
    }
}
