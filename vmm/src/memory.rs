//! Guest RAM: one range from guest-physical 0, and the host memory behind it.
//!
//! # Invariants
//! - RAM is `[0, bytes)`, whole pages, [`RAM_MIN_BYTES`] to [`RAM_MAX_BYTES`]: below the devices, so never under MMIO.
//! - The mapping lives as long as the [`GuestRam`]; the VM's memory slot never outlives it (the [`crate::Vm`] owns both).
//! - The guest runs on the thread that accesses RAM here, or not at all; accesses are volatile all the same, because
//!   the memory belongs to the guest.
//!
//! Source: madvise(2), `MADV_DONTNEED` and `MADV_NOHUGEPAGE`.

use std::io;

use faultlab_abi::lab::PageRange;
use faultlab_abi::layout::{PAGE_SIZE, RAM_MAX_BYTES, RAM_MIN_BYTES};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::error::{KvmError, MemoryError};

/// What backs guest RAM on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backing {
    /// Private anonymous memory in 4 KiB pages (`MADV_NOHUGEPAGE`), populated by touch.
    #[default]
    Anonymous,
}

impl Backing {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Backing::Anonymous => "anon",
        }
    }
}

/// Guest RAM.
#[derive(Debug)]
pub struct GuestRam {
    memory: GuestMemoryMmap<()>,
    host_address: *mut u8,
    bytes: u64,
    backing: Backing,
}

// SAFETY: `host_address` points into the mapping that `memory` owns and shares by `Arc`; it is only handed to madvise
// and KVM, which may be called from any thread.
unsafe impl Send for GuestRam {}

impl GuestRam {
    /// Reserves `bytes` of RAM; no page of it is populated yet.
    ///
    /// # Errors
    /// A size out of range, or a host that has not enough address space.
    pub fn new(bytes: u64, backing: Backing) -> Result<GuestRam, MemoryError> {
        if !(RAM_MIN_BYTES..=RAM_MAX_BYTES).contains(&bytes) || !bytes.is_multiple_of(PAGE_SIZE) {
            return Err(MemoryError::Size { bytes });
        }
        let reserve = |reason: String| MemoryError::Reserve { bytes, reason };
        let region: MmapRegion = MmapRegionBuilder::new(bytes as usize)
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE)
            .build()
            .map_err(|error| reserve(error.to_string()))?;
        let host_address = region.as_ptr();
        // SAFETY: the range is exactly the mapping just made; the advice changes no contents. A kernel without THP
        // answers EINVAL, and then there is nothing to switch off.
        unsafe { libc::madvise(host_address.cast(), bytes as usize, libc::MADV_NOHUGEPAGE) };
        let region = GuestRegionMmap::new(region, GuestAddress(0)).ok_or_else(|| reserve("address overflow".into()))?;
        let memory = GuestMemoryMmap::from_regions(vec![region]).map_err(|error| reserve(error.to_string()))?;
        Ok(GuestRam {
            memory,
            host_address,
            bytes,
            backing,
        })
    }

    /// RAM as vm-memory sees it.
    #[must_use]
    pub fn memory(&self) -> &GuestMemoryMmap<()> {
        &self.memory
    }

    /// Bytes of RAM.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What backs it.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// Address of guest-physical 0 in this process.
    #[must_use]
    pub fn host_address(&self) -> usize {
        self.host_address as usize
    }

    /// Makes RAM slot 0 of `vm`.
    pub(crate) fn register(&self, vm: &VmFd) -> Result<(), KvmError> {
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: self.bytes,
            userspace_addr: self.host_address as u64,
        };
        // SAFETY: the range is the mapping that `self` owns, and the caller keeps `self` as long as `vm`.
        unsafe { vm.set_user_memory_region(region) }.map_err(KvmError::of("KVM_SET_USER_MEMORY_REGION"))
    }

    /// Whether `[start, start + len)` lies in RAM.
    #[must_use]
    pub fn contains(&self, start: u64, len: u64) -> bool {
        start.checked_add(len).is_some_and(|end| end <= self.bytes)
    }

    /// Drops the host's backing of `ranges`: their contents become zero, and their next touch is a second-level
    /// violation. Nothing is dropped unless every range is valid.
    ///
    /// # Errors
    /// A range that is empty, unaligned or outside RAM; or the host refuses.
    pub fn make_cold(&self, ranges: &[PageRange]) -> Result<(), MemoryError> {
        for range in ranges {
            let bytes = range.pages.checked_mul(PAGE_SIZE);
            let valid = range.pages > 0
                && range.start.is_multiple_of(PAGE_SIZE)
                && bytes.is_some_and(|bytes| self.contains(range.start, bytes));
            if !valid {
                return Err(MemoryError::Range {
                    start: range.start,
                    pages: range.pages,
                });
            }
        }
        for range in ranges {
            let offset = range.start as usize;
            let bytes = (range.pages * PAGE_SIZE) as usize;
            // SAFETY: the range was checked to lie in the mapping. Nothing in this process holds a reference into it:
            // it is only accessed volatilely, and the guest expects the zeros.
            let result = unsafe { libc::madvise(self.host_address.add(offset).cast(), bytes, libc::MADV_DONTNEED) };
            if result != 0 {
                return Err(MemoryError::Advise(io::Error::last_os_error()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::*;

    #[test]
    fn sizes_out_of_range_are_refused() {
        for bytes in [
            0,
            RAM_MIN_BYTES - PAGE_SIZE,
            RAM_MAX_BYTES + PAGE_SIZE,
            RAM_MIN_BYTES + 1,
            u64::MAX,
        ] {
            let error = GuestRam::new(bytes, Backing::Anonymous).unwrap_err();
            assert!(error.to_string().contains(&bytes.to_string()), "{error}");
        }
        assert_eq!(
            GuestRam::new(RAM_MAX_BYTES, Backing::Anonymous).unwrap().bytes(),
            RAM_MAX_BYTES
        );
    }

    #[test]
    fn cold_pages_read_as_zero_and_their_neighbours_stay() {
        let ram = GuestRam::new(RAM_MIN_BYTES, Backing::Anonymous).unwrap();
        for page in 0..4 {
            ram.memory()
                .write_obj(page + 1, GuestAddress(page * PAGE_SIZE))
                .unwrap();
        }
        ram.make_cold(&[PageRange {
            start: PAGE_SIZE,
            pages: 2,
        }])
        .unwrap();
        let read = |page: u64| ram.memory().read_obj::<u64>(GuestAddress(page * PAGE_SIZE)).unwrap();
        assert_eq!([read(0), read(1), read(2), read(3)], [1, 0, 0, 4]);
    }

    #[test]
    fn wild_ranges_drop_nothing() {
        let ram = GuestRam::new(RAM_MIN_BYTES, Backing::Anonymous).unwrap();
        ram.memory().write_obj(7_u64, GuestAddress(0)).unwrap();
        let good = PageRange { start: 0, pages: 1 };
        for bad in [
            PageRange { start: 1, pages: 1 },
            PageRange { start: 0, pages: 0 },
            PageRange {
                start: 0,
                pages: RAM_MIN_BYTES / PAGE_SIZE + 1,
            },
            PageRange {
                start: RAM_MIN_BYTES,
                pages: 1,
            },
            PageRange {
                start: PAGE_SIZE,
                pages: u64::MAX,
            },
            PageRange {
                start: !(PAGE_SIZE - 1),
                pages: 1,
            },
        ] {
            assert!(
                matches!(ram.make_cold(&[good, bad]), Err(MemoryError::Range { .. })),
                "{bad:?}"
            );
        }
        assert_eq!(
            ram.memory().read_obj::<u64>(GuestAddress(0)).unwrap(),
            7,
            "a good range before a bad one"
        );
    }
}
