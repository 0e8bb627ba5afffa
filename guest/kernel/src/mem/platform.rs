//! The machine as the memory manager sees it.

use core::arch::asm;

use faultlab_abi::trace::level;
use faultlab_linux::Linux;
use faultlab_mm::addr::{Frame, PAGE_SIZE, PAGE_WORDS, Pfn, VirtAddr};
use faultlab_mm::huge::HPAGE_PAGES;
use faultlab_mm::page::Page;
use faultlab_mm::platform::{Direction, Io, IoError, Stage, Vmstat};
use faultlab_mm::swap::SwapSlot;
use faultlab_mm::{Memory, Platform};

use crate::cpu::x86;
use crate::dev::{clock, swap_disk};
use crate::mem::ram::{self, PGD_DIRECT, PGD_KERNEL};
use crate::report::proc::Kernel;
use crate::report::{log, trace, vmstat};
use crate::task::{page_wait, process};
use faultlab_kernel::line;
use faultlab_kernel::pte::X86Pte;

/// The one memory manager.
pub(crate) static MEMORY: Memory<Machine<{ level::OFF }>> = Memory::new(Machine);

/// The one memory manager, its code compiled with the stamps of `LEVEL`: so tracing costs nothing where it is off.
#[inline(always)]
pub(crate) fn memory<const LEVEL: u8>() -> &'static Memory<Machine<LEVEL>> {
    // SAFETY: `Memory` is `repr(C)` and depends on its platform in no other field, and `Machine` has no size whatever the
    // level: the same layout.
    unsafe { &*(&raw const MEMORY).cast() }
}

/// The one system-call layer over it.
pub(crate) static LINUX: Linux<'static, Machine<{ level::OFF }>> = Linux::of_system(&MEMORY, &Kernel);

/// x86-64 with RAM in the direct map. `LEVEL` is one of [`level`].
#[derive(Debug)]
pub(crate) struct Machine<const LEVEL: u8>;

impl<const LEVEL: u8> Platform for Machine<LEVEL> {
    type Pte = X86Pte;

    #[inline(always)]
    fn memmap(&self) -> &[Page] {
        ram::memmap()
    }

    #[inline(always)]
    fn frame(&self, pfn: Pfn) -> &Frame {
        ram::frame(pfn)
    }

    #[inline(always)]
    fn clear_page(&self, pfn: Pfn) {
        // SAFETY: the frame is the caller's to write (contract of `Platform`), and 512 words long; the direction flag
        // is clear in ring 0.
        unsafe {
            asm!(
                "rep stosq",
                inout("rdi") ram::frame_address(pfn) => _,
                inout("rcx") PAGE_WORDS => _,
                in("rax") 0,
                options(nostack, preserves_flags),
            );
        }
    }

    fn clear_huge_page(&self, head: Pfn) {
        // SAFETY: as for `clear_page`; frames that follow each other do so in the direct map, and all of them are the caller's.
        unsafe {
            asm!(
                "rep stosq",
                inout("rdi") ram::frame_address(head) => _,
                inout("rcx") PAGE_WORDS * HPAGE_PAGES as usize => _,
                in("rax") 0,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn copy_page(&self, to: Pfn, from: Pfn) {
        // SAFETY: as for `clear_page`; two frames do not overlap unless they are one, which then stays as it is.
        unsafe {
            asm!(
                "rep movsq",
                inout("rdi") ram::frame_address(to) => _,
                inout("rsi") ram::frame_address(from) => _,
                inout("rcx") PAGE_WORDS => _,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline]
    fn copy_bytes(&self, to: (Pfn, usize), from: (Pfn, usize), len: usize) {
        let (to, from) = (byte_address(to, len), byte_address(from, len));
        // SAFETY: both lie in frames that are the caller's (contract of `Platform`), checked by `byte_address`; they may overlap.
        unsafe { to.copy_from(from, len) };
    }

    #[inline]
    fn clear_bytes(&self, pfn: Pfn, offset: usize, len: usize) {
        let at = byte_address((pfn, offset), len);
        // SAFETY: as for `copy_bytes`.
        unsafe { at.write_bytes(0, len) };
    }

    fn in_group(&self, group: u32) -> bool {
        LINUX.in_group(process::current().cred.get(), group)
    }

    fn init_root(&self, root: Pfn) {
        for index in [PGD_DIRECT, PGD_KERNEL] {
            self.frame(root)[index].set(ram::kernel_root_entry(index));
        }
    }

    #[inline(always)]
    fn flush_tlb_page(&self, root: Pfn, addr: VirtAddr) {
        // Without process-context identifiers, the TLB holds nothing of roots that CR3 does not name.
        if x86::read_cr3() == root.phys() {
            x86::invlpg(addr.0);
        }
    }

    fn flush_tlb_huge(&self, root: Pfn, addr: VirtAddr) {
        // INVLPG forgets a translation whatever the size of its page. Source: SDM vol. 3A, 5.10.4.1.
        self.flush_tlb_page(root, addr);
    }

    fn flush_tlb_mm(&self, root: Pfn) {
        let current = x86::read_cr3();
        if current == root.phys() {
            // SAFETY: the root that is in use.
            unsafe { x86::write_cr3(current) };
        }
    }

    #[inline(always)]
    fn swap_begin(&self, direction: Direction, slot: SwapSlot, frames: &[Pfn]) -> Io {
        swap_disk::begin::<LEVEL>(direction, slot, frames)
    }

    fn others_can_run(&self) -> bool {
        page_wait::others_can_run()
    }

    fn swap_completed(&self, wait: bool) -> Option<(u32, Result<(), IoError>)> {
        swap_disk::completed(wait)
    }

    fn now_ns(&self) -> i64 {
        clock::realtime_ns().cast_signed()
    }

    fn alloc_failed(&self, order: u32) {
        log::error(&line!["page allocation failure: order:", order]);
    }

    #[inline(always)]
    fn count(&self, item: Vmstat, by: u64) {
        vmstat::count(vmstat::item(item), by);
    }

    fn counter(&self, item: Vmstat) -> u64 {
        vmstat::value(vmstat::item(item))
    }

    #[inline(always)]
    fn stage(&self, stage: Stage, arg: u64) {
        trace::stage::<LEVEL>(stage, arg);
    }
}

/// Address of `len` bytes of a frame.
///
/// # Panics
/// When they reach beyond it.
#[inline(always)]
fn byte_address((pfn, offset): (Pfn, usize), len: usize) -> *mut u8 {
    if offset.saturating_add(len) > PAGE_SIZE as usize {
        panic!("bytes beyond a frame");
    }
    ram::frame_address(pfn).cast::<u8>().wrapping_add(offset)
}
