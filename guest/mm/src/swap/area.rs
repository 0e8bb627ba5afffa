//! Swap areas: what is known about each, and `swapon`.
//!
//! An area's number is the disk's, so that the platform finds the disk of a slot without asking.
//!
//! Source: Linux, mm/swapfile.c (`swap_info_struct`, `swapon`, `enable_swap_info`); swapon(2). Rules F17, F24, F25.

use super::SwapSlot;
use super::slot::{CACHED_FRAMES_MAX, SLOTS_MAX, SLOTS_PER_CLUSTER, SWAP_MAP_BAD, SlotEntry};
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::sync::Word32;

/// An area that [`Memory::swapon`] is to use.
#[derive(Clone, Copy, Debug, Default)]
pub struct AreaConfig<'a> {
    /// Slots, the header's included; beyond [`SLOTS_MAX`] they are not used.
    pub slots: u32,
    /// Priority, 0 to 32767: areas with a higher one are filled first. `None`: lower than that of any area there is. Rule F25.
    pub prio: Option<u16>,
    /// Slots that the header calls bad, each above 0 and below `slots`. Rule F24.
    pub bad: &'a [u32],
}

/// What `/proc/swaps` says about an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaStat {
    /// Slots that can be used, in pages.
    pub pages: u64,
    /// Of them, those in use.
    pub inuse: u64,
    /// Priority.
    pub prio: i32,
}

/// An area. Source: Linux `swap_info_struct`. A power of two in size, because slots find theirs by multiplying.
#[derive(Debug)]
#[repr(align(32))]
pub(super) struct SwapInfo {
    /// Slots, the header included; 0 without an area.
    pub(super) max: Word32,
    /// Slots that may be given out, in use or not.
    pub(super) pages: Word32,
    /// Of them, those in use.
    pub(super) inuse: Word32,
    /// Slots whose write failed.
    pub(super) retired: Word32,
    /// Whether slots are given out. Source: Linux `SWP_WRITEOK`.
    pub(super) writeok: Word32,
    /// Priority, an `i32`.
    prio: Word32,
    /// Where in the area slots were taken last: this one is looked at next. Source: Linux `percpu_cluster`.
    pub(super) cluster_next: Word32,
}

impl SwapInfo {
    pub(super) const fn new() -> Self {
        Self {
            max: Word32::new(0),
            pages: Word32::new(0),
            inuse: Word32::new(0),
            retired: Word32::new(0),
            writeok: Word32::new(0),
            prio: Word32::new(0),
            cluster_next: Word32::new(0),
        }
    }

    pub(super) fn prio(&self) -> i32 {
        self.prio.get().cast_signed()
    }

    /// Whether a slot can be had.
    pub(super) fn has_room(&self) -> bool {
        self.writeok.get() != 0 && self.inuse.get() < self.pages.get()
    }
}

impl<P: Platform> Memory<P> {
    /// Starts swapping to area `area`, the disk of that number.
    ///
    /// # Errors
    /// [`Error::Eperm`] for a number from [`super::MAX_SWAPFILES`] on, [`Error::Ebusy`] for an area that is in use, [`Error::Einval`] for one without a slot
    /// that could be used or with a bad slot beyond it, [`Error::Enomem`] when the slot map finds no room, [`Error::Efbig`] on a machine
    /// with more than 32 GiB of memory. Rule F24.
    pub fn swapon(&self, area: usize, config: AreaConfig<'_>) -> Result<(), Error> {
        let info = self.swap.areas.get(area).ok_or(Error::Eperm)?;
        let slots = config.slots.min(SLOTS_MAX);
        if info.max.get() != 0 {
            return Err(Error::Ebusy);
        }
        if slots < 2 || config.bad.iter().any(|&bad| bad == 0 || bad >= config.slots) {
            return Err(Error::Einval);
        }
        if self.platform.memmap().len() > CACHED_FRAMES_MAX {
            return Err(Error::Efbig);
        }
        if self.alloc_swap_table(area, slots).is_none() {
            self.free_swap_table(area);
            return Err(Error::Enomem);
        }
        let bad = self.mark_unusable(area, slots, config.bad);
        if bad + 1 == slots {
            self.free_swap_table(area);
            return Err(Error::Einval);
        }
        info.max.set(slots);
        info.pages.set(slots - 1 - bad);
        info.cluster_next.set(0);
        let prio = config.prio.map_or_else(|| self.next_priority(), i32::from);
        info.prio.set(prio.cast_unsigned());
        self.enable_swap_info(area);
        Ok(())
    }

    /// The priority of an area that is given none: below all there are. Rule F25.
    fn next_priority(&self) -> i32 {
        let least = &self.swap.least_priority;
        least.add(1);
        -least.get().cast_signed()
    }

    /// Marks the header, the bad slots, and what the last cluster has beyond the area. Returns the number of bad slots. Differs from Linux, which
    /// counts a slot as often as it is listed, and then has areas of nearly 2^32 pages.
    fn mark_unusable(&self, area: usize, slots: u32, bad: &[u32]) -> u32 {
        let mut marked = 0;
        self.slot_words(SwapSlot::new(area, 0)).take();
        for slot in bad
            .iter()
            .filter(|&&bad| bad < slots)
            .map(|&bad| SwapSlot::new(area, bad))
        {
            let words = self.slot_words(slot);
            if words.get().0 == 0 {
                words.set_free(SlotEntry(u32::from(SWAP_MAP_BAD)));
                words.take();
                marked += 1;
            }
        }
        for _ in slots..slots.next_multiple_of(SLOTS_PER_CLUSTER) {
            self.slot_words(SwapSlot::new(area, slots - 1)).take();
        }
        marked
    }

    /// Slots of the area may be given out. Source: Linux `_enable_swap_info`.
    pub(super) fn enable_swap_info(&self, area: usize) {
        let info = &self.swap.areas[area];
        info.writeok.set(1);
        self.swap.total.add(info.pages.get().into());
        self.swap.free.add((info.pages.get() - info.inuse.get()).into());
        // Behind all that have at least its priority.
        let avail = &self.swap.avail;
        let goes_first = |place: &&Word32| {
            let number = place.get() as usize;
            number != 0 && self.swap.areas[number - 1].prio() >= info.prio()
        };
        let at = avail.iter().take_while(goes_first).count();
        for later in (at + 1..avail.len()).rev() {
            avail[later].set(avail[later - 1].get());
        }
        avail[at].set(area as u32 + 1);
        self.forget_run();
    }

    /// No more slots of the area are given out.
    pub(super) fn disable_swap_info(&self, area: usize) {
        let info = &self.swap.areas[area];
        info.writeok.set(0);
        self.swap.total.sub(info.pages.get().into());
        self.swap.free.sub((info.pages.get() - info.inuse.get()).into());
        let avail = &self.swap.avail;
        let at = avail.iter().position(|place| place.get() == area as u32 + 1);
        for at in at.unwrap_or(avail.len())..avail.len() {
            avail[at].set(avail.get(at + 1).map_or(0, Word32::get));
        }
        self.forget_run();
    }

    /// The area is no more. Those that were given their priority after it move up.
    pub(super) fn forget_area(&self, area: usize) {
        let gone = &self.swap.areas[area];
        if gone.prio() < 0 {
            for info in &self.swap.areas {
                if info.max.get() != 0 && info.prio() < gone.prio() {
                    info.prio.add(1);
                }
            }
            self.swap.least_priority.sub(1);
        }
        gone.max.set(0);
        gone.pages.set(0);
        gone.retired.set(0);
    }

    /// What is known about an area, if it is in use. Rule F25.
    pub fn swap_area(&self, area: usize) -> Option<AreaStat> {
        let info = self.swap.areas.get(area).filter(|info| info.max.get() != 0)?;
        Some(AreaStat {
            pages: info.pages.get().into(),
            inuse: info.inuse.get().into(),
            prio: info.prio(),
        })
    }
}
