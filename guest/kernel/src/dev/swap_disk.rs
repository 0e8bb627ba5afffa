//! The swap disks: virtio block devices that `mkswap` prepared, `/dev/vda` and on. The number of a disk is that of its swap area; slot `n` of
//! an area is the page at byte `n * 4096` of its disk.
//!
//! Requests have numbers, over all disks, which are those of their chains. A disk that serves beside the processor answers later, in any order; one that
//! answers before the doorbell's exit returns is never waited for.
//!
//! Source: VIRTIO 1.2, 5.2 "Block Device".

use core::cell::Cell;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use faultlab_abi::layout::PAGE_SIZE;
use faultlab_abi::trace::level;
use faultlab_kernel::cmdline::{Region, VIRTIO_MAX};
use faultlab_kernel::swap_header::Header;
use faultlab_kernel::virtqueue::{Areas, CHAIN_LEN_MAX, CHAINS_MAX, Descriptor, Ring, desc, set};
use faultlab_mm::addr::Pfn;
use faultlab_mm::platform::{Direction, Io, IoError};
use faultlab_mm::swap::{CLUSTER_MAX, IN_FLIGHT_MAX, MAX_SWAPFILES, SwapSlot};

use crate::cpu::x86;
use crate::dev::virtio::{Device, F_EVENT_IDX, F_INDIRECT_DESC};
use crate::global::Global;
use crate::mem::ram;
use crate::report::trace;

/// `VIRTIO_ID_BLOCK`.
const BLOCK_DEVICE: u32 = 2;
const F_SEG_MAX: u64 = 1 << 2;
const F_RO: u64 = 1 << 5;
/// Taken although no flush is ever sent, because a disk that cannot be told to flush must write through its cache, and
/// what is in swap need not outlive the machine. VIRTIO 1.2, 5.2.6.2.
const F_FLUSH: u64 = 1 << 9;
const CONFIG_CAPACITY: u64 = 0;
const CONFIG_SEG_MAX: u64 = 12;
const SECTORS_PER_PAGE: u64 = PAGE_SIZE / 512;

/// Request types.
const T_IN: u32 = 0;
const T_OUT: u32 = 1;
/// Request status, and what no device writes.
const S_OK: u8 = 0;
const S_UNANSWERED: u8 = 0xff;

/// `struct virtio_blk_req` without its data, and what it takes to send it.
#[repr(C, align(16))]
struct Request {
    kind: AtomicU32,
    reserved: u32,
    sector: AtomicU64,
    status: AtomicU8,
    /// Descriptors of all chains but the first, which are of the queue.
    table: [Descriptor; CLUSTER_MAX + 2],
}

impl Request {
    /// Of a request that was answered.
    #[inline(always)]
    fn result(&self) -> Result<(), IoError> {
        if self.status.load(Relaxed) == S_OK {
            Ok(())
        } else {
            Err(IoError)
        }
    }
}

/// Bytes of it before the data.
const HEADER_BYTES: u32 = 16;

static REQUESTS: Global<[Request; CHAINS_MAX]> = Global::new(
    [const {
        Request {
            kind: AtomicU32::new(0),
            reserved: 0,
            sector: AtomicU64::new(0),
            status: AtomicU8::new(0),
            table: [const { [AtomicU64::new(0), AtomicU64::new(0)] }; CLUSTER_MAX + 2],
        }
    }; CHAINS_MAX],
);

/// A bit for each request that is under way, and for each that was answered and not told yet.
static UNDER_WAY: Global<Cell<u32>> = Global::new(Cell::new(0));
static ANSWERED: Global<Cell<u32>> = Global::new(Cell::new(0));

/// A disk.
struct Disk {
    /// Once found.
    device: Cell<Option<Device>>,
    /// Most pages in one request.
    pages_max: Cell<usize>,
    /// Whether it takes chains other than the first.
    indirect: Cell<bool>,
    areas: Areas,
    ring: Ring,
}

static DISKS: Global<[Disk; VIRTIO_MAX]> = Global::new(
    [const {
        Disk {
            device: Cell::new(None),
            pages_max: Cell::new(0),
            indirect: Cell::new(false),
            areas: Areas::new(),
            ring: Ring::new(),
        }
    }; VIRTIO_MAX],
);

/// A page for a header.
#[repr(C, align(4096))]
struct Buffer(Cell<[u8; 4096]>);

static HEADER: Global<Buffer> = Global::new(Buffer(Cell::new([0; 4096])));

/// Why there is no swap, in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoSwap(pub(crate) &'static str);

/// Finds the disks and starts them. Returns how many there are, and why the first that cannot be used cannot.
pub(crate) fn attach(regions: &[Option<Region>; VIRTIO_MAX]) -> (usize, Option<NoSwap>) {
    let devices = regions
        .iter()
        .flatten()
        .filter_map(|region| Device::find(*region, BLOCK_DEVICE));
    let (mut found, mut refused) = (0, None);
    for device in devices {
        match DISKS[found % VIRTIO_MAX].start(device) {
            Ok(()) => found += 1,
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    (found, refused)
}

/// Reads a disk's header.
///
/// # Errors
/// When there is no such disk, or no swap area on it.
pub(crate) fn header(disk: usize) -> Result<Header, NoSwap> {
    const NONE: NoSwap = NoSwap("no block device that can be used");
    let disk = DISKS.get(disk).ok_or(NONE)?;
    let device = disk.device.get().ok_or(NONE)?;
    // SAFETY: the buffer is a page that nobody else refers to.
    unsafe { disk.transfer::<{ level::OFF }>(T_IN, 0, core::iter::once(ram::phys_of(&raw const HEADER))) }
        .map_err(|IoError| NoSwap("the disk's first page cannot be read"))?;
    let capacity = u64::from(device.config(CONFIG_CAPACITY)) | u64::from(device.config(CONFIG_CAPACITY + 4)) << 32;
    // SAFETY: the device is done with the buffer, and nobody else refers to it.
    let header = unsafe { &*HEADER.0.as_ptr() };
    Header::parse(header, capacity / SECTORS_PER_PAGE).map_err(NoSwap)
}

/// Device number of the first disk, and how far apart they are. Source: Linux, drivers/block/virtio_blk.c (`PART_BITS`); its major number is
/// the first that is free, counted down.
const FIRST_RDEV: u64 = 254 << 8;
const RDEV_STEP: u64 = 16;

/// The disk with this device number, if it is there.
pub(crate) fn numbered(rdev: u64) -> Option<usize> {
    let disk = rdev.checked_sub(FIRST_RDEV)?;
    let there = |&(_, number): &(Name, u64)| number == rdev;
    nodes().any(|node| there(&node)).then_some((disk / RDEV_STEP) as usize)
}

/// A disk's path.
pub(crate) type Name = [u8; 8];

/// Paths and device numbers of the disks that are there.
pub(crate) fn nodes() -> impl Iterator<Item = (Name, u64)> {
    let node = |disk: usize| {
        let mut name = *b"/dev/vda";
        name[7] += disk as u8;
        (name, FIRST_RDEV + RDEV_STEP * disk as u64)
    };
    let there = DISKS.iter().enumerate().filter(|(_, disk)| disk.device.get().is_some());
    there.map(move |(disk, _)| node(disk))
}

/// See [`faultlab_mm::Platform::swap_begin`].
#[inline(always)]
pub(crate) fn begin<const LEVEL: u8>(direction: Direction, slot: SwapSlot, frames: &[Pfn]) -> Io {
    let disk = &DISKS[slot.area() % VIRTIO_MAX];
    let kind = if direction == Direction::Read { T_IN } else { T_OUT };
    if frames.len() > disk.pages_max.get() {
        return Io::Done(disk.transfer_in_parts::<LEVEL>(kind, slot.offset(), frames));
    }
    // SAFETY: the memory manager gives the frames for this until it is told the answer (`Platform::swap_begin`).
    unsafe { disk.request::<LEVEL>(kind, slot.offset(), frames.iter().map(|pfn| pfn.phys())) }
}

/// See [`faultlab_mm::Platform::swap_completed`].
pub(crate) fn completed(wait: bool) -> Option<(u32, Result<(), IoError>)> {
    loop {
        DISKS.iter().for_each(Disk::take_answers);
        if ANSWERED.get() != 0 {
            let number = ANSWERED.get().trailing_zeros();
            return Some((number, result_of(number as usize)));
        }
        if !wait {
            return None;
        }
        x86::pause();
    }
}

/// Has the disks interrupt at their next answers, which somebody waits for. What they have answered by now is to be taken in after this.
pub(crate) fn interrupt_when_answered() {
    for disk in DISKS.iter().filter(|disk| disk.device.get().is_some()) {
        disk.ring.interrupt_at_next(&disk.areas);
    }
}

/// The answer to a request that was answered; its number is free.
#[inline(always)]
fn result_of(number: usize) -> Result<(), IoError> {
    ANSWERED.set(ANSWERED.get() & !(1 << number));
    UNDER_WAY.set(UNDER_WAY.get() & !(1 << number));
    REQUESTS[number % CHAINS_MAX].result()
}

impl Disk {
    fn start(&'static self, device: Device) -> Result<(), NoSwap> {
        let wanted = F_SEG_MAX | F_RO | F_FLUSH | F_INDIRECT_DESC | F_EVENT_IDX;
        let (features, size) = device.start(wanted, &self.areas, &self.ring).map_err(NoSwap)?;
        if features & F_RO != 0 {
            return Err(NoSwap("the disk is read-only"));
        }
        let segments = if features & F_SEG_MAX != 0 {
            device.config(CONFIG_SEG_MAX).max(1) as usize
        } else {
            CLUSTER_MAX
        };
        self.pages_max.set(segments.min(size - CHAINS_MAX - 2).min(CLUSTER_MAX));
        self.indirect.set(features & F_INDIRECT_DESC != 0);
        self.device.set(Some(device));
        Ok(())
    }

    #[inline(always)]
    fn take_answers(&self) {
        while let Some(answered) = self.ring.answered(&self.areas) {
            let number = answered.unwrap_or(0);
            ANSWERED.set(ANSWERED.get() | (UNDER_WAY.get() & (1 << number)));
        }
    }

    /// Sends one request for consecutive slots from `slot` on: header, pages, status, in this order of descriptors.
    ///
    /// # Safety
    /// `pages` yields at least one and at most `pages_max` physical addresses of pages, which until the answer are the device's, for `T_IN` to
    /// write.
    #[inline(always)]
    unsafe fn request<const LEVEL: u8>(&self, kind: u32, slot: u32, pages: impl Iterator<Item = u64>) -> Io {
        let Some(device) = self.device.get() else {
            return Io::Done(Err(IoError));
        };
        if UNDER_WAY.get() == 0 {
            // SAFETY: the caller's word.
            unsafe { self.send::<LEVEL>(device, (0, true), kind, slot, pages) };
            // Nothing else is under way on any disk, and this one has answered.
            if self.ring.answered_alone(&self.areas) {
                return Io::Done(REQUESTS[0].result());
            }
            return self.not_answered_yet(0);
        }
        let number = UNDER_WAY.get().trailing_ones() as usize % CHAINS_MAX;
        let direct = number == 0 || !self.indirect.get();
        // SAFETY: the caller's word.
        unsafe { self.send::<LEVEL>(device, (number, direct), kind, slot, pages) };
        self.not_answered_yet(number)
    }

    /// What comes after [`Disk::send`] when the answer was not there at once, or has to be told from others.
    #[cold]
    #[inline(never)]
    fn not_answered_yet(&self, number: usize) -> Io {
        if !self.indirect.get() {
            // It has only one chain, which must not be under way when the next request comes.
            while !self.ring.answered_alone(&self.areas) {
                x86::pause();
            }
            return Io::Done(REQUESTS[number].result());
        }
        UNDER_WAY.set(UNDER_WAY.get() | 1 << number);
        self.take_answers();
        if ANSWERED.get() & 1 << number != 0 {
            return Io::Done(result_of(number));
        }
        Io::Pending(number as u32)
    }

    /// Makes the chain of a request, of the queue's own descriptors or in the request's table, and makes it available.
    ///
    /// # Safety
    /// As for [`Disk::request`].
    #[inline(always)]
    unsafe fn send<const LEVEL: u8>(
        &self,
        device: Device,
        (number, direct): (usize, bool),
        kind: u32,
        slot: u32,
        pages: impl Iterator<Item = u64>,
    ) {
        let request = &REQUESTS[number];
        request.kind.store(kind, Relaxed);
        request.sector.store(u64::from(slot) * SECTORS_PER_PAGE, Relaxed);
        request.status.store(S_UNANSWERED, Relaxed);
        // Descriptors are numbered in the queue, or in their table.
        let (chain, first) = if direct {
            (&self.areas.descriptors[CHAINS_MAX..], CHAINS_MAX as u16)
        } else {
            (&request.table[..], 0)
        };
        let flags = desc::NEXT | if kind == T_IN { desc::WRITE } else { 0 };
        set(
            &chain[0],
            ram::phys_of(&raw const request.kind),
            HEADER_BYTES,
            desc::NEXT,
            first + 1,
        );
        let mut index = 1;
        for page in pages {
            set(&chain[index], page, PAGE_SIZE as u32, flags, first + index as u16 + 1);
            index += 1;
        }
        set(
            &chain[index],
            ram::phys_of(&raw const request.status),
            1,
            desc::WRITE,
            0,
        );
        if !direct {
            let bytes = (index + 1) * size_of::<Descriptor>();
            let table = ram::phys_of(&raw const request.table);
            set(&self.areas.descriptors[number], table, bytes as u32, desc::INDIRECT, 0);
        }
        let rings = self.ring.publish(&self.areas, if direct { 0 } else { number });
        trace::swap_queued::<LEVEL>(slot);
        if rings {
            device.notify();
        }
    }

    /// Waits for the answer to one request.
    #[cold]
    fn wait_for(&self, number: usize) -> Result<(), IoError> {
        while ANSWERED.get() & 1 << number == 0 {
            x86::pause();
            self.take_answers();
        }
        result_of(number)
    }

    /// As [`Disk::request`], and waits.
    ///
    /// # Safety
    /// As there.
    unsafe fn transfer<const LEVEL: u8>(
        &self,
        kind: u32,
        slot: u32,
        pages: impl Iterator<Item = u64>,
    ) -> Result<(), IoError> {
        // SAFETY: the caller's word.
        match unsafe { self.request::<LEVEL>(kind, slot, pages) } {
            Io::Done(result) => result,
            Io::Pending(number) => self.wait_for(number as usize),
        }
    }

    /// For a disk that takes fewer pages at once.
    #[cold]
    fn transfer_in_parts<const LEVEL: u8>(&self, kind: u32, slot: u32, frames: &[Pfn]) -> Result<(), IoError> {
        let mut at = slot;
        for part in frames.chunks(self.pages_max.get().max(1)) {
            // SAFETY: as in `begin`.
            unsafe { self.transfer::<LEVEL>(kind, at, part.iter().map(|pfn| pfn.phys())) }?;
            at += part.len() as u32;
        }
        Ok(())
    }
}

const _: () = assert!(CHAIN_LEN_MAX >= CLUSTER_MAX + 2);
// One number is left for reading a header while as many requests are under way as may be.
const _: () = assert!(IN_FLIGHT_MAX < CHAINS_MAX && VIRTIO_MAX <= MAX_SWAPFILES);
