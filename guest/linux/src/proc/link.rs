//! Where links of proc lead: some have a text, the others lead to their object without one. Source: Linux, fs/proc/self.c,
//! fs/proc/base.c (`proc_pid_get_link`), fs/proc/fd.c.

use faultlab_mm::Platform;
use faultlab_mm::shmem::InodeId;

use super::text::Digits;
use super::tree;
use super::what::{File, Link, Show};
use super::{Shows, What};
use crate::cred::Cred;
use crate::file::{Kind, STREAM_DEVICE};
use crate::vfs::{PATH_MAX, s, type_of};
use crate::{Errno, Linux};

/// A text of several pieces.
struct Pieces<'a> {
    to: &'a mut [u8],
    len: usize,
}

impl Pieces<'_> {
    fn add(&mut self, piece: &[u8]) {
        let end = (self.len + piece.len()).min(self.to.len());
        self.to[self.len..end].copy_from_slice(&piece[..end - self.len]);
        self.len = end;
    }
}

impl<P: Platform> Linux<'_, P> {
    fn link_of(&self, id: InodeId) -> Result<(Link, Shows), Errno> {
        let shows = self.shows(id);
        match shows.what() {
            What::Link(link) => Ok((link, shows)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// What a link leads to if it leads there without a text.
    ///
    /// # Errors
    /// `ENOENT` for what is gone, `EACCES` for others than root and the process's own user, `ENOMEM`.
    #[inline(never)]
    pub(crate) fn proc_follow(&self, id: InodeId, cred: Cred) -> Result<Option<InodeId>, Errno> {
        let (link, shows) = self.link_of(id)?;
        if matches!(link, Link::SelfProcess | Link::ThreadSelf | Link::Mounts) {
            return Ok(None);
        }
        let process = self.system.process(shows.pid).ok_or(Errno::ENOENT)?;
        if !cred.privileged() && cred.user.effective != process.cred.user.effective {
            return Err(Errno::EACCES);
        }
        let found = match link {
            Link::Exe => process.exe,
            Link::Cwd => process.fs.cwd,
            Link::Root => process.fs.cwd.map(|_| self.root()),
            _ => {
                let table = process.files.ok_or(Errno::ENOENT)?;
                let file = self
                    .get_any(table, u64::from(shows.descriptor))
                    .map_err(|_| Errno::ENOENT)?;
                match (file.inode(), file.kind()) {
                    (None, Kind::Stream(stream)) => Some(self.stream_node(id, stream)?),
                    (inode, _) => inode,
                }
            }
        };
        found.ok_or(Errno::ENOENT).map(Some)
    }

    /// Whether a file that tells of a process's memory may be opened. Source: Linux, fs/proc/base.c (`proc_mem_open`), kernel/ptrace.c
    /// (`__ptrace_may_access`).
    ///
    /// # Errors
    /// `EACCES` for others than root, the process itself and those that all its ids belong to; `ESRCH` for one that is gone.
    pub(crate) fn may_look_into(&self, cred: Cred, id: InodeId) -> Result<(), Errno> {
        if cred.privileged() || !self.is_proc(id) {
            return Ok(());
        }
        let shows = self.shows(id);
        let of_memory = match shows.what() {
            What::Mem | What::Pagemap => true,
            What::File(File::Process(show)) => matches!(
                show,
                Show::Auxv | Show::Environ | Show::Maps | Show::Smaps | Show::SmapsRollup
            ),
            _ => false,
        };
        if !of_memory {
            return Ok(());
        }
        let process = self.system.process(shows.pid).ok_or(Errno::ESRCH)?;
        let (user, group) = (process.cred.user, process.cred.group);
        let same = [user.real, user.effective, user.saved] == [cred.user.effective; 3]
            && [group.real, group.effective, group.saved] == [cred.group.effective; 3];
        if same || process.tgid == self.system.current().0 {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// Files without a name cannot be made in proc, and why. Source: Linux, fs/namei.c (`vfs_tmpfile`), fs/proc/base.c (`S_IMMUTABLE`),
    /// fs/proc/proc_sysctl.c (`proc_sys_permission`).
    ///
    /// # Errors
    /// `EOPNOTSUPP`; `EPERM` in the directory of a process or thread, `EACCES` below `/proc/sys`.
    pub(crate) fn may_make_unnamed(&self, dir: InodeId) -> Result<(), Errno> {
        if !self.is_proc(dir) {
            return Ok(());
        }
        let shows = self.shows(dir);
        Err(match shows.what() {
            _ if shows.node == tree::PROCESS || shows.node == tree::THREAD => Errno::EPERM,
            _ if tree::NODES[usize::from(shows.node)].is_sysctl_dir() => Errno::EACCES,
            _ => Errno::EOPNOTSUPP,
        })
    }

    /// A node for a stream, which has no name of its own: opening it gives the stream.
    fn stream_node(&self, near: InodeId, stream: u64) -> Result<InodeId, Errno> {
        let root = self.super_block(self.sb_of(near)).s_root().ok_or(Errno::ENOENT)?;
        let mut name = [0; 16];
        let mut pieces = Pieces { to: &mut name, len: 0 };
        pieces.add(tree::STREAM_NAME);
        pieces.add(Digits::new(stream, 10).as_bytes());
        let len = pieces.len;
        let entry = self.proc_lookup(root, &name[..len])?.ok_or(Errno::ENOENT)?;
        let inode = self.dentry(entry).inode().ok_or(Errno::ENOENT)?;
        self.object(inode).set_i_private(STREAM_DEVICE + stream);
        Ok(inode)
    }

    /// Bytes of a link's text.
    #[inline(never)]
    pub(crate) fn proc_link_len(&self, id: InodeId) -> u64 {
        let mut text = [0; PATH_MAX];
        self.link_bytes(id, &mut text).map_or(0, |len| len as u64)
    }

    /// A link's text from `at` on.
    ///
    /// # Errors
    /// `ENOENT`.
    #[inline(never)]
    pub(crate) fn proc_link_text(&self, id: InodeId, at: u64, to: &mut [u8]) -> Result<usize, Errno> {
        let mut text = [0; PATH_MAX];
        let len = self.link_bytes(id, &mut text)?;
        let rest = text[..len].get(at as usize..).unwrap_or_default();
        let len = rest.len().min(to.len());
        to[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    /// The path of what a link leads to, or what it is instead.
    fn target_text(&self, id: InodeId, pieces: &mut Pieces<'_>) -> Result<(), Errno> {
        let target = self.proc_follow(id, Cred::ROOT)?.ok_or(Errno::ENOENT)?;
        let object = self.object(target);
        if self.is_proc(target) && type_of(object) == s::IFCHR {
            // A stream, of which nobody knows what it is outside.
            pieces.add(tree::STREAM_NAME);
            pieces.add(b"[");
            pieces.add(Digits::new(object.i_private() - STREAM_DEVICE, 10).as_bytes());
            pieces.add(b"]");
            return Ok(());
        }
        if object.i_sb().is_none() && type_of(object) == s::IFIFO {
            pieces.add(b"pipe:[");
            pieces.add(Digits::new(self.memory.getattr(target).ino, 10).as_bytes());
            pieces.add(b"]");
            return Ok(());
        }
        self.each_path_piece(target, &mut |piece| pieces.add(piece));
        Ok(())
    }

    fn link_bytes(&self, id: InodeId, to: &mut [u8; PATH_MAX]) -> Result<usize, Errno> {
        let (link, _) = self.link_of(id)?;
        let (tid, tgid) = self.system.current();
        let mut pieces = Pieces { to, len: 0 };
        match link {
            Link::Mounts => pieces.add(b"self/mounts"),
            Link::SelfProcess | Link::ThreadSelf if self.system.process(tgid).is_none() => return Err(Errno::ENOENT),
            Link::SelfProcess => pieces.add(Digits::new(u64::from(tgid), 10).as_bytes()),
            Link::ThreadSelf => {
                pieces.add(Digits::new(u64::from(tgid), 10).as_bytes());
                pieces.add(b"/task/");
                pieces.add(Digits::new(u64::from(tid), 10).as_bytes());
            }
            _ => self.target_text(id, &mut pieces)?,
        }
        Ok(pieces.len)
    }
}
