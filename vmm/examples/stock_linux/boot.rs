//! A distribution's kernel, as its package has it, put into memory with what it is to run.
//!
//! Source: Linux, Documentation/arch/x86/boot.rst ("64-bit Boot Protocol"; a bzImage is entered 0x200 bytes behind its start) and zero-page.rst.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use faultlab::boot::entry;
use faultlab::memory::GuestRam;
use faultlab::rig::archive::Archive;
use faultlab_abi::layout::{CMDLINE, KERNEL_LOAD, PAGE_SIZE, VIRTIO_MMIO_BASE, VIRTIO_MMIO_IRQ, ZERO_PAGE};
use linux_loader::loader::KernelLoader;
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use linux_loader::loader::bzimage::BzImage;
use vm_memory::{Bytes, GuestAddress};

use crate::acpi;

/// Behind the start of a bzImage's part for protected mode.
const ENTRY_OFFSET: u64 = 0x200;

/// Where a kernel looks for ACPI's root pointer: a BIOS's last 128 KiB, which are no RAM to it.
const ACPI_TABLES: u64 = 0xe_0000;
const LOW_RAM_END: u64 = 0x9_fc00;

const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

/// No keyboard, no PCI; a restart is a triple fault, which ends the run.
const COMMAND_LINE: &str =
    "console=ttyS0 pci=off i8042.noaux i8042.nokbd i8042.nopnp i8042.dumbkbd reboot=t panic=-1 quiet\0";

/// What Linux is to run: `init` as its first program, which finds `modules` beside it as `/0.ko`, `/1.ko` and on, and `program` as `/program`.
pub(crate) struct Software {
    pub(crate) kernel: PathBuf,
    pub(crate) init: PathBuf,
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) program: Option<PathBuf>,
}

/// Loads it. Returns the entry address.
pub(crate) fn load(ram: &GuestRam, software: &Software) -> Result<u64, Box<dyn Error>> {
    let memory = ram.memory();
    let mut kernel = File::open(&software.kernel).map_err(|error| name(&software.kernel, error))?;
    let loaded = BzImage::load(memory, None, &mut kernel, Some(GuestAddress(KERNEL_LOAD)))?;
    let mut params = boot_params {
        hdr: loaded.setup_header.ok_or("the kernel has no header")?,
        ..boot_params::default()
    };
    let archive = initramfs(software)?;
    let start = (ram.bytes() - archive.len() as u64) / PAGE_SIZE * PAGE_SIZE;
    memory.write_slice(&archive, GuestAddress(start))?;
    let disk = u32::try_from(VIRTIO_MMIO_BASE)?;
    memory.write_slice(
        &acpi::tables(ACPI_TABLES, disk, VIRTIO_MMIO_IRQ),
        GuestAddress(ACPI_TABLES),
    )?;
    memory.write_slice(COMMAND_LINE.as_bytes(), GuestAddress(CMDLINE))?;
    params.hdr.type_of_loader = 0xff;
    params.hdr.cmd_line_ptr = CMDLINE as u32;
    params.hdr.ramdisk_image = start as u32;
    params.hdr.ramdisk_size = archive.len() as u32;
    let map = [
        (0, LOW_RAM_END, E820_RAM),
        (LOW_RAM_END, KERNEL_LOAD, E820_RESERVED),
        (KERNEL_LOAD, ram.bytes(), E820_RAM),
    ];
    for (slot, (addr, end, kind)) in map.into_iter().enumerate() {
        params.e820_table[slot] = boot_e820_entry {
            addr,
            size: end - addr,
            r#type: kind,
        };
    }
    params.e820_entries = map.len() as u8;
    memory.write_obj(params, GuestAddress(ZERO_PAGE))?;
    entry::write_tables(ram)?;
    Ok(loaded.kernel_load.0 + ENTRY_OFFSET)
}

fn initramfs(software: &Software) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut archive = Archive::default();
    let read = |path: &Path| fs::read(path).map_err(|error| name(path, error));
    archive.add_file(Path::new("/init"), 0o755, read(&software.init)?);
    archive.add_character_device(Path::new("/dev/console"), 0o600, (5, 1));
    for (number, module) in software.modules.iter().enumerate() {
        archive.add_file(Path::new(&format!("/{number}.ko")), 0o644, read(module)?);
    }
    if let Some(program) = &software.program {
        archive.add_file(Path::new("/program"), 0o755, read(program)?);
    }
    let mut bytes = Vec::new();
    archive.write(&mut bytes)?;
    Ok(bytes)
}

fn name(path: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
