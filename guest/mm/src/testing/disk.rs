//! A swap disk that remembers, and that can fail on purpose.

use std::boxed::Box;
use std::collections::HashMap;

use crate::addr::PAGE_WORDS;
use crate::platform::IoError;

/// What a write that failed leaves.
const TORN: u64 = 0x7042_7042_7042_7042;

/// The disk.
#[derive(Debug)]
pub struct FakeDisk {
    slots: u32,
    content: HashMap<u32, Box<[u64; PAGE_WORDS]>>,
    /// Requests until reads fail, then all do.
    pub reads_until_error: Option<u64>,
    /// Requests until writes fail, then all do.
    pub writes_until_error: Option<u64>,
    /// One request in so many fails, drawn from a sequence that the seed names: reads, writes, seed.
    pub fails_one_in: Option<(u64, u64, u64)>,
    /// This slot cannot be read.
    pub bad_slot: Option<u32>,
    /// Pages read so far.
    pub reads: u64,
    /// Pages written so far.
    pub writes: u64,
}

impl FakeDisk {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            slots,
            content: HashMap::new(),
            reads_until_error: None,
            writes_until_error: None,
            fails_one_in: None,
            bad_slot: None,
            reads: 0,
            writes: 0,
        }
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
        // splitmix64. Source: Steele, Lea and Flood 2014.
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let one_in = if write { *writes } else { *reads };
        one_in != 0 && (z ^ (z >> 31)).is_multiple_of(one_in)
    }

    pub(super) fn read(&mut self, slot: u32) -> Result<Box<[u64; PAGE_WORDS]>, IoError> {
        assert!(slot > 0 && slot < self.slots, "read of slot {slot} of {}", self.slots);
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

    pub(super) fn write(&mut self, slot: u32, page: [u64; PAGE_WORDS]) -> Result<(), IoError> {
        assert!(slot > 0 && slot < self.slots, "write of slot {slot} of {}", self.slots);
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
