//! From a path to an object. Source: Linux, fs/namei.c (`link_path_walk`, `walk_component`, `pick_link`, `follow_dotdot`);
//! path_resolution(7). Rules C40, C45.
//!
//! Symbolic links are not copied: the walk reads the link's text where it is, and remembers where to go on afterwards.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::dentry::DentryId;
use super::permission::may;
use super::{AT_FDCWD, NAME_MAX, PathAt, Task, is_dir, s, type_of};
use crate::file::Kind;
use crate::{Errno, Linux};

/// Links that one walk follows at most. Source: Linux `MAXSYMLINKS`.
const MAXSYMLINKS: usize = 40;

/// Whether the last component is followed if it is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Never: the name itself is meant.
    Name,
    /// Only if a slash comes after it.
    IfSlash,
    /// Only if no slash comes after it: what is to be created, and cannot be with one.
    UnlessSlash,
    /// Yes.
    Yes,
}

/// One component of a path.
pub(crate) struct Component {
    bytes: [u8; NAME_MAX + 1],
    /// Up to one more than a name may have.
    len: usize,
}

impl Component {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; NAME_MAX + 1],
            len: 0,
        }
    }

    /// Its bytes.
    pub(crate) fn name(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What the last component was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// A name.
    Name,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// There was none.
    Root,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The directory of the last component.
    pub(crate) dir: InodeId,
    /// What that is.
    pub(crate) last: Last,
    /// Its entry there, if it is a name that is there.
    pub(crate) dentry: Option<DentryId>,
    /// What it names; the root of what is mounted there.
    pub(crate) inode: Option<InodeId>,
    /// Whether a slash came after it.
    pub(crate) slash: bool,
}

/// What is still to be walked: the path, and of each link on the way the rest of its text.
struct Rest<'a> {
    path: &'a [u8],
    /// None for most paths: filling it costs more than the rest of the walk.
    links: Option<Links>,
    followed: usize,
}

/// Links on the way: each with where to go on in its text.
struct Links {
    links: [(Option<InodeId>, u64); MAXSYMLINKS],
    depth: usize,
}

impl Links {
    const fn new() -> Self {
        Self {
            links: [(None, 0); MAXSYMLINKS],
            depth: 0,
        }
    }
}

impl<P: Platform> Linux<'_, P> {
    /// Walks a path to its last component, whose name is left in `name`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ENAMETOOLONG`, `ELOOP`, `EBADF`; `EIO`, `ENOMEM` where a link's text cannot be read.
    pub(crate) fn walk(
        &self,
        task: &Task,
        at: PathAt<'_>,
        follow: Follow,
        name: &mut Component,
    ) -> Result<Target, Errno> {
        if at.path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let mut rest = Rest {
            path: at.path,
            links: None,
            followed: 0,
        };
        let mut dir = match at.path.first() {
            Some(b'/') => self.root(),
            _ => self.start(task, at.dirfd)?,
        };
        while self.next_component(&mut rest, name)? {
            if !is_dir(self.object(dir)) {
                return Err(Errno::ENOTDIR);
            }
            self.permission(task.cred, dir, may::EXEC)?;
            if name.len > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            let (more, slash) = self.what_follows(&rest)?;
            let (last, dentry, inode) = match name.name() {
                b"." => (Last::Dot, None, Some(dir)),
                b".." => (Last::DotDot, None, Some(self.parent(dir)?)),
                bytes => {
                    let dentry = match self.is_proc(dir) {
                        false => self.find_name(dir, bytes),
                        true => self.proc_lookup(dir, bytes)?,
                    };
                    let inode = dentry.and_then(|dentry| self.dentry(dentry).inode());
                    (Last::Name, dentry, inode)
                }
            };
            let followed = more
                || match follow {
                    Follow::Name => false,
                    Follow::IfSlash => slash,
                    Follow::UnlessSlash => !slash,
                    Follow::Yes => true,
                };
            let link = inode.filter(|&id| followed && type_of(self.object(id)) == s::IFLNK);
            let inode = match link {
                None => inode.map(|inode| self.cross_mounts(inode)),
                Some(link) => match self.leads_to(link, task)? {
                    // Whatever is mounted there, and whether it has a name or not.
                    Some(inode) => Some(inode),
                    None => {
                        dir = self.follow_link(&mut rest, link, dir)?;
                        continue;
                    }
                },
            };
            if !more {
                return Ok(Target {
                    dir,
                    last,
                    dentry,
                    inode,
                    slash,
                });
            }
            dir = inode.ok_or(Errno::ENOENT)?;
        }
        Ok(Target {
            dir,
            last: Last::Root,
            dentry: None,
            inode: Some(dir),
            slash: false,
        })
    }

    /// The object at a path, or a descriptor's own for the empty path if that is `allowed`.
    ///
    /// # Errors
    /// As [`Linux::walk`].
    pub(crate) fn lookup(&self, task: &Task, at: PathAt<'_>, follow: Follow, empty: bool) -> Result<InodeId, Errno> {
        if empty && at.path.is_empty() {
            return self.start(task, at.dirfd);
        }
        let target = self.walk(task, at, follow, &mut Component::new())?;
        let inode = target.inode.ok_or(Errno::ENOENT)?;
        if target.slash && !is_dir(self.object(inode)) {
            return Err(Errno::ENOTDIR);
        }
        Ok(inode)
    }

    /// Where relative paths begin.
    fn start(&self, task: &Task, dirfd: i32) -> Result<InodeId, Errno> {
        if dirfd == AT_FDCWD {
            return task.fs.cwd.ok_or(Errno::ENOENT);
        }
        let file = self.get_any(task.table, u64::from(dirfd.cast_unsigned()))?;
        match file.kind() {
            Kind::Stream(_) => Err(Errno::ENOTDIR),
            _ => file.inode().ok_or(Errno::ENOTDIR),
        }
    }

    /// The directory above, also where it is of another file system.
    fn parent(&self, mut dir: InodeId) -> Result<InodeId, Errno> {
        while self.is_root(dir) {
            match self.covered_by(dir) {
                Some(covered) => dir = covered,
                None => return Ok(dir),
            }
        }
        match self.name_of_dir(dir) {
            Some(entry) => self.dentry(entry).parent(),
            None => self.last_parent(dir),
        }
        .ok_or(Errno::ENOENT)
    }

    /// Whether a directory is the root of its file system.
    pub(crate) fn is_root(&self, dir: InodeId) -> bool {
        let sb = self.object(dir).i_sb();
        sb.is_some_and(|sb| self.super_block(sb).s_root() == Some(dir))
    }

    /// What a link leads to without a text: one of proc.
    fn leads_to(&self, link: InodeId, task: &Task) -> Result<Option<InodeId>, Errno> {
        if self.is_proc(link) {
            return self.proc_follow(link, task.cred);
        }
        Ok(None)
    }

    /// Goes on in a link's text; the directory in which.
    #[inline(never)]
    fn follow_link(&self, rest: &mut Rest<'_>, link: InodeId, dir: InodeId) -> Result<InodeId, Errno> {
        if rest.followed == MAXSYMLINKS {
            return Err(Errno::ELOOP);
        }
        rest.followed += 1;
        let rest = rest.links.get_or_insert_with(Links::new);
        // Texts that were walked to their ends are not come back to.
        while rest.depth != 0 {
            let (top, at) = rest.links[rest.depth - 1];
            if top.is_some_and(|top| at < self.link_len(top)) {
                break;
            }
            rest.depth -= 1;
        }
        rest.links[rest.depth] = (Some(link), 0);
        rest.depth += 1;
        let mut first = [0];
        self.link_text(link, 0, &mut first)?;
        Ok(if first == *b"/" { self.root() } else { dir })
    }

    /// Takes the next component; `false` when there is none.
    fn next_component(&self, rest: &mut Rest<'_>, name: &mut Component) -> Result<bool, Errno> {
        if let Some(links) = &mut rest.links
            && self.next_of_links(links, name)?
        {
            return Ok(true);
        }
        let path = &rest.path[slashes(rest.path)..];
        let whole = until_slash(path);
        name.len = whole.min(name.bytes.len());
        name.bytes[..name.len].copy_from_slice(&path[..name.len]);
        rest.path = &path[whole..];
        Ok(name.len != 0)
    }

    /// Takes the next component of a link's text.
    #[inline(never)]
    fn next_of_links(&self, rest: &mut Links, name: &mut Component) -> Result<bool, Errno> {
        while rest.depth != 0 {
            let (link, at) = &mut rest.links[rest.depth - 1];
            if let Some(link) = *link {
                let start = *at + self.slashes(link, *at)?;
                let read = self.link_text(link, start, &mut name.bytes)?;
                name.len = until_slash(&name.bytes[..read]);
                *at = start + name.len as u64;
                if name.len != 0 {
                    return Ok(true);
                }
            }
            rest.depth -= 1;
        }
        Ok(false)
    }

    /// Whether more components follow, and whether a slash does.
    fn what_follows(&self, rest: &Rest<'_>) -> Result<(bool, bool), Errno> {
        let slash = !rest.path.is_empty();
        if slashes(rest.path) != rest.path.len() {
            return Ok((true, true));
        }
        match &rest.links {
            None => Ok((false, slash)),
            Some(links) => self.what_follows_in(links, slash),
        }
    }

    #[inline(never)]
    fn what_follows_in(&self, rest: &Links, mut slash: bool) -> Result<(bool, bool), Errno> {
        for &(link, at) in &rest.links[..rest.depth] {
            let Some(link) = link else { continue };
            let size = self.link_len(link);
            if at < size {
                slash = true;
                if at + self.slashes(link, at)? < size {
                    return Ok((true, true));
                }
            }
        }
        Ok((false, slash))
    }

    /// Slashes that a link's text has from `at` on.
    fn slashes(&self, link: InodeId, at: u64) -> Result<u64, Errno> {
        let (mut chunk, mut found) = ([0; 16], 0);
        loop {
            let read = self.link_text(link, at + found, &mut chunk)?;
            let run = slashes(&chunk[..read]);
            found += run as u64;
            if run < chunk.len() {
                return Ok(found);
            }
        }
    }
}

/// Slashes at the front.
fn slashes(path: &[u8]) -> usize {
    path.iter().take_while(|&&byte| byte == b'/').count()
}

/// Bytes before the first slash.
fn until_slash(path: &[u8]) -> usize {
    path.iter().take_while(|&&byte| byte != b'/').count()
}
