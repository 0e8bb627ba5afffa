//! userfaultfd: faults that a program answers itself.
//!
//! ```text
//! a touch of a registered page      handle_mm_fault notes it, and fails with Fault::Userfault
//! the kernel                        wait_userfault: the toucher joins the queue of the context, and sleeps
//! who has the descriptor            read_message; then COPY, ZEROPAGE or CONTINUE: the page is there, mapped
//! the kernel                        wakes those that waited for it; each makes its access again
//! ```
//!
//! A context belongs to the address space that made it, whoever holds the descriptor. Its VMAs name it; a copy of a VMA, in a child or at
//! another address, does not (`UFFD_FEATURE_EVENT_FORK` and `_REMAP` are not offered).
//!
//! | file | |
//! |---|---|
//! | `userfaultfd.rs` | contexts, the handshake, what is registered |
//! | `userfaultfd/queue.rs` | who waits, and what is told of it |
//! | `userfaultfd/fill.rs` | the answers |
//! | `userfaultfd/fill_huge.rs` | those that are huge pages of the pool |
//!
//! # Invariants
//! A VMA has bits of [`vm::UFFD`] iff it has the number of a context; that context is of its address space. Each waiter is in one queue, once.
//!
//! Source: Linux, fs/userfaultfd.c, mm/userfaultfd.c; userfaultfd(2), ioctl_userfaultfd(2). Rules H1 to H7.

mod fill;
mod fill_huge;
mod queue;
#[cfg(test)]
mod tests;

use core::cell::Cell;
use core::ops::Range;

pub use fill::{Filled, mode};
pub use queue::Waiter;
pub use queue::{Message, Userfault, Waiting};

use crate::addr::{PAGE_MASK, VirtAddr};
use crate::error::Error;
use crate::hugetlb::is_hpage_aligned;
use crate::memory::Memory;
use crate::mmap::TASK_SIZE;
use crate::platform::Platform;
use crate::record::{Field, id_type, record};
use crate::shmem::inode_flag;
use crate::sync::{Word, Word32};
use crate::vma::{MmId, VmArea, VmaId, vm};
use crate::vma_tree::find_vma;

id_type!(
    /// Number of a [`UserfaultCtx`].
    UserfaultId
);
id_type!(
    /// Number of a [`queue::Waiter`].
    WaiterId
);

record! {
    /// A context: what a descriptor of `userfaultfd` is about. Source: Linux, `struct userfaultfd_ctx`.
    pub struct UserfaultCtx[7] {
        /// Next of all contexts.
        next, set_next: Option<UserfaultId> = 0;
        /// The address space, as long as it lives.
        mm, set_mm: Option<MmId> = 1;
        /// [`feature`] bits; [`INITIALIZED`] after the handshake.
        features, set_features: u64 = 2;
        /// Whether only faults in ring 3 are answered.
        user_mode_only, set_user_mode_only: bool = 3;
        /// Who waited first.
        first, set_first: Option<WaiterId> = 4;
        /// Who waited last.
        last, set_last: Option<WaiterId> = 5;
        /// By which its VMAs know it: from 1 on, no other's.
        number, set_number: u64 = 6;
    }
}

/// What the manager knows besides the contexts.
#[derive(Debug)]
pub(crate) struct State {
    /// Number of the first of all contexts; 0 for none.
    contexts: Word32,
    /// The fault that was noted last: its address space, 0 for none.
    noted_mm: Word32,
    noted_flags: Word32,
    noted_address: Word,
}

impl State {
    pub(crate) const fn new() -> Self {
        Self {
            contexts: Word32::new(0),
            noted_mm: Word32::new(0),
            noted_flags: Word32::new(0),
            noted_address: Word::new(0),
        }
    }
}

/// Highest number of a context.
const NUMBER_MAX: u64 = u64::MAX >> vm::UFFD_CTX_SHIFT;

/// Number of the context that a VMA is registered with; 0 for none.
fn uffd_number(vma: VmArea<'_>) -> u64 {
    vma.vm_flags() >> vm::UFFD_CTX_SHIFT
}

/// Version of the interface. Source: Linux `UFFD_API`.
pub const API: u64 = 0xaa;

/// `UFFD_FEATURE_*`. Source: ioctl_userfaultfd(2), "UFFDIO_API".
pub mod feature {
    /// Missing pages of shmem objects can be answered.
    pub const MISSING_SHMEM: u64 = 1 << 5;
    /// Missing huge pages of the pool can be answered.
    pub const MISSING_HUGETLBFS: u64 = 1 << 4;
    /// `SIGBUS` instead of messages.
    pub const SIGBUS: u64 = 1 << 7;
    /// Messages name the thread.
    pub const THREAD_ID: u64 = 1 << 8;
    /// Minor faults of huge pages of the pool can be answered.
    pub const MINOR_HUGETLBFS: u64 = 1 << 9;
    /// Minor faults of shmem objects can be answered.
    pub const MINOR_SHMEM: u64 = 1 << 10;
    /// Messages have the address of the access, not of its page.
    pub const EXACT_ADDRESS: u64 = 1 << 11;
    /// All that is offered.
    pub const ALL: u64 =
        MISSING_HUGETLBFS | MISSING_SHMEM | SIGBUS | THREAD_ID | MINOR_HUGETLBFS | MINOR_SHMEM | EXACT_ADDRESS;
}

/// In [`UserfaultCtx::features`]: the handshake was made. Source: Linux `UFFD_FEATURE_INITIALIZED`.
const INITIALIZED: u64 = 1 << 63;

/// Numbers of the requests, which are bits of what can be done. Source: linux/userfaultfd.h.
pub mod request {
    /// `UFFDIO_REGISTER`.
    pub const REGISTER: u64 = 0x00;
    /// `UFFDIO_UNREGISTER`.
    pub const UNREGISTER: u64 = 0x01;
    /// `UFFDIO_WAKE`.
    pub const WAKE: u64 = 0x02;
    /// `UFFDIO_COPY`.
    pub const COPY: u64 = 0x03;
    /// `UFFDIO_ZEROPAGE`.
    pub const ZEROPAGE: u64 = 0x04;
    /// `UFFDIO_CONTINUE`.
    pub const CONTINUE: u64 = 0x07;
    /// `UFFDIO_API`.
    pub const API: u64 = 0x3f;
    /// What can be done with a context.
    pub const OF_CONTEXT: u64 = 1 << REGISTER | 1 << UNREGISTER | 1 << API;
}

/// `UFFDIO_REGISTER_MODE_*`. Source: ioctl_userfaultfd(2).
pub mod register_mode {
    /// Pages that are not there.
    pub const MISSING: u64 = 1;
    /// Pages that are in the page cache, but not mapped.
    pub const MINOR: u64 = 4;
}

/// A range as all requests take it: whole pages of a program's addresses, at least one. Source: Linux `validate_range`.
fn validate_range(start: u64, len: u64) -> Result<Range<VirtAddr>, Error> {
    let end = start.checked_add(len).filter(|&end| end <= TASK_SIZE);
    match end {
        Some(end) if (start | len) & PAGE_MASK == 0 && len != 0 => Ok(VirtAddr(start)..VirtAddr(end)),
        _ => Err(Error::Einval),
    }
}

/// A range does not end within a huge page of the pool. Source: Linux `userfaultfd_register`.
fn check_huge_end(vma: VmArea<'_>, end: VirtAddr) -> Result<(), Error> {
    if vma.has(vm::HUGETLB) && end <= vma.vm_end() && !is_hpage_aligned(end.0) {
        return Err(Error::Einval);
    }
    Ok(())
}

impl<P: Platform> Memory<P> {
    /// A context for an address space.
    ///
    /// # Errors
    /// [`Error::Enomem`].
    pub fn userfaultfd(&self, mm: MmId, user_mode_only: bool) -> Result<UserfaultId, Error> {
        let taken = |number| self.all_userfaults().any(|id| self.userfault(id).number() == number);
        let number = (1..=NUMBER_MAX).find(|&number| !taken(number)).ok_or(Error::Enomem)?;
        let id = self.alloc_userfault().ok_or(Error::Enomem)?;
        let ctx = self.userfault(id);
        ctx.set_mm(Some(mm));
        ctx.set_user_mode_only(user_mode_only);
        ctx.set_number(number);
        ctx.set_next(Option::from_word(self.userfaults.contexts.get().into()));
        self.userfaults.contexts.set(id.0.get());
        Ok(id)
    }

    /// The handshake: the features that there are. Rule H1.
    ///
    /// # Errors
    /// [`Error::Einval`] for another version or features that are not offered, and the second time.
    pub fn userfaultfd_api(&self, id: UserfaultId, api: u64, features: u64) -> Result<u64, Error> {
        let ctx = self.userfault(id);
        if api != API || features & !feature::ALL != 0 || ctx.features() & INITIALIZED != 0 {
            return Err(Error::Einval);
        }
        ctx.set_features(features | INITIALIZED);
        Ok(feature::ALL)
    }

    /// Whether the handshake was made, without which nothing else can be done.
    pub fn userfaultfd_is_initialized(&self, id: UserfaultId) -> bool {
        self.userfault(id).features() & INITIALIZED != 0
    }

    /// The last descriptor is closed: nothing is registered any more, and who waited goes on. Rule H6.
    pub fn userfaultfd_release(&self, id: UserfaultId, wake: impl FnMut(u32)) {
        let _guard = self.locks.mmap.lock();
        if let Some(mm) = self.userfault(id).mm() {
            // A failure to cut cannot happen: whole VMAs lose their bits.
            _ = self.unregister_range(mm, id, VirtAddr(0)..VirtAddr(TASK_SIZE));
        }
        self.wake_userfaults(id, &(VirtAddr(0)..VirtAddr(u64::MAX)), wake);
        self.unlist_userfault(id);
        self.free_userfault(id);
    }

    fn unlist_userfault(&self, id: UserfaultId) {
        let next = self.userfault(id).next();
        let before = self
            .all_userfaults()
            .find(|&other| self.userfault(other).next() == Some(id));
        match before {
            Some(before) => self.userfault(before).set_next(next),
            None => self.userfaults.contexts.set(next.to_word() as u32),
        }
    }

    /// The context that a VMA is registered with.
    fn uffd(&self, vma: VmArea<'_>) -> Option<UserfaultId> {
        let number = uffd_number(vma);
        if number == 0 {
            return None;
        }
        self.all_userfaults().find(|&id| self.userfault(id).number() == number)
    }

    fn all_userfaults(&self) -> impl Iterator<Item = UserfaultId> {
        let first = Option::<UserfaultId>::from_word(self.userfaults.contexts.get().into());
        core::iter::successors(first, |&id| self.userfault(id).next())
    }

    /// An address space goes: its contexts can do nothing any more. Nobody in it waits.
    pub(crate) fn userfaultfd_mm_gone(&self, mm: MmId) {
        for id in self.all_userfaults().filter(|&id| self.userfault(id).mm() == Some(mm)) {
            self.userfault(id).set_mm(None);
        }
    }

    /// Registers what is mapped in `len` bytes from `start` on; what can be done with it, as bits. Rule H2.
    ///
    /// # Errors
    /// [`Error::Einval`] for a bad range, unknown modes, and mappings that cannot be registered; [`Error::Ebusy`] for those of another
    /// context, [`Error::Eperm`] for those that can never be written, [`Error::Enomem`], also when the address space is gone.
    pub fn userfaultfd_register(&self, id: UserfaultId, start: u64, len: u64, mode: u64) -> Result<u64, Error> {
        let known = register_mode::MISSING | register_mode::MINOR;
        if mode == 0 || mode & !known != 0 {
            return Err(Error::Einval);
        }
        let range = validate_range(start, len)?;
        let mut flags = self.userfault(id).number() << vm::UFFD_CTX_SHIFT;
        if mode & register_mode::MISSING != 0 {
            flags |= vm::UFFD_MISSING;
        }
        if mode & register_mode::MINOR != 0 {
            flags |= vm::UFFD_MINOR;
        }
        let mm_id = self.userfault(id).mm().ok_or(Error::Enomem)?;
        let _guard = self.locks.mmap.lock();
        let pool = Cell::new(false);
        self.check_registered(mm_id, &range, |vma| {
            if !self.can_userfault(vma, flags) {
                return Err(Error::Einval);
            }
            if !vma.has(vm::MAYWRITE) {
                return Err(Error::Eperm);
            }
            pool.set(pool.get() || vma.has(vm::HUGETLB));
            check_huge_end(vma, range.end)?;
            if self.uffd(vma).is_some_and(|other| other != id) {
                return Err(Error::Ebusy);
            }
            Ok(())
        })?;
        self.set_registered(mm_id, range, |vma| {
            // What has these modes keeps the others, too.
            let registered = vma.vm_flags() & flags == flags;
            (!registered).then_some(vma.vm_flags() & !vm::UFFD | flags)
        })?;
        let minor = if flags & vm::UFFD_MINOR != 0 {
            1 << request::CONTINUE
        } else {
            0
        };
        let zeropage = if pool.get() { 0 } else { 1 << request::ZEROPAGE };
        Ok(1 << request::WAKE | 1 << request::COPY | zeropage | minor)
    }

    /// Takes back [`Memory::userfaultfd_register`] for a range; who waits there goes on. Rule H6.
    ///
    /// # Errors
    /// [`Error::Einval`] for a bad range, and where something is mapped that cannot be registered or is another context's;
    /// [`Error::Enomem`].
    pub fn userfaultfd_unregister(
        &self,
        id: UserfaultId,
        start: u64,
        len: u64,
        wake: impl FnMut(u32),
    ) -> Result<(), Error> {
        let range = validate_range(start, len)?;
        let mm_id = self.userfault(id).mm().ok_or(Error::Enomem)?;
        let _guard = self.locks.mmap.lock();
        self.check_registered(mm_id, &range, |vma| {
            let foreign = self.uffd(vma).is_some_and(|other| other != id);
            if foreign || !self.can_userfault(vma, vma.vm_flags()) {
                return Err(Error::Einval);
            }
            // Linux finds an end within a huge page when it comes to cut there.
            check_huge_end(vma, range.end)
        })?;
        self.unregister_range(mm_id, id, range.clone())?;
        self.wake_userfaults(id, &range, wake);
        Ok(())
    }

    fn unregister_range(&self, mm: MmId, id: UserfaultId, range: Range<VirtAddr>) -> Result<(), Error> {
        self.set_registered(mm, range, |vma| {
            (self.uffd(vma) == Some(id)).then_some(vma.vm_flags() & !vm::UFFD)
        })
    }

    /// Whether `UFFDIO_*` can be about a mapping: anonymous memory, a shmem object that programs made, or huge pages of the pool; minor faults
    /// not of the first. Source: Linux `vma_can_userfault`; a segment's VMAs have operations of their own, so those of small pages are refused.
    fn can_userfault(&self, vma: VmArea<'_>, flags: u64) -> bool {
        if vma.has(vm::HUGETLB) {
            return true;
        }
        if vma.has(vm::PFNMAP) || vma.shm().is_some() {
            return false;
        }
        match vma.vm_file() {
            Some(file) => self.inode(file).i_flags() & inode_flag::RAMFS == 0,
            None => flags & vm::UFFD_MINOR == 0,
        }
    }

    /// Looks at every mapping in a range, of which there must be one.
    fn check_registered(
        &self,
        mm: MmId,
        range: &Range<VirtAddr>,
        check: impl Fn(VmArea<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut next = find_vma(self, self.mm(mm), range.start);
        if let Some(first) = next.map(|id| self.vma(id))
            && first.vm_start() < range.end
            && first.has(vm::HUGETLB)
            && !is_hpage_aligned(range.start.0)
        {
            return Err(Error::Einval);
        }
        let mut found = false;
        while let Some(vma) = next.map(|id| self.vma(id)).filter(|vma| vma.vm_start() < range.end) {
            check(vma)?;
            found = true;
            next = vma.vm_next();
        }
        if found { Ok(()) } else { Err(Error::Einval) }
    }

    /// Gives the parts of mappings in a range the flags that `wanted` says, if any.
    fn set_registered(
        &self,
        mm_id: MmId,
        range: Range<VirtAddr>,
        wanted: impl Fn(VmArea<'_>) -> Option<u64>,
    ) -> Result<(), Error> {
        let mm = self.mm(mm_id);
        let mut at = range.start;
        while let Some(id) = find_vma(self, mm, at).filter(|&id| self.vma(id).vm_start() < range.end) {
            let vma = self.vma(id);
            let part = at.max(vma.vm_start())..range.end.min(vma.vm_end());
            at = vma.vm_end();
            if let Some(flags) = wanted(vma) {
                let id: VmaId = self.cut_out(mm, id, part)?;
                self.vma(id).set_vm_flags(flags);
                self.merge_around(mm, id);
            }
            if at >= range.end {
                break;
            }
        }
        Ok(())
    }
}
