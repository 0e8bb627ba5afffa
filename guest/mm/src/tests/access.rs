//! Every right of a mapping, every state of a page, every access: what becomes of it.
//!
//! The states are made by what programs do; then the mapping gets the rights, and one access is made. The expectation is [`oracle`]'s,
//! which knows the rules and nothing of how the manager follows them.

use std::vec::Vec;

use crate::Memory;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::error::{Error, Fault};
use crate::fault::Access;
use crate::mmap::{map_flag, prot};
use crate::platform::PteFormat;
use crate::shmem::InodeId;
use crate::testing::{FakeMachine, FakePte, machine};
use crate::vma::MmId;

mod oracle;

use oracle::{Expected, Stores, expected};

const RW: u64 = prot::READ | prot::WRITE;
const AT: u64 = 0x4000_0000;
const PAGEOUT: i32 = 21;
/// What the object holds before anybody stores; a hole holds 0.
const IN_OBJECT: u64 = 0x0b;
/// What the program stored before the access.
const STORED: u64 = 0x57;
/// What the access stores.
const ACCESS: u64 = 0xacce;

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backing {
    Anonymous,
    /// A file, mapped private.
    Private,
    /// A file, mapped shared.
    Shared,
}

/// What there is at the page before the access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No mapping.
    Unmapped,
    /// The object has no such page any more.
    PastTheEnd,
    /// Nothing was ever there.
    Hole,
    /// The object has a page, which this program did not touch.
    Cached,
    /// As before, but the object's page is in swap.
    CachedSwapped,
    /// A load mapped the page of zeroes, or the object's.
    Loaded,
    /// A store made the page the program's own, or the object's, and mapped it.
    Stored,
    /// As before; then a child was made that lives.
    Forked,
    /// As before, and the child does the access.
    InChild,
    /// As `Forked`, but the child is gone.
    ForkedAlone,
    /// Stored, then swapped out.
    Swapped,
    /// Stored, swapped out, and read back by a load: clean, with its slot still good.
    SwappedIn,
    /// Stored and swapped out; then a child was made that lives.
    SwappedForked,
}

const BACKINGS: [Backing; 3] = [Backing::Anonymous, Backing::Private, Backing::Shared];
const STATES: [State; 13] = [
    State::Unmapped,
    State::PastTheEnd,
    State::Hole,
    State::Cached,
    State::CachedSwapped,
    State::Loaded,
    State::Stored,
    State::Forked,
    State::InChild,
    State::ForkedAlone,
    State::Swapped,
    State::SwappedIn,
    State::SwappedForked,
];

/// Who accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Program(Access),
    /// The kernel, to copy from or (`true`) to the program.
    Kernel(bool),
}

const BYS: [By; 5] = [
    By::Program(Access::Read),
    By::Program(Access::Write),
    By::Program(Access::Exec),
    By::Kernel(false),
    By::Kernel(true),
];

/// How the mapping comes by its rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From read and write, directly.
    Direct,
    /// By way of no rights at all.
    ThroughNone,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    backing: Backing,
    state: State,
    rights: u64,
    by: By,
    way: Way,
}

/// Whether there is such a case.
fn exists(backing: Backing, state: State) -> bool {
    let object_only = matches!(state, State::PastTheEnd | State::Cached | State::CachedSwapped);
    !(object_only && backing == Backing::Anonymous)
}

struct Scene {
    memory: Memory<FakeMachine>,
    object: Option<InodeId>,
    /// Who accesses.
    mm: MmId,
    /// Parent or child of who accesses.
    relative: Option<MmId>,
    /// Sees the object through a mapping of its own.
    witness: MmId,
}

impl Scene {
    fn new(case: Case) -> Self {
        let memory = machine(96, 64);
        let (mm, witness) = (memory.mm_alloc().unwrap(), memory.mm_alloc().unwrap());
        let object = (case.backing != Backing::Anonymous).then(|| memory.shmem_file_setup(PAGE_SIZE, false).unwrap());
        if let Some(object) = object {
            let flags = map_flag::SHARED | map_flag::FIXED;
            memory
                .do_mmap(witness, AT, PAGE_SIZE, RW, flags, Some(object.into()), 0)
                .unwrap();
            if !matches!(case.state, State::Hole | State::Unmapped) {
                memory.store(witness, AT, IN_OBJECT).unwrap();
            }
        }
        let mut scene = Self {
            memory,
            object,
            mm,
            relative: None,
            witness,
        };
        if case.state != State::Unmapped {
            scene.map(case.backing);
            scene.prepare(case.state);
            scene.give_rights(case);
        }
        scene
    }

    fn map(&self, backing: Backing) {
        let flags = match backing {
            Backing::Anonymous => map_flag::PRIVATE | map_flag::ANONYMOUS,
            Backing::Private => map_flag::PRIVATE,
            Backing::Shared => map_flag::SHARED,
        };
        let file = self.object.map(Into::into);
        self.memory
            .do_mmap(self.mm, AT, PAGE_SIZE, RW, flags | map_flag::FIXED, file, 0)
            .unwrap();
    }

    fn pageout(&self, mm: MmId) {
        self.memory.do_madvise(mm, AT, PAGE_SIZE, PAGEOUT).unwrap();
    }

    fn fork(&mut self) {
        self.relative = Some(self.memory.dup_mmap(self.mm, 1).unwrap());
    }

    fn prepare(&mut self, state: State) {
        match state {
            State::Unmapped | State::Hole | State::Cached => return,
            State::CachedSwapped => return self.pageout(self.witness),
            State::PastTheEnd => {
                self.memory.store(self.mm, AT, STORED).unwrap();
                let object = self.object.unwrap();
                return self.memory.shmem_truncate(object, 0).unwrap();
            }
            State::Loaded => {
                self.memory.load(self.mm, AT).unwrap();
                return;
            }
            _ => self.memory.store(self.mm, AT, STORED).unwrap(),
        }
        if matches!(state, State::Swapped | State::SwappedIn | State::SwappedForked) {
            // The witness's entry would keep an object's page in memory.
            if self.object.is_some() {
                self.memory.do_munmap(self.witness, AT, PAGE_SIZE).unwrap();
            }
            self.pageout(self.mm);
            assert_eq!(self.resident(), 0, "the page stayed in memory");
            if let Some(object) = self.object {
                let flags = map_flag::SHARED | map_flag::FIXED;
                let again = self
                    .memory
                    .do_mmap(self.witness, AT, PAGE_SIZE, RW, flags, Some(object.into()), 0);
                assert_eq!(again, Ok(AT));
            }
        }
        match state {
            State::Forked | State::SwappedForked => self.fork(),
            State::InChild => {
                self.fork();
                let parent = core::mem::replace(&mut self.mm, self.relative.unwrap());
                self.relative = Some(parent);
            }
            State::ForkedAlone => {
                let child = self.memory.dup_mmap(self.mm, 1).unwrap();
                self.memory.mmput(child, 2);
            }
            State::SwappedIn => {
                self.memory.load(self.mm, AT).unwrap();
            }
            _ => {}
        }
    }

    fn resident(&self) -> u8 {
        let mut resident = [9];
        self.memory.do_mincore(self.mm, AT, &mut resident).unwrap();
        resident[0]
    }

    fn give_rights(&self, case: Case) {
        if case.way == Way::ThroughNone {
            self.memory.do_mprotect(self.mm, AT, PAGE_SIZE, 0).unwrap();
        }
        self.memory.do_mprotect(self.mm, AT, PAGE_SIZE, case.rights).unwrap();
    }

    fn entry(&self, mm: MmId) -> u64 {
        self.memory
            .pte(self.memory.pgd(mm), VirtAddr(AT))
            .map_or(0, crate::sync::Word::get)
    }

    /// The access, the word it found, and the frame.
    fn access(&self, by: By) -> Result<(Pfn, u64), Fault> {
        let pfn = match by {
            By::Program(access) => self.memory.touch(self.mm, AT, access)?,
            By::Kernel(write) => match self.memory.get_user_page(self.mm, VirtAddr(AT), write) {
                Ok(pfn) => pfn,
                Err(error) => {
                    // The kernel learns no more than this. Rule B46.
                    assert_eq!(error, Error::Efault);
                    let access = if write { Access::Write } else { Access::Read };
                    return Err(self
                        .memory
                        .touch(self.mm, AT, access)
                        .expect_err("only the kernel failed"));
                }
            },
        };
        let word = &crate::platform::Platform::frame(&self.memory.platform, pfn)[0];
        let found = word.get();
        if by.writes() {
            word.set(ACCESS);
        }
        Ok((pfn, found))
    }

    fn check(&self, case: Case, expected: Expected) {
        let before = self.entry(self.mm);
        let result = self.access(case.by);
        match expected {
            Err(fault) => {
                assert_eq!(result.map(|(pfn, _)| pfn), Err(fault), "{case:?}");
                assert_eq!(
                    self.entry(self.mm),
                    before,
                    "a refused access changed the entry: {case:?}"
                );
            }
            Ok(outcome) => {
                let (pfn, found) = result.unwrap_or_else(|fault| panic!("{fault:?}: {case:?}"));
                assert_eq!(found, outcome.found, "what was found: {case:?}");
                self.check_entry(case, pfn, outcome.stores);
                assert_eq!(
                    pfn.0 == self.memory.zero_pfn.get(),
                    outcome.zero_page,
                    "the page of zeroes: {case:?}"
                );
                if let Some(seen) = outcome.relative {
                    let relative = self.relative.unwrap();
                    assert_eq!(
                        self.memory.load(relative, AT),
                        Ok(seen),
                        "the relative's view: {case:?}"
                    );
                }
                if let Some(seen) = outcome.object {
                    assert_eq!(
                        self.memory.load(self.witness, AT),
                        Ok(seen),
                        "the object's content: {case:?}"
                    );
                }
            }
        }
        self.memory.check_invariants();
        self.memory.check_mm(self.mm);
    }

    fn check_entry(&self, case: Case, pfn: Pfn, stores: Stores) {
        let entry = self.entry(self.mm);
        assert!(FakePte::is_present(entry), "{case:?}");
        assert_eq!(FakePte::pfn(entry), pfn, "{case:?}");
        assert!(FakePte::allows(entry, Access::Read), "no load: {case:?}");
        let exec = case.rights & prot::EXEC != 0;
        assert_eq!(FakePte::allows(entry, Access::Exec), exec, "execution: {case:?}");
        let writable = FakePte::allows(entry, Access::Write);
        match stores {
            Stores::Allowed => assert!(writable, "stores are not allowed: {case:?}"),
            Stores::Forbidden => assert!(!writable, "stores are allowed: {case:?}"),
            Stores::Either => {}
        }
        if case.by.writes() {
            assert!(FakePte::is_dirty(entry), "not dirty: {case:?}");
        }
    }

    fn end(self, case: Case) {
        self.memory.mmput(self.mm, 1);
        self.memory.mmput(self.witness, 3);
        if let Some(relative) = self.relative {
            self.memory.mmput(relative, 2);
        }
        if let Some(object) = self.object {
            self.memory.iput(object);
        }
        assert_eq!(self.memory.swap_inuse_pages(), 0, "slots are left: {case:?}");
        let left: Vec<_> = self
            .memory
            .live_records()
            .into_iter()
            .filter(|record| record.1 != 0)
            .collect();
        assert!(left.is_empty(), "{left:?} are left: {case:?}");
    }
}

impl By {
    fn writes(self) -> bool {
        matches!(self, Self::Program(Access::Write) | Self::Kernel(true))
    }
}

/// B26, B36, B38, B39, B40, B41, B42, B46, F19: all combinations of rights, mapping, state of the page, access and way to the rights: the
/// fault, or the content, who else sees a store, and what the entry allows then.
#[test]
fn every_access_to_every_page() {
    let mut cases = 0;
    for backing in BACKINGS {
        for state in STATES.into_iter().filter(|&state| exists(backing, state)) {
            for (rights, by) in (0..8).flat_map(|rights| BYS.map(|by| (rights, by))) {
                for way in [Way::Direct, Way::ThroughNone] {
                    let case = Case {
                        backing,
                        state,
                        rights,
                        by,
                        way,
                    };
                    let scene = Scene::new(case);
                    scene.check(case, expected(case));
                    scene.end(case);
                    cases += 1;
                }
            }
        }
    }
    let states = 3 * STATES.len() - 3;
    assert_eq!(cases, states * 8 * BYS.len() * 2);
}
