//! The queue as the driver describes it, and the checks that it must pass to become one.
//!
//! Source: VIRTIO 1.2, sections 2.7 (split virtqueues) and 4.2.2 (MMIO registers).

use virtio_bindings::virtio_mmio as reg;
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;

use super::halves::set_half;
use crate::memory::GuestRam;

/// What the driver wrote about the queue before it was made ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct QueueSetup {
    size: u32,
    descriptors: u64,
    avail: u64,
    used: u64,
}

impl QueueSetup {
    /// Before the driver wrote anything.
    pub(super) fn new(max: u16) -> QueueSetup {
        QueueSetup {
            size: u32::from(max),
            ..QueueSetup::default()
        }
    }

    /// A write to one of the queue's registers; false if `offset` is none of them.
    pub(super) fn set(&mut self, offset: u32, value: u32) -> bool {
        match offset {
            reg::VIRTIO_MMIO_QUEUE_NUM => {
                self.size = value;
                true
            }
            reg::VIRTIO_MMIO_QUEUE_DESC_LOW => set_half(&mut self.descriptors, 0, value),
            reg::VIRTIO_MMIO_QUEUE_DESC_HIGH => set_half(&mut self.descriptors, 1, value),
            reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW => set_half(&mut self.avail, 0, value),
            reg::VIRTIO_MMIO_QUEUE_AVAIL_HIGH => set_half(&mut self.avail, 1, value),
            reg::VIRTIO_MMIO_QUEUE_USED_LOW => set_half(&mut self.used, 0, value),
            reg::VIRTIO_MMIO_QUEUE_USED_HIGH => set_half(&mut self.used, 1, value),
            _ => false,
        }
    }

    /// The queue, if its size is a power of two up to `max`, and its areas are aligned and lie in RAM above address 0.
    ///
    /// Source: VIRTIO 1.2, section 2.7 (alignment and size of the areas).
    pub(super) fn build(&self, max: u16, ram: &GuestRam) -> Option<Queue> {
        let size = u16::try_from(self.size)
            .ok()
            .filter(|size| size.is_power_of_two() && *size <= max)?;
        let entries = u64::from(size);
        let areas = [
            (self.descriptors, 16 * entries, 16),
            (self.avail, 6 + 2 * entries, 2),
            (self.used, 6 + 8 * entries, 4),
        ];
        if !areas
            .iter()
            .all(|&(at, len, align)| at != 0 && at.is_multiple_of(align) && ram.contains(at, len))
        {
            return None;
        }
        let mut queue = Queue::new(max).ok()?;
        queue.try_set_size(size).ok()?;
        queue.try_set_desc_table_address(GuestAddress(self.descriptors)).ok()?;
        queue.try_set_avail_ring_address(GuestAddress(self.avail)).ok()?;
        queue.try_set_used_ring_address(GuestAddress(self.used)).ok()?;
        queue.set_ready(true);
        Some(queue)
    }
}
