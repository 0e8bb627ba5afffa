//! `struct boot_params`: what a boot loader tells a Linux kernel.
//!
//! Source: Linux, Documentation/arch/x86/zero-page.rst and boot.rst, "The Real-Mode Kernel Header".

use faultlab_abi::layout::{CMDLINE, KERNEL_LOAD, ZERO_PAGE};
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::GuestAddress;

use crate::error::BootError;
use crate::memory::GuestRam;

/// `boot_flag` and "HdrS": what a kernel checks for.
const BOOT_FLAG: u16 = 0xaa55;
const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
/// Protocol 2.15, the newest with fields that are used here.
const PROTOCOL: u16 = 0x020f;
/// "Undefined" loader: none of the registered ones.
const LOADER_UNDEFINED: u8 = 0xff;
/// `E820_TYPE_RAM` and `E820_TYPE_RESERVED`.
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
/// Where a PC's extended BIOS data area and legacy devices begin: not RAM for a kernel, up to 1 MiB.
const LOW_RAM_END: u64 = 0x9_fc00;

/// Writes it. `initrd_start` may be anywhere in RAM, which ends below 4 GiB.
pub(super) fn write(
    ram: &GuestRam,
    initrd_start: u64,
    initrd_bytes: u64,
    cmdline_bytes: usize,
) -> Result<(), BootError> {
    let mut params = boot_params::default();
    params.hdr.boot_flag = BOOT_FLAG;
    params.hdr.header = HEADER_MAGIC;
    params.hdr.version = PROTOCOL;
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    // LOADED_HIGH: the kernel is at 1 MiB.
    params.hdr.loadflags = 1;
    params.hdr.cmd_line_ptr = CMDLINE as u32;
    params.hdr.cmdline_size = cmdline_bytes as u32;
    params.hdr.ramdisk_image = initrd_start as u32;
    params.hdr.ramdisk_size = initrd_bytes as u32;
    let map = [
        (0, LOW_RAM_END, E820_RAM),
        (LOW_RAM_END, KERNEL_LOAD, E820_RESERVED),
        (KERNEL_LOAD, ram.bytes(), E820_RAM),
    ];
    for (slot, (start, end, kind)) in map.into_iter().enumerate() {
        params.e820_table[slot] = boot_e820_entry {
            addr: start,
            size: end - start,
            r#type: kind,
        };
        params.e820_entries += 1;
    }
    LinuxBootConfigurator::write_bootparams(&BootParams::new(&params, GuestAddress(ZERO_PAGE)), ram.memory()).map_err(
        |error| BootError::Write {
            what: "the zero page",
            reason: error.to_string(),
        },
    )
}
