//! Giving chains back to the driver, and whether it wants to hear of it.
//!
//! As virtio-queue does it, with checked access to one slice instead of to ranges over several regions: that costs hundreds
//! of instructions less a request, which a swap fault on the vCPU's thread pays for.
//!
//! Source: VIRTIO 1.2, sections 2.7.8 (used ring) and 2.7.7 (used event).

use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::fence;

use virtio_queue::{Error, Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use crate::memory::GuestRam;

/// Bytes of an element.
const ELEMENT_BYTES: u64 = 8;

/// Gives the chain with this head back, of which `len` bytes were written.
///
/// # Errors
/// The head is outside the table, or the ring outside RAM.
#[inline(always)]
pub(super) fn add(queue: &mut Queue, ram: &GuestRam, head: u16, len: u32) -> Result<(), Error> {
    add_all(queue, ram, &[(head, len)])
}

/// Gives chains back, heads and bytes written, which the driver sees at once.
///
/// # Errors
/// A head is outside the table, or the ring outside RAM. Then it sees none.
#[inline(always)]
pub(super) fn add_all(queue: &mut Queue, ram: &GuestRam, chains: &[(u16, u32)]) -> Result<(), Error> {
    let mut next = queue.next_used();
    for &(head, len) in chains {
        if head >= queue.size() {
            return Err(Error::InvalidDescriptorIndex);
        }
        let element = queue.used_ring() + 4 + ELEMENT_BYTES * u64::from(next & (queue.size() - 1));
        let words = [u32::from(head), len];
        let slice = ram.memory().get_slice(GuestAddress(element), ELEMENT_BYTES as usize);
        slice.map_err(|_| Error::AddressOverflow)?.copy_from(&words);
        next = next.wrapping_add(1);
    }
    queue.set_next_used(next);
    let index = ram.memory().get_slice(GuestAddress(queue.used_ring() + 2), 2);
    let index = index.map_err(|_| Error::AddressOverflow)?;
    index.store(next, 0, Release).map_err(|_| Error::AddressOverflow)
}

/// Whether the driver wants an interrupt for what was given back since the index was `before`.
///
/// # Errors
/// The ring is outside RAM.
#[inline(always)]
pub(super) fn wants_interrupt(queue: &Queue, ram: &GuestRam, before: u16) -> Result<bool, Error> {
    let now = queue.next_used();
    if now == before || !queue.event_idx_enabled() {
        return Ok(now != before);
    }
    // What was given back is seen before the driver's wish is read.
    fence(SeqCst);
    let event = queue.avail_ring() + 4 + 2 * u64::from(queue.size());
    let event: u16 = ram
        .memory()
        .load(GuestAddress(event), Acquire)
        .map_err(Error::GuestMemory)?;
    Ok(now.wrapping_sub(event).wrapping_sub(1) < now.wrapping_sub(before))
}
