//! The mapped parts of a range. Source: Linux, the loops of `madvise_walk_vmas` and `msync`.

use core::ops::Range;

use super::TASK_SIZE;
use crate::addr::VirtAddr;
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::vma::{MmStruct, VmaId};
use crate::vma_tree::find_vma;

impl<P: Platform> Memory<P> {
    /// Calls `act` for the part of each mapping that lies in `range`, upwards. `act` may merge or split the mapping.
    ///
    /// # Errors
    /// The first of `act`, at once; [`Error::Enomem`] at the end if some of the range is not mapped. Rules B29, B32.
    pub(super) fn for_each_mapped_part(
        &self,
        mm: MmStruct<'_>,
        range: Range<VirtAddr>,
        mut act: impl FnMut(VmaId, Range<VirtAddr>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Range { mut start, end } = range;
        let mut gap = end.0 > TASK_SIZE;
        while start < end {
            let Some(id) = find_vma(self, mm, start) else {
                gap = true;
                break;
            };
            let vma = self.vma(id);
            let part = start.max(vma.vm_start())..end.min(vma.vm_end());
            gap |= part.start > start;
            start = vma.vm_end();
            if part.start < part.end {
                act(id, part)?;
            }
        }
        if gap { Err(Error::Enomem) } else { Ok(()) }
    }
}
