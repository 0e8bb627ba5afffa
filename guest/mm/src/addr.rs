//! Addresses, frame numbers and counts: one type each, every conversion here.

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes of a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Bits of an address inside its page.
pub const PAGE_MASK: u64 = PAGE_SIZE - 1;
/// 64-bit words of a page.
pub const PAGE_WORDS: usize = 512;

/// Contents of a page frame, or of a structure that lives in one.
pub type Frame = [crate::sync::Word; PAGE_WORDS];

/// A page frame number: physical address / 4096. 32 bits number 16 TiB of RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Pfn(pub u32);

impl Pfn {
    /// Physical address of the frame's first byte.
    #[inline(always)]
    #[must_use]
    pub const fn phys(self) -> u64 {
        (self.0 as u64) << PAGE_SHIFT
    }

    /// The frame that a physical address lies in (addresses up to 16 TiB).
    #[inline(always)]
    #[must_use]
    pub const fn of_phys(addr: u64) -> Self {
        Self((addr >> PAGE_SHIFT) as u32)
    }

    /// As an index of the memory map.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The frame `pages` further on.
    #[inline(always)]
    #[must_use]
    pub const fn offset(self, pages: u32) -> Self {
        Self(self.0 + pages)
    }
}

/// A virtual address of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VirtAddr(pub u64);

impl VirtAddr {
    /// Whether it is the first byte of a page.
    #[inline(always)]
    #[must_use]
    pub const fn is_page_aligned(self) -> bool {
        self.0 & PAGE_MASK == 0
    }

    /// The first byte of its page.
    #[inline(always)]
    #[must_use]
    pub const fn page(self) -> Self {
        Self(self.0 & !PAGE_MASK)
    }

    /// The address `bytes` further on (wraps).
    #[inline(always)]
    #[must_use]
    pub const fn offset(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

/// Bytes rounded up to whole pages, or `None` past the end of the 64-bit range.
#[inline(always)]
#[must_use]
pub const fn page_align(bytes: u64) -> Option<u64> {
    match bytes.checked_add(PAGE_MASK) {
        Some(sum) => Some(sum & !PAGE_MASK),
        None => None,
    }
}

/// Bytes rounded up to whole pages, 0 past the end of the 64-bit range: what Linux's `PAGE_ALIGN` gives.
#[inline(always)]
#[must_use]
pub const fn page_align_wrapping(bytes: u64) -> u64 {
    bytes.wrapping_add(PAGE_MASK) & !PAGE_MASK
}

/// Whole pages that hold `bytes`.
#[inline(always)]
#[must_use]
pub const fn pages_for(bytes: u64) -> u64 {
    (bytes >> PAGE_SHIFT) + (bytes & PAGE_MASK != 0) as u64
}
