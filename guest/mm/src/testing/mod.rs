//! A fake machine: frames, page tables, a TLB and a disk, for tests on any host.
//!
//! The fakes are stricter than hardware: [`FakeMachine::touch`] goes through a TLB that keeps every translation until it is flushed, so a
//! flush that the memory manager forgets shows as a wrong access; frames that are freed or handed out are filled with
//! [`POISON`], so content that is used without being set shows as well.

mod bytes;
mod disk;
mod failing;
mod interleave;
pub mod model;
mod pte;

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::vec::Vec;

pub(crate) use bytes::Bytes;
pub use disk::FakeDisk;
pub use failing::Failing;
pub use interleave::Interleave;
pub use pte::FakePte;

pub use crate::xarray::testing::model::run_bytes as run_xarray;

use crate::Memory;
use crate::addr::{Frame, PAGE_WORDS, Pfn, VirtAddr};
use crate::error::Fault;
use crate::fault::Access;
use crate::huge::{HPAGE_SHIFT, subpage};
use crate::page::Page;
use crate::platform::{Direction, Io, IoError, Platform, PteFormat, Stage, Vmstat};
use crate::swap::{AreaConfig, SwapSlot};
use crate::sync::Word;
use crate::vma::MmId;

/// What frames are filled with before anybody gave them content.
pub const POISON: u64 = 0xdead_beef_dead_beef;

/// Frame number of the first frame that is given to the memory manager.
const FIRST_FRAME: u32 = 16;

/// The machine.
#[derive(Debug)]
pub struct FakeMachine {
    memmap: Vec<Page>,
    frames: Vec<Box<Frame>>,
    /// Translations that the TLB may hold: (root, page address) to entry.
    tlb: RefCell<HashMap<(Pfn, u64), u64>>,
    counters: RefCell<HashMap<&'static str, u64>>,
    /// Attempts to allocate so far, and those that fail.
    pub failing: Failing,
    /// What comes in between.
    pub interleave: Interleave,
    /// Questions for a waiting signal that are still answered with no.
    pub signal_in: Cell<u64>,
    /// Whether others run while a fault waits for a disk.
    pub others: Cell<bool>,
    /// One access in so many that would wait then is never made again; 0 for none.
    pub left_one_in: Cell<u64>,
    /// Accesses that waited so.
    pub retries: Rc<Cell<u64>>,
    /// The swap disks.
    pub disk: RefCell<FakeDisk>,
    /// Seconds since 1970.
    pub clock_s: Cell<i64>,
}

impl FakeMachine {
    /// A machine with `frames` frames of RAM and a disk of `slots` slots.
    #[must_use]
    pub fn new(frames: u32, slots: u32) -> Self {
        let total = FIRST_FRAME + frames;
        Self {
            memmap: (0..total).map(|_| garbage_page()).collect(),
            frames: (0..total)
                .map(|_| Box::new([const { Word::new(POISON) }; PAGE_WORDS]))
                .collect(),
            tlb: RefCell::default(),
            counters: RefCell::default(),
            failing: Failing::default(),
            interleave: Interleave::default(),
            signal_in: Cell::new(u64::MAX),
            others: Cell::new(false),
            left_one_in: Cell::new(0),
            retries: Rc::default(),
            disk: RefCell::new(FakeDisk::new(slots)),
            clock_s: Cell::new(1_000),
        }
    }

    /// A byte of a frame.
    fn byte(&self, pfn: Pfn, at: usize) -> u8 {
        self.frame(pfn)[at / 8].get().to_le_bytes()[at % 8]
    }

    fn set_byte(&self, pfn: Pfn, at: usize, byte: u8) {
        let word = &self.frame(pfn)[at / 8];
        let mut bytes = word.get().to_le_bytes();
        bytes[at % 8] = byte;
        word.set(u64::from_le_bytes(bytes));
    }

    /// What the disk does for a request.
    fn transfer(&self, direction: Direction, slot: SwapSlot, frames: &[Pfn]) -> Result<(), IoError> {
        for (slot, &pfn) in (slot.0..).map(SwapSlot).zip(frames) {
            if direction == Direction::Write {
                let content = std::array::from_fn(|i| self.frame(pfn)[i].get());
                self.disk.borrow_mut().write(slot, content)?;
                continue;
            }
            let page = self.disk.borrow_mut().read(slot)?;
            for (word, value) in self.frame(pfn).iter().zip(page.iter()) {
                word.set(*value);
            }
        }
        Ok(())
    }

    /// A counter's value.
    #[must_use]
    pub fn counter(&self, item: Vmstat) -> u64 {
        self.counters.borrow().get(name_of(item)).copied().unwrap_or(0)
    }
}

/// Memory-map entries are not zero before the allocator reaches them.
fn garbage_page() -> Page {
    let page = Page::default();
    page.flags.set(0xffff_ffff);
    page.refcount.set(77);
    page.private.set(5);
    page
}

fn name_of(item: Vmstat) -> &'static str {
    // The names are for humans; that they differ is all that matters here.
    match item {
        Vmstat::Pswpin => "pswpin",
        Vmstat::Pswpout => "pswpout",
        Vmstat::Pgfault => "pgfault",
        Vmstat::Pgmajfault => "pgmajfault",
        Vmstat::Pgalloc => "pgalloc",
        Vmstat::Pgfree => "pgfree",
        Vmstat::NrShmem => "nr_shmem",
        Vmstat::NrFilePages => "nr_file_pages",
        Vmstat::NrAnonMapped => "nr_anon_pages",
        Vmstat::NrFileMapped => "nr_mapped",
        Vmstat::NrPageTablePages => "nr_page_table_pages",
        Vmstat::NrSwapCached => "nr_swapcached",
        Vmstat::NrSlab => "nr_slab",
        Vmstat::SwapRa => "swap_ra",
        Vmstat::SwapRaHit => "swap_ra_hit",
        Vmstat::PgscanKswapd => "pgscan_kswapd",
        Vmstat::PgscanDirect => "pgscan_direct",
        Vmstat::PgstealKswapd => "pgsteal_kswapd",
        Vmstat::PgstealDirect => "pgsteal_direct",
        Vmstat::Allocstall => "allocstall_normal",
        Vmstat::Pgactivate => "pgactivate",
        Vmstat::Pgdeactivate => "pgdeactivate",
        Vmstat::OomKill => "oom_kill",
        Vmstat::NrFreePages => "nr_free_pages",
        Vmstat::WorkingsetRefaultAnon => "workingset_refault_anon",
        Vmstat::WorkingsetActivateAnon => "workingset_activate_anon",
        Vmstat::WorkingsetRestoreAnon => "workingset_restore_anon",
        Vmstat::AllocstallMovable => "allocstall_movable",
        Vmstat::PgscanDirectThrottle => "pgscan_direct_throttle",
        Vmstat::CompactMigrateScanned => "compact_migrate_scanned",
        Vmstat::CompactFreeScanned => "compact_free_scanned",
        Vmstat::CompactIsolated => "compact_isolated",
        Vmstat::CompactStall => "compact_stall",
        Vmstat::CompactFail => "compact_fail",
        Vmstat::CompactSuccess => "compact_success",
        Vmstat::CompactDaemonWake => "compact_daemon_wake",
        Vmstat::PgmigrateSuccess => "pgmigrate_success",
        Vmstat::PgmigrateFail => "pgmigrate_fail",
    }
}

impl Platform for FakeMachine {
    type Pte = FakePte;

    fn memmap(&self) -> &[Page] {
        &self.memmap
    }

    fn frame(&self, pfn: Pfn) -> &Frame {
        assert!(
            pfn.0 >= FIRST_FRAME,
            "frame {} was never given to the memory manager",
            pfn.0
        );
        &self.frames[pfn.index()]
    }

    fn clear_page(&self, pfn: Pfn) {
        for word in self.frame(pfn) {
            word.set(0);
        }
    }

    fn copy_page(&self, to: Pfn, from: Pfn) {
        for (to, from) in self.frame(to).iter().zip(self.frame(from)) {
            to.set(from.get());
        }
    }

    fn copy_bytes(&self, to: (Pfn, usize), from: (Pfn, usize), len: usize) {
        let bytes: Vec<u8> = (from.1..from.1 + len).map(|at| self.byte(from.0, at)).collect();
        for (at, byte) in (to.1..).zip(bytes) {
            self.set_byte(to.0, at, byte);
        }
    }

    fn clear_bytes(&self, pfn: Pfn, offset: usize, len: usize) {
        (offset..offset + len).for_each(|at| self.set_byte(pfn, at, 0));
    }

    fn init_root(&self, root: Pfn) {
        self.frame(root)[511].set(FakePte::table(Pfn(1)));
    }

    fn flush_tlb_page(&self, root: Pfn, addr: VirtAddr) {
        self.tlb.borrow_mut().remove(&(root, addr.page().0));
    }

    fn flush_tlb_huge(&self, root: Pfn, addr: VirtAddr) {
        let huge = |addr: u64| addr >> HPAGE_SHIFT;
        let mut tlb = self.tlb.borrow_mut();
        tlb.retain(|&(owner, at), _| owner != root || huge(at) != huge(addr.0));
    }

    fn flush_tlb_mm(&self, root: Pfn) {
        self.tlb.borrow_mut().retain(|&(owner, _), _| owner != root);
    }

    fn swap_begin(&self, direction: Direction, slot: SwapSlot, frames: &[Pfn]) -> Io {
        let pending = self.disk.borrow_mut().begin(direction, slot, frames);
        pending.map_or_else(|| Io::Done(self.transfer(direction, slot, frames)), Io::Pending)
    }

    fn others_can_run(&self) -> bool {
        self.others.get()
    }

    fn swap_completed(&self, wait: bool) -> Option<(u32, Result<(), IoError>)> {
        // The frames are looked at only now, as a disk may.
        let done = self.disk.borrow_mut().complete(wait)?;
        Some((done.number, self.transfer(done.direction, done.slot, &done.frames)))
    }

    fn now_ns(&self) -> i64 {
        self.clock_s.get() * 1_000_000_000
    }

    fn should_fail(&self) -> bool {
        self.failing.attempt()
    }

    fn count(&self, item: Vmstat, by: u64) {
        let mut counters = self.counters.borrow_mut();
        let value = counters.entry(name_of(item)).or_default();
        *value = value.wrapping_add(by);
    }

    fn counter(&self, item: Vmstat) -> u64 {
        Self::counter(self, item)
    }

    fn stage(&self, stage: Stage, _: u64) {
        self.interleave.reached(stage);
    }

    fn signal_pending(&self) -> bool {
        let left = self.signal_in.get();
        self.signal_in.set(left.saturating_sub(1));
        left == 0
    }
}

/// An area of `slots` slots, with a priority of its own.
#[must_use]
pub fn area(slots: u32) -> AreaConfig<'static> {
    AreaConfig {
        slots,
        ..AreaConfig::default()
    }
}

/// A memory manager on a machine with `frames` frames, swapping to a disk of `slots` slots (0: none).
///
/// # Panics
/// When the manager refuses so little memory.
#[must_use]
pub fn machine(frames: u32, slots: u32) -> Memory<FakeMachine> {
    let memory = Memory::new(FakeMachine::new(frames, slots));
    memory.init(Pfn(FIRST_FRAME), Pfn(FIRST_FRAME + frames));
    if slots != 0 {
        memory.swapon(0, area(slots)).expect("swapon");
    }
    memory
}

impl Memory<FakeMachine> {
    /// What the hardware does for a program that touches `addr`: the TLB, the page tables, a fault if need be, again. Returns the frame
    /// and sets accessed and dirty bits.
    ///
    /// # Errors
    /// The fault that the manager did not resolve.
    ///
    /// # Panics
    /// When the TLB holds a translation that the page tables no longer have, or when faults do not get the program anywhere.
    pub fn touch(&self, mm: MmId, addr: u64, access: Access) -> Result<Pfn, Fault> {
        let (root, addr) = (self.pgd(mm), VirtAddr(addr));
        for _ in 0..8 {
            let key = (root, addr.page().0);
            let cached = self.platform.tlb.borrow().get(&key).copied();
            let small = self.pte(root, addr).filter(|pte| FakePte::is_present(pte.get()));
            let leaf = self.leaf(root, addr);
            let walked = small.or(leaf);
            // What the processor makes of a leaf for one of its pages.
            let effective = |entry: u64| {
                leaf.map_or(entry, |_| {
                    FakePte::with_pfn(entry, FakePte::pfn(entry).offset(subpage(addr)))
                })
            };
            // A store through a translation that is not dirty walks the tables again, to mark the entry. Source: SDM vol. 3A, "Accessed and Dirty Flags".
            let usable =
                |entry: &u64| FakePte::allows(*entry, access) && (access != Access::Write || FakePte::is_dirty(*entry));
            if let Some(entry) = cached.filter(usable) {
                let current = walked.map_or(0, |pte| effective(pte.get()));
                assert_eq!(
                    FakePte::pfn(entry),
                    FakePte::pfn(current),
                    "stale TLB entry for {:#x}",
                    addr.0
                );
                assert!(
                    FakePte::allows(current, access),
                    "TLB entry for {:#x} allows more than the page table",
                    addr.0
                );
                return Ok(FakePte::pfn(entry));
            }
            match walked.filter(|pte| FakePte::allows(pte.get(), access)) {
                Some(pte) => {
                    pte.set(FakePte::used(pte.get(), access));
                    let entry = effective(pte.get());
                    self.platform.tlb.borrow_mut().insert(key, entry);
                    return Ok(FakePte::pfn(entry));
                }
                None => self.fault(mm, addr, access)?,
            }
        }
        panic!("faults at {:#x} do not come to an end", addr.0);
    }

    /// A fault, made again as often as it has to wait for the disk; what others would do meanwhile is nothing.
    ///
    /// # Errors
    /// The fault that the manager did not resolve; [`Fault::Retry`] where [`FakeMachine::left_one_in`] says so.
    ///
    /// # Panics
    /// When a page is waited for that no disk works on.
    fn fault(&self, mm: MmId, addr: VirtAddr, access: Access) -> Result<(), Fault> {
        loop {
            let result = self.handle_mm_fault(mm, addr, access);
            let noted = self.take_page_wait();
            assert_eq!(
                noted.is_some(),
                result == Err(Fault::Retry),
                "{result:?} with {noted:?}"
            );
            let Some(queue) = noted else { return result };
            let retries = self.platform.retries.get() + 1;
            self.platform.retries.set(retries);
            match self.platform.left_one_in.get() {
                0 => {}
                one_in if retries.is_multiple_of(one_in) => return result,
                _ => {}
            }
            while self.take_pages_done() & 1 << queue == 0 {
                assert!(self.swap_in_flight(), "{addr:?} waits for nothing");
                self.swap_reap(true);
            }
        }
    }

    /// A program's store of a 64-bit word.
    ///
    /// # Errors
    /// The fault that the manager did not resolve.
    pub fn store(&self, mm: MmId, addr: u64, value: u64) -> Result<(), Fault> {
        let pfn = self.touch(mm, addr, Access::Write)?;
        self.platform.frame(pfn)[(addr as usize >> 3) & (PAGE_WORDS - 1)].set(value);
        Ok(())
    }

    /// A program's load of a 64-bit word.
    ///
    /// # Errors
    /// The fault that the manager did not resolve.
    pub fn load(&self, mm: MmId, addr: u64) -> Result<u64, Fault> {
        let pfn = self.touch(mm, addr, Access::Read)?;
        Ok(self.platform.frame(pfn)[(addr as usize >> 3) & (PAGE_WORDS - 1)].get())
    }

    /// Panics unless every structure is what it should be. Takes as long as everything is large.
    ///
    /// # Panics
    /// See above.
    #[track_caller]
    pub fn check_invariants(&self) {
        crate::check::expect(self.verify());
    }

    /// Panics unless every structure is what it should be, when no program is left.
    ///
    /// # Panics
    /// See above.
    #[track_caller]
    pub fn check_at_rest(&self) {
        crate::check::expect(self.verify_at_rest());
    }

    /// Panics unless the lists of frames and the swap table are what they should be: for tests that hold blocks of frames, and between
    /// [`Memory::check_invariants`], which takes longer.
    ///
    /// # Panics
    /// See above.
    #[track_caller]
    pub fn check_lists(&self) {
        self.check_lru();
        self.check_swap();
        self.zone.check(self.platform.memmap());
    }
}
