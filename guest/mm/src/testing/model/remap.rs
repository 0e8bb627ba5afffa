//! `mremap`, `mlock` and `brk`, as the model sees them.

use std::vec::Vec;

use super::{Content, HEAP, How, ModelPage, TARGETS, World};
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::Error;
use crate::mmap::prot;
use crate::mmap::remap_flag::{DONTUNMAP, FIXED, MAYMOVE};

impl World {
    pub(super) fn mlock(&mut self, who: usize, at: usize, pages: u64, lock: bool) {
        let Some(addr) = self.page_at(who, at) else { return };
        // Locking copies the pages of private mappings at once, as far as memory goes: what others write then, the model cannot know.
        let copies = self.processes[who].pages.range(addr..addr + pages * PAGE_SIZE);
        if copies
            .into_iter()
            .any(|(_, page)| matches!(page.content, Content::Copy(..)))
        {
            return;
        }
        let mm = self.processes[who].mm;
        let result = if lock {
            self.memory.do_mlock(mm, addr, pages * PAGE_SIZE, 0)
        } else {
            self.memory.do_munlock(mm, addr, pages * PAGE_SIZE)
        };
        assert!(
            matches!(result, Ok(()) | Err(Error::Enomem | Error::Eagain)),
            "{result:?}"
        );
        let range = addr..addr + pages * PAGE_SIZE;
        let whole = self.processes[who].pages.range(range.clone()).count() as u64 == pages;
        assert!(whole || result.is_err(), "a gap was not noticed");
        for (&addr, page) in self.processes[who].pages.range_mut(range) {
            page.locked = self.memory.locked_at(mm, VirtAddr(addr));
            assert!(result.is_err() || page.locked == lock, "the lock of {addr:#x}");
        }
    }

    /// Rules B27, B28. Where the model cannot know whether it must work, it need not; but then nothing may have changed.
    pub(super) fn mremap(&mut self, who: usize, at: usize, pages: u64, new_pages: u64, how: How) {
        let Some(addr) = self.page_at(who, at) else { return };
        let mm = self.processes[who].mm;
        let (old_pages, new_pages, flags, target) = match how {
            How::InPlace => (pages, new_pages, 0, 0),
            How::MayMove => (pages, new_pages, MAYMOVE, 0),
            How::Fixed(page) => (pages, new_pages, MAYMOVE | FIXED, TARGETS + page * PAGE_SIZE),
            How::Duplicate => (0, new_pages, MAYMOVE, 0),
            How::DontUnmap => (pages, pages, MAYMOVE | DONTUNMAP, 0),
        };
        let (old_len, new_len) = (old_pages * PAGE_SIZE, new_pages * PAGE_SIZE);
        let result = self.memory.do_mremap(mm, addr, old_len, new_len, flags, target);
        let only_moves = flags & FIXED != 0 && old_pages == new_pages;
        if only_moves {
            self.enter_moved(who, addr, target, old_pages);
        }
        let to = match result {
            Ok(_) if only_moves => return,
            Ok(to) => to,
            Err(error) => {
                assert!(
                    matches!(error, Error::Einval | Error::Efault | Error::Enomem),
                    "{error:?}"
                );
                // What a fixed target held, or the tail that was to go, may be gone.
                let memory = &self.memory;
                self.processes[who]
                    .pages
                    .retain(|&page, _| memory.prot_at(mm, VirtAddr(page)).is_some());
                return;
            }
        };
        let first = self.processes[who].pages[&addr];
        let old: Vec<ModelPage> = (0..old_pages.min(new_pages))
            .filter_map(|i| self.processes[who].pages.get(&(addr + i * PAGE_SIZE)).copied())
            .collect();
        self.forget(who, addr, old_pages);
        if how == How::Duplicate {
            self.processes[who].pages.insert(addr, first);
        }
        if flags & FIXED != 0 {
            self.forget(who, to, new_pages);
        }
        if how == How::DontUnmap {
            self.leave_empty(who, addr, &old);
        }
        self.enter_remapped(who, to, new_pages, first, &old);
    }

    /// Of several mappings, each moves as it is, and the gaps between them with what is in their way stay. The first may have moved before
    /// another could not.
    fn enter_moved(&mut self, who: usize, from: u64, to: u64, pages: u64) {
        let mm = self.processes[who].mm;
        for offset in (0..pages).map(|page| page * PAGE_SIZE) {
            let gone = self.memory.prot_at(mm, VirtAddr(from + offset)).is_none();
            if gone && let Some(page) = self.processes[who].pages.remove(&(from + offset)) {
                self.processes[who].pages.insert(to + offset, page);
            }
        }
    }

    /// `DONTUNMAP`: the old pages, private ones without their content, none of them locked.
    fn leave_empty(&mut self, who: usize, addr: u64, old: &[ModelPage]) {
        for (i, &page) in old.iter().enumerate() {
            let content = match page.content {
                Content::Private(_) => Content::Private(0),
                Content::Copy(object, index, _) => Content::Copy(object, index, None),
                object @ Content::Object(..) => object,
            };
            let left = ModelPage {
                content,
                locked: false,
                ..page
            };
            self.processes[who].pages.insert(addr + i as u64 * PAGE_SIZE, left);
        }
    }

    /// The pages at their new place, and new ones behind them. (A shrunk range may have been of several mappings, with gaps: those
    /// are entered where they were.)
    fn enter_remapped(&mut self, who: usize, to: u64, new_pages: u64, first: ModelPage, old: &[ModelPage]) {
        let mm = self.processes[who].mm;
        let mut kept = old.iter();
        for i in 0..new_pages {
            let addr = to + i * PAGE_SIZE;
            if self.memory.prot_at(mm, VirtAddr(addr)).is_none() {
                continue;
            }
            let page = kept.next().copied().unwrap_or_else(|| {
                let content = match first.content {
                    Content::Private(_) => Content::Private(0),
                    Content::Object(object, index) => Content::Object(object, index + i),
                    Content::Copy(object, index, _) => Content::Copy(object, index + i, None),
                };
                ModelPage {
                    content,
                    word: Self::word_of(addr, content),
                    ..first
                }
            });
            let before = self.processes[who].pages.insert(addr, page);
            assert!(before.is_none(), "a mapping was moved over another");
        }
    }

    /// `brk`.
    pub(super) fn grow(&mut self, who: usize, pages: u64) {
        let (mm, old) = (self.processes[who].mm, self.processes[who].heap_pages);
        if self.memory.do_brk(mm, HEAP + pages * PAGE_SIZE) != HEAP + pages * PAGE_SIZE {
            return;
        }
        self.processes[who].heap_pages = pages;
        for i in old..pages {
            let page = ModelPage {
                prot: prot::READ | prot::WRITE,
                content: Content::Private(0),
                segment: None,
                cut: false,
                locked: false,
                word: Self::word_of(HEAP + i * PAGE_SIZE, Content::Private(0)),
            };
            self.processes[who].pages.entry(HEAP + i * PAGE_SIZE).or_insert(page);
        }
        self.forget(who, HEAP + pages * PAGE_SIZE, old.saturating_sub(pages));
    }
}
