use faultlab_abi::layout::RAM_MIN_BYTES;

use super::*;
use crate::testing::ram;

/// A device that uses up one entry of the used ring each time, or finds its rings broken.
#[derive(Default)]
struct Fake {
    processed: u32,
    broken: bool,
    accepted: u64,
    resets: u32,
    starts: u32,
    queue: Option<(Queue, Arc<Notices>)>,
}

impl VirtioDevice for Fake {
    fn id(&self) -> u32 {
        99
    }

    fn features(&self) -> u64 {
        1 << 3
    }

    fn queue_max(&self) -> u16 {
        16
    }

    fn config(&self) -> &[u8] {
        &[1, 2, 3, 4, 5, 6]
    }

    fn features_accepted(&mut self, features: u64) {
        self.accepted = features;
    }

    fn reset(&mut self) {
        self.resets += 1;
    }

    fn start(&mut self, queue: Queue, notices: &Arc<Notices>) {
        self.starts += 1;
        self.queue = Some((queue, Arc::clone(notices)));
    }

    fn notify(&mut self, ram: &GuestRam) {
        let (queue, notices) = self.queue.as_mut().expect("started");
        self.processed += 1;
        if self.broken {
            notices.broken();
        } else {
            queue.add_used(ram.memory(), 0, 1).unwrap();
            notices.used();
        }
    }

    fn stop(&mut self) {
        assert!(self.queue.take().is_some(), "stopped without having been started");
    }
}

struct Rig {
    ram: GuestRam,
    mmio: VirtioMmio<Fake>,
}

impl Rig {
    fn new() -> Rig {
        Rig {
            ram: ram(),
            mmio: VirtioMmio::new(Fake::default()),
        }
    }

    fn set(&mut self, register: u32, value: u32) {
        self.mmio.write(u64::from(register), &value.to_le_bytes(), &self.ram);
    }

    fn get(&mut self, register: u32) -> u32 {
        let mut data = [0; 4];
        self.mmio.read(u64::from(register), &mut data);
        u32::from_le_bytes(data)
    }

    /// Up to FEATURES_OK with VERSION_1 and the device's own feature.
    fn negotiate(&mut self) {
        self.set(reg::VIRTIO_MMIO_STATUS, 1);
        self.set(reg::VIRTIO_MMIO_STATUS, 3);
        self.set(reg::VIRTIO_MMIO_DRIVER_FEATURES, 1 << 3);
        self.set(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
        self.set(reg::VIRTIO_MMIO_DRIVER_FEATURES, 1);
        self.set(reg::VIRTIO_MMIO_STATUS, 11);
        assert_eq!(self.get(reg::VIRTIO_MMIO_STATUS), 11);
    }

    fn set_queue(&mut self, size: u32, descriptors: u64, avail: u64, used: u64) -> bool {
        self.set(reg::VIRTIO_MMIO_QUEUE_NUM, size);
        for (register, address) in [
            (reg::VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors),
            (reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW, avail),
            (reg::VIRTIO_MMIO_QUEUE_USED_LOW, used),
        ] {
            self.set(register, address as u32);
            self.set(register + 4, (address >> 32) as u32);
        }
        self.set(reg::VIRTIO_MMIO_QUEUE_READY, 1);
        self.get(reg::VIRTIO_MMIO_QUEUE_READY) == 1
    }

    fn drive(&mut self) {
        self.negotiate();
        assert!(self.set_queue(16, 0x1000, 0x2000, 0x3000));
        self.set(reg::VIRTIO_MMIO_STATUS, 15);
    }
}

#[test]
fn a_driver_that_follows_the_protocol() {
    let mut rig = Rig::new();
    assert_eq!(rig.get(reg::VIRTIO_MMIO_MAGIC_VALUE), 0x7472_6976);
    assert_eq!(
        (rig.get(reg::VIRTIO_MMIO_VERSION), rig.get(reg::VIRTIO_MMIO_DEVICE_ID)),
        (2, 99)
    );
    assert_eq!(rig.get(reg::VIRTIO_MMIO_DEVICE_FEATURES), 1 << 3);
    rig.set(reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    assert_eq!(rig.get(reg::VIRTIO_MMIO_DEVICE_FEATURES), 1, "VERSION_1");
    rig.set(reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, 7);
    assert_eq!(rig.get(reg::VIRTIO_MMIO_DEVICE_FEATURES), 0);
    rig.drive();
    rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    assert_eq!(
        (rig.mmio.device().processed, rig.get(reg::VIRTIO_MMIO_INTERRUPT_STATUS)),
        (1, 1)
    );
    rig.set(reg::VIRTIO_MMIO_INTERRUPT_ACK, 1);
    assert_eq!(rig.get(reg::VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    assert_eq!(rig.mmio.refused(), 0);
    rig.set(reg::VIRTIO_MMIO_STATUS, 0);
    assert_eq!(
        (rig.get(reg::VIRTIO_MMIO_STATUS), rig.get(reg::VIRTIO_MMIO_QUEUE_READY)),
        (0, 0)
    );
    rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    assert_eq!(rig.mmio.device().processed, 1, "a reset device does nothing");
}

#[test]
fn steps_out_of_order_are_refused() {
    // Every status from every reachable status: only the four single steps, and writing what is set, may succeed.
    const CHAIN: [u32; 5] = [0, 1, 3, 11, 15];
    for (from, &status) in CHAIN.iter().enumerate() {
        for value in 1..128 {
            let mut rig = Rig::new();
            for &step in &CHAIN[1..=from] {
                if step == 11 {
                    rig.negotiate();
                } else {
                    rig.set(reg::VIRTIO_MMIO_STATUS, step);
                }
            }
            let refused = rig.mmio.refused();
            rig.set(reg::VIRTIO_MMIO_STATUS, value);
            let now = rig.get(reg::VIRTIO_MMIO_STATUS);
            assert_eq!(now & status, status, "{value} in {status} took a bit away");
            assert!(CHAIN.contains(&now), "{value} in {status} gave {now}");
            assert!(
                now != status || value & !64 == status || rig.mmio.refused() == refused + 1,
                "{value} in {status}"
            );
        }
    }
}

#[test]
fn features_must_agree() {
    for (low, high, agrees) in [
        (0, 1, true),
        (1 << 3, 1, true),
        (1 << 4, 1, false),
        (0, 0, false),
        (0, 3, false),
    ] {
        let mut rig = Rig::new();
        rig.set(reg::VIRTIO_MMIO_STATUS, 1);
        rig.set(reg::VIRTIO_MMIO_STATUS, 3);
        rig.set(reg::VIRTIO_MMIO_DRIVER_FEATURES, low);
        rig.set(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
        rig.set(reg::VIRTIO_MMIO_DRIVER_FEATURES, high);
        rig.set(reg::VIRTIO_MMIO_STATUS, 11);
        assert_eq!(rig.get(reg::VIRTIO_MMIO_STATUS) == 11, agrees, "{low:#x} {high:#x}");
    }
}

#[test]
fn queues_outside_ram_do_not_become_ready() {
    let end = RAM_MIN_BYTES;
    for (size, descriptors, avail, used) in [
        (0, 0x1000, 0x2000, 0x3000),
        (3, 0x1000, 0x2000, 0x3000),
        (32, 0x1000, 0x2000, 0x3000),
        (1 << 16, 0x1000, 0x2000, 0x3000),
        (16, 0, 0x2000, 0x3000),
        (16, 0x1008, 0x2000, 0x3000),
        (16, 0x1000, 0x2001, 0x3000),
        (16, 0x1000, 0x2000, 0x3002),
        (16, end - 0xf0, 0x2000, 0x3000),
        (16, 0x1000, end - 0x24, 0x3000),
        (16, 0x1000, 0x2000, end - 0x84),
        (16, !15, 0x2000, 0x3000),
        (16, 0x1_0000_1000, 0x2000, 0x3000),
    ] {
        let mut rig = Rig::new();
        rig.negotiate();
        assert!(
            !rig.set_queue(size, descriptors, avail, used),
            "{size} {descriptors:#x} {avail:#x} {used:#x}"
        );
        rig.set(reg::VIRTIO_MMIO_STATUS, 15);
        rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        assert_eq!(rig.mmio.device().processed, 0);
    }
    let mut rig = Rig::new();
    rig.negotiate();
    assert!(rig.set_queue(16, end - 0x100, end - 0x200, end - 0x300));
}

#[test]
fn doorbells_of_nothing_are_refused() {
    let mut rig = Rig::new();
    rig.negotiate();
    assert!(rig.set_queue(16, 0x1000, 0x2000, 0x3000));
    rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    rig.set(reg::VIRTIO_MMIO_STATUS, 15);
    rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 1);
    rig.set(reg::VIRTIO_MMIO_QUEUE_SEL, 1);
    assert_eq!(
        (
            rig.get(reg::VIRTIO_MMIO_QUEUE_NUM_MAX),
            rig.get(reg::VIRTIO_MMIO_QUEUE_READY)
        ),
        (0, 0)
    );
    rig.set(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    assert_eq!((rig.mmio.device().processed, rig.mmio.refused()), (0, 3));
}

#[test]
fn broken_rings_ask_for_a_reset() {
    let mut rig = Rig::new();
    rig.drive();
    rig.mmio.device.broken = true;
    rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    assert_eq!(
        (
            rig.get(reg::VIRTIO_MMIO_STATUS),
            rig.get(reg::VIRTIO_MMIO_INTERRUPT_STATUS)
        ),
        (15 | 64, 2)
    );
    rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    assert_eq!(rig.mmio.device().processed, 1, "nothing until the reset");
    rig.set(reg::VIRTIO_MMIO_STATUS, 0);
    rig.mmio.device.broken = false;
    rig.drive();
    rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    assert_eq!(rig.mmio.device().processed, 2);
}

#[test]
fn every_offset_and_width_is_answered() {
    let mut rig = Rig::new();
    for offset in 0..4096 {
        for len in [1, 2, 4, 8] {
            let mut data = [0xaa; 8];
            rig.mmio.read(offset, &mut data[..len]);
            rig.mmio.write(offset, &data[..len], &rig.ram);
        }
    }
    let mut config = [0xaa; 8];
    rig.mmio.read(0x102, &mut config);
    assert_eq!(
        config,
        [3, 4, 5, 6, 0, 0, 0, 0],
        "past the end of the configuration is zero"
    );
}

#[test]
fn the_device_is_told_of_features_and_resets() {
    let mut rig = Rig::new();
    rig.negotiate();
    assert_eq!(rig.mmio.device.accepted, 1 << 32 | 1 << 3);
    let resets = rig.mmio.device.resets;
    rig.set(reg::VIRTIO_MMIO_STATUS, 0);
    assert_eq!(rig.mmio.device.resets, resets + 1);
    // Features that were not offered are not accepted.
    rig.mmio.device.accepted = 0;
    rig.set(reg::VIRTIO_MMIO_STATUS, 1);
    rig.set(reg::VIRTIO_MMIO_STATUS, 3);
    rig.set(reg::VIRTIO_MMIO_DRIVER_FEATURES, 1 << 4);
    rig.set(reg::VIRTIO_MMIO_STATUS, 11);
    assert_eq!(rig.mmio.device.accepted, 0);
}

#[test]
fn the_queue_is_the_devices_while_both_sides_are_ready() {
    let mut rig = Rig::new();
    let has_queue = |rig: &Rig| rig.mmio.device().queue.is_some();
    rig.negotiate();
    assert!(rig.set_queue(16, 0x1000, 0x2000, 0x3000));
    assert!(!has_queue(&rig), "the driver is not ready");
    rig.set(reg::VIRTIO_MMIO_STATUS, 15);
    assert!(has_queue(&rig));
    rig.set(reg::VIRTIO_MMIO_STATUS, 15);
    rig.set(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    assert_eq!(rig.mmio.device().starts, 1, "once");
    rig.set(reg::VIRTIO_MMIO_QUEUE_READY, 0);
    assert!(!has_queue(&rig));
    rig.set(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    assert!(has_queue(&rig), "it was described already");
    rig.set(reg::VIRTIO_MMIO_STATUS, 128);
    assert!(!has_queue(&rig), "the driver gave up");
    rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    assert_eq!(rig.mmio.device().processed, 0);
    rig.set(reg::VIRTIO_MMIO_STATUS, 0);
    rig.drive();
    assert!(has_queue(&rig));
    rig.set(reg::VIRTIO_MMIO_STATUS, 0);
    assert!(!has_queue(&rig));
    rig.drive();
    rig.mmio.shut_down();
    assert!(!has_queue(&rig));
}

#[test]
fn a_device_with_broken_rings_gets_no_queue_until_the_reset() {
    let mut rig = Rig::new();
    rig.drive();
    rig.mmio.device.broken = true;
    rig.set(reg::VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    rig.set(reg::VIRTIO_MMIO_QUEUE_READY, 0);
    rig.set(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    assert_eq!(
        (rig.get(reg::VIRTIO_MMIO_QUEUE_READY), rig.mmio.device().starts),
        (1, 1)
    );
}
