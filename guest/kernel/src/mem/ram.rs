//! What lies where: the direct map, the fixmap, and how RAM is divided.
//!
//! ```text
//! physical                                      virtual
//! 1 MiB      kernel image, BSS included         KERNEL_VMA + physical
//!   ...      memory map, 40 bytes a frame       KERNEL_VMA + physical: its address is a constant
//!   ...      trace ring, if asked for           at DIRECT_MAP + physical, like all that follows
//!   ...      frames for the memory manager
//! top        initrd, until it is read           fixmap (below), one page each
//! ```
//!
//! ```text
//! FIXMAP + 0       gate page: code that ring 3 may execute; see entry/gate.rs
//!        + 1..15   device registers
//!        + 15      never mapped: the stack's guard
//!        + 16..24  kernel stack
//!        + 32      a frame that ring3.rs lends to ring 3
//! ```

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use faultlab_abi::layout::{CMDLINE_MAX_BYTES, DIRECT_MAP, KERNEL_LOAD, KERNEL_VMA, PAGE_SIZE};
use faultlab_kernel::line;
use faultlab_mm::addr::{Frame, Pfn};
use faultlab_mm::page::Page;

use crate::cpu::x86;
use crate::global::Global;
use crate::report::panic;
use faultlab_kernel::pte::bit;

/// Start of the fixmap: the last 2 MiB of the image mapping's GiB.
pub(crate) const FIXMAP: u64 = KERNEL_VMA + 511 * LARGE_PAGE;
const FIXMAP_MMIO: usize = 1;
const FIXMAP_GUARD: usize = 15;
const FIXMAP_WINDOW: usize = 32;
const FIXMAP_STACK: u64 = FIXMAP + 16 * PAGE_SIZE;
/// Pages of the kernel's stack. Below it nothing is mapped: an overflow is a double fault, not a corruption.
pub(crate) const STACK_PAGES: u64 = 8;
/// The kernel's stack ends here; 16-byte aligned.
pub(crate) const STACK_TOP: u64 = FIXMAP_STACK + STACK_PAGES * PAGE_SIZE;

const LARGE_PAGE: u64 = 2 << 20;
const HUGE_PAGE: u64 = 1 << 30;
/// Rights of the kernel's own pages.
const KERNEL_LEAF: u64 = bit::PRESENT | bit::WRITABLE | bit::ACCESSED | bit::DIRTY;

/// Slots of the root that all address spaces share.
pub(crate) const PGD_DIRECT: usize = (DIRECT_MAP >> 39) as usize & 511;
pub(crate) const PGD_KERNEL: usize = (KERNEL_VMA >> 39) as usize & 511;

type Table = [AtomicU64; 512];

unsafe extern "C" {
    // Page tables and stack: boot.rs. Ends of the image: linker.ld.
    safe static kernel_pgd: Table;
    safe static kernel_pd: Table;
    safe static fixmap_pt: Table;
    safe static direct_pdpt: Table;
    safe static direct_pds: [Table; 3];
    safe static direct_pt: Table;
    safe static kernel_stack: [u8; 0];
    safe static __kernel_end: [u8; 0];
}

/// Entries of the memory map.
static RAM_PAGES: Global<Cell<usize>> = Global::new(Cell::new(0));
/// Bytes that the direct map covers.
static MAPPED: Global<Cell<u64>> = Global::new(Cell::new(0));
/// Fixmap slots given to devices.
static MMIO_USED: Global<Cell<usize>> = Global::new(Cell::new(0));

/// How RAM is divided.
pub(crate) struct Layout {
    /// First frame of the trace ring.
    pub(crate) trace: Pfn,
    /// First frame for the memory manager.
    pub(crate) free_start: Pfn,
    /// Frame past the last that it gets before the initrd is read.
    pub(crate) free_end: Pfn,
}

/// Physical address of something in the kernel's image or on its stack.
pub(crate) fn phys_of<T>(object: *const T) -> u64 {
    let addr = object as u64;
    if addr >= FIXMAP_STACK {
        // The stack's pages are mapped twice; their frames are consecutive.
        addr - FIXMAP_STACK + phys_of(&raw const kernel_stack)
    } else {
        addr - KERNEL_VMA
    }
}

/// Touches every page of the kernel's image, so that code which is run for the first time while something is measured costs no second-level
/// violation there.
pub(crate) fn touch_image() {
    let image = KERNEL_VMA + KERNEL_LOAD..(&raw const __kernel_end) as u64;
    for page in image.step_by(PAGE_SIZE as usize) {
        // SAFETY: a byte of the image, which is mapped for writing as a whole; its value stays.
        unsafe { core::arch::asm!("lock or byte ptr [{}], 0", in(reg) page, options(nostack)) };
    }
}

/// Whether the address lies in the page below the kernel's stack.
pub(crate) fn is_stack_guard(addr: u64) -> bool {
    (FIXMAP_STACK - PAGE_SIZE..FIXMAP_STACK).contains(&addr)
}

/// Physical address of the root that has the kernel's half only.
pub(crate) fn kernel_root() -> u64 {
    phys_of(&raw const kernel_pgd)
}

/// An entry of that root.
pub(crate) fn kernel_root_entry(index: usize) -> u64 {
    kernel_pgd[index].load(Relaxed)
}

/// Ends the entry's identity map.
pub(crate) fn drop_identity_map() {
    kernel_pgd[0].store(0, Relaxed);
    // SAFETY: the same root, without addresses that are no longer used.
    unsafe { x86::write_cr3(kernel_root()) };
}

/// Extends the direct map to `end`.
fn map_to(end: u64) {
    const EXTENDED_FEATURES: u32 = 0x8000_0001;
    const EDX_GB_PAGES: u32 = 1 << 26;
    let start = MAPPED.get();
    let gb_pages = end > HUGE_PAGE && x86::cpuid(EXTENDED_FEATURES)[3] & EDX_GB_PAGES != 0;
    // The first GiB needs smaller pages in any case: `unmap_below`.
    let large_end = if gb_pages { HUGE_PAGE } else { end };
    for phys in (start.next_multiple_of(LARGE_PAGE)..large_end).step_by(LARGE_PAGE as usize) {
        let pd = &direct_pds[(phys / HUGE_PAGE) as usize];
        pd[(phys / LARGE_PAGE) as usize & 511].store(phys | KERNEL_LEAF | bit::LARGE, Relaxed);
        direct_pdpt[(phys / HUGE_PAGE) as usize].store(phys_of(pd) | KERNEL_LEAF, Relaxed);
    }
    for phys in (start.max(large_end).next_multiple_of(HUGE_PAGE)..end).step_by(HUGE_PAGE as usize) {
        direct_pdpt[(phys / HUGE_PAGE) as usize].store(phys | KERNEL_LEAF | bit::LARGE, Relaxed);
    }
    MAPPED.set(end.max(start));
}

/// Takes the kernel's own RAM, below `first`, out of the direct map. From now on the hardware checks that a frame which the memory
/// manager names is one that it may name, and [`frame_address`] need not: any other is a page fault in ring 0, which stops the guest.
pub(crate) fn unmap_below(first: Pfn) {
    let large = (first.phys() / LARGE_PAGE) as usize;
    for entry in &direct_pds[0][..large] {
        entry.store(0, Relaxed);
    }
    for (page, entry) in direct_pt.iter().enumerate().skip(first.0 as usize & 511) {
        entry.store(
            (large as u64 * LARGE_PAGE + page as u64 * PAGE_SIZE) | KERNEL_LEAF,
            Relaxed,
        );
    }
    direct_pds[0][large].store(phys_of(&raw const direct_pt) | KERNEL_LEAF, Relaxed);
    // SAFETY: the root in use, less addresses that nothing refers to any more.
    unsafe { x86::write_cr3(kernel_root()) };
}

/// The zero page. Called before the size of RAM is known: the first 2 MiB of RAM are mapped for it, or, if the loader
/// put it elsewhere, what is needed.
pub(crate) fn boot_page(phys: u64) -> &'static [u8; 4096] {
    if phys > 3 * HUGE_PAGE - PAGE_SIZE {
        panic::boot(&line!["boot: the zero page is not in the first 3 GiB"]);
    }
    map_to((phys + PAGE_SIZE).next_multiple_of(LARGE_PAGE));
    // SAFETY: mapped just now, any bytes are valid, and the loader left it to the kernel, which never writes to it
    // (it lies below the image or is reported as used).
    unsafe { &*((DIRECT_MAP + phys) as *const [u8; 4096]) }
}

/// Maps RAM up to `ram_end`.
pub(crate) fn map(ram_end: u64) {
    map_to(ram_end);
}

/// The NUL-terminated string at `phys`, without the NUL; empty for address 0.
pub(crate) fn boot_string(phys: u64) -> &'static [u8] {
    if phys == 0 {
        return &[];
    }
    if phys
        .checked_add(CMDLINE_MAX_BYTES as u64)
        .is_none_or(|end| end > MAPPED.get())
    {
        panic::boot(&line!["boot: the command line is not in RAM"]);
    }
    // SAFETY: within the direct map (checked), and left to the kernel, which never writes to it.
    let bytes = unsafe { core::slice::from_raw_parts((DIRECT_MAP + phys) as *const u8, CMDLINE_MAX_BYTES) };
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..len]
}

/// Divides RAM: memory map, trace ring, frames up to the initrd.
pub(crate) fn carve(ram_end: u64, initrd: Pfn, trace_pages: u64) -> Layout {
    let ram_pages = ram_end / PAGE_SIZE;
    let memmap = phys_of(&raw const __kernel_end);
    let memmap_end = (memmap + ram_pages * size_of::<Page>() as u64).next_multiple_of(PAGE_SIZE);
    let free_start = memmap_end + trace_pages * PAGE_SIZE;
    // Enough for page tables and the structures of one program; the command line tool asks for more.
    const LEAST_PAGES: u64 = 256;
    if free_start + LEAST_PAGES * PAGE_SIZE > initrd.phys() {
        let need = (free_start + (LEAST_PAGES + ram_pages) * PAGE_SIZE - initrd.phys()) >> 20;
        panic::boot(&line![
            "boot: ",
            ram_end >> 20,
            " MiB of RAM leave no room beside the initrd; give ",
            need + 1,
            " MiB"
        ]);
    }
    // The image mapping has to reach the end of the memory map.
    for phys in (4 * LARGE_PAGE..memmap_end).step_by(LARGE_PAGE as usize) {
        kernel_pd[(phys / LARGE_PAGE) as usize].store(phys | KERNEL_LEAF | bit::LARGE, Relaxed);
    }
    RAM_PAGES.set(ram_pages as usize);
    Layout {
        trace: Pfn::of_phys(memmap_end),
        free_start: Pfn::of_phys(free_start),
        free_end: initrd,
    }
}

/// The frame past the last one of RAM.
pub(crate) fn end() -> Pfn {
    Pfn(RAM_PAGES.get() as u32)
}

/// The memory map. Entries below the first managed frame hold whatever was in RAM; nobody looks at them.
#[inline(always)]
pub(crate) fn memmap() -> &'static [Page] {
    // SAFETY: `carve` set so many entries aside right behind the image and mapped them; before, there are none. A
    // `Page` is made of atomics for which any bytes are valid, and nothing else refers to these bytes.
    unsafe { core::slice::from_raw_parts((&raw const __kernel_end).cast(), RAM_PAGES.get()) }
}

/// Address, in the direct map, of a frame that the memory manager may name. Any other frame's is not mapped ([`unmap_below`]): 32-bit frame
/// numbers reach 16 TiB, and nothing else is mapped so far from `DIRECT_MAP` on.
#[inline(always)]
pub(crate) fn frame_address(pfn: Pfn) -> *mut u64 {
    (DIRECT_MAP + pfn.phys()) as *mut u64
}

/// The content of such a frame.
#[inline(always)]
pub(crate) fn frame(pfn: Pfn) -> &'static Frame {
    // SAFETY: the memory manager names only frames that it was given, which are RAM in the direct map, aligned, made of atomics for which any bytes are
    // valid. Other writers are programs (not while ring 0 runs), devices, and `rep` string instructions of ring 0.
    unsafe { &*frame_address(pfn).cast::<Frame>() }
}

/// Pages of RAM set aside by [`carve`], as words.
pub(crate) fn words(start: Pfn, pages: u64) -> &'static [AtomicU64] {
    assert!(start.phys() + pages * PAGE_SIZE <= MAPPED.get(), "outside RAM");
    // SAFETY: in the direct map (checked); atomics for which any bytes are valid.
    unsafe { core::slice::from_raw_parts((DIRECT_MAP + start.phys()) as *const AtomicU64, pages as usize * 512) }
}

/// Maps a page of device registers and returns its address.
pub(crate) fn map_mmio(phys: u64) -> u64 {
    let slot = FIXMAP_MMIO + MMIO_USED.get();
    assert!(slot < FIXMAP_GUARD, "more devices than the fixmap has slots");
    MMIO_USED.set(MMIO_USED.get() + 1);
    // Uncached, as device registers are: bits 4 (PCD) and 3 (PWT).
    fixmap_pt[slot].store(phys | KERNEL_LEAF | 0x18, Relaxed);
    FIXMAP + slot as u64 * PAGE_SIZE
}

/// Lets ring 3 access a frame while `work` has its address there. Programs do not run meanwhile.
pub(crate) fn with_window<T>(pfn: Pfn, work: impl FnOnce(u64) -> T) -> T {
    let (entry, addr) = (&fixmap_pt[FIXMAP_WINDOW], FIXMAP + FIXMAP_WINDOW as u64 * PAGE_SIZE);
    entry.store(pfn.phys() | KERNEL_LEAF | bit::USER, Relaxed);
    let result = work(addr);
    entry.store(0, Relaxed);
    x86::invlpg(addr);
    result
}

/// Bytes of RAM: of the initrd, until it is given to the memory manager, or of a frame while nobody writes to it.
pub(crate) fn bytes(start: Pfn, len: u64) -> &'static [u8] {
    assert!(start.phys() + len <= MAPPED.get(), "outside RAM");
    // SAFETY: in the direct map (checked); any bytes are valid; nobody writes while the caller reads.
    unsafe { core::slice::from_raw_parts((DIRECT_MAP + start.phys()) as *const u8, len as usize) }
}
