//! The invariants of a cache, checked.

use super::{Cache, Frames, object};
use crate::addr::Pfn;
use crate::page::{Page, flag};
use crate::record::ObjId;

impl<const WORDS: usize> Cache<WORDS> {
    /// Panics unless the cache's invariants hold. For tests; takes as long as the partial list is.
    pub fn check<F: Frames>(&self, frames: &F) {
        let _guard = self.lock.lock();
        let memmap = frames.memmap();
        let (mut at, mut prev, mut free, mut listed) = (self.partial.get(), 0, 0, 0);
        while at != 0 {
            let page = &memmap[at as usize];
            assert_eq!(page.prev.get(), prev, "partial list broken at frame {at}");
            self.check_frame(frames, at);
            let map = page.private.get();
            assert!(
                map != 0 && map != Self::ALL_FREE,
                "frame {at} on the partial list has free slots {map:#x}"
            );
            free += u64::from(map.count_ones());
            listed += 1;
            assert!(listed <= self.frames.get(), "partial list goes round");
            (prev, at) = (at, page.next.get());
        }
        let spare = self.spare.get();
        if spare != 0 {
            self.check_frame(frames, spare);
            assert_eq!(
                memmap[spare as usize].private.get(),
                Self::ALL_FREE,
                "spare frame {spare} is in use"
            );
            free += Self::SLOTS as u64;
        }
        for id in self.hot.newest_first().filter_map(ObjId::from_u32) {
            let page: &Page = &memmap[id.pfn().index()];
            assert!(page.has(flag::SLAB), "object {id:?} on the per-CPU list is in no slab");
            assert_eq!(
                page.private.get() >> id.slot() & 1,
                0,
                "object {id:?} is on the per-CPU list and in its frame"
            );
        }
        let taken = self.frames.get() * Self::SLOTS as u64 - free;
        assert_eq!(
            self.objects.get() + u64::from(self.hot.len()),
            taken,
            "objects in use and on the per-CPU list"
        );
    }

    fn check_frame<F: Frames>(&self, frames: &F, pfn: u32) {
        let page = &frames.memmap()[pfn as usize];
        assert!(
            page.has(flag::SLAB) && page.index.get() == WORDS as u64,
            "frame {pfn} is not of this cache"
        );
        let map = page.private.get();
        assert_eq!(
            map & !Self::ALL_FREE,
            0,
            "frame {pfn} has free slots it does not have: {map:#x}"
        );
        for slot in (0..ObjId::SLOTS_MAX).filter(|slot| map >> slot & 1 != 0) {
            let words = object::<F, WORDS>(frames, ObjId::new(Pfn(pfn), slot));
            assert!(
                words.iter().all(|word| word.get() == 0),
                "free object {slot} of frame {pfn} has content"
            );
        }
    }
}
