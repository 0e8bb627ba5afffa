//! Segments: flat code and data for both rings with Linux's selectors, and the task state segment.
//!
//! Some hosts without hardware virtualization run programs under the *host's* selectors, so the numbers are Linux's.
//!
//! Source: Intel SDM vol. 3, 3.4.5, 7.2.3, 8.7; Linux, arch/x86/include/asm/segment.h.

use core::arch::asm;
use core::cell::Cell;

use crate::global::Global;
use crate::mem::ram;

/// Ring 0 code.
pub(crate) const KERNEL_CS: u64 = 0x10;
/// Ring 0 data: `syscall` loads SS with KERNEL_CS + 8.
pub(crate) const KERNEL_DS: u64 = 0x18;
/// 32-bit ring 3 code, never used: `sysretq` adds 16 to it for CS and 8 for SS.
pub(crate) const USER32_CS: u64 = 0x23;
/// Ring 3 data.
pub(crate) const USER_DS: u64 = 0x2b;
/// Ring 3 code.
pub(crate) const USER_CS: u64 = 0x33;
const TSS_SELECTOR: u64 = 0x40;

/// Stacks of exceptions that cannot trust the kernel's: numbers in the interrupt stack table.
pub(crate) const IST_DOUBLE_FAULT: u8 = 1;
/// Non-maskable interrupts.
pub(crate) const IST_NMI: u8 = 2;
const IST_STACK_BYTES: usize = 4096;

/// Present, accessed, 4 GiB; code readable, data writable. The fields of 64-bit segments that matter are the type, the
/// privilege level and L.
static GDT: Global<Cell<[u64; 10]>> = Global::new(Cell::new([
    0,
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0,
    // The task state segment: two slots, made by `load`.
    0,
    0,
]));

/// Task state segment: all the processor takes from it is stack pointers.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
pub(crate) struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    /// Offset of the I/O permission map; past the limit: no ports for ring 3.
    io_map: u16,
}

const TSS_BYTES: usize = size_of::<Tss>();
const _: () = assert!(TSS_BYTES == 104);

static TSS: Global<Cell<Tss>> = Global::new(Cell::new(Tss {
    reserved0: 0,
    rsp: [0; 3],
    reserved1: 0,
    ist: [0; 7],
    reserved2: 0,
    reserved3: 0,
    io_map: TSS_BYTES as u16,
}));

#[repr(C, align(16))]
struct Stack(Cell<[u8; IST_STACK_BYTES]>);

static IST_STACKS: Global<[Stack; 2]> = Global::new([const { Stack(Cell::new([0; IST_STACK_BYTES])) }; 2]);

/// Loads the descriptor table, all segment registers and the task register.
pub(crate) fn load() {
    let mut tss = TSS.get();
    tss.rsp[0] = ram::STACK_TOP;
    for (index, stack) in IST_STACKS.iter().enumerate() {
        tss.ist[index] = stack.0.as_ptr() as u64 + IST_STACK_BYTES as u64;
    }
    TSS.set(tss);

    let base = TSS.as_ptr() as u64;
    let mut gdt = GDT.get();
    // Available 64-bit TSS (type 9), present, byte granular.
    gdt[8] = (TSS_BYTES as u64 - 1) | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    gdt[9] = base >> 32;
    GDT.set(gdt);

    let pointer = TablePointer {
        limit: size_of_val(&gdt) as u16 - 1,
        base: GDT.as_ptr() as u64,
    };
    // SAFETY: the table has the selectors named here, and stays where it is. Null data segments are fine in 64-bit
    // mode, and are not touched by returns to ring 3.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "push {cs}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ss, {ds:e}",
            "xor {scratch:e}, {scratch:e}",
            "mov ds, {scratch:e}",
            "mov es, {scratch:e}",
            "mov fs, {scratch:e}",
            "mov gs, {scratch:e}",
            "ltr {tss:x}",
            pointer = in(reg) &raw const pointer,
            cs = const KERNEL_CS,
            ds = in(reg) KERNEL_DS,
            tss = in(reg) TSS_SELECTOR,
            scratch = out(reg) _,
        );
    }
}

/// Lets entries from ring 3 use the stack of non-maskable interrupts instead of the kernel's, whose top is in use. Returns what [`restore_stacks`] takes.
pub(crate) fn use_probe_stack() -> Tss {
    let saved = TSS.get();
    let mut probe = saved;
    probe.rsp[0] = saved.ist[usize::from(IST_NMI) - 1];
    TSS.set(probe);
    saved
}

/// Ends [`use_probe_stack`].
pub(crate) fn restore_stacks(saved: Tss) {
    TSS.set(saved);
}

/// Operand of `lgdt` and `lidt`.
#[repr(C, packed)]
pub(crate) struct TablePointer {
    /// Bytes of the table, minus 1.
    pub(crate) limit: u16,
    /// Its address.
    pub(crate) base: u64,
}
