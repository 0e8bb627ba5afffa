//! A guest made of chance: random accesses and random memory, biased towards what devices look at. The devices must
//! answer every access, never panic, and keep their books.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faultlab_abi::lab::{kind, reg as lab_reg};
use faultlab_abi::layout::{LAB_MMIO, RAM_MIN_BYTES, VIRTIO_MMIO_BASE};
use virtio_bindings::virtio_mmio as reg;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::Session;
use super::block::BlockDevice;
use super::bus::{Bus, BusCounters};
use super::lab::LabDevice;
use super::virtio_mmio::VirtioMmio;
use crate::bring_back::{BringBack, OutFile};
use crate::memory::GuestRam;
use crate::outcome::End;
use crate::swap_faults::SwapFaults;
use crate::swap_file::{SwapConfig, SwapFile};
use crate::swap_io::SwapIo;
use crate::testing::{ram, skipped};

const ROUNDS: u64 = 300;
const STEPS: u64 = 200;
const DISK_BYTES: u64 = 256 << 10;

/// splitmix64: a seed names a whole run. Source: Steele, Lea and Flood 2014.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    /// A number as a guest would put it somewhere: small, an address, at the end of RAM, or anything.
    fn word(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(16),
            1 => self.below(1024),
            2 => 0x1000 * (1 + self.below(8)),
            3 => RAM_MIN_BYTES - self.below(32),
            4 => u64::MAX - self.below(32),
            _ => self.next(),
        }
    }
}

/// A bus whose disk has got as far as a driver can take it.
fn driven_bus(how: SwapIo, ram: &Arc<GuestRam>, session: &mut Session<'_>) -> Bus {
    let file = SwapFile::open(&SwapConfig::Temporary { bytes: DISK_BYTES })
        .unwrap()
        .unwrap();
    let disk = BlockDevice::served(file, false, &SwapFaults::default(), how, ram, None).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let wanted = ["a", "b"].map(|name| OutFile {
        guest: b"/x".to_vec(),
        host: directory.path().join(name),
    });
    let back = BringBack::claim(&wanted, RAM_MIN_BYTES, 0).unwrap();
    let lab = LabDevice::default().with_files_back(back);
    let mut bus = Bus::new(Some(VirtioMmio::new(disk)), lab);
    for (register, value) in [
        (reg::VIRTIO_MMIO_STATUS, 3),
        (reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1),
        (reg::VIRTIO_MMIO_DRIVER_FEATURES, 1),
        (reg::VIRTIO_MMIO_STATUS, 11),
        (reg::VIRTIO_MMIO_QUEUE_NUM, 8),
        (reg::VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000),
        (reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x2000),
        (reg::VIRTIO_MMIO_QUEUE_USED_LOW, 0x3000),
        (reg::VIRTIO_MMIO_QUEUE_READY, 1),
        (reg::VIRTIO_MMIO_STATUS, 15),
    ] {
        let address = VIRTIO_MMIO_BASE + u64::from(register);
        assert!(bus.mmio_write(address, &u32::to_le_bytes(value), session).is_continue());
    }
    bus
}

/// Leaves a request in memory as a good driver would, makes it available, and mostly spoils one word of it.
fn leave_request(chance: &mut Chance, memory: &GuestMemoryMmap<()>) {
    let put = |address: u64, value: u64| memory.write_obj(value, GuestAddress(address)).unwrap();
    let direction = chance.one_of(&[0, 2]);
    let chain = [
        (0x5000, 16, 1, 1),
        (0x1_0000, 512 * chance.below(9), 1 | direction, 2),
        (0x5ff0, 1, 2, 0),
    ];
    for (index, (address, len, flags, next)) in chain.into_iter().enumerate() {
        let at = 0x1000 + 16 * index as u64;
        put(at, address);
        put(at + 8, len | flags << 32 | next << 48);
    }
    put(0x5000, chance.one_of(&[0, 1, 4, 8, 9]));
    put(0x5008, chance.below(2 * DISK_BYTES / 512));
    let used: u16 = memory.read_obj(GuestAddress(0x3002)).unwrap();
    memory.write_obj(used.wrapping_add(1), GuestAddress(0x2002)).unwrap();
    if chance.below(4) != 0 {
        put(
            chance.one_of(&[0x1000, 0x1000, 0x1000, 0x5000]) + 8 * chance.below(6),
            chance.word(),
        );
    }
}

/// Leaves a command in memory. One that ends the run is rare.
fn leave_command(chance: &mut Chance, memory: &GuestMemoryMmap<()>) {
    let kind = match chance.below(16) as u32 {
        out @ 12.. => kind::OUT_NEXT + out - 12,
        kind::EXIT | kind::PANIC if chance.below(16) != 0 => kind::COLD,
        kind => kind,
    };
    memory.write_obj(kind, GuestAddress(0x4000)).unwrap();
    for word in 1..7 {
        memory
            .write_obj(chance.word(), GuestAddress(0x4000 + 8 * word))
            .unwrap();
    }
}

/// One random act of the guest; `Break` if it ended its run.
fn act(chance: &mut Chance, bus: &mut Bus, session: &mut Session<'_>) -> ControlFlow<End> {
    let memory = session.ram.memory();
    let data = chance.word().to_le_bytes();
    let len = chance.one_of(&[1, 2, 4, 8]);
    match chance.below(8) {
        0..=2 => {
            leave_request(chance, memory);
            let used = || memory.read_obj::<u16>(GuestAddress(0x3002)).unwrap();
            let before = used();
            let rung = bus.mmio_write(
                VIRTIO_MMIO_BASE + u64::from(reg::VIRTIO_MMIO_QUEUE_NOTIFY),
                &[0; 4],
                session,
            );
            // Mostly it waits for an answer, which a device that is broken or not started never gives. If it does not, it
            // changes memory under a thread that serves.
            let since = Instant::now();
            let patience = Duration::from_micros(if chance.below(8) == 0 { 0 } else { 300 });
            while used() == before && since.elapsed() < patience {
                std::thread::yield_now();
            }
            rung
        }
        3 | 4 => {
            leave_command(chance, memory);
            let wild = chance.word();
            let doorbell = chance.one_of(&[0x4000, 0x4000, wild]);
            bus.mmio_write(LAB_MMIO + lab_reg::DOORBELL, &doorbell.to_le_bytes(), session)
        }
        5 => {
            let mut read = [0; 8];
            let wild = chance.word();
            let base = chance.one_of(&[VIRTIO_MMIO_BASE, LAB_MMIO, wild]);
            bus.mmio_read(base.wrapping_add(chance.below(4096)), &mut read[..len]);
            ControlFlow::Continue(())
        }
        6 => {
            bus.pio_write(chance.next() as u16, &data[..len]);
            ControlFlow::Continue(())
        }
        // Rarely, because it may reset the device and end the interesting part of the round.
        _ if chance.below(16) == 0 => bus.mmio_write(VIRTIO_MMIO_BASE + chance.below(512), &data[..len], session),
        _ => bus.mmio_write(LAB_MMIO + chance.below(4096), &data[..len], session),
    }
}

#[test]
fn a_guest_made_of_chance_is_answered() {
    a_guest_made_of_chance(SwapIo::Inline);
}

#[test]
fn a_guest_made_of_chance_is_answered_by_a_thread() {
    a_guest_made_of_chance(SwapIo::Thread);
}

#[test]
fn a_guest_made_of_chance_is_answered_through_io_uring() {
    if SwapIo::Uring.on_this_host() == SwapIo::Uring {
        a_guest_made_of_chance(SwapIo::Uring);
    } else {
        skipped("no io_uring on this host");
    }
}

fn a_guest_made_of_chance(how: SwapIo) {
    let (mut served, mut refused, mut lab_refused, mut ended) = (0, 0, 0, 0);
    for seed in 0..ROUNDS {
        let ram = Arc::new(ram());
        let mut chance = Chance(seed);
        let mut session = Session {
            ram: &ram,
            observer: &mut (),
            stats: None,
            host_events: None,
            exits: None,
            requests: None,
            bus: BusCounters::default(),
        };
        let mut bus = driven_bus(how, &ram, &mut session);
        ended += u64::from((0..STEPS).any(|_| act(&mut chance, &mut bus, &mut session).is_break()));
        let block = &mut bus.blocks[0];
        block.shut_down();
        let counters = block.device().counters();
        let done = counters.reads + counters.writes + counters.flushes;
        let failed = counters.io_errors + counters.unsupported + counters.refused_chains;
        // Requests for the disk's identity are the only ones without a counter of their own.
        assert!(done + failed <= counters.requests, "seed {seed}: {counters:?}");
        served += done;
        refused += failed;
        lab_refused += bus.lab.refused();
    }
    // The rounds reach what they are for.
    assert!(
        served > 100 && refused > 1000 && lab_refused > 1000,
        "{served} {refused} {lab_refused}"
    );
    assert!(ended > 10 && ended < ROUNDS, "{ended}");
}
