//! The interrupt descriptor table: exceptions, and the timer's interrupt, which the VMM delivers without an interrupt controller. Interrupts stay
//! off in ring 0.
//!
//! Source: Intel SDM vol. 3, 6.14.1 "64-Bit Mode IDT".

use core::arch::asm;
use core::cell::Cell;

use crate::cpu::segments::{IST_DOUBLE_FAULT, IST_NMI, KERNEL_CS, TablePointer};
use crate::global::Global;

/// Exception vectors.
pub(crate) mod vector {
    pub(crate) const DIVIDE: u64 = 0;
    pub(crate) const DEBUG: u64 = 1;
    pub(crate) const NMI: u64 = 2;
    pub(crate) const BREAKPOINT: u64 = 3;
    pub(crate) const OVERFLOW: u64 = 4;
    pub(crate) const INVALID_OPCODE: u64 = 6;
    pub(crate) const DOUBLE_FAULT: u64 = 8;
    pub(crate) const NOT_PRESENT: u64 = 11;
    pub(crate) const STACK_SEGMENT: u64 = 12;
    pub(crate) const GENERAL_PROTECTION: u64 = 13;
    pub(crate) const PAGE_FAULT: u64 = 14;
    pub(crate) const X87: u64 = 16;
    pub(crate) const ALIGNMENT: u64 = 17;
    pub(crate) const SIMD: u64 = 19;
    pub(crate) const TIMER: u64 = faultlab_abi::lab::TIMER_VECTOR as u64;
}

/// Vectors that have an entry: those that the architecture reserves for exceptions, and the timer's.
pub(crate) const VECTORS: usize = 33;

static IDT: Global<Cell<[[u64; 2]; VECTORS]>> = Global::new(Cell::new([[0; 2]; VECTORS]));

/// A 64-bit interrupt gate (type 14: interrupts off) to `handler`.
fn gate(vector: usize, handler: u64) -> [u64; 2] {
    // `int3` and `into` may be executed by ring 3.
    let privilege = if matches!(vector as u64, vector::BREAKPOINT | vector::OVERFLOW) {
        3
    } else {
        0
    };
    let stack = match vector as u64 {
        vector::DOUBLE_FAULT => IST_DOUBLE_FAULT,
        vector::NMI => IST_NMI,
        _ => 0,
    };
    let attributes = u64::from(stack) | (0x8e | privilege << 5) << 8;
    let low = handler & 0xffff | KERNEL_CS << 16 | attributes << 32 | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// Points a vector to `handler`.
pub(crate) fn set(vector: u64, handler: u64) {
    IDT.as_array_of_cells()[vector as usize].set(gate(vector as usize, handler));
}

/// Points a vector to `handler` for a while; what [`restore`] takes back.
pub(crate) fn replace(vector: u64, handler: u64) -> [u64; 2] {
    IDT.as_array_of_cells()[vector as usize].replace(gate(vector as usize, handler))
}

/// Takes a [`replace`] back.
pub(crate) fn restore(vector: u64, before: [u64; 2]) {
    IDT.as_array_of_cells()[vector as usize].set(before);
}

/// Fills the table with `entries`, one for each vector, and loads it.
pub(crate) fn load(entries: &[u64; VECTORS]) {
    IDT.set(core::array::from_fn(|vector| gate(vector, entries[vector])));
    let pointer = TablePointer {
        limit: (VECTORS * 16 - 1) as u16,
        base: IDT.as_ptr() as u64,
    };
    // SAFETY: the table stays where it is, and its gates lead to code that is ready for exceptions.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}
