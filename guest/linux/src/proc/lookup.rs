//! Names of proc become objects when they are looked up, and are listed without. Source: Linux, fs/proc/base.c (`proc_pid_lookup`,
//! `pid_revalidate`, `proc_pid_readdir`), fs/proc/generic.c (`proc_lookup_de`, `proc_readdir_de`).

use faultlab_mm::Platform;
use faultlab_mm::shmem::{FsType, InodeId, inode_flag};

use faultlab_mm::addr::PAGE_SIZE;

use super::text::Digits;
use super::tree::{self, NODES};
use super::{Dir, Shows, What};
use crate::vfs::{DentryId, Entry, is_dir, s};
use crate::{Errno, Linux};

/// Where processes begin among the positions of a listing of the root.
const FIRST_PROCESS: u64 = 512;

impl<P: Platform> Linux<'_, P> {
    /// Whether an object is of proc.
    #[inline(always)]
    pub(crate) fn is_proc(&self, id: InodeId) -> bool {
        self.object(id).i_flags() & inode_flag::PROC != 0
    }

    /// What an object of proc shows.
    pub(crate) fn shows(&self, id: InodeId) -> Shows {
        Shows::from_word(self.object(id).i_shows())
    }

    /// The process whose directory in proc an object is.
    pub(crate) fn process_of_proc(&self, id: InodeId) -> Option<u32> {
        let shows = self.is_proc(id).then(|| self.shows(id))?;
        (shows.node == tree::PROCESS).then_some(shows.pid)
    }

    /// Makes a new file system's root that of proc, or of sysfs.
    pub(crate) fn init_proc(&self, root: InodeId, kind: FsType) {
        let shows = if kind == FsType::Sysfs {
            Shows::SYSFS
        } else {
            Shows::ROOT
        };
        self.object(root).set_i_shows(shows.to_word());
        self.object(root).set_i_ino(Shows::ROOT.ino());
    }

    /// The entry of a name in a directory of proc, made if it is not there yet.
    ///
    /// # Errors
    /// `ENOMEM`; `ESRCH` in the directory of a process that is gone.
    #[inline(never)]
    pub(crate) fn proc_lookup(&self, dir: InodeId, name: &[u8]) -> Result<Option<DentryId>, Errno> {
        let shows = self.shows(dir);
        let guarded = matches!(shows.what(), What::Dir(Dir::Process | Dir::Task));
        // Source: Linux `proc_pid_permission`.
        if guarded && self.system.process(shows.pid).is_none() {
            return Err(Errno::ESRCH);
        }
        let child = self.child_of(shows, name);
        let known = self.find_name(dir, name);
        let Some(shows) = child else {
            if let Some(gone) = known {
                self.drop_tree(gone);
            }
            return Ok(None);
        };
        let entry = match known {
            Some(entry) => entry,
            None => self.make_child(dir, name, shows)?,
        };
        if let Some(inode) = self.dentry(entry).inode() {
            self.refresh(inode, shows);
        }
        Ok(Some(entry))
    }

    fn make_child(&self, dir: InodeId, name: &[u8], shows: Shows) -> Result<DentryId, Errno> {
        if shows.node == tree::PROCESS {
            self.drop_dead(dir);
        }
        let entry = self.alloc_dentry(name)?;
        let mode = shows.node().mode();
        match self.memory.new_inode(self.sb_of(dir), mode, (0, 0)) {
            Ok(inode) => {
                let object = self.object(inode);
                object.set_i_shows(shows.to_word());
                object.set_i_ino(shows.ino());
                // Source: Linux `proc_pid_instantiate` and its neighbours; nobody knows why 64.
                if mode & s::IFMT == s::IFLNK && shows.pid != 0 {
                    object.set_i_size(64);
                }
                // Source: Linux `sysfs_add_file_mode_ns`.
                if matches!(shows.what(), What::Attribute(_)) {
                    object.set_i_size(PAGE_SIZE);
                }
                self.add_name(entry, dir, name, inode);
                if mode & s::IFMT == s::IFDIR {
                    self.memory.inc_nlink(dir);
                }
                Ok(entry)
            }
            Err(_) => {
                self.free_dentry(entry);
                Err(Errno::ENOMEM)
            }
        }
    }

    /// Owner, and rights of a descriptor's link, as they are now.
    fn refresh(&self, inode: InodeId, shows: Shows) {
        let Some(process) = self.system.process(shows.pid) else {
            return;
        };
        let object = self.object(inode);
        object.set_i_uid(process.cred.user.effective);
        object.set_i_gid(process.cred.group.effective);
        if shows.node == tree::DESCRIPTOR
            && let Some(Ok(file)) = process
                .files
                .map(|table| self.get_any(table, u64::from(shows.descriptor)))
        {
            let may = if file.readable() { 0o500 } else { 0 } | if file.writable() { 0o300 } else { 0 };
            object.set_i_mode(s::IFLNK | may);
        }
    }

    /// What a name in a directory is, if anything.
    fn child_of(&self, dir: Shows, name: &[u8]) -> Option<Shows> {
        let What::Dir(kind) = dir.what() else { return None };
        let numbered = |node: u16, pid: u32, descriptor: u16| Shows { node, descriptor, pid };
        match (kind, tree::number(name)) {
            (Dir::Root, Some(pid)) => {
                self.system.process(pid)?;
                Some(numbered(tree::PROCESS, pid, 0))
            }
            (Dir::Task, Some(tid)) => {
                let own = self.system.process(dir.pid)?;
                let thread = self.system.process(tid).filter(|thread| thread.tgid == own.tgid)?;
                Some(numbered(tree::THREAD, thread.pid, 0))
            }
            (Dir::Fd | Dir::FdInfo, Some(number)) => {
                let table = self.system.process(dir.pid)?.files?;
                self.get_any(table, u64::from(number)).ok()?;
                let node = if kind == Dir::Fd {
                    tree::DESCRIPTOR
                } else {
                    tree::DESCRIPTOR_INFO
                };
                Some(numbered(node, dir.pid, u16::try_from(number).ok()?))
            }
            (_, Some(_)) | (Dir::Task | Dir::Fd | Dir::FdInfo, None) => None,
            (kind, None) => {
                if dir.pid != 0 {
                    self.system.process(dir.pid)?;
                }
                if kind == Dir::Root
                    && let Some(stream) = name.strip_prefix(tree::STREAM_NAME).and_then(tree::number)
                {
                    return (stream < 3).then(|| numbered(tree::STREAM, 0, stream as u16));
                }
                let node = tree::find(kind, name)?;
                let in_thread = dir.node == tree::THREAD && NODES[usize::from(node)].what == What::Dir(Dir::Task);
                (!in_thread).then_some(numbered(node, dir.pid, 0))
            }
        }
    }

    /// Forgets the directories of processes that are gone.
    fn drop_dead(&self, root: InodeId) {
        let mut next = self.newest_name(root);
        while let Some(entry) = next {
            next = self.dentry(entry).older();
            let shows = self.dentry(entry).inode().map(|inode| self.shows(inode));
            if shows.is_some_and(|shows| shows.node == tree::PROCESS && self.system.process(shows.pid).is_none()) {
                self.drop_tree(entry);
            }
        }
    }

    /// Forgets a name and all below it. What is in use lives on without one.
    fn drop_tree(&self, entry: DentryId) {
        let Some(inode) = self.dentry(entry).inode() else {
            return;
        };
        if self.is_mountpoint(inode) {
            return;
        }
        if is_dir(self.object(inode)) {
            self.remove_all(inode);
            self.remove_dir(entry);
        } else {
            self.remove_link(entry);
        }
    }

    /// Names of an object that `stat` tells.
    pub(crate) fn proc_nlink(&self, id: InodeId) -> u64 {
        let shows = self.shows(id);
        let What::Dir(kind) = shows.what() else { return 1 };
        if shows.node().is_sysctl_dir() {
            return 1;
        }
        let below = NODES
            .iter()
            .filter(|node| node.dir == kind && !node.name.is_empty() && matches!(node.what, What::Dir(_)))
            .count() as u64;
        let mut numbered = 0;
        if matches!(kind, Dir::Root | Dir::Task) {
            let mut next = Some(0);
            while let Some(found) = next.and_then(|from| self.next_process(shows, from)) {
                numbered += 1;
                next = found.checked_add(1);
            }
        }
        2 + below + numbered
    }

    fn next_process(&self, dir: Shows, from: u32) -> Option<u32> {
        match dir.what() {
            What::Dir(Dir::Root) => self.system.next_group(from),
            _ => {
                let tgid = self.system.process(dir.pid)?.tgid;
                self.system.next_thread(tgid, from)
            }
        }
    }

    /// The first entry of a directory of proc at position `pos` or after it, given to `each`; whether it was taken, `None` at the end.
    ///
    /// # Errors
    /// `ENOENT` when the process is gone; what `each` says.
    pub(crate) fn proc_emit(
        &self,
        dir: InodeId,
        pos: u64,
        each: &mut dyn FnMut(&Entry<'_>) -> Result<bool, Errno>,
    ) -> Result<Option<(u64, bool)>, Errno> {
        let shows = self.shows(dir);
        let What::Dir(kind) = shows.what() else {
            return Err(Errno::ENOTDIR);
        };
        if shows.pid != 0 && self.system.process(shows.pid).is_none() {
            return Err(Errno::ENOENT);
        }
        let mut emit = |child: Shows, next: u64, name: &[u8]| {
            let entry = Entry {
                ino: child.ino(),
                next,
                d_type: ((child.node().mode() & s::IFMT) >> 12) as u8,
                name,
            };
            each(&entry).map(|taken| Some((next, taken)))
        };
        let own = |node: u16| Shows { node, ..shows };
        match (pos, kind) {
            (0, _) => return emit(shows, 1, b"."),
            (1, _) => return emit(Shows::ROOT, 2, b".."),
            (_, Dir::Fd | Dir::FdInfo) => {
                let Some(table) = self.system.process(shows.pid).and_then(|process| process.files) else {
                    return Ok(None);
                };
                let Some(number) = self.next_open(table, pos - 2) else {
                    return Ok(None);
                };
                let node = if kind == Dir::Fd {
                    tree::DESCRIPTOR
                } else {
                    tree::DESCRIPTOR_INFO
                };
                let child = Shows {
                    descriptor: number as u16,
                    ..own(node)
                };
                return emit(child, number + 3, Digits::new(number, 10).as_bytes());
            }
            _ => {}
        }
        if pos < FIRST_PROCESS && kind != Dir::Task {
            let named = |&(_, node): &(usize, &tree::Node)| node.dir == kind && !node.name.is_empty();
            let in_thread =
                |&(_, node): &(usize, &tree::Node)| shows.node != tree::THREAD || node.what != What::Dir(Dir::Task);
            let mut left = NODES
                .iter()
                .enumerate()
                .skip(pos as usize - 2)
                .filter(named)
                .filter(in_thread);
            if let Some((at, node)) = left.next() {
                return emit(own(at as u16), at as u64 + 3, node.name.as_bytes());
            }
        }
        if !matches!(kind, Dir::Root | Dir::Task) {
            return Ok(None);
        }
        let from = u32::try_from(pos.saturating_sub(FIRST_PROCESS)).unwrap_or(u32::MAX);
        let Some(pid) = self.next_process(shows, from) else {
            return Ok(None);
        };
        let node = if kind == Dir::Root { tree::PROCESS } else { tree::THREAD };
        let child = Shows {
            node,
            descriptor: 0,
            pid,
        };
        let next = FIRST_PROCESS + u64::from(pid) + 1;
        emit(child, next, Digits::new(u64::from(pid), 10).as_bytes())
    }
}
