//! System V segments, as the model sees them: which pages belong to one attachment.

use super::{Content, ModelPage, World};
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::Error;
use crate::mmap::prot;

/// Whether two pages of one process, at ascending addresses, belong to one mapping.
fn continues((low, before): (u64, ModelPage), (high, page): (u64, ModelPage)) -> bool {
    let index = |page: ModelPage| match page.content {
        Content::Object(object, index) => (object, index),
        Content::Private(_) | Content::Copy(..) => (usize::MAX, 0),
    };
    low + PAGE_SIZE == high
        && before.segment == page.segment
        && !page.cut
        && index(before) == (index(page).0, index(page).1.wrapping_sub(1))
}

impl World {
    /// Mappings of a segment, as [`crate::ipc`] counts them: runs of pages with consecutive indices that nothing cut.
    pub(super) fn attaches(&self, segment: usize) -> u64 {
        let mut runs = 0;
        for process in &self.processes {
            let mut last: Option<(u64, ModelPage)> = None;
            for (&addr, &page) in &process.pages {
                let continues = last.is_some_and(|before| continues(before, (addr, page)));
                runs += u64::from(page.segment == Some(segment) && !continues);
                last = Some((addr, page));
            }
        }
        runs
    }

    /// The run of a mapping's pages that has the page at `addr`.
    pub(super) fn part(&self, who: usize, addr: u64) -> core::ops::Range<u64> {
        let pages = &self.processes[who].pages;
        let joined = |low: u64| match (pages.get(&low), pages.get(&(low + PAGE_SIZE))) {
            (Some(&a), Some(&b)) => continues((low, a), (low + PAGE_SIZE, b)),
            _ => false,
        };
        let (mut start, mut end) = (addr, addr + PAGE_SIZE);
        while joined(start - PAGE_SIZE) {
            start -= PAGE_SIZE;
        }
        while joined(end - PAGE_SIZE) {
            end += PAGE_SIZE;
        }
        start..end
    }

    /// What giving `[start, end)` of one part of a segment other rights does to its cuts, and the rights. A neighbour that has these
    /// rights already takes over what is not the whole part.
    pub(super) fn cut_for(&mut self, who: usize, start: u64, end: u64, prot: u64) {
        let whole = self.part(who, start);
        let pages = &mut self.processes[who].pages;
        if pages[&start].segment.is_none() || pages[&start].prot == prot {
            return;
        }
        let adjoins = |low: u64| match (pages.get(&low), pages.get(&(low + PAGE_SIZE))) {
            (Some(&a), Some(&b)) => continues((low, a), (low + PAGE_SIZE, ModelPage { cut: false, ..b })),
            _ => false,
        };
        let has = |addr: u64| pages.get(&addr).is_some_and(|page| page.prot == prot);
        let below = start == whole.start && end != whole.end && adjoins(start - PAGE_SIZE) && has(start - PAGE_SIZE);
        let above = end == whole.end && start != whole.start && adjoins(end - PAGE_SIZE) && has(end);
        for (&addr, page) in pages.range_mut(start..=end) {
            if addr == start {
                page.cut = !below && (page.cut || start != whole.start);
            }
            if addr == end {
                page.cut = !above && (page.cut || end != whole.end);
            }
            if addr < end {
                page.prot = prot;
            }
        }
    }

    pub(super) fn shmat(&mut self, who: usize, segment: usize) {
        if self.segments.is_empty() {
            return;
        }
        let segment = segment % self.segments.len();
        let (mm, caller) = (self.processes[who].mm, self.caller(who));
        let dead = self.segments[segment].removed && self.attaches(segment) == 0;
        match self.memory.shmat(caller, mm, self.segments[segment].id, 0, 0) {
            Ok(start) => {
                assert!(!dead, "a destroyed segment was attached");
                let (object, pages) = (self.segments[segment].object, self.segments[segment].pages);
                self.enter(who, start, pages, prot::READ | prot::WRITE, Some(object), Some(segment));
                self.processes[who].attached.push((start, segment));
            }
            Err(Error::Einval) => assert!(dead, "a segment cannot be attached"),
            Err(error) => assert_eq!(error, Error::Enomem),
        }
    }

    pub(super) fn shmdt(&mut self, who: usize, at: usize) {
        if self.processes[who].attached.is_empty() {
            return;
        }
        let at = at % self.processes[who].attached.len();
        let (start, _) = self.processes[who].attached.swap_remove(at);
        let (mm, caller) = (self.processes[who].mm, self.caller(who));
        let at_its_place = |addr: u64, page: &ModelPage| matches!(page.content, Content::Object(_, index) if page.segment.is_some() && index == (addr - start) / PAGE_SIZE);
        let mut above = self.processes[who].pages.range(start..);
        // The first page that is where the segment would have it says which segment. Rule A43.
        let found = above
            .find(|(addr, page)| at_its_place(**addr, page))
            .and_then(|(_, page)| page.segment);
        let result = self.memory.shmdt(caller, mm, start);
        let Some(found) = found else {
            assert!(result.is_err(), "nothing was attached at {start:#x}");
            return;
        };
        assert_eq!(result, Ok(()), "what was attached at {start:#x} could not be detached");
        let end = start + self.segments[found].pages * PAGE_SIZE;
        // A mapping that begins within the segment goes whole, also what `mremap` made of it beyond.
        let mut last: Option<(u64, ModelPage)> = None;
        self.processes[who].pages.retain(|&addr, page| {
            if addr < start || page.segment != Some(found) || !at_its_place(addr, page) {
                return true;
            }
            let continues = last.is_some_and(|(before, old)| {
                before + PAGE_SIZE == addr && (old.prot, old.locked) == (page.prot, page.locked)
            });
            if addr >= end && (!continues || self.memory.prot_at(mm, VirtAddr(addr)).is_some()) {
                return true;
            }
            last = Some((addr, *page));
            false
        });
    }
}
