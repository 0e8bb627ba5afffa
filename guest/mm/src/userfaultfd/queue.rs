//! Who waits for an answer. Source: Linux, fs/userfaultfd.c (`handle_userfault`, `userfaultfd_read`, `__wake_userfault`).
//! Rules H3, H5, H6.

use core::ops::Range;

use super::{UserfaultCtx, UserfaultId, WaiterId, feature};
use crate::addr::{VirtAddr, pages_for};
use crate::error::Fault;
use crate::huge::huge_start;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::record::{Field, record};
use crate::shmem::InodeId;
use crate::vma::{MmId, VmArea, vm};
use crate::vma_tree::find_vma;

record! {
    /// Somebody who waits. Source: Linux, `struct userfaultfd_wait_queue`.
    pub struct Waiter[5] {
        /// Who waited next.
        next, set_next: Option<WaiterId> = 0;
        /// The thread.
        tid, set_tid: u32 = 1;
        /// What it touched.
        address, set_address: u64 = 2;
        /// [`message_flag`] bits.
        flags, set_flags: u64 = 3;
        /// Whether somebody has read of it.
        read, set_read: bool = 4;
    }
}

/// `UFFD_PAGEFAULT_FLAG_*`. Source: userfaultfd(2).
pub(super) mod message_flag {
    pub(crate) const WRITE: u64 = 1;
    pub(crate) const MINOR: u64 = 4;
}

/// A fault that is for a program to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Userfault {
    /// The address space.
    pub mm: MmId,
    /// What was touched.
    pub address: u64,
    flags: u64,
}

/// What becomes of who touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It is in the queue of this context until it is woken.
    In(UserfaultId),
    /// Nothing is registered there any more: the access is to be made again.
    Over,
    /// Nobody is asked: SIGBUS, or what the kernel's own access comes to.
    Refused,
}

/// What a read tells of a fault. Source: userfaultfd(2), `struct uffd_msg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// [`message_flag`] bits.
    pub flags: u64,
    /// The page, or what was touched.
    pub address: u64,
    /// The thread, where that was asked for; otherwise 0.
    pub tid: u32,
}

impl Message {
    /// Bytes of a message.
    pub const BYTES: usize = 32;
    /// `UFFD_EVENT_PAGEFAULT`.
    const PAGEFAULT: u8 = 0x12;

    /// As a program reads it.
    #[must_use]
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = Self::PAGEFAULT;
        bytes[8..16].copy_from_slice(&self.flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.address.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.tid.to_le_bytes());
        bytes
    }
}

impl<P: Platform> Memory<P> {
    /// A fault of a registered mapping: noted, if it is for the context. A page past the end is nobody's, one that is there no missing one.
    /// Rules H3, H5, H7.
    pub(crate) fn userfault_of_object(
        &self,
        vma: VmArea<'_>,
        addr: VirtAddr,
        file: InodeId,
        write: bool,
    ) -> Result<(), Fault> {
        let index = vma.linear_page_index(addr);
        let inode = self.inode(file);
        if index >= pages_for(inode.i_size()) {
            return Ok(());
        }
        let hole = self.filemap_get_entry(inode, index).is_null();
        let wanted = if hole { vm::UFFD_MISSING } else { vm::UFFD_MINOR };
        if vma.has(wanted) {
            return Err(self.note_userfault(vma, addr, write, !hole));
        }
        Ok(())
    }

    /// Notes a fault for [`Memory::take_userfault`]. Whoever looks for deferred work after a call finds it.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_userfault(&self, vma: VmArea<'_>, addr: VirtAddr, write: bool, minor: bool) -> Fault {
        let mut flags = if write { message_flag::WRITE } else { 0 };
        if minor {
            flags |= message_flag::MINOR;
        }
        let noted = &self.userfaults;
        noted.noted_mm.set(vma.vm_mm().to_word() as u32);
        noted.noted_flags.set(flags as u32);
        noted.noted_address.set(addr.0);
        self.wake_kswapd(0);
        Fault::Userfault
    }

    /// Whether [`Memory::take_userfault`] has one.
    pub fn has_userfault(&self) -> bool {
        self.userfaults.noted_mm.get() != 0
    }

    /// The fault that was noted since this was last asked. An access of the kernel's on a program's behalf fails by it like any other, and is to
    /// be made again when it is answered.
    pub fn take_userfault(&self) -> Option<Userfault> {
        let noted = &self.userfaults;
        let mm = Option::<MmId>::from_word(noted.noted_mm.get().into())?;
        noted.noted_mm.set(0);
        Some(Userfault {
            mm,
            address: noted.noted_address.get(),
            flags: noted.noted_flags.get().into(),
        })
    }

    /// Lets thread `tid` wait for the answer to a fault, taken with [`Memory::take_userfault`]. One that waits for it already is not told of
    /// again. `in_kernel`: it was not the program itself that touched it.
    pub fn wait_userfault(&self, fault: Userfault, tid: u32, in_kernel: bool) -> Waiting {
        let _guard = self.locks.mmap.lock();
        let addr = VirtAddr(fault.address);
        let vma = find_vma(self, self.mm(fault.mm), addr).map(|id| self.vma(id));
        let needed = if fault.flags & message_flag::MINOR != 0 {
            vm::UFFD_MINOR
        } else {
            vm::UFFD_MISSING
        };
        let registered = vma.filter(|vma| vma.vm_start() <= addr && vma.has(needed));
        let Some(id) = registered.and_then(|vma| self.uffd(vma)) else {
            return Waiting::Over;
        };
        let ctx = self.userfault(id);
        if ctx.features() & feature::SIGBUS != 0 || (in_kernel && ctx.user_mode_only()) {
            return Waiting::Refused;
        }
        let waits = |other: WaiterId| self.waiter(other).tid() == tid;
        if let Some(known) = self.waiters(ctx).find(|&other| waits(other)) {
            let known = self.waiter(known);
            if (known.address(), known.flags()) != (fault.address, fault.flags) {
                known.set_address(fault.address);
                known.set_flags(fault.flags);
                known.set_read(false);
            }
            return Waiting::In(id);
        }
        let Some(new) = self.alloc_waiter() else {
            return Waiting::Refused;
        };
        let waiter = self.waiter(new);
        waiter.set_tid(tid);
        waiter.set_address(fault.address);
        waiter.set_flags(fault.flags);
        match ctx.last() {
            Some(last) => self.waiter(last).set_next(Some(new)),
            None => ctx.set_first(Some(new)),
        }
        ctx.set_last(Some(new));
        Waiting::In(id)
    }

    /// A thread waits no longer: a signal took it elsewhere, or ended it.
    pub fn cancel_userfault(&self, tid: u32) {
        for id in self.all_userfaults() {
            self.remove_waiters(id, |waiter| waiter.tid() == tid, |_| {});
        }
    }

    /// Wakes those that wait for an address in a range. Rule H6.
    pub(super) fn wake_userfaults(&self, id: UserfaultId, range: &Range<VirtAddr>, wake: impl FnMut(u32)) {
        self.remove_waiters(id, |waiter| range.contains(&VirtAddr(waiter.address())), wake);
    }

    fn remove_waiters(&self, id: UserfaultId, goes: impl Fn(Waiter<'_>) -> bool, mut gone: impl FnMut(u32)) {
        let ctx = self.userfault(id);
        let (mut before, mut next) = (None::<WaiterId>, ctx.first());
        while let Some(id) = next {
            let waiter = self.waiter(id);
            next = waiter.next();
            if !goes(waiter) {
                before = Some(id);
                continue;
            }
            match before {
                Some(before) => self.waiter(before).set_next(next),
                None => ctx.set_first(next),
            }
            if next.is_none() {
                ctx.set_last(before);
            }
            gone(waiter.tid());
            self.free_waiter(id);
        }
    }

    fn waiters(&self, ctx: UserfaultCtx<'_>) -> impl Iterator<Item = WaiterId> {
        core::iter::successors(ctx.first(), |&id| self.waiter(id).next())
    }

    fn unread(&self, id: UserfaultId) -> Option<Waiter<'_>> {
        let mut waiters = self.waiters(self.userfault(id)).map(|id| self.waiter(id));
        waiters.find(|waiter| !waiter.read())
    }

    /// Whether there is a fault that nobody has read of.
    pub fn userfaultfd_has_message(&self, id: UserfaultId) -> bool {
        self.unread(id).is_some()
    }

    /// The first fault that nobody has read of; it counts as read from now on.
    pub fn userfaultfd_read(&self, id: UserfaultId) -> Option<Message> {
        let waiter = self.unread(id)?;
        waiter.set_read(true);
        let features = self.userfault(id).features();
        let address = VirtAddr(waiter.address());
        let exact = features & feature::EXACT_ADDRESS != 0;
        let huge = self.is_of_the_pool(id, address);
        Some(Message {
            flags: waiter.flags(),
            address: match (exact, huge) {
                (true, _) => address.0,
                (false, true) => huge_start(address).0,
                (false, false) => address.page().0,
            },
            tid: if features & feature::THREAD_ID != 0 {
                waiter.tid()
            } else {
                0
            },
        })
    }

    /// Whether a context's address space has pages of the pool at an address.
    fn is_of_the_pool(&self, id: UserfaultId, addr: VirtAddr) -> bool {
        let Some(mm) = self.userfault(id).mm() else {
            return false;
        };
        let vma = find_vma(self, self.mm(mm), addr).map(|id| self.vma(id));
        vma.is_some_and(|vma| vma.vm_start() <= addr && vma.has(vm::HUGETLB))
    }
}
