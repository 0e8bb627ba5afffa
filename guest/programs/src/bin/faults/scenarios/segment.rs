//! Which pages of a segment are measured, and what must exist before.
//!
//! A first touch may need more than its own frame: page-table pages (one for 512 pages) and nodes of the page cache's
//! XArray (one for 64). These would be charged to whichever page comes first, and blur the counts. So the first page
//! of every group of 64 is an *anchor*: it is touched beforehand and not measured. With segments attached at 2 MiB
//! boundaries the anchors bring every page table and every leaf node into being, and a measured touch allocates
//! exactly one frame.
//!
//! ```text
//! segment: A m m m ... m | A m m m ... m | A m m        A anchor, m measured
//!          0 1 2 3    63   64             128
//! ```

use faultlab_programs::shm::{Attachment, Segment};
use faultlab_programs::sys::memory::PAGE_BYTES;

use super::resident;
use crate::phase::Failure;

/// Pages under one leaf node. Source: Linux, include/linux/xarray.h, `XA_CHUNK_SIZE`.
const GROUP: usize = 64;

/// Where segments get attached: 2 MiB boundaries in the middle of a program's half, far from all else.
const ADDRESSES: [usize; 2] = [0x1000_0000_0000, 0x1100_0000_0000];

/// Page number, in its segment, of measured page `index`.
const fn page(index: usize) -> usize {
    index / (GROUP - 1) * GROUP + 1 + index % (GROUP - 1)
}

/// A segment with `count` measured pages.
pub(crate) struct Measured {
    segment: Segment,
    count: usize,
}

/// One attachment of it.
pub(crate) struct View {
    attachment: Attachment,
    count: usize,
}

impl Measured {
    /// A new segment; nothing of it is touched.
    pub(crate) fn create(count: usize) -> Result<Measured, Failure> {
        let bytes = (page(count - 1) + 1) * PAGE_BYTES;
        let segment = Segment::create(bytes).map_err(|errno| Failure::Call("shmget", errno))?;
        Ok(Measured { segment, count })
    }

    /// Attaches it at the first (0) or second (1) address.
    pub(crate) fn attach(&self, place: usize) -> Result<View, Failure> {
        let attachment = self
            .segment
            .attach(ADDRESSES[place])
            .map_err(|errno| Failure::Call("shmat", errno))?;
        Ok(View {
            attachment,
            count: self.count,
        })
    }
}

impl View {
    /// A segment of its own, attached once, its anchors touched, all else holes. It is gone when the view is dropped.
    pub(crate) fn private(count: usize) -> Result<View, Failure> {
        let view = Measured::create(count)?.attach(0)?;
        view.touch_anchors();
        resident::require(&view, false)?;
        Ok(view)
    }

    /// Stores to every anchor.
    pub(crate) fn touch_anchors(&self) {
        for anchor in (0..=page(self.count - 1)).step_by(GROUP) {
            self.attachment.write(anchor * PAGE_BYTES / 8, anchor as u64);
        }
    }
}

impl super::resident::Pages for View {
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn address(&self, index: usize) -> *mut u64 {
        self.attachment.base().wrapping_add(page(index) * PAGE_BYTES).cast()
    }
}
