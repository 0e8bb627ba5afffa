//! Entry by the Linux 64-bit boot protocol, and what happens from there to the first program.
//!
//! At entry: 64-bit mode, interrupts off, RSI holds the physical address of the zero page, and physical addresses from
//! the image on are mapped to themselves. Nothing else is relied on: the kernel loads its own page tables, segments
//! and control registers at once, so that it also boots under other VMMs.
//!
//! Source: Linux, Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"; Intel SDM vol. 3, 2.5 "Control Registers".

pub(crate) mod rootfs;

use core::arch::global_asm;

use faultlab_abi::lab::Hello;
use faultlab_abi::layout::{KERNEL_VMA, PAGE_SIZE};
use faultlab_abi::trace::level;
use faultlab_abi::{VERSION, vmstat as abi_vmstat};
use faultlab_kernel::boot_params::BootParams;
use faultlab_kernel::cmdline::Options;
use faultlab_kernel::{line, pte};
use faultlab_mm::addr::Pfn;
use faultlab_mm::overcommit::OvercommitMode;
use faultlab_mm::swap::AreaConfig;

use crate::cpu::x86::msr;
use crate::cpu::{fpu, interrupts, segments, x86};
use crate::dev::{clock, lab, swap_disk, terminal};
use crate::entry::{self, gate};
use crate::mem::platform::MEMORY;
use crate::mem::ram::{self, STACK_PAGES};
use crate::report::{check, log, out, panic, proc, strace, trace, vmstat};
use crate::task::{exec, preempt};

// The page tables that the image brings along (physical address = address - KERNEL_VMA):
//
//   kernel_pgd    [0]   ident_pdpt   the entry's own addresses, until `kmain` drops them
//                 [273] direct_pdpt  direct map; filled by ram.rs
//                 [511] kernel_pdpt  [510] kernel_pd: 2 MiB pages of the image's first 8 MiB (more: ram.rs),
//                                          [511] fixmap_pt: single pages, see ram.rs
//
// Bits: 0x23 present, writable, accessed; 0x04 user (needed on the path to the gate page; the kernel's leaves lack it);
// 0xe3 also dirty and large; 0x63 dirty.
global_asm!(
    r#"
    .section .data.page_tables, "aw"
    .balign 4096
    .global kernel_pgd, kernel_pd, fixmap_pt
kernel_pgd:
    .quad ident_pdpt - {vma} + 0x23
    .zero 272 * 8
    .quad direct_pdpt - {vma} + 0x23
    .zero 237 * 8
    .quad kernel_pdpt - {vma} + 0x27
ident_pdpt:
    .quad kernel_pd - {vma} + 0x23
    .zero 511 * 8
kernel_pdpt:
    .zero 510 * 8
    .quad kernel_pd - {vma} + 0x27
    .zero 8
kernel_pd:
    .quad 0x0000e3, 0x2000e3, 0x4000e3, 0x6000e3
    .zero 507 * 8
    .quad fixmap_pt - {vma} + 0x27
fixmap_pt:
    .quad __user_text_start - {vma} + 0x25
    .zero 15 * 8
    .set page, 0
    .rept {stack_pages}
    .quad kernel_stack + page * 4096 - {vma} + 0x63
    .set page, page + 1
    .endr
    .zero (496 - {stack_pages}) * 8

    .section .bss.page_tables, "aw", @nobits
    .balign 4096
    .global direct_pdpt, direct_pds, direct_pt, kernel_stack
direct_pdpt:
    .zero 4096
direct_pds:
    .zero 3 * 4096
direct_pt:
    .zero 4096
kernel_stack:
    .zero {stack_pages} * 4096

    .section .text.boot, "ax"
    .global _start
_start:
    cli
    cld
    mov rdi, rsi
    # CR4: PAE, OSFXSR, OSXMMEXCPT. SMEP and SMAP stay off: the gate page is a user page, and they cost `stac`/`clac`.
    mov eax, 0x620
    mov cr4, rax
    # CR0: PG, AM (programs may ask for alignment checks), WP (ring 0 must not write through copy-on-write), NE, MP, PE.
    mov eax, 0x80050033
    mov cr0, rax
    mov eax, offset kernel_pgd - {vma}
    mov cr3, rax
    mov rax, offset start_high
    jmp rax
    .global start_high
start_high:
    mov rsp, {stack_top}
    # A zero return address ends every backtrace.
    xor ebp, ebp
    push rbp
    jmp {kmain}
    "#,
    vma = const KERNEL_VMA,
    stack_pages = const STACK_PAGES,
    stack_top = const ram::STACK_TOP.cast_signed(),
    kmain = sym kmain,
);

/// log2 of the most pages that one read of swap brings, unless the command line says otherwise. Source: Linux `page_cluster`.
const PAGE_CLUSTER: u32 = 3;
/// `vm.overcommit_ratio` where nobody says otherwise, in per cent.
const OVERCOMMIT_RATIO: u64 = 50;

/// Brings the machine up and enters the first program.
extern "C" fn kmain(zero_page: u64) -> ! {
    segments::load();
    interrupts::load(entry::vectors());
    ram::drop_identity_map();
    enable_nx();

    let boot = BootParams::parse(ram::boot_page(zero_page))
        .unwrap_or_else(|_| panic::boot(&line!["boot: the memory map has no RAM at the kernel's address"]));
    ram::map(boot.ram_end);
    proc::keep_command_line(ram::boot_string(boot.cmdline));
    let options = Options::parse(ram::boot_string(boot.cmdline));
    if let Some(region) = options.lab {
        lab::attach(region);
    }
    if let Some(word) = options.malformed {
        panic::boot(&line!["boot: command line: \"", word, "\" is malformed"]);
    }
    clock::start(options.tsc_khz);

    let initrd = initrd_frames(&boot);
    let trace_bytes = if options.trace_level != level::OFF {
        trace::bytes_for(boot.ram_end, options.trace_bytes)
    } else {
        0
    };
    let layout = ram::carve(boot.ram_end, initrd.0, trace_bytes / PAGE_SIZE);
    if trace_bytes != 0 {
        trace::start(layout.trace, trace_bytes);
        entry::trace_faults(options.trace_level);
    }
    ram::unmap_below(layout.trace);
    MEMORY.init(layout.free_start, layout.free_end);
    MEMORY.set_overcommit(
        options.overcommit.unwrap_or(OvercommitMode::Guess),
        options.overcommit_ratio.unwrap_or(OVERCOMMIT_RATIO),
    );
    ram::touch_image();
    let syscall_gate = gate::install();
    fpu::init(syscall_gate);
    preempt::init(syscall_gate);
    terminal::start(options.tty);
    if options.out {
        out::start();
    }
    check::start(options.check);
    if options.strace {
        strace::start();
        entry::tell_calls(syscall_gate);
    }
    MEMORY.set_page_cluster(options.page_cluster.map_or(PAGE_CLUSTER, |pages| pages as u32));
    if let Some(bytes) = options.fault_around_bytes {
        // Its range is that of the option.
        let _ = MEMORY.set_fault_around_bytes(bytes);
    }
    swap_on(&options);
    lab::hello(&Hello {
        version: VERSION,
        syscall_gate,
        vmstat: ram::phys_of(vmstat::address()),
        vmstat_count: abi_vmstat::COUNT as u64,
        trace: if trace_bytes == 0 { 0 } else { layout.trace.phys() },
        trace_bytes,
        managed_pages: u64::from(ram::end().0 - layout.free_start.0),
        swap_pages: MEMORY.total_swap_pages(),
    });
    log::debug(&line!["swap: ", MEMORY.total_swap_pages(), " pages"]);
    if options.tsc_khz.is_none() {
        log::warn(&line![
            "clock: no tsc_early_khz= on the command line, taking the time-stamp counter for 1 GHz"
        ]);
    }
    exec::first_program(initrd.0, initrd.1, options.ids.unwrap_or((0, 0)))
}

/// Allows page-table entries that forbid execution, if the processor has them.
fn enable_nx() {
    const EXTENDED_FEATURES: u32 = 0x8000_0001;
    const EDX_NX: u32 = 1 << 20;
    const NXE: u64 = 1 << 11;
    if x86::cpuid(EXTENDED_FEATURES)[3] & EDX_NX != 0 {
        // SAFETY: gives a meaning to a bit that no entry has set yet.
        unsafe { x86::wrmsr(msr::EFER, x86::rdmsr(msr::EFER) | NXE) };
        pte::enable_nx();
    }
}

/// First frame of the initrd and its length in bytes, checked to lie in RAM.
fn initrd_frames(boot: &BootParams) -> (Pfn, u64) {
    let end = boot.initrd.checked_add(boot.initrd_len);
    if boot.initrd == 0 || boot.initrd & (PAGE_SIZE - 1) != 0 || end.is_none_or(|end| end > boot.ram_end) {
        panic::boot(&line![
            "boot: no page-aligned initrd in RAM; the loader has to pass the program in one"
        ]);
    }
    (Pfn::of_phys(boot.initrd), boot.initrd_len)
}

/// Swaps to every disk that there is, as far as it can be.
fn swap_on(options: &Options<'_>) {
    let (disks, refused) = swap_disk::attach(&options.virtio);
    if let Some(why) = refused {
        log::warn(&line!["swap: a disk is left alone: ", why.0]);
    }
    for (disk, prio) in options.swap_prio.into_iter().enumerate().take(disks) {
        let on = swap_disk::header(disk).and_then(|header| {
            let area = AreaConfig {
                slots: header.pages,
                prio,
                bad: header.bad_pages(),
            };
            let on = MEMORY.swapon(disk, area);
            on.map_err(|_| swap_disk::NoSwap("no room for its slot map"))
        });
        if let Err(why) = on {
            log::warn(&line!["swap: disk ", disk as u64, " is not used: ", why.0]);
        }
    }
}
