//! Swap disks that remember, and that can fail on purpose.

use std::boxed::Box;
use std::collections::HashMap;
use std::vec::Vec;

use crate::addr::{PAGE_WORDS, Pfn};
use crate::platform::{Direction, IoError};
use crate::swap::{IN_FLIGHT_MAX, MAX_SWAPFILES, SwapSlot};

/// What a write that failed leaves.
const TORN: u64 = 0x7042_7042_7042_7042;

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) number: u32,
    pub(super) direction: Direction,
    pub(super) slot: SwapSlot,
    pub(super) frames: Vec<Pfn>,
}

/// splitmix64. Source: Steele, Lea and Flood 2014.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The disks of all areas.
#[derive(Debug)]
pub struct FakeDisk {
    /// Slots of each.
    slots: [u32; MAX_SWAPFILES],
    content: HashMap<SwapSlot, Box<[u64; PAGE_WORDS]>>,
    /// Requests until reads fail, then all do.
    pub reads_until_error: Option<u64>,
    /// Requests until writes fail, then all do.
    pub writes_until_error: Option<u64>,
    /// One request in so many fails, drawn from a sequence that the seed names: reads, writes, seed.
    pub fails_one_in: Option<(u64, u64, u64)>,
    /// This slot cannot be read.
    pub bad_slot: Option<SwapSlot>,
    /// The disk works beside the processor: it answers later, and in an order, that this seed decides.
    pub beside: Option<u64>,
    /// Requests that it has not answered.
    pending: Vec<Pending>,
    /// The most requests that were ever not answered.
    pub most_pending: usize,
    /// Pages read so far.
    pub reads: u64,
    /// Pages written so far.
    pub writes: u64,
}

impl FakeDisk {
    pub(super) fn new(slots: u32) -> Self {
        let mut of_areas = [0; MAX_SWAPFILES];
        of_areas[0] = slots;
        Self {
            slots: of_areas,
            content: HashMap::new(),
            reads_until_error: None,
            writes_until_error: None,
            fails_one_in: None,
            bad_slot: None,
            beside: None,
            pending: Vec::new(),
            most_pending: 0,
            reads: 0,
            writes: 0,
        }
    }

    /// Adds the disk of another area.
    pub fn add(&mut self, area: usize, slots: u32) {
        self.slots[area] = slots;
    }

    fn check(&self, what: &str, slot: SwapSlot) {
        let slots = self.slots[slot.area()];
        assert!((1..slots).contains(&slot.offset()), "{what} of {slot:?} of {slots}");
    }

    /// Whether this request fails.
    fn fails(left: &mut Option<u64>) -> bool {
        match left {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    /// Whether chance fails this request.
    fn unlucky(&mut self, write: bool) -> bool {
        let Some((reads, writes, seed)) = &mut self.fails_one_in else {
            return false;
        };
        let drawn = next(seed);
        let one_in = if write { *writes } else { *reads };
        one_in != 0 && drawn.is_multiple_of(one_in)
    }

    /// Takes a request on; `None` if it is answered at once.
    pub(super) fn begin(&mut self, direction: Direction, slot: SwapSlot, frames: &[Pfn]) -> Option<u32> {
        self.beside?;
        let taken = |number: &u32| self.pending.iter().any(|pending| pending.number == *number);
        let number = (0..IN_FLIGHT_MAX as u32)
            .find(|number| !taken(number))
            .expect("more requests under way than there may be");
        self.pending.push(Pending {
            number,
            direction,
            slot,
            frames: frames.to_vec(),
        });
        self.most_pending = self.most_pending.max(self.pending.len());
        Some(number)
    }

    /// A request that is answered now, if any is.
    pub(super) fn complete(&mut self, wait: bool) -> Option<Pending> {
        assert!(
            !wait || !self.pending.is_empty(),
            "an answer is waited for that is not owed"
        );
        let drawn = next(self.beside.as_mut()?);
        if self.pending.is_empty() || (!wait && drawn.is_multiple_of(2)) {
            return None;
        }
        Some(self.pending.swap_remove((drawn >> 8) as usize % self.pending.len()))
    }

    pub(super) fn read(&mut self, slot: SwapSlot) -> Result<Box<[u64; PAGE_WORDS]>, IoError> {
        self.check("read", slot);
        if Self::fails(&mut self.reads_until_error) || self.unlucky(false) || self.bad_slot == Some(slot) {
            return Err(IoError);
        }
        self.reads += 1;
        Ok(self
            .content
            .get(&slot)
            .expect("a slot was read that was never written")
            .clone())
    }

    pub(super) fn write(&mut self, slot: SwapSlot, page: [u64; PAGE_WORDS]) -> Result<(), IoError> {
        self.check("write", slot);
        if Self::fails(&mut self.writes_until_error) || self.unlucky(true) {
            // What a failed write leaves in the slot is nobody's to rely on.
            self.content.insert(slot, Box::new([TORN; PAGE_WORDS]));
            return Err(IoError);
        }
        self.writes += 1;
        self.content.insert(slot, Box::new(page));
        Ok(())
    }
}
