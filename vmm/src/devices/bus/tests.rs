use super::*;
use crate::swap_faults::SwapFaults;
use crate::swap_file::{SwapConfig, SwapFile};
use crate::testing::ram;

#[test]
fn every_address_has_at_most_one_owner() {
    let disks = [0, 1].map(|_| {
        let file = SwapFile::open(&SwapConfig::Memory { bytes: 1 << 20 }).unwrap();
        VirtioMmio::new(BlockDevice::new(file.unwrap(), false, &SwapFaults::default()))
    });
    let bus = Bus::new(disks, LabDevice::default());
    for (address, len, expected) in [
        (VIRTIO_MMIO_BASE, 4, Some((Window::Block(0), 0))),
        (VIRTIO_MMIO_BASE + 0xffc, 4, Some((Window::Block(0), 0xffc))),
        (VIRTIO_MMIO_BASE + 0xffd, 4, None),
        (VIRTIO_MMIO_BASE + PAGE_SIZE, 4, Some((Window::Block(1), 0))),
        (VIRTIO_MMIO_BASE + PAGE_SIZE + 0x100, 8, Some((Window::Block(1), 0x100))),
        (VIRTIO_MMIO_BASE + 2 * PAGE_SIZE, 4, None),
        (VIRTIO_MMIO_BASE - 1, 1, None),
        (LAB_MMIO - 1, 1, None),
        (LAB_MMIO + 0x10, 8, Some((Window::Lab, 0x10))),
        (LAB_SCRATCH - 4, 8, None),
        (LAB_SCRATCH, 8, Some((Window::Scratch, 0))),
        (LAB_SCRATCH + PAGE_SIZE, 1, None),
        (u64::MAX, 8, None),
        (0, 8, None),
    ] {
        assert_eq!(bus.window(address, len), expected, "{address:#x}+{len}");
    }
}

#[test]
fn what_nobody_claims_reads_as_all_ones_and_is_counted() {
    let mut bus = Bus::new(None, LabDevice::default());
    let ram = ram();
    let mut session = Session {
        ram: &ram,
        observer: &mut (),
        stats: None,
        host_events: None,
        exits: None,
        requests: None,
        bus: BusCounters::default(),
    };
    let mut data = [0; 8];
    // Without a swap disk nobody answers at its address.
    for address in [VIRTIO_MMIO_BASE, 0xfee0_0000, u64::MAX] {
        data.fill(0);
        bus.mmio_read(address, &mut data);
        assert_eq!(data, [0xff; 8], "{address:#x}");
        assert!(bus.mmio_write(address, &data, &mut session).is_continue());
    }
    for port in [0, 0x3f7, 0x400, 0xffff] {
        data.fill(0);
        bus.pio_read(port, &mut data[..4]);
        assert_eq!(data[..4], [0xff; 4], "{port:#x}");
        bus.pio_write(port, &data);
    }
    bus.pio_write(LAB_PIO_PORT, &[0]);
    bus.mmio_read(LAB_SCRATCH, &mut data);
    assert_eq!(data, [0; 8]);
    let expected = BusCounters {
        hlt: 0,
        pio: 9,
        mmio: 7,
        timer: 0,
        unknown_pio: 8,
        unknown_mmio: 6,
    };
    assert_eq!(bus.counters(), expected);
}

#[test]
fn string_instructions_reach_the_console() {
    let mut bus = Bus::new(None, LabDevice::default());
    bus.pio_write(SERIAL_PORT, b"several bytes at once\n");
    let mut line_status = [0];
    bus.pio_read(SERIAL_PORT + 5, &mut line_status);
    assert_eq!((line_status[0] & 0x20, bus.counters().unknown_pio), (0x20, 0));
}
