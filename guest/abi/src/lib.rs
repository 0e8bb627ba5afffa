//! What the guest kernel, its programs and the VMM agree on: addresses, registers and records.
//!
//! | module | who uses it | what is in it |
//! |---|---|---|
//! | [`layout`] | VMM, kernel | physical and virtual addresses, drawn as a map |
//! | [`lab`] | VMM, kernel | the lab device: registers, commands, records |
//! | [`dev`] | kernel, programs | `/dev/faultlab`: `ioctl` numbers and their arguments |
//! | [`pattern`] | VMM, programs | orders of touching |
//! | [`scenario`] | VMM, programs | the catalogue of what can be measured |
//! | [`trace`] | kernel, VMM | the ring of time-stamped stages of a fault |
//! | [`vmstat`] | all | the guest's counters, named after `/proc/vmstat` |
//!
//! Every record is `repr(C)` with explicit padding, its size and offsets asserted at compile time, and every field
//! little-endian 64- or 32-bit integers in which any bit pattern is valid: a reader checks *values*, never layouts.
//! A change that moves or reinterprets a field raises [`VERSION`]; both sides refuse another version at boot.

#![no_std]
#![forbid(unsafe_code)]

pub mod dev;
pub mod lab;
pub mod layout;
pub mod pattern;
pub mod record;
pub mod scenario;
pub mod trace;
pub mod vmstat;

/// Version of everything in this crate, exchanged by [`lab::Hello`].
pub const VERSION: u32 = 3;
