//! The dirty ring of a vCPU: a page shared with KVM for every 256 entries, one entry a page that was stored to.
//!
//! KVM puts entries in and marks them dirty; here they are taken out and marked as harvested; `KVM_RESET_DIRTY_RINGS` makes room, and write-protects their
//! pages again. A ring that is nearly full makes `KVM_RUN` return.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, 8.29 `KVM_CAP_DIRTY_LOG_RING`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering, fence};

use faultlab_abi::layout::PAGE_SIZE;
use kvm_bindings::{KVM_CAP_DIRTY_LOG_RING, KVM_DIRTY_LOG_PAGE_OFFSET, kvm_dirty_gfn, kvm_enable_cap};
use kvm_ioctls::{VcpuFd, VmFd};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::KvmError;
use crate::host::Host;

/// Entries of the ring: KVM's most. Source: Linux, `KVM_DIRTY_RING_MAX_ENTRIES`.
const ENTRIES: usize = 65_536;
const BYTES: usize = ENTRIES * size_of::<kvm_dirty_gfn>();

/// Flags of an entry. Source: Linux, include/uapi/linux/kvm.h.
const DIRTY: u32 = 1;
const RESET: u32 = 2;

/// `_IO(KVMIO, 0xc7)`.
const KVM_RESET_DIRTY_RINGS: u64 = (kvm_bindings::KVMIO as u64) << 8 | 0xc7;

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    entries: NonNull<kvm_dirty_gfn>,
    next: usize,
}

// SAFETY: the mapping is this object's own, and only accessed through it.
unsafe impl Send for Ring {}

/// Whether `host` has rings of that size.
pub(super) fn is_supported(host: &Host) -> bool {
    let most_bytes = host.kvm().check_extension_raw(u64::from(KVM_CAP_DIRTY_LOG_RING));
    usize::try_from(most_bytes).is_ok_and(|most| most >= BYTES)
}

/// Switches rings on for the vCPUs that `vm` is going to have; the bitmaps of its memory slots are gone then.
pub(crate) fn enable(vm: &VmFd) -> Result<(), KvmError> {
    let cap = kvm_enable_cap {
        cap: KVM_CAP_DIRTY_LOG_RING,
        args: [BYTES as u64, 0, 0, 0],
        ..kvm_enable_cap::default()
    };
    vm.enable_cap(&cap).map_err(KvmError::of("KVM_CAP_DIRTY_LOG_RING"))
}

impl Ring {
    /// The ring of `vcpu`.
    pub(super) fn map(vcpu: &VcpuFd) -> Result<Ring, KvmError> {
        // SAFETY: the descriptor lives as long as the borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(vcpu.as_raw_fd()) };
        let offset = u64::from(KVM_DIRTY_LOG_PAGE_OFFSET) * PAGE_SIZE;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: at an address of the kernel's choice.
        let entries = unsafe { mmap(ptr::null_mut(), BYTES, rights, MapFlags::SHARED, fd, offset) };
        let fail = KvmError::of_io("mapping the dirty ring");
        let entries = entries.map_err(|error| fail(error.into()))?;
        let entries = NonNull::new(entries.cast()).ok_or_else(|| fail(io::ErrorKind::OutOfMemory.into()))?;
        Ok(Ring { entries, next: 0 })
    }

    /// Takes out all entries: calls `each` with slot and page number in it. KVM then protects these pages again.
    pub(super) fn harvest(&mut self, vm: &VmFd, mut each: impl FnMut(u32, u64)) -> Result<(), KvmError> {
        for _ in 0..ENTRIES {
            let entry = self.entries.as_ptr().wrapping_add(self.next % ENTRIES);
            // SAFETY: within the mapping; KVM changes it from other threads, atomically as here.
            let flags = unsafe { AtomicU32::from_ptr(&raw mut (*entry).flags) };
            if flags.load(Ordering::Acquire) & DIRTY == 0 {
                break;
            }
            // SAFETY: within the mapping; KVM writes these only before it marks the entry dirty.
            let (slot, page) = unsafe { ((&raw const (*entry).slot).read(), (&raw const (*entry).offset).read()) };
            each(slot, page);
            flags.store(RESET, Ordering::Release);
            self.next += 1;
        }
        fence(Ordering::SeqCst);
        // SAFETY: takes no argument.
        match unsafe { libc::ioctl(vm.as_raw_fd(), KVM_RESET_DIRTY_RINGS) } {
            0.. => Ok(()),
            _ => Err(KvmError::of_io("KVM_RESET_DIRTY_RINGS")(io::Error::last_os_error())),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's own.
        let _ = unsafe { munmap(self.entries.as_ptr().cast(), BYTES) };
    }
}
