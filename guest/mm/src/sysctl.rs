//! What an administrator sets in `/proc/sys/vm`, as far as it has no better place: [`crate::overcommit`] and [`crate::ipc`] keep their own.
//!
//! | knob | range | what it does |
//! |---|---|---|
//! | `max_map_count` | 0 to 2^31-1 | VMAs of an address space. Rule B13 |
//! | `mmap_min_addr` | any | lowest address of a mapping. Rule B8 |
//! | `swappiness` | 0 to 200 | kept: it weighs anonymous pages against those of files on a disk, of which there are none. Rule F6 |
//! | `min_free_kbytes` | 0 to 2^31-1 | the watermarks. Rule E2 |
//! | `watermark_scale_factor` | 1 to 3000 | their distance, in ten-thousandths of memory. Rule E2 |
//!
//! Source: Linux, Documentation/admin-guide/sysctl/vm.rst, mm/page_alloc.c (`min_free_kbytes_sysctl_handler`). Rule I6.

use crate::addr::PAGE_SIZE;
use crate::error::Error;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::sync::Word;
use crate::zone::{WATERMARK_SCALE_FACTOR, min_free_kbytes_of};

/// `vm.max_map_count` unless set otherwise. Source: Linux `DEFAULT_MAX_MAP_COUNT`. Rule B13.
pub const MAX_MAP_COUNT: u64 = 65_530;
/// `vm.mmap_min_addr` unless set otherwise. Source: Linux `CONFIG_DEFAULT_MMAP_MIN_ADDR`.
pub const MMAP_MIN_ADDR: u64 = 0x1_0000;
/// `vm.swappiness` unless set otherwise.
const SWAPPINESS: u64 = 60;

/// The values in force.
#[derive(Debug)]
pub(crate) struct Sysctl {
    max_map_count: Word,
    mmap_min_addr: Word,
    swappiness: Word,
    /// What was asked for, plus 1; 0 while it follows from the size of memory.
    min_free_kbytes: Word,
    watermark_scale_factor: Word,
}

impl Sysctl {
    pub(crate) const fn new() -> Self {
        Self {
            max_map_count: Word::new(MAX_MAP_COUNT),
            mmap_min_addr: Word::new(MMAP_MIN_ADDR),
            swappiness: Word::new(SWAPPINESS),
            min_free_kbytes: Word::new(0),
            watermark_scale_factor: Word::new(WATERMARK_SCALE_FACTOR),
        }
    }
}

impl<P: Platform> Memory<P> {
    /// `vm.max_map_count`.
    #[inline(always)]
    pub fn max_map_count(&self) -> u64 {
        self.sysctl.max_map_count.get()
    }

    /// Sets it. Address spaces with more VMAs keep them.
    pub fn set_max_map_count(&self, vmas: u64) {
        self.sysctl.max_map_count.set(vmas);
    }

    /// `vm.mmap_min_addr`, in bytes, a whole number of pages.
    #[inline(always)]
    pub fn mmap_min_addr(&self) -> u64 {
        self.sysctl.mmap_min_addr.get()
    }

    /// Sets it, rounded up to a page. Mappings below it stay.
    pub fn set_mmap_min_addr(&self, addr: u64) {
        self.sysctl
            .mmap_min_addr
            .set(addr.div_ceil(PAGE_SIZE).saturating_mul(PAGE_SIZE));
    }

    /// `vm.swappiness`.
    pub fn swappiness(&self) -> u64 {
        self.sysctl.swappiness.get()
    }

    /// Sets it.
    ///
    /// # Errors
    /// [`Error::Einval`] above 200.
    pub fn set_swappiness(&self, swappiness: u64) -> Result<(), Error> {
        if swappiness > 200 {
            return Err(Error::Einval);
        }
        self.sysctl.swappiness.set(swappiness);
        Ok(())
    }

    /// `vm.min_free_kbytes`, in KiB.
    pub fn min_free_kbytes(&self) -> u64 {
        match self.sysctl.min_free_kbytes.get() {
            0 => min_free_kbytes_of(self.totalram_pages()),
            set => set - 1,
        }
    }

    /// Sets it, and the watermarks with it.
    pub fn set_min_free_kbytes(&self, kib: u64) {
        self.sysctl.min_free_kbytes.set(kib + 1);
        self.setup_watermarks();
    }

    /// `vm.watermark_scale_factor`, in ten-thousandths.
    pub fn watermark_scale_factor(&self) -> u64 {
        self.sysctl.watermark_scale_factor.get()
    }

    /// Sets it, and the watermarks with it.
    ///
    /// # Errors
    /// [`Error::Einval`] outside 1 to 3000.
    pub fn set_watermark_scale_factor(&self, factor: u64) -> Result<(), Error> {
        if !(1..=3000).contains(&factor) {
            return Err(Error::Einval);
        }
        self.sysctl.watermark_scale_factor.set(factor);
        self.setup_watermarks();
        Ok(())
    }

    fn setup_watermarks(&self) {
        self.zone
            .setup_watermarks(self.min_free_kbytes(), self.watermark_scale_factor());
    }
}
