//! RAM and the lab window, as the guest addresses them.

use std::ops::Range;

use faultlab_abi::dev::{HostInfo, NAME_BYTES, host_flag};
use faultlab_abi::lab::PageRange;
use faultlab_abi::layout::{PAGE_SIZE, RAM_MAX_BYTES, RAM_MIN_BYTES, WINDOW, WINDOW_MAX_BYTES};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use super::backing::Backed;
use super::{Backing, BackingOptions};
use crate::error::{KvmError, MemoryError};

/// Memory slots of the VM.
const RAM_SLOT: u32 = 0;
pub(super) const WINDOW_SLOT: u32 = 1;

/// How much memory a guest has, and what backs it.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// RAM, in bytes: 8 MiB to 3 GiB in whole pages.
    pub bytes: u64,
    /// The lab window, in bytes: whole granules of the backing up to 16 GiB; 0 for none.
    pub window_bytes: u64,
    /// What backs both.
    pub backing: Backing,
    /// Details of that.
    pub options: BackingOptions,
}

/// Guest RAM, and the lab window.
#[derive(Debug)]
pub struct GuestRam {
    // Refers to the areas below, so it goes first.
    memory: GuestMemoryMmap<()>,
    ram: Backed,
    window: Option<Backed>,
    bytes: u64,
    backing: Backing,
}

impl GuestRam {
    /// Reserves `bytes` of RAM, without a window; no page of it is populated yet.
    ///
    /// # Errors
    /// A size out of range, or a host that has not enough address space or cannot back memory so.
    pub fn new(bytes: u64, backing: Backing) -> Result<GuestRam, MemoryError> {
        GuestRam::with(&MemoryConfig {
            bytes,
            window_bytes: 0,
            backing,
            options: BackingOptions::default(),
        })
    }

    /// Reserves RAM and the window.
    ///
    /// # Errors
    /// As [`GuestRam::new`].
    pub fn with(config: &MemoryConfig) -> Result<GuestRam, MemoryError> {
        let MemoryConfig {
            bytes,
            window_bytes,
            backing,
            ref options,
        } = *config;
        let granule = backing.granule_bytes();
        if !(RAM_MIN_BYTES..=RAM_MAX_BYTES).contains(&bytes) || !bytes.is_multiple_of(PAGE_SIZE) {
            return Err(MemoryError::Size { bytes });
        }
        if window_bytes > WINDOW_MAX_BYTES || !window_bytes.is_multiple_of(granule) {
            return Err(MemoryError::WindowSize {
                bytes: window_bytes,
                granule,
            });
        }
        let ram_bytes = bytes.next_multiple_of(granule);
        let ram = backing.map(ram_bytes, 0, options)?;
        let window = (window_bytes > 0).then(|| backing.map(window_bytes, ram_bytes, options));
        let window = window.transpose()?;
        Ok(GuestRam {
            memory: view(&ram, bytes)?,
            ram,
            window,
            bytes,
            backing,
        })
    }

    /// RAM as vm-memory sees it; the window is not in it.
    #[must_use]
    pub fn memory(&self) -> &GuestMemoryMmap<()> {
        &self.memory
    }

    /// Faults in RAM and window that threads of the VMM answered so far.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.ram.store.served() + self.window.as_ref().map_or(0, |window| window.store.served())
    }

    /// Bytes of RAM.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the lab window; 0 without one.
    #[must_use]
    pub fn window_bytes(&self) -> u64 {
        self.window.as_ref().map_or(0, |window| window.area.bytes())
    }

    /// What backs both.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// What programs are told about it; flags of the dirty log are not this module's.
    #[must_use]
    pub fn host_info(&self) -> HostInfo {
        let mut name = [0; NAME_BYTES];
        let text = self.backing.name().as_bytes();
        name[..text.len()].copy_from_slice(text);
        let granule_bytes = self.backing.granule_bytes();
        let mut flags = 0;
        if self.backing.cold_keeps_contents() {
            flags |= host_flag::COLD_KEEPS;
        }
        if granule_bytes == PAGE_SIZE {
            flags |= host_flag::COLD_FREE;
        }
        HostInfo {
            backing: name,
            granule_bytes,
            window_bytes: self.window_bytes(),
            flags,
        }
    }

    /// Address of guest-physical 0 in this process.
    #[must_use]
    pub fn host_address(&self) -> usize {
        self.ram.area.as_ptr() as usize
    }

    /// Addresses, in this process, that guest memory takes up.
    pub(crate) fn host_addresses(&self) -> Vec<Range<usize>> {
        let window = self.window.as_ref();
        window
            .into_iter()
            .chain([&self.ram])
            .map(|backed| backed.area.reserved())
            .collect()
    }

    /// Makes RAM and the window memory slots of `vm`.
    pub(crate) fn register(&self, vm: &VmFd) -> Result<(), KvmError> {
        let slots = [Some(self.ram_slot()), self.window_slot(0)];
        for slot in slots.into_iter().flatten() {
            // SAFETY: the range is mapped as long as `self` lives, and the caller keeps `self` as long as `vm`.
            unsafe { vm.set_user_memory_region(slot) }.map_err(KvmError::of("KVM_SET_USER_MEMORY_REGION"))?;
        }
        Ok(())
    }

    fn ram_slot(&self) -> kvm_userspace_memory_region {
        kvm_userspace_memory_region {
            slot: RAM_SLOT,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: self.bytes,
            userspace_addr: self.ram.area.as_ptr() as u64,
        }
    }

    /// The window's memory slot with these `KVM_MEM_*` flags.
    pub(crate) fn window_slot(&self, flags: u32) -> Option<kvm_userspace_memory_region> {
        let area = &self.window.as_ref()?.area;
        Some(kvm_userspace_memory_region {
            slot: WINDOW_SLOT,
            flags,
            guest_phys_addr: WINDOW,
            memory_size: area.bytes(),
            userspace_addr: area.as_ptr() as u64,
        })
    }

    /// All of RAM, and all of the window.
    pub(crate) fn ranges(&self) -> Vec<PageRange> {
        let ranges = [(0, self.bytes), (WINDOW, self.window_bytes())].map(|(start, bytes)| PageRange {
            start,
            pages: bytes / PAGE_SIZE,
        });
        ranges.into_iter().filter(|range| range.pages > 0).collect()
    }

    /// Whether `[start, start + len)` lies in RAM.
    #[must_use]
    pub fn contains(&self, start: u64, len: u64) -> bool {
        start.checked_add(len).is_some_and(|end| end <= self.bytes)
    }

    /// Drops the host's backing of `ranges`, of RAM or the window, so that their next touch is a second-level violation.
    /// Nothing is dropped unless every range is valid.
    ///
    /// # Errors
    /// A range that is empty, outside guest memory, or not whole granules; or the host refuses.
    pub fn make_cold(&self, ranges: &[PageRange]) -> Result<(), MemoryError> {
        let parts = self.parts(ranges)?;
        let granule = self.backing.granule_bytes();
        for (range, (_, part)) in ranges.iter().zip(&parts) {
            if !part.start.is_multiple_of(granule) || !part.end.is_multiple_of(granule) {
                return Err(MemoryError::Granule {
                    start: range.start,
                    pages: range.pages,
                    granule,
                });
            }
        }
        for (backed, part) in parts {
            backed
                .store
                .make_cold(&backed.area, &part)
                .map_err(MemoryError::Advise)?;
        }
        Ok(())
    }

    /// Has the host back `ranges`.
    ///
    /// # Errors
    /// A range that is empty or outside guest memory; or the host has no memory left.
    pub fn populate(&self, ranges: &[PageRange]) -> Result<(), MemoryError> {
        for (backed, part) in self.parts(ranges)? {
            let ahead = backed.store.read_ahead(&part);
            ahead
                .and_then(|()| backed.area.populate(&part))
                .map_err(MemoryError::Populate)?;
        }
        Ok(())
    }

    /// How many 4 KiB pages of `ranges` the host has backed.
    ///
    /// # Errors
    /// A range that is empty or outside guest memory; or the host does not tell.
    pub fn present(&self, ranges: &[PageRange]) -> Result<u64, MemoryError> {
        let parts = self.parts(ranges)?.into_iter();
        let counts = parts.map(|(backed, part)| backed.area.present(&part).map_err(MemoryError::Present));
        counts.sum()
    }

    /// What is behind each range, in bytes from the start of its area.
    fn parts(&self, ranges: &[PageRange]) -> Result<Vec<(&Backed, Range<u64>)>, MemoryError> {
        ranges.iter().map(|range| self.part(*range)).collect()
    }

    fn part(&self, PageRange { start, pages }: PageRange) -> Result<(&Backed, Range<u64>), MemoryError> {
        if pages == 0 || !start.is_multiple_of(PAGE_SIZE) {
            return Err(MemoryError::Range { start, pages });
        }
        let areas = [
            (0, self.bytes, Some(&self.ram)),
            (WINDOW, self.window_bytes(), self.window.as_ref()),
        ];
        let found = areas.into_iter().find_map(|(base, bytes, backed)| {
            let first = start.checked_sub(base)?;
            let end = pages.checked_mul(PAGE_SIZE)?.checked_add(first)?;
            (end <= bytes).then_some((backed?, first..end))
        });
        found.ok_or(MemoryError::Outside { start, pages })
    }

    /// Pages `range`, counted from the window's start, if it lies in the window.
    pub(crate) fn window_pages(&self, range: PageRange) -> Result<Range<u64>, MemoryError> {
        let (_, part) = self.part(range)?;
        if range.start < WINDOW {
            return Err(MemoryError::Outside {
                start: range.start,
                pages: range.pages,
            });
        }
        Ok(part.start / PAGE_SIZE..part.end / PAGE_SIZE)
    }
}

/// RAM for vm-memory. The mapping stays the area's.
fn view(ram: &Backed, bytes: u64) -> Result<GuestMemoryMmap<()>, MemoryError> {
    let reserve = |reason: String| MemoryError::Reserve { bytes, reason };
    // SAFETY: the area is mapped and at least so long, and outlives what is made here (order of `GuestRam`'s fields).
    let region = unsafe { MmapRegionBuilder::new(bytes as usize).with_raw_mmap_pointer(ram.area.as_ptr()) }
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_NORESERVE)
        .build()
        .map_err(|error| reserve(error.to_string()))?;
    let region = GuestRegionMmap::new(region, GuestAddress(0)).ok_or_else(|| reserve("address overflow".into()))?;
    GuestMemoryMmap::from_regions(vec![region]).map_err(|error| reserve(error.to_string()))
}

#[cfg(test)]
mod tests;
