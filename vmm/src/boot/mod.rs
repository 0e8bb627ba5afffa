//! The Linux 64-bit boot protocol: from an ELF kernel and a program to a vCPU at the kernel's entry.
//!
//! | module | what is in it |
//! |---|---|
//! | `cmdline` | the kernel's parameters |
//! | [`files`] | what is brought into the guest's root |
//! | `initrd` | the archive with the program, its arguments and its environment |
//! | `zero_page` | `boot_params`: memory map, where command line and initrd are |
//! | `entry` | GDT, page tables and registers at the entry |
//! | [`program`] | is this file a program that the guest can run? |
//! | [`symbols`] | names for the kernel's addresses |
//!
//! The map is drawn in [`faultlab_abi::layout`]. RAM is written here directly, before the guest runs; nothing is copied
//! on the way.
//!
//! Source: Linux, Documentation/arch/x86/boot.rst, "64-bit Boot Protocol", and zero-page.rst.

mod cmdline;
pub mod entry;
pub mod files;
mod initrd;
pub mod program;
pub mod symbols;
mod zero_page;

use std::io::Cursor;

use faultlab_abi::layout::{KERNEL_LOAD, PAGE_SIZE};
use linux_loader::loader::{Elf, KernelLoader};
use vm_memory::GuestAddress;

pub(crate) use self::cmdline::CommandLine;
pub(crate) use self::entry::configure_vcpu;
pub(crate) use self::initrd::Initrd;

use crate::error::BootError;
use crate::memory::GuestRam;

/// RAM that a kernel needs beyond its image and the initrd before a program can start, in bytes.
const HEADROOM_BYTES: u64 = 2 << 20;

/// What is booted.
pub(crate) struct BootImage<'a> {
    /// An ELF kernel whose entry is a physical address.
    pub(crate) kernel: &'a [u8],
    /// Its parameters.
    pub(crate) command_line: &'a CommandLine,
    /// What it runs.
    pub(crate) initrd: &'a Initrd<'a>,
}

/// Writes everything into RAM. Returns the guest-physical entry address.
pub(crate) fn load(ram: &GuestRam, image: &BootImage<'_>) -> Result<u64, BootError> {
    let kernel_end = kernel_end(image.kernel)?;
    let initrd_bytes = image.initrd.bytes();
    let needed = kernel_end + initrd_bytes + HEADROOM_BYTES;
    if needed > ram.bytes() {
        let suggestion = needed.div_ceil(1 << 20);
        return Err(BootError::TooSmall {
            needed,
            available: ram.bytes(),
            suggestion,
        });
    }
    let loaded = Elf::load(
        ram.memory(),
        None,
        &mut Cursor::new(image.kernel),
        Some(GuestAddress(KERNEL_LOAD)),
    )
    .map_err(|error| BootError::Kernel(error.to_string()))?;
    let initrd_start = (ram.bytes() - initrd_bytes) / PAGE_SIZE * PAGE_SIZE;
    image.initrd.write(ram, initrd_start)?;
    image.command_line.write(ram)?;
    zero_page::write(ram, initrd_start, initrd_bytes, image.command_line.bytes())?;
    entry::write_tables(ram)?;
    Ok(loaded.kernel_load.0)
}

/// Guest-physical address after the kernel's last segment, its zero-initialised part included.
fn kernel_end(kernel: &[u8]) -> Result<u64, BootError> {
    use object::Endianness;
    use object::elf::{FileHeader64, PT_LOAD};
    use object::read::elf::{FileHeader, ProgramHeader};

    let refuse = |error: object::Error| BootError::Kernel(error.to_string());
    let header = FileHeader64::<Endianness>::parse(kernel).map_err(refuse)?;
    let endian = header.endian().map_err(refuse)?;
    let segments = header.program_headers(endian, kernel).map_err(refuse)?;
    let loads = segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
    let end = loads
        .filter_map(|segment| segment.p_paddr(endian).checked_add(segment.p_memsz(endian)))
        .max();
    end.ok_or_else(|| BootError::Kernel("it has no segment to load".into()))
}

#[cfg(test)]
mod tests;
