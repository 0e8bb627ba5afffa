//! What the CPU defines: registers, descriptor tables, exceptions, vector registers, instructions.
//!
//! | module | what it is |
//! |---|---|
//! | [`regs`] | the registers that an entry saves |
//! | [`segments`] | GDT and TSS |
//! | [`interrupts`] | IDT |
//! | [`ring3`] | instructions that ring 0 may lack |
//! | [`fpu`] | x87, SSE and AVX registers of programs |
//! | [`x86`] | single instructions |
//! | [`memory_functions`] | `memcpy` and its family |

pub(crate) mod fpu;
pub(crate) mod interrupts;
pub(crate) mod memory_functions;
pub(crate) mod regs;
pub(crate) mod ring3;
pub(crate) mod segments;
pub(crate) mod x86;
