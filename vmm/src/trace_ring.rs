//! Reads the guest's trace ring at the end of a run, or of a phase.
//!
//! The guest is hostile: the ring's address and size were checked with the hello; its header's capacity is checked
//! against that size here, and records are read with bounds checks.
//!
//! Source: `guest/abi/src/trace.rs`.

use faultlab_abi::lab::Hello;
use faultlab_abi::layout::PAGE_SIZE;
use faultlab_abi::trace::Record;
use vm_memory::{Bytes, GuestAddress};

use crate::memory::GuestRam;

/// Most records that are kept: 4 MiB of them, half of what the VMM may use.
const KEEP_MAX: u64 = 262_144;

/// Records that the guest has written so far; 0 without a ring.
pub(crate) fn head(ram: &GuestRam, hello: &Hello) -> u64 {
    if hello.trace_bytes == 0 {
        return 0;
    }
    ram.memory().read_obj(GuestAddress(hello.trace)).unwrap_or(0)
}

/// The last records, oldest first, and how many were overwritten or left out before them.
pub(crate) fn read(ram: &GuestRam, hello: &Hello) -> (Vec<Record>, u64) {
    read_since(ram, hello, 0)
}

/// The same of the records written since [`head`] was `since`.
pub(crate) fn read_since(ram: &GuestRam, hello: &Hello, since: u64) -> (Vec<Record>, u64) {
    if hello.trace_bytes == 0 {
        return (Vec::new(), 0);
    }
    let word = |address: u64| ram.memory().read_obj::<u64>(GuestAddress(address)).unwrap_or(0);
    let (head, capacity) = (word(hello.trace), word(hello.trace + 8));
    let room = (hello.trace_bytes - PAGE_SIZE) / size_of::<Record>() as u64;
    if capacity == 0 || capacity > room || !capacity.is_power_of_two() {
        log::warn!(
            "the trace ring states a capacity of {capacity} records in {} bytes; ignored",
            hello.trace_bytes
        );
        return (Vec::new(), 0);
    }
    // A head that went back has no records since then.
    let written = head.saturating_sub(since);
    let kept = written.min(capacity).min(KEEP_MAX);
    let records = (head - kept..head)
        .map(|number| {
            let at = hello.trace + PAGE_SIZE + number % capacity * size_of::<Record>() as u64;
            Record {
                tsc: word(at),
                stage_and_arg: word(at + 8),
            }
        })
        .collect();
    (records, written - kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ram;

    const RING: u64 = 0x10_000;

    fn hello(bytes: u64) -> Hello {
        Hello {
            trace: RING,
            trace_bytes: bytes,
            ..Hello::default()
        }
    }

    #[test]
    fn the_last_records_in_order() {
        let ram = ram();
        let write = |address, value: u64| ram.memory().write_obj(value, GuestAddress(address)).unwrap();
        write(RING, 10);
        write(RING + 8, 4);
        for slot in 0..4 {
            write(RING + PAGE_SIZE + slot * 16, 100 + slot);
        }
        let (records, lost) = read(&ram, &hello(2 * PAGE_SIZE));
        let tsc: Vec<u64> = records.iter().map(|record| record.tsc).collect();
        assert_eq!(
            (tsc, lost),
            (vec![102, 103, 100, 101], 6),
            "numbers 6 to 9 are in slots 2, 3, 0, 1"
        );
        let since = |number| {
            let (records, lost) = read_since(&ram, &hello(2 * PAGE_SIZE), number);
            (records.iter().map(|record| record.tsc).collect::<Vec<_>>(), lost)
        };
        assert_eq!(head(&ram, &hello(2 * PAGE_SIZE)), 10);
        assert_eq!(since(8), (vec![100, 101], 0));
        assert_eq!(since(5), (vec![102, 103, 100, 101], 1));
        assert_eq!((since(10), since(11)), ((vec![], 0), (vec![], 0)));
    }

    #[test]
    fn a_wild_header_is_ignored() {
        let ram = ram();
        for capacity in [0_u64, 3, 512, u64::MAX] {
            ram.memory().write_obj(u64::MAX, GuestAddress(RING)).unwrap();
            ram.memory().write_obj(capacity, GuestAddress(RING + 8)).unwrap();
            assert_eq!(
                read(&ram, &hello(2 * PAGE_SIZE)),
                (Vec::new(), 0),
                "capacity {capacity}"
            );
        }
    }
}
