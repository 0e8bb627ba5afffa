//! Drivers that mean ill: chains, tables and rings that are no such thing.

use super::*;

#[test]
fn hostile_chains_are_refused() {
    each(|how| {
        let mut rig = Rig::new(how);
        rig.put_header(0, 0);
        let end = RAM_MIN_BYTES;
        // Loops: on itself, over two, with a way in.
        rig.refused(&[(HEADER, 16, NEXT, 0)]);
        rig.refused(&[(HEADER, 16, NEXT, 1), (DATA, 512, NEXT | WRITE, 0)]);
        rig.refused(&[
            (HEADER, 16, NEXT, 1),
            (DATA, 512, NEXT | WRITE, 2),
            (DATA, 512, NEXT | WRITE, 1),
        ]);
        // Out of the table.
        rig.refused(&[(HEADER, 16, NEXT, QUEUE_SIZE)]);
        rig.refused(&[(HEADER, 16, NEXT, u16::MAX)]);
        // Outside RAM, over its end, and over the end of the address space.
        for (address, len) in [
            (end, 1),
            (end - 511, 512),
            (u64::MAX, 1),
            (u64::MAX - 511, 512),
            (0, u32::MAX),
        ] {
            rig.refused(&[
                (HEADER, 16, NEXT, 1),
                (address, len, NEXT | WRITE, 2),
                (STATUS, 1, WRITE, 0),
            ]);
        }
        rig.refused(&[(end - 8, 16, NEXT, 1), (STATUS, 1, WRITE, 0)]);
        rig.refused(&[(HEADER, 16, NEXT, 1), (end, 1, WRITE, 0)]);
        // Longer than 2^32 bytes in total.
        rig.refused(&[
            (HEADER, 16, NEXT, 1),
            (0, 0x7f_ffff, NEXT | WRITE, 1),
            (STATUS, 1, WRITE, 0),
        ]);
        // Order, header, status.
        rig.refused(&[(STATUS, 1, NEXT | WRITE, 1), (HEADER, 16, 0, 0)]);
        rig.refused(&[(HEADER, 15, NEXT, 1), (STATUS, 1, WRITE, 0)]);
        rig.refused(&[(STATUS, 1, WRITE, 0)]);
        rig.refused(&[(HEADER, 16, 0, 0)]);
        rig.refused(&[(HEADER, 16, NEXT, 1), (STATUS, 0, WRITE, 0)]);
    });
}

#[test]
fn hostile_indirect_tables_are_refused() {
    each(|how| {
        let mut rig = Rig::new(how);
        // One that loops in itself: 4,096 entries of 16 bytes, each naming the first as its next.
        for entry in 0..4096 {
            rig.put(0x10_0000 + 16 * entry, DATA);
            rig.put(0x10_0000 + 16 * entry + 8, 512_u64 | u64::from(NEXT | WRITE) << 32);
        }
        rig.refused(&[(0x10_0000, 0x1_0000, INDIRECT, 0)]);
        rig.refused(&[(0x10_0000, 17, INDIRECT, 0)]);
        rig.refused(&[(u64::MAX - 15, 16, INDIRECT, 0)]);
        rig.put(0x20_0000 + 12, INDIRECT);
        rig.refused(&[(0x20_0000, 16, INDIRECT, 0)]);
    });
}

#[test]
fn broken_rings_are_an_error_not_a_panic() {
    each(|how| {
        let mut rig = Rig::new(how);
        rig.put_header(0, 0);
        assert_eq!(rig.ring(QUEUE_SIZE).1, None, "a head outside the table");
        let mut rig = Rig::new(how);
        rig.avail = QUEUE_SIZE;
        assert_eq!(rig.ring(0).1, None, "more available than the ring holds");
    });
}

#[test]
fn a_disk_that_overwrites_its_own_ring_ends() {
    // Requests are seen one by one where something might happen to them.
    let one_by_one = SwapFaults {
        latency: crate::swap_faults::Latency::Trace(vec![Duration::ZERO]),
        ..SwapFaults::default()
    };
    each(|how| overwrite_ring(how, &SwapFaults::default(), 1));
    each(|how| overwrite_ring(how, &one_by_one, QUEUE_SIZE));
}

/// Served by who rings, so many requests are carried out before the doorbell's exit returns.
fn overwrite_ring(how: SwapIo, faults: &SwapFaults, at_once: u16) {
    let mut rig = Rig::with(how, faults);
    // Each sector, read over the ring and the request's header behind it, makes another request available: for the
    // next sector.
    let header = AVAIL + 64;
    for sector in 1..100_u16 {
        let mut contents = [0; 512];
        contents[2..4].copy_from_slice(&(sector + QUEUE_SIZE).to_le_bytes());
        contents[72..74].copy_from_slice(&(sector + 1).to_le_bytes());
        rig.file
            .write_all_at(&contents, u64::from(sector) * SECTOR_BYTES)
            .unwrap();
    }
    rig.put(header + 8, 1_u64);
    rig.put_descriptors(&[
        (header, 16, NEXT, 1),
        (AVAIL, 512, NEXT | WRITE, 2),
        (STATUS, 1, WRITE, 0),
    ]);
    rig.put(AVAIL + 2, 1_u16);
    rig.disk.notify(&rig.ram);
    if how == SwapIo::Inline {
        assert_eq!(
            rig.get::<u64>(header + 8),
            u64::from(at_once) + 1,
            "the ring was overwritten each time"
        );
        assert_eq!(
            rig.disk.counters().reads,
            u64::from(at_once),
            "no more than one queue length"
        );
    } else {
        // A thread may go on. Here it ends behind the last sector that was prepared, which makes too much available.
        rig.wait_until(|rig| rig.notices.is_broken());
        assert!(rig.disk.counters().reads >= 100);
    }
}
