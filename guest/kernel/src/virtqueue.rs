//! A split virtqueue, as the driver has it: words that the device reads and writes, and what the driver remembers.
//!
//! Chains have numbers, below [`CHAINS_MAX`]. Chain 0 is made of descriptors of the queue: what a device that answers at once costs least with.
//! Each other chain is one descriptor that points to a table of its own, which takes a device with indirect descriptors.
//!
//! Source: Virtual I/O Device (VIRTIO) 1.2, 2.7 "Split Virtqueues".

use core::cell::Cell;
use core::sync::atomic::{AtomicU16, AtomicU64, Ordering, Ordering::Relaxed, fence};

/// Descriptors in the queue, at most. A power of two.
pub const QUEUE_MAX: usize = 64;
/// Chains at a time, at most.
pub const CHAINS_MAX: usize = 16;
/// Descriptors of a chain, at most.
pub const CHAIN_LEN_MAX: usize = QUEUE_MAX - CHAINS_MAX;

/// Descriptor flags.
pub mod desc {
    /// Another descriptor follows.
    pub const NEXT: u16 = 1;
    /// The device writes.
    pub const WRITE: u16 = 2;
    /// It describes a table of descriptors.
    pub const INDIRECT: u16 = 4;
}

/// `VIRTQ_AVAIL_F_NO_INTERRUPT`: answers are polled for.
const NO_INTERRUPT: u16 = 1;
/// `VIRTQ_USED_F_NO_NOTIFY`: the device looks by itself.
const NO_NOTIFY: u16 = 1;

/// Two words: address; length, flags << 32, next << 48.
pub type Descriptor = [AtomicU64; 2];

/// The queue's three areas, for the device; 4,096-byte aligned. Words are atomics because the device reads and writes them, too.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Areas {
    /// Of chain 0 from [`CHAINS_MAX`] on, and one of each other chain.
    pub descriptors: [Descriptor; QUEUE_MAX],
    /// Flags, index, ring, `used_event`.
    pub available: [AtomicU16; 3 + QUEUE_MAX],
    /// Flags, index, then 8 bytes an element, `avail_event`; 4-byte aligned.
    pub used: UsedArea,
}

/// See [`Areas::used`].
#[derive(Debug)]
#[repr(C, align(4))]
pub struct UsedArea(pub [AtomicU16; 3 + 4 * QUEUE_MAX]);

impl Areas {
    /// All zeroes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            descriptors: [const { [AtomicU64::new(0), AtomicU64::new(0)] }; QUEUE_MAX],
            available: [const { AtomicU16::new(0) }; 3 + QUEUE_MAX],
            used: UsedArea([const { AtomicU16::new(0) }; 3 + 4 * QUEUE_MAX]),
        }
    }
}

impl Default for Areas {
    fn default() -> Self {
        Self::new()
    }
}

/// What the driver remembers of a queue.
#[derive(Debug, Default)]
pub struct Ring {
    /// Descriptors in the queue: a power of two.
    size: Cell<u16>,
    /// Chains made available so far.
    available: Cell<u16>,
    /// Answers taken in so far.
    seen: Cell<u16>,
    event_idx: Cell<bool>,
}

impl Ring {
    /// Of a queue that does not work yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: Cell::new(1),
            available: Cell::new(0),
            seen: Cell::new(0),
            event_idx: Cell::new(false),
        }
    }

    /// Begins with a queue of [`QUEUE_MAX`] descriptors at most, with or without event indices. The areas are all zeroes.
    pub fn start(&self, areas: &Areas, size: u16, event_idx: bool) {
        self.size.set(size);
        self.event_idx.set(event_idx);
        areas.available[0].store(NO_INTERRUPT, Relaxed);
        // With event indices the flag means nothing. The device interrupts when its index passes this one: every 65,536 answers, into nothing.
        areas.available[2 + usize::from(size)].store(u16::MAX, Relaxed);
    }

    /// Has a device with event indices interrupt once, at the next answer that was not taken in; what is answered already brings none.
    /// 2.7.10.
    pub fn interrupt_at_next(&self, areas: &Areas) {
        if self.event_idx.get() {
            let event = &areas.available[2 + usize::from(self.size.get())];
            event.store(self.seen.get(), Relaxed);
            // The wish is there before the device is looked at.
            fence(Ordering::SeqCst);
        }
    }

    /// Makes a chain available. Returns whether the device has to be told.
    #[inline(always)]
    #[must_use = "a device that waits to be told never looks"]
    pub fn publish(&self, areas: &Areas, chain: usize) -> bool {
        let old = self.available.get();
        let new = old.wrapping_add(1);
        let head = if chain == 0 { CHAINS_MAX } else { chain };
        areas.available[2 + usize::from(old & (self.size.get() - 1)) % QUEUE_MAX].store(head as u16, Relaxed);
        // The descriptors and the ring are written before the device may look. 2.7.13.
        fence(Ordering::Release);
        areas.available[1].store(new, Relaxed);
        self.available.set(new);
        // The index is written before the device is asked whether it waits. 2.7.13.4.
        fence(Ordering::SeqCst);
        let UsedArea(used) = &areas.used;
        if self.event_idx.get() {
            let event = used[(2 + 4 * usize::from(self.size.get())) % used.len()].load(Relaxed);
            return new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old);
        }
        used[0].load(Relaxed) & NO_NOTIFY == 0
    }

    /// Whether the device has answered, if only one chain is under way; then the answer is taken in.
    #[inline(always)]
    pub fn answered_alone(&self, areas: &Areas) -> bool {
        let next = self.seen.get().wrapping_add(1);
        let answered = areas.used.0[1].load(Relaxed) == next;
        if answered {
            self.seen.set(next);
            fence(Ordering::Acquire);
        }
        answered
    }

    /// The next chain that the device has answered. `Some(None)` for an answer to something that was never asked.
    #[inline(always)]
    pub fn answered(&self, areas: &Areas) -> Option<Option<usize>> {
        let seen = self.seen.get();
        let UsedArea(used) = &areas.used;
        if used[1].load(Relaxed) == seen {
            return None;
        }
        fence(Ordering::Acquire);
        let head = used[2 + 4 * (usize::from(seen & (self.size.get() - 1)) % QUEUE_MAX)].load(Relaxed);
        self.seen.set(seen.wrapping_add(1));
        Some(match usize::from(head) {
            CHAINS_MAX => Some(0),
            chain @ 1..CHAINS_MAX => Some(chain),
            _ => None,
        })
    }
}

/// Writes a descriptor of a queue, or of a table.
#[inline(always)]
pub fn set(descriptor: &Descriptor, phys: u64, len: u32, flags: u16, next: u16) {
    let [address, rest] = descriptor;
    address.store(phys, Relaxed);
    rest.store(u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48, Relaxed);
}

#[cfg(test)]
mod tests;
