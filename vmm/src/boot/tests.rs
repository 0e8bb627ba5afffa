use faultlab_abi::layout::{BOOT_GDT, BOOT_PAGE_TABLES, CMDLINE, RAM_MIN_BYTES, ZERO_PAGE};
use vm_memory::Bytes;

use super::*;
use crate::testing::{kernel_elf, program_elf, ram};

fn read<const N: usize>(ram: &GuestRam, address: u64) -> [u8; N] {
    let mut bytes = [0; N];
    ram.memory().read_slice(&mut bytes, GuestAddress(address)).unwrap();
    bytes
}

fn word(ram: &GuestRam, address: u64) -> u64 {
    u64::from_le_bytes(read(ram, address))
}

fn half_word(ram: &GuestRam, address: u64) -> u64 {
    u64::from(u32::from_le_bytes(read(ram, address)))
}

fn load_into(ram: &GuestRam, kernel: &[u8], program: &[u8]) -> Result<u64, BootError> {
    let command_line = CommandLine::new(1, 2_600_000, &[]).unwrap();
    let argv = [b"program".to_vec()];
    let initrd = Initrd::new(program, &argv, &[]).unwrap();
    load(
        ram,
        &BootImage {
            kernel,
            command_line: &command_line,
            initrd: &initrd,
        },
    )
}

/// Offsets of zero-page.rst and boot.rst, independent of the bindings that wrote it.
#[test]
fn a_kernel_finds_what_the_protocol_promises() {
    let ram = ram();
    let code = [0x90, 0xf4];
    assert_eq!(
        load_into(&ram, &kernel_elf(&code), &program_elf()).unwrap(),
        KERNEL_LOAD
    );
    assert_eq!(read(&ram, KERNEL_LOAD), code);
    assert_eq!(read::<2>(&ram, ZERO_PAGE + 0x1fe), [0x55, 0xaa]);
    assert_eq!(&read::<4>(&ram, ZERO_PAGE + 0x202), b"HdrS");
    assert_eq!(half_word(&ram, ZERO_PAGE + 0x228), CMDLINE);
    assert_eq!(&read::<12>(&ram, CMDLINE), b"console=ttyS");
    let (initrd, bytes) = (half_word(&ram, ZERO_PAGE + 0x218), half_word(&ram, ZERO_PAGE + 0x21c));
    assert_eq!(initrd % PAGE_SIZE, 0);
    assert!(
        initrd + bytes <= ram.bytes() && ram.bytes() - (initrd + bytes) < PAGE_SIZE,
        "at the end of RAM"
    );
    assert_eq!(&read::<6>(&ram, initrd), b"070701");
    // e820: 20 bytes an entry.
    assert_eq!(read::<1>(&ram, ZERO_PAGE + 0x1e8), [3]);
    let entry = |n: u64| {
        let at = ZERO_PAGE + 0x2d0 + 20 * n;
        (word(&ram, at), word(&ram, at + 8), half_word(&ram, at + 16))
    };
    assert_eq!(entry(0), (0, 0x9_fc00, 1));
    assert_eq!(entry(1), (0x9_fc00, 0x6_0400, 2));
    assert_eq!(entry(2), (0x10_0000, RAM_MIN_BYTES - 0x10_0000, 1));
}

#[test]
fn the_entry_tables_map_one_gib_one_to_one() {
    let ram = ram();
    entry::write_tables(&ram).unwrap();
    let next = |entry: u64| entry & 0x000f_ffff_ffff_f000;
    let pdpt = next(word(&ram, BOOT_PAGE_TABLES));
    let pd = next(word(&ram, pdpt));
    for page in 0..512 {
        assert_eq!(word(&ram, pd + 8 * page), page << 21 | 0x83, "present, writable, 2 MiB");
    }
    assert_eq!(
        (word(&ram, BOOT_PAGE_TABLES + 8), word(&ram, pdpt + 8)),
        (0, 0),
        "and nothing else"
    );
    // 0x10: L=1, D=0, code; 0x18: writable data.
    assert_eq!(word(&ram, BOOT_GDT + 0x10) >> 40 & 0xff, 0x9b);
    assert_eq!(word(&ram, BOOT_GDT + 0x10) >> 53 & 3, 1);
    assert_eq!(word(&ram, BOOT_GDT + 0x18) >> 40 & 0xff, 0x93);
}

#[test]
fn too_little_memory_names_a_size_that_is_enough() {
    let large = vec![0; 7 << 20];
    let BootError::TooSmall { suggestion, .. } = load_into(&ram(), &kernel_elf(&[0x90]), &large).unwrap_err() else {
        panic!("another error")
    };
    let enough = GuestRam::new(suggestion << 20, crate::memory::Backing::Anonymous).unwrap();
    load_into(&enough, &kernel_elf(&[0x90]), &large).unwrap();
}

#[test]
fn kernels_that_cannot_be_loaded() {
    for kernel in [&b""[..], b"\x7fELF", &kernel_elf(&[0x90])[..80]] {
        assert!(matches!(
            load_into(&ram(), kernel, &program_elf()),
            Err(BootError::Kernel(_))
        ));
    }
    // Entry and segment below 1 MiB, where the entry's tables are.
    let low = crate::testing::elf(2, BOOT_PAGE_TABLES, BOOT_PAGE_TABLES, &[0x90], "entry");
    assert!(matches!(
        load_into(&ram(), &low, &program_elf()),
        Err(BootError::Kernel(_))
    ));
}
