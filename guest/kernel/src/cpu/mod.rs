//! What the CPU defines: the ways into ring 0 and out of it, descriptor tables, exceptions, vector registers, instructions.
//!
//! | module | what it is |
//! |---|---|
//! | [`entry`] | the ways into ring 0 and out of it |
//! | [`trap`] | page faults and other exceptions |
//! | [`segments`] | GDT and TSS |
//! | [`interrupts`] | IDT |
//! | [`gate`] | how system calls enter on this host |
//! | [`ring3`] | instructions that ring 0 may lack |
//! | [`fpu`] | x87, SSE and AVX registers of programs |
//! | [`x86`] | single instructions |
//! | [`memory_functions`] | `memcpy` and its family |

pub(crate) mod entry;
pub(crate) mod fpu;
pub(crate) mod gate;
pub(crate) mod interrupts;
pub(crate) mod memory_functions;
pub(crate) mod ring3;
pub(crate) mod segments;
pub(crate) mod trap;
pub(crate) mod x86;
