//! Taking mappings away, and changing their rights and content: what the model expects of `munmap`, `mprotect` and `MADV_DONTNEED`.

use std::vec::Vec;

use super::{Content, World};
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::Error;

impl World {
    pub(super) fn munmap(&mut self, who: usize, at: usize, pages: u64) {
        let Some(addr) = self.page_at(who, at) else { return };
        let mm = self.processes[who].mm;
        match self.memory.do_munmap(mm, addr, pages * PAGE_SIZE) {
            Ok(()) => self.forget(who, addr, pages),
            Err(error) => {
                assert_eq!(error, Error::Enomem);
                self.unmerged = true;
            }
        }
    }

    pub(super) fn forget(&mut self, who: usize, addr: u64, pages: u64) {
        self.processes[who]
            .pages
            .retain(|&page, _| page < addr || page >= addr + pages * PAGE_SIZE);
    }

    pub(super) fn mprotect(&mut self, who: usize, at: usize, pages: u64, prot: u64) {
        let Some(addr) = self.page_at(who, at) else { return };
        let mm = self.processes[who].mm;
        let end = addr + pages * PAGE_SIZE;
        let mut parts = Vec::new();
        let mut start = addr;
        while start < end && self.processes[who].pages.contains_key(&start) {
            let part = self.part(who, start);
            parts.push((start, part.end.min(end)));
            start = part.end;
        }
        // Where rights change, on either side. A VMA that has the rights is not looked at, as on Linux (`mprotect_fixup`).
        let changes: Vec<u64> = self.processes[who]
            .pages
            .range(addr..end)
            .filter(|(_, page)| page.prot != prot)
            .flat_map(|(&page, _)| [page, page + PAGE_SIZE])
            .collect();
        let result = self.memory.do_mprotect(mm, addr, pages * PAGE_SIZE, prot);
        if result.is_ok() {
            changes
                .into_iter()
                .for_each(|boundary| self.check_joined(who, boundary));
        }
        let gap = (0..pages).any(|page| !self.processes[who].pages.contains_key(&(addr + page * PAGE_SIZE)));
        // Without memory for the second cut, a segment's mapping keeps the first, as on Linux.
        self.unmerged |= result.is_err() && !gap;
        for (start, end) in parts {
            if self.memory.prot_at(mm, VirtAddr(start)) == Some(prot) {
                self.cut_for(who, start, end, prot);
            }
        }
        // Up to the first gap the change is made. Rule B25. (A refusal for want of memory may come anywhere: look which were changed.)
        for i in 0..pages {
            let Some(page) = self.processes[who].pages.get_mut(&(addr + i * PAGE_SIZE)) else {
                assert_eq!(result, Err(Error::Enomem), "a gap was not noticed");
                break;
            };
            if result.is_ok() || self.memory.prot_at(mm, VirtAddr(addr + i * PAGE_SIZE)) == Some(prot) {
                page.prot = prot;
            }
        }
    }

    /// B22: what could be one VMA is one, where `mmap` or `mprotect` just changed something. Elsewhere Linux leaves VMAs apart, too: those of a
    /// child are as they were in its parent, whatever they could share now, and a refused call does not mend its cuts.
    pub(super) fn check_joined(&self, who: usize, addr: u64) {
        let mm = self.processes[who].mm;
        assert!(
            !self.memory.joinable_at(mm, VirtAddr(addr)),
            "two VMAs at {addr:#x} could be one"
        );
    }

    pub(super) fn dontneed(&mut self, who: usize, at: usize, pages: u64) {
        let Some(addr) = self.page_at(who, at) else { return };
        let mm = self.processes[who].mm;
        let result = self.memory.do_madvise(mm, addr, pages * PAGE_SIZE, 4);
        let range = addr..addr + pages * PAGE_SIZE;
        // Up to a locked mapping it is done. Rule B33.
        for (_, page) in self.processes[who].pages.range_mut(range) {
            if page.locked {
                assert_eq!(result, Err(Error::Einval), "a locked mapping was not noticed");
                return;
            }
            match &mut page.content {
                Content::Private(value) => *value = 0,
                Content::Copy(_, _, value) => *value = None,
                Content::Object(..) => {}
            }
        }
        assert!(matches!(result, Ok(()) | Err(Error::Enomem)), "{result:?}");
    }
}
