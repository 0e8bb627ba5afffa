//! Copies records of [`faultlab_abi`] out of guest memory, and answers into it.
//!
//! Each function reads guest memory once and hands over a private copy: what the guest changes afterwards is not seen.

use faultlab_abi::dev::{HostInfo, SkipArgs};
use faultlab_abi::lab::{CallRecord, Command, Hello, PageRange, Panic, Phase};
use faultlab_abi::layout::PAGE_SIZE;
use vm_memory::{ByteValued, Bytes, GuestAddress};

use super::Refusal;
use crate::memory::GuestRam;

/// Alignment of every record.
const ALIGN: u64 = 8;

/// A record of the interface: `repr(C)` integers and arrays of them, without padding, any bit pattern valid.
///
/// # Safety
/// The implementing type is as described.
pub(super) unsafe trait Record: Copy + Send + Sync {}

// SAFETY: the sizes and offsets asserted in guest/abi leave no padding; all fields are integers or arrays of them.
unsafe impl Record for Command {}
// SAFETY: as above.
unsafe impl Record for Hello {}
// SAFETY: as above.
unsafe impl Record for PageRange {}
// SAFETY: as for `Command`.
unsafe impl Record for CallRecord {}
// SAFETY: as above.
unsafe impl Record for Phase {}
// SAFETY: as above.
unsafe impl Record for Panic {}
// SAFETY: as above.
unsafe impl Record for SkipArgs {}
// SAFETY: as above.
unsafe impl Record for HostInfo {}
// SAFETY: an integer.
unsafe impl Record for u64 {}

/// vm-memory's marker for a type of another crate.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Wire<T>(T);

// SAFETY: `Record` promises what `ByteValued` asks for.
unsafe impl<T: Record> ByteValued for Wire<T> {}

/// The record at `address`: `Fault` outside RAM, `Invalid` if it is not 8-byte aligned.
pub(super) fn copy<T: Record>(ram: &GuestRam, address: u64) -> Result<T, Refusal> {
    if !address.is_multiple_of(ALIGN) {
        return Err(Refusal::Invalid);
    }
    let record: Wire<T> = ram
        .memory()
        .read_obj(GuestAddress(address))
        .map_err(|_| Refusal::Fault)?;
    Ok(record.0)
}

/// Puts a record at `address`: `Fault` outside RAM, `Invalid` if it is not 8-byte aligned.
pub(super) fn store<T: Record>(ram: &GuestRam, address: u64, record: T) -> Result<(), Refusal> {
    if !address.is_multiple_of(ALIGN) {
        return Err(Refusal::Invalid);
    }
    let wire = Wire(record);
    ram.memory()
        .write_obj(wire, GuestAddress(address))
        .map_err(|_| Refusal::Fault)
}

/// `count` records one after another; the caller has checked `count` against its limit.
pub(super) fn copy_array<T: Record>(ram: &GuestRam, address: u64, count: u64) -> Result<Vec<T>, Refusal> {
    let size = size_of::<T>() as u64;
    if !address.is_multiple_of(ALIGN) {
        return Err(Refusal::Invalid);
    }
    if !ram.contains(address, count.saturating_mul(size)) {
        return Err(Refusal::Fault);
    }
    (0..count).map(|index| copy(ram, address + index * size)).collect()
}

/// `bytes` bytes, at most `max`.
pub(super) fn copy_bytes(ram: &GuestRam, address: u64, bytes: u64, max: u64) -> Result<Vec<u8>, Refusal> {
    if bytes > max {
        return Err(Refusal::Invalid);
    }
    let mut buffer = vec![0; bytes as usize];
    ram.memory()
        .read_slice(&mut buffer, GuestAddress(address))
        .map_err(|_| Refusal::Fault)?;
    Ok(buffer)
}

/// Whether `[address, address + bytes)` stays within one page.
pub(super) fn in_one_page(address: u64, bytes: u64) -> bool {
    bytes <= PAGE_SIZE - address % PAGE_SIZE
}
