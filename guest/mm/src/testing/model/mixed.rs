//! What decides between small pages, huge ones and programs that answer faults, changed while everything else happens; and the accounts that
//! must balance whatever comes out.
//!
//! Half of the files are of a file system with a limit. Programs answer faults of what is registered with pages of zeroes, so the model's
//! contents do not change: what is missing was never stored to.

use std::collections::BTreeSet;
use std::vec::Vec;

use super::World;
use crate::addr::PAGE_SIZE;
use crate::error::{Error, Fault};
use crate::huge::{AnonPolicy, ShmemPolicy};
use crate::mmap::advice;
use crate::shmem::{FsType, InodeId, Limits, SuperId};
use crate::userfaultfd::{API, UserfaultId, register_mode};
use crate::vma::{MmId, vm};
use crate::vma_tree::vmas;

/// What changes. Numbers are taken modulo how many there are; lengths are in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// `MADV_HUGEPAGE`, or `MADV_NOHUGEPAGE`, from the `at`-th mapped page on.
    Advise {
        /// The process.
        who: usize,
        /// The page.
        at: usize,
        /// Length.
        pages: u64,
        /// `MADV_HUGEPAGE`.
        huge: bool,
    },
    /// Other policies: of private memory, of objects, and of the mount with a limit.
    Policy(usize, usize, usize),
    /// Another size of the pool of huge pages, which nobody uses: it takes memory, and gives it back.
    Pool(u64),
    /// From now on a program answers faults of pages that are missing, from the `at`-th mapped page on.
    Register {
        /// The process.
        who: usize,
        /// The page.
        at: usize,
        /// Length.
        pages: u64,
    },
    /// Nobody answers faults of a process any more.
    Release(usize),
}

/// Blocks of the file system with a limit: four huge pages, and some.
const BLOCKS: u64 = 4 * 512 + 100;

impl World {
    /// Lets every other file be of a file system with a limit.
    pub(super) fn mount_limited(&mut self) {
        let limits = Limits {
            blocks: BLOCKS,
            inodes: 0,
        };
        let sb = self.memory.new_super(FsType::Tmpfs, 7, limits, 0, (0o777, (0, 0)));
        self.mount = Some(sb.expect("a file system"));
    }

    /// A new file, of the file system with a limit or not, and whether it is.
    pub(super) fn new_file(&self) -> (Result<InodeId, Error>, bool) {
        match self.mount.filter(|_| self.files.len() % 2 == 1) {
            Some(sb) => (self.memory.new_inode(sb, 0o100_600, (0, 0)), true),
            None => (self.memory.memfd_create(0o100_600, (0, 0), 0), false),
        }
    }

    pub(super) fn mix(&mut self, mix: Mix) {
        let count = self.processes.len();
        match mix {
            Mix::Advise { who, at, pages, huge } => {
                if let Some(addr) = self.page_at(who % count, at) {
                    let kind = if huge { advice::HUGEPAGE } else { advice::NOHUGEPAGE };
                    let mm = self.processes[who % count].mm;
                    let result = self.memory.do_madvise(mm, addr, pages * PAGE_SIZE, kind);
                    assert!(
                        matches!(result, Ok(()) | Err(Error::Enomem | Error::Eagain)),
                        "{result:?}"
                    );
                }
            }
            Mix::Policy(anon, shmem, mount) => {
                let of = |which: usize| ShmemPolicy::ALL[which % ShmemPolicy::ALL.len()];
                self.memory
                    .set_anon_policy(AnonPolicy::ALL[anon % AnonPolicy::ALL.len()]);
                self.memory.set_shmem_policy(of(shmem));
                if let Some(sb) = self.mount {
                    // The last two are not for mounts.
                    self.memory.set_mount_policy(sb, of(mount % 4));
                }
            }
            Mix::Pool(pages) => {
                self.memory.set_nr_hugepages(pages);
                self.memory.check_hugetlb();
            }
            Mix::Register { who, at, pages } => self.register(who % count, at, pages),
            Mix::Release(who) => {
                if let Some(context) = self.processes[who % count].context.take() {
                    self.memory.userfaultfd_release(context, |_| {});
                }
            }
        }
    }

    fn register(&mut self, who: usize, at: usize, pages: u64) {
        let Some(addr) = self.page_at(who, at) else { return };
        let Some(context) = self.context(who) else { return };
        let result = self
            .memory
            .userfaultfd_register(context, addr, pages * PAGE_SIZE, register_mode::MISSING);
        assert!(
            matches!(result, Ok(_) | Err(Error::Enomem | Error::Einval | Error::Ebusy)),
            "{result:?}"
        );
    }

    /// What answers the faults of a process, made when it is needed first.
    fn context(&mut self, who: usize) -> Option<UserfaultId> {
        if self.processes[who].context.is_none() {
            let context = self.memory.userfaultfd(self.processes[who].mm, false).ok()?;
            self.memory.userfaultfd_api(context, API, 0).expect("the handshake");
            self.processes[who].context = Some(context);
        }
        self.processes[who].context
    }

    /// Does an access; where a program is asked for the page, it gives one of zeroes, as far as there is memory for it, and the access is made again.
    pub(super) fn answering<T>(
        &self,
        who: usize,
        addr: u64,
        expected: u64,
        access: impl Fn() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let done = access();
        if !matches!(done, Err(Fault::Userfault)) {
            return done;
        }
        assert_eq!(expected, 0, "the content of {addr:#x} is missing");
        let fault = self.memory.take_userfault().expect("it is noted");
        let context = self.processes[who].context.expect("somebody asked for it");
        let page = addr & !(PAGE_SIZE - 1);
        assert_eq!(
            (fault.mm, fault.address & !(PAGE_SIZE - 1)),
            (self.processes[who].mm, page)
        );
        let filled = self.memory.userfaultfd_zeropage(context, page, PAGE_SIZE, 0, |_| {});
        match filled.and_then(|filled| filled.result()) {
            Ok(()) => access(),
            // There was memory neither for the page nor for who wants it.
            Err(Error::Enomem | Error::Enospc) => Err(Fault::Oom),
            Err(error) => panic!("a page of zeroes at {addr:#x}: {error:?}"),
        }
    }

    /// What is promised is what mappings and objects were charged: rule B20. What the file system with a limit has used is what its files have:
    /// rule C8.
    pub(super) fn check_accounts(&self) {
        let mut objects: BTreeSet<u32> = self.files.iter().map(|file| file.id.0.get()).collect();
        let mut promised = 0;
        let spaces: Vec<MmId> = self.processes.iter().map(|process| process.mm).collect();
        for mm in spaces.into_iter().chain([self.tool.mm]) {
            for (_, vma) in vmas(&self.memory, self.memory.mm(mm)) {
                promised += if vma.has(vm::ACCOUNT) { vma.pages() } else { 0 };
                objects.extend(vma.vm_file().filter(|_| vma.shm().is_none()).map(|file| file.0.get()));
            }
        }
        for object in objects {
            let id = crate::record::ObjId::from_u32(object).map(InodeId).expect("an object");
            let inode = self.memory.inode(id);
            promised += if inode.commit() != 0 {
                inode.commit()
            } else {
                inode.alloced()
            };
        }
        assert_eq!(
            self.memory.committed_as(),
            promised + self.memory.shm_tot(),
            "pages that are promised"
        );
        if let Some(sb) = self.mount {
            let of_mount = self.files.iter().filter(|file| file.limited);
            let blocks: u64 = of_mount.map(|file| self.memory.getattr(file.id).blocks).sum();
            assert_eq!(self.memory.super_block(sb).used_blocks() * 8, blocks, "used blocks");
            assert!(blocks <= 8 * BLOCKS, "{blocks} blocks are used");
        }
    }

    /// Unmounts, and takes back what else was set.
    pub(super) fn drop_mixed(&mut self) {
        self.memory.set_nr_hugepages(0);
        if let Some(root) = self.mount.and_then(|sb: SuperId| self.memory.super_block(sb).s_root()) {
            self.memory.clear_nlink(root);
            self.memory.iput(root);
        }
    }
}
