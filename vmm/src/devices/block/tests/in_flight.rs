//! Several requests at a time: in any order, late ones beside others, with notifications as negotiated, and when the device is
//! reset or goes away in the middle.

use super::*;
use crate::swap_faults::Latency;

const THREADS: [SwapIo; 2] = [SwapIo::Thread, SwapIo::Uring];

/// Requests that are made at once: each has three descriptors of the table.
const SLOTS: u16 = 5;

/// Runs a test with every thread that may serve the disk.
fn each_thread(test: impl Fn(SwapIo)) {
    each(|how| {
        if THREADS.contains(&how) {
            test(how);
        }
    });
}

fn late(delays_ms: &[u64]) -> SwapFaults {
    SwapFaults {
        latency: Latency::Trace(delays_ms.iter().map(|ms| Duration::from_millis(*ms)).collect()),
        ..SwapFaults::default()
    }
}

impl Rig {
    /// Where the status byte of a slot is.
    fn status_of(slot: u16) -> u64 {
        STATUS - 64 + u64::from(slot)
    }

    /// Makes a request for page `1 + slot` available, with descriptors of its own; does not ring.
    fn put_request(&mut self, slot: u16, kind: u32) {
        let header = HEADER + 32 * u64::from(slot);
        self.put(header, u64::from(kind));
        self.put(header + 8, 8 * (1 + u64::from(slot)));
        self.put(Self::status_of(slot), 0xee_u8);
        let direction = if kind == 0 { WRITE } else { 0 };
        let first = 3 * slot;
        for (index, (address, len, flags)) in [
            (header, 16, NEXT),
            (DATA + 4096 * u64::from(slot), 4096, NEXT | direction),
            (Self::status_of(slot), 1, WRITE),
        ]
        .into_iter()
        .enumerate()
        {
            let at = DESCRIPTORS + 16 * (u64::from(first) + index as u64);
            self.put(at, address);
            self.put(at + 8, len);
            self.put(at + 12, flags);
            self.put(at + 14, first + index as u16 + 1);
        }
        self.make_available(first);
    }

    /// The slots of the chains in the used ring, in its order.
    fn used_slots(&self) -> Vec<u16> {
        let element = |index: u16| USED + 4 + 8 * u64::from(index % QUEUE_SIZE);
        (0..self.used())
            .map(|index| self.get::<u32>(element(index)) as u16 / 3)
            .collect()
    }

    fn statuses(&self) -> Vec<u8> {
        (0..SLOTS).map(|slot| self.get(Self::status_of(slot))).collect()
    }
}

#[test]
fn a_late_request_lets_others_pass() {
    each_thread(|how| {
        let mut rig = Rig::with(how, &late(&[300, 0, 150, 0, 0]));
        (0..SLOTS).for_each(|slot| rig.put_request(slot, 0));
        rig.disk.notify(&rig.ram);
        rig.wait_until(|rig| rig.used() == SLOTS);
        let slots = rig.used_slots();
        assert_eq!(slots[3..], [2, 0], "{slots:?}");
        assert_eq!(rig.statuses(), [0; SLOTS as usize]);
    });
}

#[test]
fn late_requests_are_late_at_the_same_time() {
    each_thread(|how| {
        let took = || {
            let mut rig = Rig::with(how, &late(&[400]));
            let since = Instant::now();
            (0..SLOTS).for_each(|slot| rig.put_request(slot, 1));
            rig.disk.notify(&rig.ram);
            rig.wait_until(|rig| rig.used() == SLOTS);
            let took = since.elapsed();
            assert!(took >= Duration::from_millis(400), "{took:?}");
            let injected = rig.disk.counters().injected.unwrap();
            assert_eq!((injected.delays, injected.delay_ns), (5, 2_000_000_000));
            took
        };
        // One after the other they take two seconds every time; a busy machine makes only some runs slow.
        assert!(
            (0..10).any(|_| took() < Duration::from_millis(1600)),
            "one after the other"
        );
    });
}

#[test]
fn what_is_in_flight_reads_and_writes_what_it_should() {
    each_thread(|how| {
        let mut rig = Rig::new(how);
        for slot in 0..SLOTS {
            let page = [slot as u8 + 1; 4096];
            rig.ram
                .memory()
                .write_slice(&page, GuestAddress(DATA + 4096 * u64::from(slot)))
                .unwrap();
            rig.put_request(slot, 1);
        }
        rig.disk.notify(&rig.ram);
        rig.wait_until(|rig| rig.used() == SLOTS);
        for slot in 0..SLOTS {
            rig.put(DATA + 4096 * u64::from(slot), 0_u64);
            rig.put_request(slot, 0);
        }
        rig.disk.notify(&rig.ram);
        rig.wait_until(|rig| rig.used() == 2 * SLOTS);
        for slot in 0..SLOTS {
            let page: [u8; 16] = rig.get(DATA + 4096 * u64::from(slot));
            assert_eq!(page, [slot as u8 + 1; 16], "{how:?}");
        }
        let counters = rig.disk.counters();
        assert_eq!((counters.requests, counters.reads, counters.writes), (10, 5, 5));
    });
}

#[test]
fn a_reset_forgets_late_requests_and_leaves_memory_alone() {
    each_thread(|how| {
        let mut rig = Rig::with(how, &late(&[0, 60_000, 60_000, 60_000, 0]));
        (0..SLOTS).for_each(|slot| rig.put_request(slot, 0));
        rig.disk.notify(&rig.ram);
        rig.wait_until(|rig| rig.used() == 2);
        let since = Instant::now();
        rig.restart(0);
        assert!(since.elapsed() < Duration::from_secs(30), "it waited for late requests");
        assert_eq!(rig.statuses(), [0, 0xee, 0xee, 0xee, 0]);
        rig.put_request(0, 0);
        rig.disk.notify(&rig.ram);
        rig.wait_until(|rig| rig.used() == 1);
        assert_eq!(
            rig.statuses(),
            [0, 0xee, 0xee, 0xee, 0],
            "the requests from before the reset are gone"
        );
    });
}

#[test]
fn after_a_reset_the_device_touches_nothing() {
    each_thread(|how| {
        let mut rig = Rig::new(how);
        rig.file.write_all_at(&[7; 65536], 0).unwrap();
        for round in 0..100 {
            (0..SLOTS).for_each(|slot| rig.put_request(slot, 0));
            rig.disk.notify(&rig.ram);
            rig.disk.stop();
            // Each was either answered whole or not taken.
            let used = rig.used();
            let (answered, not) = rig.statuses().iter().fold((0, 0), |(yes, no), status| match status {
                0 => (yes + 1, no),
                0xee => (yes, no + 1),
                other => panic!("status {other}"),
            });
            assert_eq!((answered, not), (used, SLOTS - used), "round {round}");
            for slot in 0..SLOTS {
                rig.put(DATA + 4096 * u64::from(slot), 0x1111_u64);
            }
            rig.restart(0);
            rig.disk.stop();
            for slot in 0..SLOTS {
                assert_eq!(rig.get::<u64>(DATA + 4096 * u64::from(slot)), 0x1111, "round {round}");
            }
            rig.restart(0);
        }
    });
}

#[test]
fn a_disk_that_goes_away_takes_its_thread_along() {
    each_thread(|how| {
        let file = SwapFile::open(&SwapConfig::Memory { bytes: DISK_BYTES })
            .unwrap()
            .unwrap();
        let mut rig = Rig::on(how, file, &late(&[60_000]), 0);
        rig.put_request(0, 0);
        rig.disk.notify(&rig.ram);
        // The thread holds the memory from the moment it is made on, whether or not it has run yet.
        assert!(Arc::strong_count(&rig.ram) > 1, "the disk is served by nobody");
        let ram = Arc::downgrade(&rig.ram);
        drop(rig);
        assert!(ram.upgrade().is_none(), "somebody still holds guest memory");
    });
}

/// VIRTIO 1.2, 2.7.7: with the event index, the driver hears of the buffer that it names, and of no other.
#[test]
fn the_driver_hears_of_what_it_asked_for() {
    const USED_EVENT: u64 = AVAIL + 4 + 2 * QUEUE_SIZE as u64;
    each(|how| {
        let mut rig = Rig::new(how);
        rig.restart(1 << VIRTIO_RING_F_EVENT_IDX);
        for (used_event, interrupts) in [(7_u16, 0), (1, 1), (1, 0)] {
            rig.put(USED_EVENT, used_event);
            rig.notices.acknowledge(u32::MAX);
            rig.request(0, 8, (DATA, 512), WRITE);
            // The thread says so after it has given the chain back.
            rig.settle();
            assert_eq!(rig.notices.interrupts(), interrupts, "{how:?} {used_event}");
        }
        let mut rig = Rig::new(how);
        rig.request(0, 8, (DATA, 512), WRITE);
        rig.settle();
        assert_eq!(rig.notices.interrupts(), 1, "without it, of every buffer");
    });
}

/// VIRTIO 1.2, 2.7.10: the device says from which request on it wants to be rung, or that it does not want to be at all.
#[test]
fn a_device_that_sleeps_wants_to_be_rung() {
    const AVAIL_EVENT: u64 = USED + 4 + 8 * QUEUE_SIZE as u64;
    each(|how| {
        let mut rig = Rig::new(how);
        rig.restart(1 << VIRTIO_RING_F_EVENT_IDX);
        for count in 1..=5_u16 {
            rig.request(0, 8, (DATA, 512), WRITE);
            rig.wait_until(|rig| rig.get::<u16>(AVAIL_EVENT) == count);
        }
        assert_eq!(rig.get::<u16>(USED), 0, "flags are not used with the event index");
        let mut rig = Rig::new(how);
        rig.request(0, 8, (DATA, 512), WRITE);
        rig.wait_until(|rig| rig.get::<u16>(USED) == 0);
    });
}
