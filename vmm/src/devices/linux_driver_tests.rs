//! The swap disk under what Linux's own driver does: the register accesses of `virtio_mmio` and `virtio_blk`, in their order,
//! and the queue as `virtio_ring` keeps it, with indirect descriptors and the event index, over a disk's life from probe to
//! removal.
//!
//! This is an imitation, written down from the drivers' sources, which takes milliseconds; `tests/accuracy/stock-linux` boots the real one. What differs from
//! the guest kernel's own driver is covered: a table of descriptors a request, several segments, requests in flight that
//! are answered in any order, interrupts acknowledged, a second probe.
//!
//! Source: Linux 6.1, drivers/virtio/virtio_mmio.c, virtio.c, virtio_ring.c (split ring), drivers/block/virtio_blk.c.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::fence;
use std::time::{Duration, Instant};

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO,
    VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_bindings::virtio_mmio as reg;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC, VRING_USED_F_NO_NOTIFY};
use vm_memory::{ByteValued, Bytes, GuestAddress};

use super::block::BlockDevice;
use super::virtio_mmio::VirtioMmio;
use crate::memory::GuestRam;
use crate::swap_faults::SwapFaults;
use crate::swap_file::{SwapConfig, SwapFile};
use crate::swap_io::SwapIo;
use crate::testing::{ram, skipped};

const DISK_BYTES: u64 = 4 << 20;
const PAGE: u64 = 4096;

/// Where the driver has what. Each request has a slot: header, status, table of descriptors, and pages of data.
const DESCRIPTORS: u64 = 0x1_0000;
const AVAIL: u64 = 0x1_2000;
const USED: u64 = 0x1_4000;
const HEADERS: u64 = 0x2_0000;
const TABLES: u64 = 0x4_0000;
const DATA: u64 = 0x20_0000;
const PAGES_A_SLOT: u64 = 8;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Linux's driver, and the device.
struct Linux {
    mmio: VirtioMmio<BlockDevice>,
    ram: Arc<GuestRam>,
    /// Who serves the disk.
    how: SwapIo,
    /// Whether event indices were agreed on (`vq->event`).
    event: bool,
    size: u16,
    /// Requests that were made available.
    available: u16,
    /// The same when the device was last rung, or would have been.
    kicked: u16,
    /// Elements of the used ring that were taken.
    taken: u16,
    interrupts: u32,
    doorbells: u32,
}

impl Linux {
    fn new(how: SwapIo) -> Linux {
        let file = SwapFile::open(&SwapConfig::Memory { bytes: DISK_BYTES })
            .unwrap()
            .unwrap();
        let ram = Arc::new(ram());
        let disk = BlockDevice::served(file, false, &SwapFaults::default(), how, &ram, None).unwrap();
        Linux {
            mmio: VirtioMmio::new(disk),
            ram,
            how,
            event: false,
            size: 0,
            available: 0,
            kicked: 0,
            taken: 0,
            interrupts: 0,
            doorbells: 0,
        }
    }

    fn writel(&mut self, value: u32, register: u32) {
        self.mmio.write(u64::from(register), &value.to_le_bytes(), &self.ram);
    }

    fn readl(&mut self, register: u32) -> u32 {
        let mut data = [0; 4];
        self.mmio.read(u64::from(register), &mut data);
        u32::from_le_bytes(data)
    }

    fn put<T: ByteValued>(&self, address: u64, value: T) {
        self.ram.memory().write_obj(value, GuestAddress(address)).unwrap();
    }

    fn get<T: ByteValued>(&self, address: u64) -> T {
        self.ram.memory().read_obj(GuestAddress(address)).unwrap()
    }

    fn load(&self, address: u64) -> u16 {
        self.ram.memory().load(GuestAddress(address), Acquire).unwrap()
    }

    /// `virtio_add_status`.
    fn add_status(&mut self, bits: u32) {
        let status = self.readl(reg::VIRTIO_MMIO_STATUS);
        self.writel(status | bits, reg::VIRTIO_MMIO_STATUS);
    }

    /// `virtio_mmio_probe`, `virtio_dev_probe` and `virtblk_probe`, up to the disk's being there.
    fn probe(&mut self) {
        assert_eq!(self.readl(reg::VIRTIO_MMIO_MAGIC_VALUE), u32::from_le_bytes(*b"virt"));
        assert_eq!(self.readl(reg::VIRTIO_MMIO_VERSION), 2);
        assert_eq!(self.readl(reg::VIRTIO_MMIO_DEVICE_ID), 2);
        self.readl(reg::VIRTIO_MMIO_VENDOR_ID);
        self.writel(0, reg::VIRTIO_MMIO_STATUS);
        self.add_status(1);
        self.add_status(2);
        let features = self.negotiate();
        assert!(features >> VIRTIO_RING_F_INDIRECT_DESC & 1 == 1);
        self.event = features >> VIRTIO_RING_F_EVENT_IDX & 1 == 1;
        assert_eq!(self.event, self.how != SwapIo::Inline, "where it saves doorbells");
        let config = reg::VIRTIO_MMIO_CONFIG;
        assert_eq!(self.readl(config + 12), 254, "seg_max");
        self.setup_vq();
        assert_eq!(self.readl(config + 20), 512, "blk_size");
        // Limits of discard and write-zeroes.
        for offset in [44, 36, 40, 48] {
            assert_ne!(self.readl(config + offset), 0);
        }
        self.add_status(4);
        assert_eq!(self.readl(reg::VIRTIO_MMIO_STATUS), 15);
        assert_eq!(self.capacity(), DISK_BYTES / 512);
    }

    fn negotiate(&mut self) -> u64 {
        self.writel(1, reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL);
        let high = self.readl(reg::VIRTIO_MMIO_DEVICE_FEATURES);
        self.writel(0, reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL);
        let offered = u64::from(high) << 32 | u64::from(self.readl(reg::VIRTIO_MMIO_DEVICE_FEATURES));
        // What the block driver, the ring and the core know.
        let known = [
            VIRTIO_BLK_F_SEG_MAX,
            VIRTIO_BLK_F_RO,
            VIRTIO_BLK_F_BLK_SIZE,
            VIRTIO_BLK_F_FLUSH,
            VIRTIO_BLK_F_TOPOLOGY,
            VIRTIO_BLK_F_MQ,
            VIRTIO_BLK_F_DISCARD,
            VIRTIO_BLK_F_WRITE_ZEROES,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_RING_F_EVENT_IDX,
            32,
        ];
        let features = offered & known.iter().fold(0, |bits: u64, bit| bits | 1 << bit);
        self.writel(1, reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL);
        self.writel((features >> 32) as u32, reg::VIRTIO_MMIO_DRIVER_FEATURES);
        self.writel(0, reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL);
        self.writel(features as u32, reg::VIRTIO_MMIO_DRIVER_FEATURES);
        self.add_status(8);
        assert!(self.readl(reg::VIRTIO_MMIO_STATUS) & 8 != 0);
        features
    }

    /// `vm_setup_vq`, with the rings zeroed as `vring_create_virtqueue` has them.
    fn setup_vq(&mut self) {
        self.writel(0, reg::VIRTIO_MMIO_QUEUE_SEL);
        assert_eq!(self.readl(reg::VIRTIO_MMIO_QUEUE_READY), 0, "-ENOENT");
        let size = self.readl(reg::VIRTIO_MMIO_QUEUE_NUM_MAX);
        self.size = size as u16;
        for area in (DESCRIPTORS..USED + 6 + 8 * u64::from(size)).step_by(8) {
            self.put(area, 0_u64);
        }
        (self.available, self.kicked, self.taken) = (0, 0, 0);
        self.writel(size, reg::VIRTIO_MMIO_QUEUE_NUM);
        for (register, address) in [
            (reg::VIRTIO_MMIO_QUEUE_DESC_LOW, DESCRIPTORS),
            (reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL),
            (reg::VIRTIO_MMIO_QUEUE_USED_LOW, USED),
        ] {
            self.writel(address as u32, register);
            self.writel((address >> 32) as u32, register + 4);
        }
        self.writel(1, reg::VIRTIO_MMIO_QUEUE_READY);
        self.enable_cb();
    }

    /// `virtio_cread` of 64 bits: halves, between two readings of the generation.
    fn capacity(&mut self) -> u64 {
        loop {
            let generation = self.readl(reg::VIRTIO_MMIO_CONFIG_GENERATION);
            let low = self.readl(reg::VIRTIO_MMIO_CONFIG);
            let high = self.readl(reg::VIRTIO_MMIO_CONFIG + 4);
            if self.readl(reg::VIRTIO_MMIO_CONFIG_GENERATION) == generation {
                return u64::from(high) << 32 | u64::from(low);
            }
        }
    }

    fn data_of(slot: u16) -> u64 {
        DATA + PAGES_A_SLOT * PAGE * u64::from(slot)
    }

    fn status_of(slot: u16) -> u64 {
        HEADERS + 32 * u64::from(slot) + 16
    }

    /// `virtblk_add_req`: header, `segments` of data from `slot`'s pages, status, in a table of their own.
    fn add(&mut self, slot: u16, kind: u32, sector: u64, segments: &[u32]) {
        let header = HEADERS + 32 * u64::from(slot);
        self.put(header, u64::from(kind));
        self.put(header + 8, sector);
        self.put(Self::status_of(slot), 0xff_u8);
        let table = TABLES + 512 * u64::from(slot);
        let to_driver = matches!(kind, VIRTIO_BLK_T_IN | VIRTIO_BLK_T_GET_ID);
        let direction = if to_driver { WRITE } else { 0 };
        let mut entries = vec![(header, 16, NEXT)];
        for (index, len) in segments.iter().enumerate() {
            entries.push((Self::data_of(slot) + PAGE * index as u64, *len, NEXT | direction));
        }
        entries.push((Self::status_of(slot), 1, WRITE));
        for (index, (address, len, flags)) in entries.iter().enumerate() {
            let at = table + 16 * index as u64;
            self.put(at, *address);
            self.put(at + 8, *len);
            self.put(at + 12, *flags);
            self.put(at + 14, index as u16 + 1);
        }
        let at = DESCRIPTORS + 16 * u64::from(slot);
        self.put(at, table);
        self.put(at + 8, 16 * entries.len() as u32);
        self.put(at + 12, INDIRECT);
        self.put(AVAIL + 4 + 2 * u64::from(self.available % self.size), slot);
        self.available = self.available.wrapping_add(1);
        let index = GuestAddress(AVAIL + 2);
        self.ram.memory().store(self.available, index, Release).unwrap();
    }

    /// `virtqueue_kick`: `vring_need_event` decides, or the used ring's flags.
    fn kick(&mut self) {
        fence(SeqCst);
        let (new, old) = (self.available, std::mem::replace(&mut self.kicked, self.available));
        let wanted = if self.event {
            let event = self.load(USED + 4 + 8 * u64::from(self.size));
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            u32::from(self.load(USED)) & VRING_USED_F_NO_NOTIFY == 0
        };
        if wanted {
            self.doorbells += 1;
            self.writel(0, reg::VIRTIO_MMIO_QUEUE_NOTIFY);
        }
    }

    /// `virtqueue_enable_cb`: the next buffer used is to be told, which without event indices all are. Returns whether none is there already.
    fn enable_cb(&mut self) -> bool {
        if self.event {
            self.put(AVAIL + 4 + 2 * u64::from(self.size), self.taken);
        }
        fence(SeqCst);
        self.load(USED + 2) == self.taken
    }

    /// Waits for the interrupt, and does what `vm_interrupt` and `virtblk_done` do. Returns the slots that are done.
    fn interrupt(&mut self) -> Vec<u16> {
        let since = Instant::now();
        let mut status = self.readl(reg::VIRTIO_MMIO_INTERRUPT_STATUS);
        while status == 0 {
            assert!(since.elapsed() < Duration::from_secs(60), "the interrupt never came");
            std::thread::yield_now();
            status = self.readl(reg::VIRTIO_MMIO_INTERRUPT_STATUS);
        }
        self.writel(status, reg::VIRTIO_MMIO_INTERRUPT_ACK);
        assert_eq!(status, 1, "only the queue's");
        self.interrupts += 1;
        let mut done = Vec::new();
        loop {
            while self.load(USED + 2) != self.taken {
                let element = USED + 4 + 8 * u64::from(self.taken % self.size);
                done.push(self.get::<u32>(element) as u16);
                self.taken = self.taken.wrapping_add(1);
            }
            if self.enable_cb() {
                return done;
            }
        }
    }

    /// One request from beginning to end.
    fn submit(&mut self, slot: u16, kind: u32, sector: u64, segments: &[u32]) -> u8 {
        self.add(slot, kind, sector, segments);
        self.kick();
        assert_eq!(self.interrupt(), [slot]);
        self.get(Self::status_of(slot))
    }

    /// `virtblk_remove`, with `vm_del_vq`.
    fn remove(&mut self) {
        self.writel(0, reg::VIRTIO_MMIO_STATUS);
        self.writel(0, reg::VIRTIO_MMIO_QUEUE_SEL);
        self.writel(0, reg::VIRTIO_MMIO_QUEUE_READY);
        assert_eq!(self.readl(reg::VIRTIO_MMIO_QUEUE_READY), 0);
    }

    /// Fills a slot's pages with what says where it belongs.
    fn fill(&self, slot: u16, pages: u64, generation: u64) {
        for page in 0..pages {
            for word in 0..PAGE / 8 {
                let value = u64::from(slot) << 48 | page << 32 | generation << 16 | word;
                self.put(Self::data_of(slot) + PAGE * page + 8 * word, value);
            }
        }
    }

    /// Whether a slot's pages hold that.
    fn holds(&self, slot: u16, pages: u64, generation: u64) -> bool {
        (0..pages).all(|page| {
            (0..PAGE / 8).all(|word| {
                let value: u64 = self.get(Self::data_of(slot) + PAGE * page + 8 * word);
                value == u64::from(slot) << 48 | page << 32 | generation << 16 | word
            })
        })
    }
}

/// What Linux does with a disk that becomes its swap area: finds it, looks for partitions, asks its name, writes and reads
/// clusters with many requests in flight, discards, flushes, and lets it go.
fn a_disks_life(how: SwapIo) {
    let mut linux = Linux::new(how);
    for generation in 0..2 {
        linux.probe();
        // The partition scan, and swapon's look at the header.
        assert_eq!(linux.submit(0, VIRTIO_BLK_T_IN, 0, &[4096]), 0);
        let signature: [u8; 10] = linux.get(Linux::data_of(0) + PAGE - 10);
        assert_eq!(&signature, b"SWAPSPACE2");
        assert_eq!(linux.submit(0, VIRTIO_BLK_T_GET_ID, 0, &[20]), 0);
        assert_eq!(&linux.get::<[u8; 16]>(Linux::data_of(0))[..14], b"faultlab-swap\0");
        // A cluster of writes, and of reads: 32 requests of 8 pages in flight.
        let sector = |slot: u16| (1 + PAGES_A_SLOT * u64::from(slot)) * 8;
        for kind in [VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN] {
            for slot in 0..32 {
                if kind == VIRTIO_BLK_T_OUT {
                    linux.fill(slot, PAGES_A_SLOT, generation);
                } else {
                    linux.put(Linux::data_of(slot), 0_u64);
                }
                linux.add(slot, kind, sector(slot), &[4096; PAGES_A_SLOT as usize]);
                linux.kick();
            }
            let mut done = Vec::new();
            while done.len() < 32 {
                done.extend(linux.interrupt());
            }
            done.sort_unstable();
            assert_eq!(done, (0..32).collect::<Vec<_>>(), "each once");
        }
        for slot in 0..32 {
            assert_eq!(linux.get::<u8>(Linux::status_of(slot)), 0);
            assert!(linux.holds(slot, PAGES_A_SLOT, generation), "slot {slot}");
        }
        // A freed cluster is discarded.
        linux.put(Linux::data_of(0), sector(3));
        linux.put(Linux::data_of(0) + 8, 64_u64);
        assert_eq!(linux.submit(0, VIRTIO_BLK_T_DISCARD, 0, &[16]), 0);
        assert_eq!(linux.submit(0, VIRTIO_BLK_T_IN, sector(3), &[4096]), 0);
        assert_eq!(linux.get::<u64>(Linux::data_of(0) + 8), 0);
        assert_eq!(linux.submit(0, VIRTIO_BLK_T_FLUSH, 0, &[]), 0);
        assert!(linux.interrupts > 0 && linux.doorbells > 0);
        linux.remove();
    }
    assert_eq!(linux.mmio.refused(), 0, "nothing that Linux does is refused");
    linux.mmio.shut_down();
    let counters = linux.mmio.device().counters();
    let failed = counters.io_errors + counters.unsupported + counters.refused_chains;
    assert_eq!((counters.requests, failed), (2 * (2 + 64 + 3), 0), "{counters:?}");
}

#[test]
fn the_disk_lives_under_linuxs_driver() {
    a_disks_life(SwapIo::Inline);
}

#[test]
fn the_disk_lives_under_linuxs_driver_with_a_thread() {
    a_disks_life(SwapIo::Thread);
}

#[test]
fn the_disk_lives_under_linuxs_driver_with_io_uring() {
    if SwapIo::Uring.on_this_host() == SwapIo::Uring {
        a_disks_life(SwapIo::Uring);
    } else {
        skipped("no io_uring on this host");
    }
}
