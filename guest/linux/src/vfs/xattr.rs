//! Extended attributes: who may do what with which names. Source: Linux, fs/xattr.c (`xattr_permission`, `xattr_resolve_name`),
//! security/commoncap.c, mm/shmem.c; xattr(7), the man page of each call. Rule C38.
//!
//! Differs from Linux: there are no access control lists (`system.`), as in a kernel without them; file capabilities are kept, and mean nothing.

use faultlab_mm::shmem::{FsType, InodeId, NewXattr, Xattr, inode_flag};
use faultlab_mm::{Error, Platform};

use super::permission::may;
use super::{PathAt, Task, is_dir, s, type_of};
use crate::cred::Cred;
use crate::fsnotify::fs;
use crate::vfs::namei::Follow;
use crate::{Errno, Linux};

pub use faultlab_mm::shmem::XATTR_NAME_MAX;

/// Bytes of a value, and of a list of names, at most. Source: Linux `XATTR_SIZE_MAX`, `XATTR_LIST_MAX`.
pub const XATTR_SIZE_MAX: u64 = 65536;

/// Flags of `setxattr`. Source: setxattr(2).
pub mod xattr_flag {
    /// It must not be there.
    pub const CREATE: u64 = 1;
    /// It must be there.
    pub const REPLACE: u64 = 2;
}

/// The name of file capabilities.
const CAPABILITY: &[u8] = b"security.capability";
/// Bytes of their second version, and of the third, which says for whom. Source: Linux `XATTR_CAPS_SZ_2`, `XATTR_CAPS_SZ_3`.
const CAPS_V2: usize = 20;
const CAPS_V3: usize = 24;

/// Whose a name is, by what stands before its first full stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    User,
    Trusted,
    Security,
    Other,
}

fn space_of(name: &[u8]) -> (Space, &[u8]) {
    let spaces: [(&[u8], Space); 3] = [
        (b"user.", Space::User),
        (b"trusted.", Space::Trusted),
        (b"security.", Space::Security),
    ];
    for (prefix, space) in spaces {
        if let Some(rest) = name.strip_prefix(prefix) {
            return (space, rest);
        }
    }
    (Space::Other, name)
}

impl<P: Platform> Linux<'_, P> {
    /// The object that a call on a path is about, without a reference.
    ///
    /// # Errors
    /// Those of a walk.
    pub fn xattr_object(&self, task: &Task, at: PathAt<'_>, follow: bool) -> Result<InodeId, Errno> {
        let follow = if follow { Follow::Yes } else { Follow::IfSlash };
        self.lookup(task, at, follow, false)
    }

    /// `setxattr` of an object; those without (`None`) keep none. `fill` reads the value, from an offset on.
    ///
    /// # Errors
    /// `EROFS`, `EPERM`, `EACCES`, `EOPNOTSUPP`, `EINVAL` for a name that ends with its prefix and for capabilities that are none; `EEXIST`,
    /// `ENODATA`, `ENOSPC`, `ENOMEM`, `EIO`; those of `fill`.
    pub fn set_xattr<F>(
        &self,
        cred: Cred,
        inode: Option<InodeId>,
        name: &[u8],
        (size, flags): (u64, u64),
        mut fill: F,
    ) -> Result<(), Errno>
    where
        F: FnMut(u64, &mut [u8]) -> Result<(), Error>,
    {
        if let Some(inode) = inode {
            self.want_write(inode)?;
        }
        let mut caps = [0; CAPS_V3];
        let mut caps_len = None;
        if name == CAPABILITY && size != 0 {
            let value = caps.get_mut(..size as usize).ok_or(Errno::EINVAL)?;
            fill(0, value)?;
            caps_len = Some(check_capability(&mut caps, size as usize)?);
        }
        let inode = self.may_xattr(cred, inode, name, may::WRITE)?;
        let (create, replace) = (flags & xattr_flag::CREATE != 0, flags & xattr_flag::REPLACE != 0);
        let fill = |at: u64, piece: &mut [u8]| match caps_len {
            Some(_) => {
                piece.copy_from_slice(&caps[at as usize..at as usize + piece.len()]);
                Ok(())
            }
            None => fill(at, piece),
        };
        self.memory.set_xattr(
            inode,
            NewXattr {
                name,
                size: caps_len.map_or(size, |len| len as u64),
                fill,
                create,
                replace,
            },
        )?;
        self.changed(inode, false);
        self.fsnotify(inode, fs::ATTRIB);
        Ok(())
    }

    /// `getxattr`: the attribute, for [`Linux::read_xattr`].
    ///
    /// # Errors
    /// `EACCES`, `EOPNOTSUPP`, `EINVAL`, `ENODATA`, `ENOMEM`, `EIO`.
    pub fn get_xattr(&self, cred: Cred, inode: Option<InodeId>, name: &[u8]) -> Result<Xattr, Errno> {
        let inode = self.may_xattr(cred, inode, name, may::READ)?;
        self.memory.find_xattr(inode, name)?.ok_or(Errno::ENODATA)
    }

    /// Reads the value of an attribute that was found just now, from `at` on.
    ///
    /// # Errors
    /// `ENOMEM`, `EIO`.
    pub fn read_xattr(&self, xattr: Xattr, at: u64, piece: &mut [u8]) -> Result<usize, Errno> {
        Ok(self.memory.read_xattr(xattr, at, piece)?)
    }

    /// `removexattr`.
    ///
    /// # Errors
    /// `EROFS`, `EPERM`, `EACCES`, `EOPNOTSUPP`, `EINVAL`, `ENODATA`, `ENOMEM`, `EIO`.
    pub fn remove_xattr(&self, cred: Cred, inode: Option<InodeId>, name: &[u8]) -> Result<(), Errno> {
        if let Some(inode) = inode {
            self.want_write(inode)?;
        }
        let inode = self.may_xattr(cred, inode, name, may::WRITE)?;
        self.memory.remove_xattr(inode, name)?;
        self.changed(inode, false);
        self.fsnotify(inode, fs::ATTRIB);
        Ok(())
    }

    /// `listxattr`: calls `each` with every name that may be seen, until it says `false`.
    ///
    /// # Errors
    /// `ENOMEM`, `EIO`.
    pub fn list_xattrs(
        &self,
        cred: Cred,
        inode: Option<InodeId>,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Errno> {
        let Some(inode) = inode else { return Ok(()) };
        Ok(self.memory.for_each_xattr(inode, |name, _| {
            let hidden = space_of(name).0 == Space::Trusted && !cred.privileged();
            hidden || each(name)
        })?)
    }

    /// The file changes hands or content: the capabilities that it ran with go. Should that fail for want of memory, it is as it was.
    pub(crate) fn remove_capability(&self, inode: InodeId) {
        if self.object(inode).i_flags() & inode_flag::XATTRS != 0 {
            _ = self.memory.remove_xattr(inode, CAPABILITY);
        }
    }

    /// Whether somebody may read or change an attribute, and of what. The order of the checks is Linux's.
    fn may_xattr(&self, cred: Cred, inode: Option<InodeId>, name: &[u8], mask: u32) -> Result<InodeId, Errno> {
        let (space, rest) = space_of(name);
        let writes = mask & may::WRITE != 0;
        let refused = Err(if writes { Errno::EPERM } else { Errno::ENODATA });
        let object = inode.map(|id| self.object(id));
        match space {
            Space::Security => {}
            Space::Other if name.starts_with(b"system.") => {}
            Space::Trusted if cred.privileged() => {}
            Space::Trusted => return refused,
            Space::User | Space::Other => {
                let ordinary = object.is_some_and(|object| matches!(type_of(object), s::IFREG | s::IFDIR));
                if space == Space::User && !ordinary {
                    return refused;
                }
                if let (Some(id), Some(object)) = (inode, object) {
                    let sticky = space == Space::User && is_dir(object) && object.i_mode() & s::ISVTX != 0;
                    if writes && sticky && !self.owns(cred, id) {
                        return Err(Errno::EPERM);
                    }
                    self.permission(cred, id, mask)?;
                }
            }
        }
        if space == Space::Security && writes && !cred.privileged() {
            return Err(Errno::EPERM);
        }
        // Memory files do, pipes do not.
        let keeps = |id: &InodeId| {
            let object = self.object(*id);
            match object.i_sb() {
                Some(sb) => self.super_block(sb).s_type() == FsType::Tmpfs,
                None => type_of(object) == s::IFREG,
            }
        };
        match inode.filter(keeps) {
            Some(_) if space == Space::Other => Err(Errno::EOPNOTSUPP),
            Some(_) if rest.is_empty() => Err(Errno::EINVAL),
            Some(inode) => Ok(inode),
            None => Err(Errno::EOPNOTSUPP),
        }
    }
}

/// Whether a value are file capabilities; how many bytes of it are kept. Those for the first user are kept as those for everybody, which is
/// how they are read.
fn check_capability(caps: &mut [u8; CAPS_V3], size: usize) -> Result<usize, Errno> {
    const REVISION_3: u8 = 3;
    const REVISION_2: u8 = 2;
    match (size, caps[3]) {
        (CAPS_V2, REVISION_2) => Ok(CAPS_V2),
        (CAPS_V3, REVISION_3) if caps[CAPS_V2..] == [0; 4] => {
            caps[3] = REVISION_2;
            Ok(CAPS_V2)
        }
        (CAPS_V3, REVISION_3) => Ok(CAPS_V3),
        _ => Err(Errno::EINVAL),
    }
}
