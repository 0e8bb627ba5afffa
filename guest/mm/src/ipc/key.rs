//! From a key to its segment: a table of lists, by a hash of the key.
//!
//! # Invariants
//! Every segment with a key other than 0 is on exactly one list, that of its key's hash; private and removed segments are on none.
//!
//! Source: Linux, ipc/util.c (`ipc_findkey`, `key_ht`).

use super::*;

/// log2 of the number of lists: with all 4096 segments there are 16 on each.
const LISTS_LOG2: u32 = 8;

/// The heads of the lists; 0 is the end.
#[derive(Debug)]
pub(super) struct KeyTable {
    heads: [Word32; 1 << LISTS_LOG2],
}

impl KeyTable {
    pub(super) const fn new() -> Self {
        Self {
            heads: [const { Word32::new(0) }; 1 << LISTS_LOG2],
        }
    }

    /// The list for a key: the high bits of the product with 2^32 divided by the golden ratio. Source: Linux `hash_32`.
    fn head(&self, key: u32) -> &Word32 {
        &self.heads[(key.wrapping_mul(0x61c8_8647) >> (32 - LISTS_LOG2)) as usize]
    }

    /// First segment of a key's list.
    fn first(&self, key: u32) -> Option<ShmId> {
        ObjId::from_u32(self.head(key).get()).map(ShmId)
    }
}

impl<P: Platform> Memory<P> {
    /// The segment with a key.
    pub(super) fn ipc_findkey(&self, key: u32) -> Option<ShmId> {
        let mut next = self.ipc.keys.first(key);
        while let Some(shm) = next {
            let segment = self.segment(shm);
            if segment.key() == key {
                return Some(shm);
            }
            next = segment.key_next();
        }
        None
    }

    /// Gives a segment a key that no other has. 0 is no key.
    pub(super) fn set_key(&self, shm: ShmId, key: u32) {
        let segment = self.segment(shm);
        segment.set_key(key);
        if key != 0 {
            segment.set_key_next(self.ipc.keys.first(key));
            self.ipc.keys.head(key).set(shm.0.get());
        }
    }

    /// Takes a segment's key, if it has one: nobody finds it by that any more.
    pub(super) fn remove_key(&self, shm: ShmId) {
        let segment = self.segment(shm);
        let key = segment.key();
        if key == 0 {
            return;
        }
        let after = segment.key_next();
        segment.set_key(0);
        segment.set_key_next(None);
        let mut before = self.ipc.keys.first(key);
        if before == Some(shm) {
            return self.ipc.keys.head(key).set(after.map_or(0, |after| after.0.get()));
        }
        while let Some(id) = before {
            before = self.segment(id).key_next();
            if before == Some(shm) {
                return self.segment(id).set_key_next(after);
            }
        }
    }
}
