use std::fs::File;
use std::os::unix::fs::FileExt;

use faultlab_abi::layout::RAM_MIN_BYTES;

use std::time::{Duration, Instant};

use virtio_bindings::virtio_blk::{VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES};
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::swap_file::SwapConfig;
use crate::testing::{ram, skipped};

mod faults;
mod hostile;
mod in_flight;
mod neighbours;

const DESCRIPTORS: u64 = 0x1000;
const AVAIL: u64 = 0x2000;
const USED: u64 = 0x3000;
const HEADER: u64 = 0x4000;
const STATUS: u64 = 0x4ff0;
const DATA: u64 = 0x1_0000;
const QUEUE_SIZE: u16 = 16;
const DISK_BYTES: u64 = 1 << 20;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Nothing in these tests takes nearly as long, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test with everybody who may serve the disk.
fn each(test: impl Fn(SwapIo)) {
    for how in SwapIo::ALL {
        if how.on_this_host() == how {
            test(how);
        } else {
            skipped("no io_uring on this host");
        }
    }
}

/// Whether the host keeps books of what goes through the file.
fn has_books(how: SwapIo) -> bool {
    how != SwapIo::Uring
}

/// The device with a queue in RAM, driven by hand.
struct Rig {
    ram: Arc<GuestRam>,
    disk: BlockDevice,
    notices: Arc<Notices>,
    avail: u16,
    features: u64,
    /// The disk's file.
    file: File,
}

/// Address, length, flags, next.
type Descriptor = (u64, u32, u16, u16);

impl Rig {
    fn new(how: SwapIo) -> Rig {
        Rig::with(how, &SwapFaults::default())
    }

    fn with(how: SwapIo, faults: &SwapFaults) -> Rig {
        let file = SwapFile::open(&SwapConfig::Temporary { bytes: DISK_BYTES })
            .unwrap()
            .unwrap();
        Rig::on(how, file, faults, 0)
    }

    /// A driver that took these features.
    fn on(how: SwapIo, file: SwapFile, faults: &SwapFaults, features: u64) -> Rig {
        let ram = Arc::new(ram());
        let clone = file.file().try_clone().unwrap();
        let mut rig = Rig {
            disk: BlockDevice::served(file, has_books(how), faults, how, &ram, None).unwrap(),
            ram,
            notices: Arc::default(),
            avail: 0,
            features,
            file: clone,
        };
        rig.start(features);
        rig
    }

    fn start(&mut self, features: u64) {
        self.features = features;
        let queue = self.queue();
        self.disk.features_accepted(features);
        self.disk.start(queue, &self.notices);
    }

    /// The queue, as a driver that took the features describes it.
    fn queue(&self) -> Queue {
        let mut queue = Queue::new(QUEUE_MAX).unwrap();
        queue.try_set_size(QUEUE_SIZE).unwrap();
        queue.try_set_desc_table_address(GuestAddress(DESCRIPTORS)).unwrap();
        queue.try_set_avail_ring_address(GuestAddress(AVAIL)).unwrap();
        queue.try_set_used_ring_address(GuestAddress(USED)).unwrap();
        queue.set_event_idx(self.features >> VIRTIO_RING_F_EVENT_IDX & 1 == 1);
        queue.set_ready(true);
        queue
    }

    /// Resets the device, and starts it again with these features.
    fn restart(&mut self, features: u64) {
        self.disk.stop();
        self.disk.reset();
        self.put(AVAIL, 0_u32);
        self.put(USED, 0_u32);
        self.avail = 0;
        self.start(features);
    }

    /// Waits until `what` holds.
    #[track_caller]
    fn wait_until(&self, what: impl Fn(&Rig) -> bool) {
        let since = Instant::now();
        while !what(self) {
            assert!(since.elapsed() < PATIENCE, "it never came");
            std::thread::yield_now();
        }
    }

    /// Waits until the device has nothing more to do with what was requested.
    fn settle(&mut self) {
        self.disk.stop();
        let mut queue = self.queue();
        queue.set_next_avail(self.avail);
        queue.set_next_used(self.used());
        self.disk.start(queue, &self.notices);
    }

    /// Makes a read of one sector available, with descriptors, status and data of its own; does not ring.
    fn put_one_sector(&mut self, slot: u16, sector: u64) {
        let (header, at) = (HEADER + 32 * u64::from(slot), u64::from(slot));
        self.put(header, 0_u64);
        self.put(header + 8, sector);
        self.put(STATUS + at, 0xee_u8);
        let first = 3 * slot;
        for (index, (address, len, flags)) in [
            (header, 16, NEXT),
            (DATA + 4096 * at, 512, NEXT | WRITE),
            (STATUS + at, 1, WRITE),
        ]
        .into_iter()
        .enumerate()
        {
            let descriptor = DESCRIPTORS + 16 * (u64::from(first) + index as u64);
            self.put(descriptor, address);
            self.put(descriptor + 8, len as u32);
            self.put(descriptor + 12, flags);
            self.put(descriptor + 14, first + index as u16 + 1);
        }
        self.make_available(first);
    }

    /// Chains that came back so far.
    fn used(&self) -> u16 {
        self.ram
            .memory()
            .load(GuestAddress(USED + 2), std::sync::atomic::Ordering::Acquire)
            .unwrap()
    }

    fn put<T: vm_memory::ByteValued>(&self, address: u64, value: T) {
        self.ram.memory().write_obj(value, GuestAddress(address)).unwrap();
    }

    fn get<T: vm_memory::ByteValued>(&self, address: u64) -> T {
        self.ram.memory().read_obj(GuestAddress(address)).unwrap()
    }

    fn put_header(&self, kind: u32, sector: u64) {
        self.put(HEADER, u64::from(kind));
        self.put(HEADER + 8, sector);
    }

    fn put_descriptors(&self, descriptors: &[Descriptor]) {
        for (index, &(address, len, flags, next)) in descriptors.iter().enumerate() {
            let at = DESCRIPTORS + 16 * index as u64;
            self.put(at, address);
            self.put(at + 8, len);
            self.put(at + 12, flags);
            self.put(at + 14, next);
        }
    }

    /// Makes descriptor `head` available.
    fn make_available(&mut self, head: u16) {
        self.put(AVAIL + 4 + 2 * u64::from(self.avail % QUEUE_SIZE), head);
        self.avail = self.avail.wrapping_add(1);
        let address = GuestAddress(AVAIL + 2);
        let release = std::sync::atomic::Ordering::Release;
        self.ram.memory().store(self.avail, address, release).unwrap();
    }

    /// Makes descriptor `head` available and rings. Returns the status byte, and the length in the used ring if the
    /// chain came back.
    fn ring(&mut self, head: u16) -> (u8, Option<u32>) {
        self.put(STATUS, 0xee_u8);
        let used_before = self.used();
        self.make_available(head);
        self.disk.notify(&self.ram);
        self.wait_until(|rig| rig.used() != used_before || rig.notices.is_broken() || rig.disk.unanswered().is_some());
        let came_back = self.used() != used_before;
        let len = came_back.then(|| self.get(USED + 4 + 8 * u64::from(used_before % QUEUE_SIZE) + 4));
        assert_ne!(self.notices.is_broken(), came_back);
        (self.get(STATUS), len)
    }

    /// A well-formed request: header, data of this direction, status.
    fn request(&mut self, kind: u32, sector: u64, data: (u64, u32), flags: u16) -> (u8, Option<u32>) {
        self.put_header(kind, sector);
        self.put_descriptors(&[
            (HEADER, 16, NEXT, 1),
            (data.0, data.1, NEXT | flags, 2),
            (STATUS, 1, WRITE, 0),
        ]);
        self.ring(0)
    }

    /// A chain that must be refused: it comes back, nothing is written, nothing moves.
    #[track_caller]
    fn refused(&mut self, descriptors: &[Descriptor]) {
        let before = self.disk.counters();
        self.put_descriptors(descriptors);
        assert_eq!(self.ring(0), (0xee, Some(0)), "{descriptors:x?}");
        let expected = BlockCounters {
            requests: before.requests + 1,
            refused_chains: before.refused_chains + 1,
            ..before
        };
        assert_eq!(self.disk.counters(), expected);
    }
}

#[test]
fn what_is_written_reads_back_and_everybody_agrees() {
    each(|how| {
        let mut rig = Rig::new(how);
        let page: Vec<u8> = (0..4096_u32).map(|n| (n * 7) as u8).collect();
        rig.ram.memory().write_slice(&page, GuestAddress(DATA)).unwrap();
        assert_eq!(rig.request(1, 8, (DATA, 4096), 0), (0, Some(1)));
        assert_eq!(rig.request(0, 8, (DATA + 8192, 4096), WRITE), (0, Some(4097)));
        let mut back = vec![0; 4096];
        rig.ram
            .memory()
            .read_slice(&mut back, GuestAddress(DATA + 8192))
            .unwrap();
        assert!(back == page);
        assert_eq!(rig.request(4, 0, (DATA, 0), 0), (0, Some(1)));
        let counters = rig.disk.counters();
        assert_eq!(
            (counters.requests, counters.reads, counters.writes, counters.flushes),
            (3, 1, 1, 1)
        );
        assert_eq!((counters.sectors_read, counters.sectors_written), (8, 8));
        assert_eq!(
            counters.file,
            has_books(how).then_some(FileAccount {
                bytes_read: 4096,
                bytes_written: 4096
            }),
            "the host kernel agrees"
        );
    });
}

#[test]
fn framing_is_free() {
    each(|how| {
        let mut rig = Rig::new(how);
        rig.put_header(1, 16);
        let data: Vec<u8> = (0..1024_u32).map(|n| n as u8).collect();
        rig.ram.memory().write_slice(&data, GuestAddress(HEADER + 16)).unwrap();
        // The header in three pieces, the last of which also holds data; empty buffers in between.
        rig.put_descriptors(&[
            (HEADER, 1, NEXT, 1),
            (0, 0, NEXT, 2),
            (HEADER + 1, 9, NEXT, 3),
            (HEADER + 10, 6 + 700, NEXT, 4),
            (HEADER + 716, 324, NEXT, 5),
            (STATUS, 1, WRITE, 0),
        ]);
        assert_eq!(rig.ring(0), (0, Some(1)));
        rig.put_header(0, 16);
        // Data and status in one buffer.
        rig.put_descriptors(&[(HEADER, 16, NEXT, 1), (STATUS - 1024, 1025, WRITE, 0)]);
        assert_eq!(rig.ring(0), (0, Some(1025)));
        let mut back = vec![0; 1024];
        rig.ram
            .memory()
            .read_slice(&mut back, GuestAddress(STATUS - 1024))
            .unwrap();
        assert!(back == data);
    });
}

#[test]
fn requests_outside_the_disk_or_of_odd_size_fail() {
    each(|how| {
        let mut rig = Rig::new(how);
        let end = DISK_BYTES / SECTOR_BYTES;
        for (kind, sector, bytes, flags) in [
            (0, end - 7, 4096, WRITE),
            (0, end, 512, WRITE),
            (0, u64::MAX, 512, WRITE),
            (0, 0, 511, WRITE),
            (0, 0, 0, WRITE),
            (1, end - 7, 4096, 0),
            (1, u64::MAX - 7, 4096, 0),
            (1, 0, 513, 0),
            // The wrong direction.
            (0, 0, 512, 0),
            (1, 0, 512, WRITE),
        ] {
            assert_eq!(
                rig.request(kind, sector, (DATA, bytes), flags),
                (1, Some(1)),
                "{kind} {sector} {bytes}"
            );
        }
        assert_eq!(rig.request(2, 0, (DATA, 512), 0), (2, Some(1)), "unsupported");
        assert_eq!(rig.request(u32::MAX, 0, (DATA, 512), WRITE), (2, Some(1)));
        let counters = rig.disk.counters();
        assert_eq!(
            (
                counters.io_errors,
                counters.unsupported,
                counters.reads + counters.writes
            ),
            (10, 2, 0)
        );
        assert_eq!(
            counters.file,
            has_books(how).then(FileAccount::default),
            "the file was not touched"
        );
        assert_eq!(
            rig.request(0, end - 8, (DATA, 4096), WRITE),
            (0, Some(4097)),
            "the last page"
        );
    });
}

#[test]
fn a_file_that_shrank_is_an_io_error() {
    each(|how| {
        let mut rig = Rig::new(how);
        rig.file.set_len(4096).unwrap();
        assert_eq!(rig.request(0, 8, (DATA, 4096), WRITE), (1, Some(1)));
        assert_eq!(rig.disk.counters().io_errors, 1);
    });
}

#[test]
fn the_identity_fits_any_buffer() {
    each(|how| {
        let mut rig = Rig::new(how);
        for (bytes, written) in [(20, 20), (5, 5), (512, 20)] {
            assert_eq!(rig.request(8, 0, (DATA, bytes), WRITE), (0, Some(written + 1)));
        }
        assert_eq!(&rig.get::<[u8; 16]>(DATA)[..14], b"faultlab-swap\0");
    });
}

/// A body for discard and write-zeroes.
fn put_ranges(rig: &Rig, ranges: &[(u64, u32, u32)]) -> (u64, u32) {
    for (index, &(sector, sectors, flags)) in ranges.iter().enumerate() {
        let at = DATA + 16 * index as u64;
        rig.put(at, sector);
        rig.put(at + 8, sectors);
        rig.put(at + 12, flags);
    }
    (DATA, 16 * ranges.len() as u32)
}

#[test]
fn discarded_and_zeroed_ranges_read_as_zeroes() {
    each(|how| {
        let mut rig = Rig::new(how);
        let all = 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES;
        rig.file.write_all_at(&[7; 65536], 0).unwrap();
        let body = put_ranges(&rig, &[(8, 8, 0)]);
        assert_eq!(rig.request(11, 0, body, 0), (2, Some(1)), "the feature was not taken");
        rig.restart(all);
        for (kind, ranges) in [(11, [(8, 8, 0), (24, 1, 0)]), (13, [(40, 8, 0), (56, 1, 1)])] {
            let body = put_ranges(&rig, &ranges);
            assert_eq!(rig.request(kind, 0, body, 0), (0, Some(1)));
            for (sector, sectors, _) in ranges {
                let mut back = vec![1; 512 * (sectors as usize + 2)];
                rig.file.read_exact_at(&mut back, (sector - 1) * 512).unwrap();
                let (before, rest) = back.split_at(512);
                let (zeroed, after) = rest.split_at(512 * sectors as usize);
                assert!(zeroed.iter().all(|byte| *byte == 0), "{kind} {sector}");
                assert!(before.iter().chain(after).all(|byte| *byte == 7), "{kind} {sector}");
            }
        }
        let counters = rig.disk.counters();
        assert_eq!((counters.discards, counters.zeroes), (1, 1));
    });
}

#[test]
fn wrong_ranges_are_refused() {
    each(|how| {
        let mut rig = Rig::new(how);
        rig.restart(1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES);
        rig.file.write_all_at(&[7; 65536], 0).unwrap();
        let end = DISK_BYTES / SECTOR_BYTES;
        for (kind, range, status) in [
            (11, (8, 8, 1), 2),
            (11, (8, 8, 2), 2),
            (13, (8, 8, 2), 2),
            (11, (end - 7, 8, 0), 1),
            (11, (u64::MAX, 1, 0), 1),
            (13, (0, u32::MAX, 0), 1),
        ] {
            // A right one first: nothing is done unless all can be.
            let body = put_ranges(&rig, &[(8, 8, 0), range]);
            assert_eq!(rig.request(kind, 0, body, 0), (status, Some(1)), "{kind} {range:x?}");
        }
        for body in [(DATA, 15), (DATA, 0), (DATA, 33 * 16)] {
            assert_eq!(rig.request(11, 0, body, 0).0, 1, "{body:x?}");
        }
        assert_eq!(rig.request(11, 0, (DATA, 16), WRITE).0, 1, "the wrong direction");
        let mut back = [0; 65536];
        rig.file.read_exact_at(&mut back, 0).unwrap();
        assert!(back.iter().all(|byte| *byte == 7), "something was done");
    });
}

#[test]
fn a_request_in_an_indirect_table() {
    each(|how| {
        let mut rig = Rig::new(how);
        assert_ne!(rig.disk.features() & 1 << VIRTIO_RING_F_INDIRECT_DESC, 0);
        rig.put(DATA, 0x1234_5678_u64);
        rig.put_header(1, 8);
        for (index, (address, len, flags, next)) in [
            (HEADER, 16_u32, NEXT, 1_u16),
            (DATA, 4096, NEXT, 2),
            (STATUS, 1, WRITE, 0),
        ]
        .into_iter()
        .enumerate()
        {
            let at = 0x10_0000 + 16 * index as u64;
            rig.put(at, address);
            rig.put(at + 8, len);
            rig.put(at + 12, flags);
            rig.put(at + 14, next);
        }
        rig.put_descriptors(&[(0x10_0000, 48, INDIRECT, 0)]);
        assert_eq!(rig.ring(0), (0, Some(1)));
        let mut back = [0; 8];
        rig.file.read_exact_at(&mut back, 4096).unwrap();
        assert_eq!(u64::from_le_bytes(back), 0x1234_5678);
    });
}
