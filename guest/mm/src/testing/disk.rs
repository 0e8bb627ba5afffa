//! A swap disk that remembers, and that can fail on purpose.

use std::boxed::Box;
use std::collections::HashMap;

use crate::addr::PAGE_WORDS;
use crate::platform::IoError;

/// The disk.
#[derive(Debug)]
pub struct FakeDisk {
    slots: u32,
    content: HashMap<u32, Box<[u64; PAGE_WORDS]>>,
    /// Requests until reads fail, then all do.
    pub reads_until_error: Option<u64>,
    /// Requests until writes fail, then all do.
    pub writes_until_error: Option<u64>,
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

    pub(super) fn read(&mut self, slot: u32) -> Result<Box<[u64; PAGE_WORDS]>, IoError> {
        assert!(slot > 0 && slot < self.slots, "read of slot {slot} of {}", self.slots);
        if Self::fails(&mut self.reads_until_error) {
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
        if Self::fails(&mut self.writes_until_error) {
            return Err(IoError);
        }
        self.writes += 1;
        self.content.insert(slot, Box::new(page));
        Ok(())
    }
}
