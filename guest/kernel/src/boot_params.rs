//! The zero page: what a loader of the Linux 64-bit boot protocol tells the kernel.
//!
//! Source: Linux, Documentation/arch/x86/zero-page.rst and boot.rst; arch/x86/include/uapi/asm/bootparam.h.

use faultlab_abi::layout::{KERNEL_LOAD, RAM_MAX_BYTES};

use crate::le;

/// `E820_TYPE_RAM`.
const E820_RAM: u32 = 1;
/// Entries that the zero page has room for (`E820_MAX_ENTRIES_ZEROPAGE`).
const E820_ENTRIES: usize = 128;
const E820_ENTRY_BYTES: usize = 20;

/// Offsets in the zero page.
mod offset {
    pub(super) const EXT_RAMDISK_IMAGE: usize = 0x0c0;
    pub(super) const EXT_RAMDISK_SIZE: usize = 0x0c4;
    pub(super) const EXT_CMD_LINE_PTR: usize = 0x0c8;
    pub(super) const E820_ENTRIES: usize = 0x1e8;
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    pub(super) const CMD_LINE_PTR: usize = 0x228;
    pub(super) const E820_TABLE: usize = 0x2d0;
}

/// What the kernel needs of the zero page. Addresses are physical, lengths in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootParams {
    /// End of the RAM that the kernel lies in, at most [`RAM_MAX_BYTES`].
    pub ram_end: u64,
    /// The NUL-terminated command line; 0 for none.
    pub cmdline: u64,
    /// The initrd; 0 for none.
    pub initrd: u64,
    /// Its length.
    pub initrd_len: u64,
}

/// No memory range of the zero page contains the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRam;

impl BootParams {
    /// Reads a zero page.
    ///
    /// # Errors
    /// When its memory map has no RAM where the kernel was loaded.
    pub fn parse(page: &[u8; 4096]) -> Result<Self, NoRam> {
        let wide = |low, high| word(page, low) | word(page, high) << 32;
        Ok(Self {
            ram_end: ram_end(page).ok_or(NoRam)?.min(RAM_MAX_BYTES),
            cmdline: wide(offset::CMD_LINE_PTR, offset::EXT_CMD_LINE_PTR),
            initrd: wide(offset::RAMDISK_IMAGE, offset::EXT_RAMDISK_IMAGE),
            initrd_len: wide(offset::RAMDISK_SIZE, offset::EXT_RAMDISK_SIZE),
        })
    }
}

fn word(page: &[u8], at: usize) -> u64 {
    le(page, at).map_or(0, |bytes| u64::from(u32::from_le_bytes(bytes)))
}

/// End of the RAM range that contains the kernel's load address.
fn ram_end(page: &[u8]) -> Option<u64> {
    let entries = usize::from(*page.get(offset::E820_ENTRIES)?).min(E820_ENTRIES);
    (0..entries).find_map(|index| {
        let entry = page.get(offset::E820_TABLE + index * E820_ENTRY_BYTES..)?;
        let start = u64::from_le_bytes(le(entry, 0)?);
        let end = start.checked_add(u64::from_le_bytes(le(entry, 8)?))?;
        let ram = u32::from_le_bytes(le(entry, 16)?) == E820_RAM;
        (ram && (start..end).contains(&KERNEL_LOAD)).then_some(end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_with(ranges: &[(u64, u64, u32)]) -> [u8; 4096] {
        let mut page = [0; 4096];
        page[offset::E820_ENTRIES] = ranges.len() as u8;
        for (index, (start, len, kind)) in ranges.iter().enumerate() {
            let at = offset::E820_TABLE + index * E820_ENTRY_BYTES;
            page[at..at + 8].copy_from_slice(&start.to_le_bytes());
            page[at + 8..at + 16].copy_from_slice(&len.to_le_bytes());
            page[at + 16..at + 20].copy_from_slice(&kind.to_le_bytes());
        }
        page
    }

    #[test]
    fn the_range_around_the_kernel_is_ram() {
        let page = page_with(&[(0, 0x9_fc00, 1), (0x10_0000, 15 << 20, 1), (1 << 32, 1 << 30, 1)]);
        assert_eq!(BootParams::parse(&page).map(|boot| boot.ram_end), Ok(16 << 20));
        let page = page_with(&[(0, 16 << 20, 2), (0, 8 << 20, 1)]);
        assert_eq!(BootParams::parse(&page).map(|boot| boot.ram_end), Ok(8 << 20));
        let page = page_with(&[(0, 1 << 40, 1)]);
        assert_eq!(BootParams::parse(&page).map(|boot| boot.ram_end), Ok(RAM_MAX_BYTES));
    }

    #[test]
    fn no_ram_is_an_error() {
        assert_eq!(BootParams::parse(&page_with(&[])), Err(NoRam));
        assert_eq!(
            BootParams::parse(&page_with(&[(0, 0x10_0000, 1), (u64::MAX, 1, 1)])),
            Err(NoRam)
        );
    }

    #[test]
    fn addresses_have_two_halves() {
        let mut page = page_with(&[(0, 16 << 20, 1)]);
        for (at, value) in [
            (0x218, 0x00e0_0000u32),
            (0x21c, 0x1234),
            (0x228, 0x2_0000),
            (0x0c0, 1),
            (0x0c4, 2),
            (0x0c8, 3),
        ] {
            page[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let boot = BootParams::parse(&page).expect("RAM");
        assert_eq!(
            (boot.initrd, boot.initrd_len, boot.cmdline),
            (0x1_00e0_0000, 0x2_0000_1234, 0x3_0002_0000)
        );
    }
}
