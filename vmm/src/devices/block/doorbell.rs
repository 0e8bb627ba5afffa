//! How the guest's store to the doorbell reaches the thread that serves the queue.
//!
//! KVM signals an eventfd for the store (`KVM_IOEVENTFD`), and the vCPU goes on without leaving for the VMM. Where that
//! cannot be had, the store is an exit like any other, and the vCPU's thread signals the eventfd.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, 4.59 `KVM_IOEVENTFD`; eventfd(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use kvm_ioctls::{IoEventAddress, VmFd};
use virtio_bindings::virtio_mmio::VIRTIO_MMIO_QUEUE_NOTIFY;
use vmm_sys_util::eventfd::EventFd;

/// What the guest stores there, 32 bits: the number of the only queue. Any other store is an exit, and is refused.
const QUEUE: u32 = 0;

/// Where a device is.
#[derive(Clone)]
pub struct Place {
    /// The VM.
    pub vm: Arc<VmFd>,
    /// Guest-physical address of the device's register page.
    pub registers: u64,
}

impl Place {
    fn doorbell(&self) -> IoEventAddress {
        IoEventAddress::Mmio(self.registers + u64::from(VIRTIO_MMIO_QUEUE_NOTIFY))
    }
}

/// An eventfd, and the doorbell that may be tied to it.
pub(super) struct Doorbell {
    event: Arc<EventFd>,
    place: Option<Place>,
    tied: bool,
}

/// The end at which it is heard.
pub(super) struct Ear {
    event: Arc<EventFd>,
}

impl Doorbell {
    /// Not tied yet; it can be if there is a `place`.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub(super) fn new(place: Option<Place>) -> io::Result<Doorbell> {
        Ok(Doorbell {
            event: Arc::new(EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?),
            place,
            tied: false,
        })
    }

    /// For the thread that waits.
    pub(super) fn ear(&self) -> Ear {
        Ear {
            event: Arc::clone(&self.event),
        }
    }

    /// Has KVM ring from now on, if it can.
    pub(super) fn tie(&mut self) {
        if let (Some(place), false) = (&self.place, self.tied) {
            let tied = place.vm.register_ioevent(&self.event, &place.doorbell(), QUEUE);
            self.tied = tied
                .map_err(|error| log::warn!("KVM_IOEVENTFD: {error}; doorbells are exits instead"))
                .is_ok();
        }
    }

    /// Has the guest's stores be exits again.
    pub(super) fn untie(&mut self) {
        if let (Some(place), true) = (&self.place, self.tied) {
            // With the arguments that it was tied with, this cannot fail.
            let _ = place.vm.unregister_ioevent(&self.event, &place.doorbell(), QUEUE);
            self.tied = false;
        }
    }

    /// Rings from this process.
    pub(super) fn ring(&self) {
        // It fails only if the count would overflow, and then it is heard already.
        let _ = self.event.write(1);
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.untie();
    }
}

impl Ear {
    /// Forgets what rang so far.
    pub(super) fn clear(&self) {
        // It fails only if nothing rang.
        let _ = self.event.read();
    }

    /// Readable once it rang.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the eventfd that the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.event.as_raw_fd()) }
    }
}
