//! One `enum Op` over the whole manager, against a map of pages.
//!
//! The model knows, for each process and page address, the rights and where the content is: in the process (private) or in an object.
//! It knows nothing of frames, page tables, copy-on-write, reclaim or swap, which is the point: with few frames and much to keep in
//! them, all of those happen all the time, and programs must not notice.

use std::collections::{BTreeMap, HashMap};
use std::vec::Vec;

use proptest::prelude::*;

use crate::Memory;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::{Error, Fault};
use crate::ipc::{Caller, shm_flag};
use crate::mmap::{map_flag, prot};
use crate::testing::{FakeMachine, machine};
use crate::vma::MmId;

mod remap;

/// Few enough that a handful of mappings does not fit, enough that page tables and records do.
const FRAMES: u32 = 320;
const SLOTS: u32 = 512;

#[derive(Clone, Debug)]
enum Op {
    Mmap {
        who: usize,
        pages: u64,
        shared: bool,
        prot: u64,
    },
    Munmap {
        who: usize,
        at: usize,
        pages: u64,
    },
    Mprotect {
        who: usize,
        at: usize,
        pages: u64,
        prot: u64,
    },
    Store {
        who: usize,
        at: usize,
        value: u64,
    },
    StoreAll {
        who: usize,
        value: u64,
    },
    Load {
        who: usize,
        at: usize,
    },
    Pageout {
        who: usize,
        at: usize,
        pages: u64,
    },
    Dontneed {
        who: usize,
        at: usize,
        pages: u64,
    },
    Mremap {
        who: usize,
        at: usize,
        pages: u64,
        new_pages: u64,
        how: How,
    },
    Mlock {
        who: usize,
        at: usize,
        pages: u64,
        lock: bool,
    },
    Fork {
        who: usize,
    },
    Exit {
        who: usize,
    },
    Shmget {
        pages: u64,
    },
    Shmat {
        who: usize,
        segment: usize,
    },
    Shmdt {
        who: usize,
        at: usize,
    },
    Rmid {
        segment: usize,
    },
    Kswapd,
    Grow {
        who: usize,
        pages: u64,
    },
}

/// Ways to call `mremap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    InPlace,
    MayMove,
    /// To a page of a small range, where earlier ones may be.
    Fixed(u64),
    /// Old size 0.
    Duplicate,
    DontUnmap,
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0..4usize;
    let at = 0..1000usize;
    let prot = prop_oneof![4 => Just(prot::READ | prot::WRITE), 1 => Just(prot::READ), 1 => Just(0)];
    prop_oneof![
        3 => (who.clone(), 1..48u64, any::<bool>(), prot.clone())
            .prop_map(|(who, pages, shared, prot)| Op::Mmap { who, pages, shared, prot }),
        2 => (who.clone(), at.clone(), 1..16u64).prop_map(|(who, at, pages)| Op::Munmap { who, at, pages }),
        2 => (who.clone(), at.clone(), 1..16u64, prot)
            .prop_map(|(who, at, pages, prot)| Op::Mprotect { who, at, pages, prot }),
        8 => (who.clone(), at.clone(), 1..u64::MAX).prop_map(|(who, at, value)| Op::Store { who, at, value }),
        4 => (who.clone(), 1..u64::MAX).prop_map(|(who, value)| Op::StoreAll { who, value }),
        8 => (who.clone(), at.clone()).prop_map(|(who, at)| Op::Load { who, at }),
        3 => (who.clone(), at.clone(), 1..16u64).prop_map(|(who, at, pages)| Op::Pageout { who, at, pages }),
        1 => (who.clone(), at.clone(), 1..16u64).prop_map(|(who, at, pages)| Op::Dontneed { who, at, pages }),
        4 => (who.clone(), at.clone(), 1..12u64, 1..24u64, how())
            .prop_map(|(who, at, pages, new_pages, how)| Op::Mremap { who, at, pages, new_pages, how }),
        2 => (who.clone(), at.clone(), 1..8u64, any::<bool>())
            .prop_map(|(who, at, pages, lock)| Op::Mlock { who, at, pages, lock }),
        1 => who.clone().prop_map(|who| Op::Fork { who }),
        1 => who.clone().prop_map(|who| Op::Exit { who }),
        1 => (1..48u64).prop_map(|pages| Op::Shmget { pages }),
        2 => (who.clone(), 0..4usize).prop_map(|(who, segment)| Op::Shmat { who, segment }),
        1 => (who.clone(), at).prop_map(|(who, at)| Op::Shmdt { who, at }),
        1 => (0..4usize).prop_map(|segment| Op::Rmid { segment }),
        1 => Just(Op::Kswapd),
        1 => (who, 0..32u64).prop_map(|(who, pages)| Op::Grow { who, pages }),
    ]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        2 => Just(How::InPlace),
        2 => Just(How::MayMove),
        2 => (0..48u64).prop_map(How::Fixed),
        1 => Just(How::Duplicate),
        1 => Just(How::DontUnmap),
    ]
}

/// Where the content of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Private(u64),
    Object(usize, u64),
}

#[derive(Clone, Copy, Debug)]
struct ModelPage {
    prot: u64,
    content: Content,
    segment: Option<usize>,
    /// `mprotect` cut a segment's mapping here: it stays cut, whatever rights the sides get. Rule A38.
    cut: bool,
    locked: bool,
    /// The word of the page that stores go to; all others stay 0.
    word: u64,
}

/// Whether two pages of one process, at ascending addresses, belong to one mapping.
fn continues((low, before): (u64, ModelPage), (high, page): (u64, ModelPage)) -> bool {
    let index = |page: ModelPage| match page.content {
        Content::Object(object, index) => (object, index),
        Content::Private(_) => (usize::MAX, 0),
    };
    low + PAGE_SIZE == high
        && before.segment == page.segment
        && !page.cut
        && index(before) == (index(page).0, index(page).1.wrapping_sub(1))
}

#[derive(Clone)]
struct Process {
    mm: MmId,
    pid: u32,
    pages: BTreeMap<u64, ModelPage>,
    attached: Vec<(u64, usize)>,
    heap_pages: u64,
}

struct Segment {
    id: i32,
    object: usize,
    pages: u64,
    removed: bool,
}

struct World {
    memory: Memory<FakeMachine>,
    processes: Vec<Process>,
    segments: Vec<Segment>,
    objects: usize,
    words: HashMap<(usize, u64), u64>,
    /// Pages of each object: beyond them, mappings have nothing to show.
    object_pages: HashMap<usize, u64>,
    next_pid: u32,
    /// Something cut mappings (`mremap`, `mlock`, `fork` of a locked one) in ways that the model does not follow: `nattch` is not known
    /// exactly any more.
    unmerged: bool,
}

const HEAP: u64 = 0x1000_0000;
/// Where [`How::Fixed`] moves mappings to.
const TARGETS: u64 = 0x2000_0000;

impl World {
    fn new() -> Self {
        let memory = machine(FRAMES, SLOTS);
        let mm = memory.mm_alloc().expect("an address space");
        memory.set_brk_start(mm, HEAP);
        let first = Process {
            mm,
            pid: 1,
            pages: BTreeMap::new(),
            attached: Vec::new(),
            heap_pages: 0,
        };
        Self {
            memory,
            processes: [first].into(),
            segments: Vec::new(),
            objects: 0,
            words: HashMap::new(),
            object_pages: HashMap::new(),
            next_pid: 2,
            unmerged: false,
        }
    }

    fn caller(&self, who: usize) -> Caller {
        Caller {
            pid: self.processes[who].pid,
            euid: 0,
            egid: 0,
        }
    }

    fn page_at(&self, who: usize, at: usize) -> Option<u64> {
        let pages = &self.processes[who].pages;
        if pages.is_empty() {
            None
        } else {
            pages.keys().nth(at % pages.len()).copied()
        }
    }

    fn enter(&mut self, who: usize, start: u64, pages: u64, prot: u64, object: Option<usize>, segment: Option<usize>) {
        for i in 0..pages {
            let addr = start + i * PAGE_SIZE;
            let content = object.map_or(Content::Private(0), |object| Content::Object(object, i));
            let page = ModelPage {
                prot,
                content,
                segment,
                cut: false,
                locked: false,
                word: Self::word_of(addr, content),
            };
            let old = self.processes[who].pages.insert(addr, page);
            assert!(old.is_none(), "a mapping was placed over another");
        }
    }

    fn expected(&self, page: ModelPage) -> u64 {
        match page.content {
            Content::Private(value) => value,
            Content::Object(object, index) => self.words.get(&(object, index)).copied().unwrap_or(0),
        }
    }

    /// The word for a new page.
    fn word_of(addr: u64, content: Content) -> u64 {
        match content {
            Content::Private(_) => (addr >> 12) % 512,
            Content::Object(_, index) => index * 7 % 512,
        }
    }

    fn past_the_end(&self, page: ModelPage) -> bool {
        matches!(page.content, Content::Object(object, index) if index >= self.object_pages[&object])
    }

    fn store(&mut self, who: usize, addr: u64, value: u64) {
        let page = self.processes[who].pages[&addr];
        let mm = self.processes[who].mm;
        match self.memory.store(mm, addr + page.word * 8, value) {
            Ok(()) => {
                assert_ne!(page.prot & prot::WRITE, 0, "a store went through that is not allowed");
                match page.content {
                    Content::Private(_) => {
                        self.processes[who].pages.insert(
                            addr,
                            ModelPage {
                                content: Content::Private(value),
                                ..page
                            },
                        );
                    }
                    Content::Object(object, index) => {
                        self.words.insert((object, index), value);
                    }
                }
            }
            Err(Fault::SegvAccerr) => assert_eq!(page.prot & prot::WRITE, 0, "a store was refused"),
            Err(Fault::BusAdrerr) => assert!(self.past_the_end(page), "a store found no page"),
            Err(Fault::Oom) => {}
            Err(other) => panic!("store: {other:?}"),
        }
    }

    fn load(&mut self, who: usize, addr: u64) {
        let page = self.processes[who].pages[&addr];
        let mm = self.processes[who].mm;
        match self.memory.load(mm, addr + page.word * 8) {
            Ok(value) => {
                assert_ne!(page.prot, 0, "a load went through that is not allowed");
                assert_eq!(value, self.expected(page), "content of {addr:#x}");
                let other = addr + (page.word + 1) % 512 * 8;
                assert_eq!(
                    self.memory.load(mm, other).unwrap_or(0),
                    0,
                    "content beside what was stored"
                );
            }
            Err(Fault::SegvAccerr) => assert_eq!(page.prot, 0, "a load was refused"),
            Err(Fault::BusAdrerr) => assert!(self.past_the_end(page), "a load found no page"),
            Err(Fault::Oom) => {}
            Err(other) => panic!("load: {other:?}"),
        }
    }

    fn apply(&mut self, op: &Op) {
        let count = self.processes.len();
        match *op {
            Op::Mmap {
                who,
                pages,
                shared,
                prot,
            } => {
                let who = who % count;
                let flags = map_flag::ANONYMOUS | if shared { map_flag::SHARED } else { map_flag::PRIVATE };
                let mm = self.processes[who].mm;
                if let Ok(start) = self.memory.do_mmap(mm, 0, pages * PAGE_SIZE, prot, flags, None, 0) {
                    let object = shared.then_some(self.objects);
                    if shared {
                        self.object_pages.insert(self.objects, pages);
                        self.objects += 1;
                    }
                    self.enter(who, start, pages, prot, object, None);
                }
            }
            Op::Munmap { who, at, pages } => self.munmap(who % count, at, pages),
            Op::Mprotect { who, at, pages, prot } => self.mprotect(who % count, at, pages, prot),
            Op::Store { who, at, value } => {
                if let Some(addr) = self.page_at(who % count, at) {
                    self.store(who % count, addr, value);
                }
            }
            Op::StoreAll { who, value } => {
                let all: Vec<u64> = self.processes[who % count].pages.keys().copied().collect();
                for addr in all {
                    self.store(who % count, addr, value ^ addr | 1);
                }
            }
            Op::Load { who, at } => {
                if let Some(addr) = self.page_at(who % count, at) {
                    self.load(who % count, addr);
                }
            }
            Op::Pageout { who, at, pages } => {
                if let Some(addr) = self.page_at(who % count, at) {
                    let mm = self.processes[who % count].mm;
                    let result = self.memory.do_madvise(mm, addr, pages * PAGE_SIZE, 21);
                    assert!(
                        matches!(result, Ok(()) | Err(Error::Enomem | Error::Einval)),
                        "{result:?}"
                    );
                }
            }
            Op::Mremap {
                who,
                at,
                pages,
                new_pages,
                how,
            } => {
                self.unmerged = true;
                self.mremap(who % count, at, pages, new_pages, how);
            }
            Op::Mlock { who, at, pages, lock } => {
                self.unmerged = true;
                self.mlock(who % count, at, pages, lock);
            }
            Op::Dontneed { who, at, pages } => self.dontneed(who % count, at, pages),
            Op::Fork { who } => self.fork(who % count),
            Op::Exit { who } => {
                if count > 1 {
                    let gone = self.processes.remove(who % count);
                    self.memory.mmput(gone.mm, gone.pid);
                }
            }
            Op::Shmget { pages } => {
                let caller = self.caller(0);
                if self.segments.len() < 4
                    && let Ok(id) = self
                        .memory
                        .shmget(caller, 0, pages * PAGE_SIZE - 5, shm_flag::IPC_CREAT | 0o600)
                {
                    self.object_pages.insert(self.objects, pages);
                    self.segments.push(Segment {
                        id,
                        object: self.objects,
                        pages,
                        removed: false,
                    });
                    self.objects += 1;
                }
            }
            Op::Shmat { who, segment } => self.shmat(who % count, segment),
            Op::Shmdt { who, at } => self.shmdt(who % count, at),
            Op::Rmid { segment } => {
                if !self.segments.is_empty() {
                    let segment = segment % self.segments.len();
                    let result = self.memory.shm_rmid(self.caller(0), self.segments[segment].id);
                    let gone = self.segments[segment].removed && self.attaches(segment) == 0;
                    assert_eq!(result.is_err(), gone, "{result:?}");
                    self.segments[segment].removed = true;
                }
            }
            Op::Kswapd => self.memory.kswapd(),
            Op::Grow { who, pages } => self.grow(who % count, pages),
        }
    }

    /// Mappings of a segment, as [`crate::ipc`] counts them: runs of pages with consecutive indices that nothing cut.
    fn attaches(&self, segment: usize) -> u64 {
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

    fn munmap(&mut self, who: usize, at: usize, pages: u64) {
        let Some(addr) = self.page_at(who, at) else { return };
        let mm = self.processes[who].mm;
        if self.memory.do_munmap(mm, addr, pages * PAGE_SIZE).is_ok() {
            self.forget(who, addr, pages);
        }
    }

    fn forget(&mut self, who: usize, addr: u64, pages: u64) {
        self.processes[who]
            .pages
            .retain(|&page, _| page < addr || page >= addr + pages * PAGE_SIZE);
    }

    fn mprotect(&mut self, who: usize, at: usize, pages: u64, prot: u64) {
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
        let result = self.memory.do_mprotect(mm, addr, pages * PAGE_SIZE, prot);
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

    /// The run of a mapping's pages that has the page at `addr`.
    fn part(&self, who: usize, addr: u64) -> core::ops::Range<u64> {
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
    fn cut_for(&mut self, who: usize, start: u64, end: u64, prot: u64) {
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

    fn dontneed(&mut self, who: usize, at: usize, pages: u64) {
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
            if let Content::Private(value) = &mut page.content {
                *value = 0;
            }
        }
        assert!(matches!(result, Ok(()) | Err(Error::Enomem)), "{result:?}");
    }

    fn fork(&mut self, who: usize) {
        if self.processes.len() == 4 {
            return;
        }
        let (mm, parent) = (self.processes[who].mm, self.processes[who].pid);
        if let Ok(child) = self.memory.dup_mmap(mm, parent) {
            self.unmerged |= self.processes[who].pages.values().any(|page| page.locked);
            self.processes.push(Process {
                mm: child,
                pid: self.next_pid,
                ..self.processes[who].clone()
            });
            // Locks are not inherited.
            for page in self
                .processes
                .iter_mut()
                .next_back()
                .into_iter()
                .flat_map(|child| child.pages.values_mut())
            {
                page.locked = false;
            }
            self.next_pid += 1;
        }
    }

    fn shmat(&mut self, who: usize, segment: usize) {
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

    fn shmdt(&mut self, who: usize, at: usize) {
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

    fn grow(&mut self, who: usize, pages: u64) {
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

    fn check(&mut self, deep: bool) {
        self.memory.check_invariants();
        for (segment, known) in self.segments.iter().enumerate() {
            let attached = self.attaches(segment);
            match self.memory.shm_stat(self.caller(0), known.id) {
                Ok(stat) if self.unmerged => {
                    assert_eq!(stat.nattch != 0, attached != 0, "nattch of segment {segment}");
                }
                Ok(stat) => assert_eq!(stat.nattch, attached, "nattch of segment {segment}"),
                Err(_) => assert!(known.removed && attached == 0),
            }
        }
        for process in &self.processes {
            self.memory.check_mm(process.mm);
            assert_eq!(
                self.memory.mm_size(process.mm).1,
                process.pages.len() as u64,
                "total_vm"
            );
        }
        if deep {
            for who in 0..self.processes.len() {
                for addr in self.processes[who].pages.keys().copied().collect::<Vec<_>>() {
                    self.load(who, addr);
                }
            }
        }
    }

    /// Ends everything; nothing may be left.
    fn end(mut self, free_at_start: u64) {
        for process in self.processes.drain(..) {
            self.memory.mmput(process.mm, process.pid);
        }
        let caller = Caller {
            pid: 1,
            euid: 0,
            egid: 0,
        };
        for segment in &self.segments {
            let _ = self.memory.shm_rmid(caller, segment.id);
        }
        self.memory.check_invariants();
        assert_eq!(self.memory.swap_inuse_pages(), 0, "slots are left in use");
        assert_eq!(self.memory.committed_as(), 0, "charges are left");
        assert_eq!(self.memory.shm_tot(), 0, "pages of segments are left");
        for (name, objects) in self.memory.live_records() {
            assert_eq!(objects, 0, "{name} left");
        }
        let slab_spares = self.memory.platform.counter(crate::platform::Vmstat::NrSlab);
        assert_eq!(
            self.memory.nr_free_pages() + slab_spares,
            free_at_start,
            "frames are lost"
        );
    }
}

fn run(ops: &[Op]) {
    let free_at_start = machine(FRAMES, SLOTS).nr_free_pages();
    let mut world = World::new();
    for (i, op) in ops.iter().enumerate() {
        world.apply(op);
        world.check(i % 16 == 15);
    }
    world.check(true);
    world.end(free_at_start);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    /// Without what cuts mappings in ways that the model does not follow, `nattch` is known exactly. Rule A38.
    #[test]
    fn attachments_are_counted(mut ops in prop::collection::vec(op(), 1..120)) {
        ops.retain(|op| !matches!(op, Op::Mremap { .. } | Op::Mlock { .. }));
        run(&ops);
    }

    #[test]
    fn programs_see_what_they_stored(ops in prop::collection::vec(op(), 1..120)) {
        run(&ops);
    }
}
