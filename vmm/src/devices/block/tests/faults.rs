//! A disk that fails on purpose: errors, torn and lost writes, stalls, delays, a full file system, and backends that keep nothing.

use super::*;

fn faults(errors: &str) -> SwapFaults {
    SwapFaults {
        errors: errors.parse().unwrap(),
        ..SwapFaults::default()
    }
}

/// What is on the disk in page 1 after a write of sevens over ones, and how the write ended.
fn faulty_write(how: SwapIo, errors: &str) -> (u8, Vec<u8>, Injected) {
    let mut rig = Rig::with(how, &faults(errors));
    rig.file.write_all_at(&[1; 4096], 4096).unwrap();
    rig.ram.memory().write_slice(&[7; 4096], GuestAddress(DATA)).unwrap();
    let (status, _) = rig.request(1, 8, (DATA, 4096), 0);
    let mut back = vec![0; 4096];
    rig.file.read_exact_at(&mut back, 4096).unwrap();
    (status, back, rig.disk.counters().injected.unwrap())
}

#[test]
fn writes_fail_tear_and_get_lost() {
    each(|how| {
        let injected = Injected::default();
        let half = [[7; 2048], [1; 2048]].concat();
        let expected = Injected {
            write_errors: 1,
            ..injected
        };
        assert_eq!(faulty_write(how, "write:1"), (1, vec![1; 4096], expected));
        let expected = Injected {
            torn_writes: 1,
            ..injected
        };
        assert_eq!(faulty_write(how, "torn:1"), (1, half.clone(), expected));
        let expected = Injected {
            lost_writes: 1,
            ..injected
        };
        assert_eq!(faulty_write(how, "lost:1"), (0, half, expected));
        assert_eq!(faulty_write(how, "read:1"), (0, vec![7; 4096], injected));
    });
}

#[test]
fn reads_fail_but_not_of_the_header() {
    each(|how| {
        let mut rig = Rig::with(how, &faults("read:1"));
        assert_eq!(rig.request(0, 0, (DATA, 4096), WRITE).0, 0);
        assert_eq!(rig.request(0, 8, (DATA, 4096), WRITE).0, 1);
        let injected = rig.disk.counters().injected.unwrap();
        assert_eq!(injected.read_errors, 1);
    });
}

/// The fate of each of 2,000 reads: about a tenth fails, and a seed names which.
#[test]
fn a_seed_names_the_faults() {
    each(|how| {
        let fates = |errors: &str| -> Vec<u8> {
            let mut rig = Rig::with(how, &faults(errors));
            (0..2000).map(|_| rig.request(0, 8, (DATA, 512), WRITE).0).collect()
        };
        let first = fates("read:0.1,seed=5");
        assert!(first == fates("read:0.1,seed=5"));
        assert!(first != fates("read:0.1,seed=6"));
        let failed = first.iter().filter(|status| **status == 1).count();
        // Ten standard deviations either way.
        assert!((66..=334).contains(&failed), "{failed} of 2000");
    });
}

#[test]
fn a_disk_that_stalls_answers_nothing_until_it_is_reset() {
    each(|how| {
        let mut rig = Rig::with(
            how,
            &SwapFaults {
                stall_after: Some(1),
                ..SwapFaults::default()
            },
        );
        assert_eq!(rig.request(0, 8, (DATA, 512), WRITE), (0, Some(513)));
        assert!(rig.disk.unanswered().is_none());
        rig.put_header(0, 16);
        rig.make_available(0);
        for _ in 0..2 {
            rig.disk.notify(&rig.ram);
            rig.wait_until(|rig| rig.disk.unanswered().is_some());
            assert_eq!(rig.used(), 1, "it was answered");
        }
        let waits_for = rig.disk.unanswered().unwrap().to_string();
        for words in ["request 2", "a read of 512 bytes", "sector 16 (page 2)"] {
            assert!(waits_for.contains(words), "{waits_for}");
        }
        assert_eq!(rig.disk.counters().requests, 2);
        rig.restart(0);
        assert!(rig.disk.unanswered().is_none());
    });
}

#[test]
fn a_file_system_that_is_full() {
    each(|how| {
        let mut rig = Rig::with(
            how,
            &SwapFaults {
                space_bytes: Some(8192),
                ..SwapFaults::default()
            },
        );
        for (page, status) in [(1, 0), (2, 0), (3, 1), (1, 0), (4, 1)] {
            assert_eq!(rig.request(1, 8 * page, (DATA, 4096), 0).0, status, "page {page}");
        }
        rig.restart(1 << VIRTIO_BLK_F_DISCARD);
        let body = put_ranges(&rig, &[(8, 8, 0)]);
        assert_eq!(rig.request(11, 0, body, 0).0, 0);
        assert_eq!(rig.request(1, 24, (DATA, 4096), 0).0, 0, "there is space again");
        assert_eq!(rig.disk.counters().injected.unwrap().no_space, 2);
    });
}

#[test]
fn a_late_disk_is_late() {
    each(|how| {
        let mut rig = Rig::with(
            how,
            &SwapFaults {
                latency: "fixed:2ms".parse().unwrap(),
                ..SwapFaults::default()
            },
        );
        let since = Instant::now();
        for _ in 0..5 {
            rig.request(0, 8, (DATA, 512), WRITE);
        }
        assert!(since.elapsed() >= Duration::from_millis(10), "{:?}", since.elapsed());
        let injected = rig.disk.counters().injected.unwrap();
        assert_eq!((injected.delays, injected.delay_ns), (5, 10_000_000));
    });
}

#[test]
fn memory_keeps_and_nothing_forgets() {
    each(|how| {
        let bytes = DISK_BYTES;
        for (config, kept) in [(SwapConfig::Memory { bytes }, 7), (SwapConfig::Null { bytes }, 0)] {
            let file = SwapFile::open(&config).unwrap().unwrap();
            let mut rig = Rig::on(how, file, &SwapFaults::default(), 0);
            rig.ram.memory().write_slice(&[7; 4096], GuestAddress(DATA)).unwrap();
            assert_eq!(rig.request(1, 8, (DATA, 4096), 0).0, 0);
            // Over the end of the header.
            assert_eq!(rig.request(0, 4, (DATA, 4096), WRITE).0, 0);
            assert_eq!(rig.get::<[u8; 10]>(DATA + 2038), *b"SWAPSPACE2", "{config:?}");
            assert_eq!(rig.get::<u8>(DATA + 2048), kept, "{config:?}");
        }
    });
}
