//! Requests that follow each other on the disk.

use super::*;

/// Requests whose places follow each other are one transfer; each is answered, and counted, by itself.
#[test]
fn neighbours_are_one_transfer() {
    each(|how| {
        let mut rig = Rig::new(how);
        for sector in 0..24_u16 {
            rig.file
                .write_all_at(&[sector as u8; 512], u64::from(sector) * SECTOR_BYTES)
                .unwrap();
        }
        // Sectors, one of which lies outside the disk: who follows it is served nevertheless.
        let sectors = [8, 9, 10, DISK_BYTES / SECTOR_BYTES, 11];
        for (slot, sector) in sectors.into_iter().enumerate() {
            rig.put_one_sector(slot as u16, sector);
        }
        rig.disk.notify(&rig.ram);
        rig.wait_until(|rig| rig.used() == 5);
        let status = |slot: u64| rig.get::<u8>(STATUS + slot);
        assert_eq!([0, 1, 2, 3, 4].map(status), [0, 0, 0, 1, 0], "{how:?}");
        for (slot, sector) in [(0, 8), (1, 9), (2, 10), (4, 11)] {
            let mut data = [0xaa; 512];
            rig.ram
                .memory()
                .read_slice(&mut data, GuestAddress(DATA + 4096 * slot))
                .unwrap();
            assert_eq!(data, [sector; 512]);
        }
        let counters = rig.disk.counters();
        assert_eq!((counters.requests, counters.reads, counters.sectors_read), (5, 4, 4));
        assert_eq!(counters.io_errors, 1);
        if let Some(file) = counters.file {
            assert_eq!(file.bytes_read, 4 * 512, "the host's own account");
        }
    });
}

/// What cannot be transferred together is transferred alone: the error is that of the request that it concerns.
#[test]
fn an_error_among_neighbours_is_of_one_alone() {
    each(|how| {
        let mut rig = Rig::new(how);
        // The file ends after the second sector of four, although the disk does not.
        rig.file.set_len(10 * SECTOR_BYTES).unwrap();
        for slot in 0..4 {
            rig.put_one_sector(slot, 8 + u64::from(slot));
        }
        rig.disk.notify(&rig.ram);
        rig.wait_until(|rig| rig.used() == 4);
        let status = |slot: u64| rig.get::<u8>(STATUS + slot);
        assert_eq!([0, 1, 2, 3].map(status), [0, 0, 1, 1], "{how:?}");
        let counters = rig.disk.counters();
        assert_eq!((counters.reads, counters.io_errors), (2, 2));
    });
}
