//! One `enum Op` over the whole manager, against a map of pages.
//!
//! The model knows, for each process and page address, the rights and where the content is: in the process (private) or in an object.
//! It knows nothing of frames, page tables, copy-on-write, reclaim or swap, which is the point: with few frames and much to keep in
//! them, all of those happen all the time, and programs must not notice.

use std::collections::{BTreeMap, HashMap};
use std::vec::Vec;

use crate::Memory;
use crate::addr::PAGE_SIZE;
use crate::error::{Error, Fault};
use crate::gfp::Gfp;
use crate::huge::{AnonPolicy, ShmemPolicy};
use crate::ipc::{Caller, shm_flag};
use crate::mmap::{map_flag, prot};
use crate::shmem::SuperId;
use crate::swap::AreaConfig;
use crate::testing::{FakeMachine, area, machine};
use crate::userfaultfd::UserfaultId;
use crate::vma::MmId;

mod balance;
mod bytes;
mod files;
mod mappings;
mod mixed;
mod ops;
mod remap;
pub(crate) mod run;
mod segments;

pub use bytes::{Script, decode};
pub use mixed::Mix;
pub use ops::{FileOp, How, Op};
pub use run::{run, run_huge, run_on_bad_disk, run_with_failures};

/// Few enough that a handful of mappings does not fit, enough that page tables and records do.
pub(crate) const FRAMES: u32 = 320;
pub(crate) const SLOTS: u32 = 512;

/// Where the content of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Private(u64),
    Object(usize, u64),
    /// The object's, until it is stored to.
    Copy(usize, u64, Option<u64>),
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

#[derive(Clone)]
struct Process {
    mm: MmId,
    pid: u32,
    pages: BTreeMap<u64, ModelPage>,
    attached: Vec<(u64, usize)>,
    heap_pages: u64,
    /// What answers its faults, of what is registered.
    context: Option<UserfaultId>,
}

struct Segment {
    id: i32,
    object: usize,
    pages: u64,
    removed: bool,
}

/// The manager and the model of what it holds.
pub(crate) struct World {
    pub(crate) memory: Memory<FakeMachine>,
    processes: Vec<Process>,
    segments: Vec<Segment>,
    files: Vec<files::ModelFile>,
    tool: files::Tool,
    objects: usize,
    words: HashMap<(usize, u64), u64>,
    /// Pages of each object: beyond them, mappings have nothing to show.
    object_pages: HashMap<usize, u64>,
    next_pid: u32,
    /// Something cut mappings (`mremap`, `mlock`, `fork` of a locked one) in ways that the model does not follow: `nattch` is not known
    /// exactly any more.
    pub(crate) unmerged: bool,
    /// Reads from swap may fail: a page may be refused with SIGBUS.
    pub(crate) reads_fail: bool,
    /// Pages past the end of an object may be there, with content of nobody's concern: they are of a huge page of the object's.
    pub(crate) huge: bool,
    /// A file system with a limit, which every other file is of.
    mount: Option<SuperId>,
    /// What swap is.
    pub(crate) areas: Vec<AreaConfig<'static>>,
}

const HEAP: u64 = 0x1000_0000;
/// Where [`How::Fixed`] moves mappings to.
const TARGETS: u64 = 0x2000_0000;

impl World {
    pub(crate) fn new() -> Self {
        Self::on(machine(FRAMES, SLOTS))
    }

    /// On a machine with other areas, which the caller says in `areas`.
    pub(crate) fn on(memory: Memory<FakeMachine>) -> Self {
        let tool = files::Tool::new(&memory);
        let mm = memory.mm_alloc().expect("an address space");
        memory.set_brk_start(mm, HEAP);
        let first = Process {
            mm,
            pid: 1,
            pages: BTreeMap::new(),
            attached: Vec::new(),
            heap_pages: 0,
            context: None,
        };
        Self {
            memory,
            processes: [first].into(),
            segments: Vec::new(),
            files: Vec::new(),
            tool,
            objects: 0,
            words: HashMap::new(),
            object_pages: HashMap::new(),
            next_pid: 2,
            unmerged: false,
            reads_fail: false,
            huge: false,
            mount: None,
            areas: [area(SLOTS)].into(),
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
            Content::Copy(_, _, Some(value)) => value,
            Content::Object(object, index) | Content::Copy(object, index, None) => {
                self.words.get(&(object, index)).copied().unwrap_or(0)
            }
        }
    }

    /// The word for a new page.
    fn word_of(addr: u64, content: Content) -> u64 {
        match content {
            Content::Private(_) => (addr >> 12) % 512,
            Content::Object(_, index) | Content::Copy(_, index, _) => index * 7 % 512,
        }
    }

    fn past_the_end(&self, page: ModelPage) -> bool {
        matches!(page.content, Content::Object(object, index) | Content::Copy(object, index, _) if index >= self.object_pages[&object])
    }

    /// Whether no page may be had: the disk fails, the object ends before, or its file system has no block left.
    fn may_be_missing(&self, page: ModelPage) -> bool {
        let full = match page.content {
            Content::Object(object, _) | Content::Copy(object, _, None) => {
                self.files.iter().any(|file| file.object == object && file.limited)
            }
            _ => false,
        };
        self.reads_fail || full || self.past_the_end(page)
    }

    fn store(&mut self, who: usize, addr: u64, value: u64) {
        let page = self.processes[who].pages[&addr];
        let mm = self.processes[who].mm;
        if self.huge && self.past_the_end(page) {
            return;
        }
        let at = addr + page.word * 8;
        match self.answering(who, at, self.expected(page), || self.memory.store(mm, at, value)) {
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
                    Content::Copy(object, index, _) => {
                        let content = Content::Copy(object, index, Some(value));
                        self.processes[who].pages.insert(addr, ModelPage { content, ..page });
                    }
                    Content::Object(object, index) => {
                        self.words.insert((object, index), value);
                    }
                }
            }
            Err(Fault::SegvAccerr) => assert_eq!(page.prot & prot::WRITE, 0, "a store was refused"),
            Err(Fault::BusAdrerr) => assert!(self.may_be_missing(page), "a store found no page"),
            Err(Fault::Oom | Fault::Retry) => {}
            Err(other) => panic!("store: {other:?}"),
        }
    }

    fn load(&mut self, who: usize, addr: u64) {
        let page = self.processes[who].pages[&addr];
        let mm = self.processes[who].mm;
        if self.huge && self.past_the_end(page) {
            return;
        }
        let at = addr + page.word * 8;
        match self.answering(who, at, self.expected(page), || self.memory.load(mm, at)) {
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
            Err(Fault::BusAdrerr) => assert!(self.may_be_missing(page), "a load found no page"),
            Err(Fault::Oom | Fault::Retry) => {}
            Err(other) => panic!("load: {other:?}"),
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
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
                match self.memory.do_mmap(mm, 0, pages * PAGE_SIZE, prot, flags, None, 0) {
                    Ok(start) => {
                        let object = shared.then_some(self.objects);
                        if shared {
                            self.object_pages.insert(self.objects, pages);
                            self.objects += 1;
                        }
                        self.enter(who, start, pages, prot, object, None);
                        self.check_joined(who, start);
                        self.check_joined(who, start + pages * PAGE_SIZE);
                    }
                    Err(error) => assert_eq!(error, Error::Enomem),
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
                    if let Some(context) = gone.context {
                        self.memory.userfaultfd_release(context, |_| {});
                    }
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
            Op::File { file, ref op } => self.file_op(file, op),
            Op::Swapoff { area } => self.swapoff(area),
            Op::Kswapd => self.memory.kswapd(),
            Op::Block { order, movable } => {
                let gfp = if movable { Gfp::HIGHUSER_MOVABLE } else { Gfp::KERNEL };
                if let Some(pfn) = self.memory.alloc_pages(gfp.with(Gfp::RETRY_MAYFAIL), order) {
                    self.memory.free_pages(pfn, order);
                }
            }
            Op::Mix(mix) => self.mix(mix),
            Op::Grow { who, pages } => self.grow(who % count, pages),
        }
    }

    /// [`World::apply`]; where a number is given, the attempts to allocate from that one on fail, forty in a row.
    fn applying(&mut self, op: &Op, failure: Option<u64>) {
        let now = self.memory.platform.failing.attempts();
        let failing = failure.map_or(0..0, |from| now + from..now + from + 40);
        self.memory.platform.failing.set(failing);
        self.apply(op);
        self.memory.platform.failing.set(0..0);
    }

    /// Off and on again, as far as memory allows.
    fn swapoff(&mut self, area: usize) {
        let area = area % self.areas.len();
        match self.memory.swapoff(area) {
            Ok(()) => assert_eq!(self.memory.swap_area(area), None),
            Err(error) => assert!(matches!(error, Error::Enomem | Error::Einval), "{error:?}"),
        }
        let on = self.memory.swapon(area, self.areas[area]);
        assert!(matches!(on, Ok(()) | Err(Error::Ebusy | Error::Enomem)), "{on:?}");
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
                context: None,
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
}
