//! Slab caches: objects of one size, carved from frames.
//!
//! Objects are found by number ([`ObjId`]: frame and cache line in it). A cache hands out the object freed last first: a short per-CPU list
//! comes before the frames. Which slots of a frame are free is a bitmap in [`Page::private`]; frames with some free and some used are on
//! the partial list, through [`Page::next`] and [`Page::prev`]; full frames are on none; of frames without used objects
//! the cache keeps one and gives back the others.
//!
//! Free objects hold zeroes: a new frame is cleared once, and whoever frees an object has zeroed it, as a constructor that
//! runs once for an object demands. So allocating clears nothing.
//!
//! # The fast path
//! Most allocations and frees touch the per-CPU list only: an index is read, an object's number read or written, the index written; no
//! frame, no bitmap, nothing that another CPU would use. Linux does these steps without a lock, by exchanging the head of the list
//! together with a transaction number that every operation changes and that differs between CPUs: whoever was interrupted or moved to
//! another CPU in between finds another number, and begins again. Here one vCPU is in the manager at a time and nothing comes in
//! between, so plain loads and stores do; with more vCPUs, each would have a list, and the exchange would take their place in
//! `HotRing::push` and `HotRing::pop`.
//!
//! # Invariants
//! - An object is in use, on the per-CPU list, or free in its frame's bitmap; the bitmap shows objects of the per-CPU list as used.
//! - [`Page::index`] of a cache's frame is the cache's object size, in words.
//!
//! # Locks
//! A lock for each cache, taken before the zone's. [`Frames::alloc_frame`] is called with it held, so it must not call the cache:
//! reclaim, which frees objects, runs between attempts of the caller.
//!
//! Source: Linux, mm/slub.c. Rules E18, E19. Differs from Linux: free objects are found by bitmap instead of by links in them, so they
//! stay as constructed without room for a link.

mod check;
#[cfg(test)]
mod tests;

use crate::addr::{Frame, PAGE_WORDS, Pfn};
use crate::page::{Page, flag};
use crate::record::ObjId;
use crate::sync::{Lock, Word, Word32};
use crate::zone::pcp::HotRing;

/// Words of the unit that objects are aligned to: a cache line.
const UNIT_WORDS: usize = PAGE_WORDS / ObjId::SLOTS_MAX;
/// Objects on a cache's per-CPU list at most.
const HOT_OBJECTS: usize = 16;

/// Where caches get frames, and find them.
pub trait Frames {
    /// The memory map.
    fn memmap(&self) -> &[Page];

    /// The content of a frame.
    fn frame(&self, pfn: Pfn) -> &Frame;

    /// Fills a frame with zeroes.
    fn clear_page(&self, pfn: Pfn);

    /// A frame with one reference, flags 0 and any content, or `None`. Must not reclaim.
    fn alloc_frame(&self) -> Option<Pfn>;

    /// Takes back a frame that [`Frames::alloc_frame`] gave, flags 0 and one reference.
    fn free_frame(&self, pfn: Pfn);
}

/// Objects of `WORDS` 64-bit words, 1 to 512, each in cache lines of its own.
#[derive(Debug)]
pub struct Cache<const WORDS: usize> {
    objects: Word,
    hot: HotRing<HOT_OBJECTS>,
    /// Head of the partial list; 0 is the end.
    partial: Word32,
    /// A frame without used objects; 0 is none.
    spare: Word32,
    frames: Word,
    /// What its frames are known by in the memory map; 0 where nobody looks for its objects there.
    tag: u32,
    lock: Lock,
}

/// What a cache holds. Source: slabinfo(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its name.
    pub name: &'static str,
    /// Objects in use.
    pub objects: u64,
    /// Frames held.
    pub frames: u64,
    /// Bytes of an object.
    pub object_bytes: usize,
    /// Objects in a frame.
    pub slots: usize,
}

impl<const WORDS: usize> Default for Cache<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> Cache<WORDS> {
    /// Objects in a frame.
    pub const SLOTS: usize = ObjId::SLOTS_MAX / Self::UNITS;
    /// 64-byte units of an object: its number names the first, so that its address is a shift away.
    const UNITS: usize = WORDS.div_ceil(UNIT_WORDS);
    /// Bitmap of a frame without used objects: a bit at each object's first unit.
    const ALL_FREE: u64 = {
        let (mut map, mut slot) = (0, 0);
        while slot < Self::SLOTS {
            map |= 1 << (slot * Self::UNITS);
            slot += 1;
        }
        map
    };

    /// A cache without frames.
    #[must_use]
    pub const fn new() -> Self {
        Self::tagged(0)
    }

    /// A cache without frames whose objects can be found in the memory map by a number of its own ([`Page::mapping`]), other than 0.
    #[must_use]
    pub(crate) const fn tagged(tag: u32) -> Self {
        const { assert!(0 < WORDS && WORDS <= PAGE_WORDS, "an object lies in one frame") };
        Self {
            tag,
            objects: Word::new(0),
            hot: HotRing::new(),
            partial: Word32::new(0),
            spare: Word32::new(0),
            frames: Word::new(0),
            lock: Lock::new(),
        }
    }

    /// An object of zeroes, or `None` when it would take a frame and there is none. Source: Linux `slab_alloc_node`.
    #[inline]
    pub fn alloc<F: Frames>(&self, frames: &F) -> Option<ObjId> {
        let _guard = self.lock.lock();
        let id = match self.hot.pop() {
            Some(id) => ObjId::from_u32(id)?,
            // A call in tail position, so that the fast path saves no registers.
            None => return self.take_slot(frames),
        };
        self.objects.add(1);
        Some(id)
    }

    /// Gives back an object that [`Cache::alloc`] gave and that the caller has zeroed. Source: Linux `do_slab_free`.
    ///
    /// # Panics
    /// With debug assertions, when the object is not of this cache, is free already or is not all zeroes; in any case, when
    /// it is found to be free already on its way from the per-CPU list to its frame.
    #[inline]
    pub fn free<F: Frames>(&self, frames: &F, id: ObjId) {
        let _guard = self.lock.lock();
        #[cfg(debug_assertions)]
        self.check_freeable(frames, id);
        self.objects.sub(1);
        if !self.hot.push(id.get()) {
            self.push_flushed(frames, id);
        }
    }

    /// Objects in use.
    #[inline(always)]
    pub fn objects(&self) -> u64 {
        self.objects.get()
    }

    /// Frames held.
    #[inline(always)]
    pub fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// What the cache holds, under a name.
    pub fn usage(&self, name: &'static str) -> Usage {
        Usage {
            name,
            objects: self.objects.get(),
            frames: self.frames.get(),
            object_bytes: WORDS * 8,
            slots: Self::SLOTS,
        }
    }

    /// Gives back all frames without used objects. Source: Linux `kmem_cache_shrink`.
    pub fn shrink<F: Frames>(&self, frames: &F) {
        let _guard = self.lock.lock();
        self.flush(frames, HOT_OBJECTS);
        if self.spare.get() != 0 {
            self.release(frames, Pfn(self.spare.get()));
            self.spare.set(0);
        }
    }

    /// Takes a free object of a partial frame, of the spare frame or of a new one, in this order. Rule E18.
    #[inline(never)]
    fn take_slot<F: Frames>(&self, frames: &F) -> Option<ObjId> {
        let pfn = match self.partial.get() {
            0 => self.new_partial(frames)?,
            pfn => Pfn(pfn),
        };
        let page = &frames.memmap()[pfn.index()];
        let free = page.private.get();
        page.private.set(free & (free - 1));
        if free & (free - 1) == 0 {
            self.unlink(frames.memmap(), pfn);
        }
        self.objects.add(1);
        Some(ObjId::new(pfn, free.trailing_zeros() as usize))
    }

    /// Puts a frame without used objects on the partial list.
    fn new_partial<F: Frames>(&self, frames: &F) -> Option<Pfn> {
        let pfn = match self.spare.get() {
            0 => {
                let pfn = frames.alloc_frame()?;
                frames.clear_page(pfn);
                let page = &frames.memmap()[pfn.index()];
                page.set_flags(flag::SLAB);
                page.index.set(WORDS as u64);
                page.mapping.set(self.tag);
                page.private.set(Self::ALL_FREE);
                self.frames.add(1);
                pfn
            }
            pfn => {
                self.spare.set(0);
                Pfn(pfn)
            }
        };
        self.link(frames.memmap(), pfn);
        Some(pfn)
    }

    /// Moves at most `count` objects, the oldest first, from the per-CPU list to their frames.
    fn flush<F: Frames>(&self, frames: &F, count: usize) {
        for id in core::iter::from_fn(|| self.hot.pop_oldest())
            .take(count)
            .filter_map(ObjId::from_u32)
        {
            self.put_slot(frames, id);
        }
    }

    #[cold]
    #[inline(never)]
    fn push_flushed<F: Frames>(&self, frames: &F, id: ObjId) {
        self.flush(frames, HOT_OBJECTS / 2);
        self.hot.push(id.get());
    }

    fn put_slot<F: Frames>(&self, frames: &F, id: ObjId) {
        let pfn = id.pfn();
        let page = &frames.memmap()[pfn.index()];
        let (free, bit) = (page.private.get(), 1 << id.slot());
        assert!(
            page.has(flag::SLAB) && free & bit == 0,
            "object {} of frame {} freed twice",
            id.slot(),
            pfn.0
        );
        page.private.set(free | bit);
        if free == 0 {
            self.link(frames.memmap(), pfn);
        }
        if free | bit != Self::ALL_FREE {
            return;
        }
        self.unlink(frames.memmap(), pfn);
        if self.spare.get() == 0 {
            self.spare.set(pfn.0);
        } else {
            self.release(frames, pfn);
        }
    }

    fn release<F: Frames>(&self, frames: &F, pfn: Pfn) {
        let page = &frames.memmap()[pfn.index()];
        page.clear_flags(flag::SLAB);
        page.mapping.set(0);
        self.frames.sub(1);
        frames.free_frame(pfn);
    }

    /// Puts a frame at the head of the partial list.
    fn link(&self, memmap: &[Page], pfn: Pfn) {
        let (page, head) = (&memmap[pfn.index()], self.partial.get());
        if head != 0 {
            memmap[head as usize].prev.set(pfn.0);
        }
        page.next.set(head);
        page.prev.set(0);
        self.partial.set(pfn.0);
    }

    /// Takes a frame off the partial list.
    fn unlink(&self, memmap: &[Page], pfn: Pfn) {
        let page = &memmap[pfn.index()];
        let (next, prev) = (page.next.get(), page.prev.get());
        if next != 0 {
            memmap[next as usize].prev.set(prev);
        }
        match prev {
            0 => self.partial.set(next),
            _ => memmap[prev as usize].next.set(next),
        }
    }

    #[cfg(debug_assertions)]
    fn check_freeable<F: Frames>(&self, frames: &F, id: ObjId) {
        let (pfn, slot) = (id.pfn().0, id.slot());
        let page = &frames.memmap()[id.pfn().index()];
        let ours = page.has(flag::SLAB) && page.index.get() == WORDS as u64 && Self::ALL_FREE >> slot & 1 != 0;
        assert!(
            ours,
            "object {slot} of frame {pfn} is not of a cache of {WORDS} words an object"
        );
        let free = page.private.get() >> slot & 1 != 0 || self.hot.newest_first().any(|hot| hot == id.get());
        assert!(!free, "object {slot} of frame {pfn} freed twice");
        let zeroed = object::<F, WORDS>(frames, id).iter().all(|word| word.get() == 0);
        assert!(zeroed, "object {slot} of frame {pfn} freed with content: zero it first");
    }
}

/// The words of an object.
///
/// # Panics
/// When a frame has no such object of this size.
#[inline(always)]
pub fn object<F: Frames + ?Sized, const WORDS: usize>(frames: &F, id: ObjId) -> &[Word; WORDS] {
    match frames.frame(id.pfn())[id.slot() * UNIT_WORDS..].first_chunk() {
        Some(words) => words,
        None => panic!("object {} of frame {} does not fit", id.slot(), id.pfn().0),
    }
}
