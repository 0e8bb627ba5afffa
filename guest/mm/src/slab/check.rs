//! The invariants of a cache, checked.

use super::{Cache, Frames, object};
use crate::addr::Pfn;
use crate::check::{Violation, at_most, equal};
use crate::page::{Page, flag};
use crate::record::ObjId;

impl<const WORDS: usize> Cache<WORDS> {
    /// Whether the cache's invariants hold; takes as long as the partial list is.
    ///
    /// # Errors
    /// The first that does not.
    #[cold]
    pub fn verify<F: Frames>(&self, frames: &F) -> Result<(), Violation> {
        let _guard = self.lock.lock();
        let memmap = frames.memmap();
        let (mut at, mut prev, mut free, mut listed) = (self.partial.get(), 0, 0, 0_u64);
        while at != 0 {
            let page = &memmap[at as usize];
            equal("previous on the partial list, of frame", at, page.prev.get(), prev)?;
            self.verify_frame(frames, at)?;
            let map = page.private.get();
            equal(
                "full or empty on the partial list: frame",
                at,
                map == 0 || map == Self::ALL_FREE,
                false,
            )?;
            free += u64::from(map.count_ones());
            listed += 1;
            at_most("frames on the partial list", at, listed, self.frames.get())?;
            (prev, at) = (at, page.next.get());
        }
        let spare = self.spare.get();
        if spare != 0 {
            self.verify_frame(frames, spare)?;
            equal(
                "free slots of spare frame",
                spare,
                memmap[spare as usize].private.get(),
                Self::ALL_FREE,
            )?;
            free += Self::SLOTS as u64;
        }
        for id in self.hot.newest_first().filter_map(ObjId::from_u32) {
            let page: &Page = &memmap[id.pfn().index()];
            equal(
                "of a slab: object on the per-CPU list",
                id.get(),
                page.has(flag::SLAB),
                true,
            )?;
            let free_in_frame = page.private.get() >> id.slot() & 1 != 0;
            equal(
                "on the per-CPU list and in its frame: object",
                id.get(),
                free_in_frame,
                false,
            )?;
        }
        let taken = self.frames.get() * Self::SLOTS as u64 - free;
        let known = self.objects.get() + u64::from(self.hot.len());
        equal(
            "objects in use and on the per-CPU list, of words",
            WORDS as u64,
            known,
            taken,
        )
    }

    fn verify_frame<F: Frames>(&self, frames: &F, pfn: u32) -> Result<(), Violation> {
        let page = &frames.memmap()[pfn as usize];
        equal("of a slab: frame", pfn, page.has(flag::SLAB), true)?;
        equal("words of an object of frame", pfn, page.index.get(), WORDS as u64)?;
        let map = page.private.get();
        equal(
            "free slots that it does not have, of frame",
            pfn,
            map & !Self::ALL_FREE,
            0_u64,
        )?;
        for slot in (0..ObjId::SLOTS_MAX).filter(|slot| map >> slot & 1 != 0) {
            let id = ObjId::new(Pfn(pfn), slot);
            let clean = object::<F, WORDS>(frames, id).iter().all(|word| word.get() == 0);
            equal("content of free object", id.get(), !clean, false)?;
        }
        Ok(())
    }

    /// Objects in use that are in a frame of this cache, and perhaps some on the per-CPU list, which are all zeroes.
    pub(crate) fn objects_in<'f, F: Frames>(&'f self, frames: &'f F, pfn: Pfn) -> impl Iterator<Item = ObjId> + 'f {
        let page = &frames.memmap()[pfn.index()];
        let ours = page.has(flag::SLAB) && page.mapping.get() == self.tag && self.tag != 0;
        let mut taken = if ours { Self::ALL_FREE & !page.private.get() } else { 0 };
        core::iter::from_fn(move || {
            let slot = (taken != 0).then_some(taken.trailing_zeros() as usize)?;
            taken &= taken - 1;
            Some(ObjId::new(pfn, slot))
        })
    }

    /// Panics unless [`Cache::verify`] finds nothing. For tests.
    ///
    /// # Panics
    /// See above.
    #[cfg(any(test, feature = "testing"))]
    pub fn check<F: Frames>(&self, frames: &F) {
        crate::check::expect(self.verify(frames));
    }
}
