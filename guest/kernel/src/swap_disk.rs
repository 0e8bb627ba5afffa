//! The swap disk: a virtio block device that `mkswap` prepared. Slot `n` is the page at byte `n * 4096`.
//!
//! Source: VIRTIO 1.2, 5.2 "Block Device".

use core::cell::Cell;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use faultlab_abi::layout::PAGE_SIZE;
use faultlab_kernel::cmdline::{Region, VIRTIO_MAX};
use faultlab_kernel::swap_header;
use faultlab_mm::addr::Pfn;
use faultlab_mm::platform::IoError;

use crate::global::Global;
use crate::virtio::{Device, QUEUE_MAX, desc, set_descriptor};
use crate::{ram, virtio};

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

/// `struct virtio_blk_req` without its data.
#[repr(C, align(16))]
struct Request {
    kind: AtomicU32,
    reserved: u32,
    sector: AtomicU64,
    status: AtomicU8,
}

/// Bytes of it before the data.
const HEADER_BYTES: u32 = 16;

static REQUEST: Global<Request> = Global::new(Request {
    kind: AtomicU32::new(0),
    reserved: 0,
    sector: AtomicU64::new(0),
    status: AtomicU8::new(0),
});

/// The disk, once found.
#[derive(Clone, Copy)]
struct Disk {
    device: Device,
    /// Most pages in one request.
    pages_max: usize,
}

static DISK: Global<Cell<Option<Disk>>> = Global::new(Cell::new(None));

/// A page for the header.
#[repr(C, align(4096))]
struct Buffer(Cell<[u8; 4096]>);

static HEADER: Global<Buffer> = Global::new(Buffer(Cell::new([0; 4096])));

/// Why there is no swap, in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoSwap(pub(crate) &'static str);

/// Finds the disk and reads its header. Returns its size in pages, the header's included.
///
/// # Errors
/// When there is none, or none that can be used.
pub(crate) fn attach(regions: &[Option<Region>; VIRTIO_MAX]) -> Result<u32, NoSwap> {
    let mut devices = regions
        .iter()
        .flatten()
        .filter_map(|region| Device::find(*region, BLOCK_DEVICE));
    let device = devices.next().ok_or(NoSwap("no block device on the command line"))?;
    let (features, queue) = device.start(F_SEG_MAX | F_RO | F_FLUSH).map_err(NoSwap)?;
    if features & F_RO != 0 {
        return Err(NoSwap("the disk is read-only"));
    }
    let segments = if features & F_SEG_MAX != 0 {
        device.config(CONFIG_SEG_MAX).max(1) as usize
    } else {
        QUEUE_MAX
    };
    let disk = Disk {
        device,
        pages_max: segments.min(queue - 2),
    };
    DISK.set(Some(disk));
    let pages = pages();
    if pages.is_err() {
        DISK.set(None);
    }
    pages
}

/// Whether there is a disk.
pub(crate) fn is_there() -> bool {
    DISK.get().is_some()
}

/// Reads the disk's header: its size in pages, the header's included.
///
/// # Errors
/// When there is no disk, or no swap area on it.
pub(crate) fn pages() -> Result<u32, NoSwap> {
    let disk = DISK.get().ok_or(NoSwap("no block device that can be used"))?;
    let device = disk.device;
    // SAFETY: the buffer is a page that nobody else refers to.
    unsafe { disk.request(T_IN, 0, core::iter::once(ram::phys_of(&raw const HEADER))) }
        .map_err(|IoError| NoSwap("the disk's first page cannot be read"))?;
    let capacity = u64::from(device.config(CONFIG_CAPACITY)) | u64::from(device.config(CONFIG_CAPACITY + 4)) << 32;
    // SAFETY: the device is done with the buffer, and nobody else refers to it.
    let header = unsafe { &*HEADER.0.as_ptr() };
    swap_header::pages(header, capacity / SECTORS_PER_PAGE).map_err(NoSwap)
}

/// Reads consecutive slots into frames.
///
/// # Errors
/// When the disk fails.
pub(crate) fn read(slot: u32, to: &[Pfn]) -> Result<(), IoError> {
    let disk = DISK.get().ok_or(IoError)?;
    let mut at = slot;
    for part in to.chunks(disk.pages_max) {
        // SAFETY: the memory manager gave the frames for this (`Platform::swap_read`).
        unsafe { disk.request(T_IN, at, part.iter().map(|pfn| pfn.phys())) }?;
        at += part.len() as u32;
    }
    Ok(())
}

/// Writes frames to consecutive slots.
///
/// # Errors
/// When the disk fails.
pub(crate) fn write(slot: u32, from: &[Pfn]) -> Result<(), IoError> {
    let disk = DISK.get().ok_or(IoError)?;
    let mut at = slot;
    for part in from.chunks(disk.pages_max) {
        // SAFETY: the device only reads, and the frames stay what they are until it is done.
        unsafe { disk.request(T_OUT, at, part.iter().map(|pfn| pfn.phys())) }?;
        at += part.len() as u32;
    }
    Ok(())
}

impl Disk {
    /// One request for consecutive slots from `slot` on: header, pages, status, in this order of descriptors.
    ///
    /// # Safety
    /// `pages` yields at least one and at most `pages_max` physical addresses of pages, which for `T_IN` are the
    /// device's to write until this returns.
    #[inline(always)]
    unsafe fn request(self, kind: u32, slot: u32, pages: impl Iterator<Item = u64>) -> Result<(), IoError> {
        REQUEST.kind.store(kind, Relaxed);
        REQUEST.sector.store(u64::from(slot) * SECTORS_PER_PAGE, Relaxed);
        REQUEST.status.store(S_UNANSWERED, Relaxed);
        let request = ram::phys_of(&raw const REQUEST.kind);
        let flags = desc::NEXT | if kind == T_IN { desc::WRITE } else { 0 };
        let mut index = 1;
        // SAFETY: header and status are this static's, which only this function uses; the pages are the caller's word.
        unsafe {
            set_descriptor(0, request, HEADER_BYTES, desc::NEXT, 1);
            for page in pages {
                set_descriptor(index, page, PAGE_SIZE as u32, flags, index as u16 + 1);
                index += 1;
            }
            set_descriptor(index, ram::phys_of(&raw const REQUEST.status), 1, desc::WRITE, 0);
        }
        self.device.transfer();
        if REQUEST.status.load(Relaxed) == S_OK {
            Ok(())
        } else {
            Err(IoError)
        }
    }
}

const _: () = assert!(virtio::QUEUE_MAX > 2 + faultlab_mm::swap::CLUSTER_MAX);
