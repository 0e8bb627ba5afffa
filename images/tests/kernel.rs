//! The embedded kernel is what a loader of the Linux 64-bit boot protocol, and a symbolizer, expect.

use faultlab_images::KERNEL;
use object::elf::PT_LOAD;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol};

/// Virtual address of physical 0. Source: guest/abi/src/layout.rs.
const KERNEL_VMA: u64 = 0xffff_ffff_8000_0000;
/// Where the first segment is loaded. Source: guest/abi/src/layout.rs.
const KERNEL_LOAD: u64 = 0x10_0000;

fn kernel() -> ElfFile64<'static> {
    ElfFile64::parse(KERNEL).expect("an ELF file")
}

fn symbol(name: &str) -> u64 {
    kernel()
        .symbol_by_name(name)
        .unwrap_or_else(|| panic!("symbol {name}"))
        .address()
}

#[test]
fn the_entry_is_the_physical_address_of_start() {
    assert_eq!(
        kernel().elf_header().e_entry(Endianness::Little),
        symbol("_start") - KERNEL_VMA
    );
}

#[test]
fn segments_are_loaded_from_one_mebibyte_at_their_address_less_the_offset() {
    let kernel = kernel();
    let loads: Vec<_> = kernel
        .elf_program_headers()
        .iter()
        .map(|header| header.p_type(Endianness::Little))
        .collect();
    assert!(loads.iter().all(|kind| *kind == PT_LOAD), "only PT_LOAD: {loads:?}");
    for header in kernel.elf_program_headers() {
        let (physical, address) = (header.p_paddr(Endianness::Little), header.p_vaddr(Endianness::Little));
        assert_eq!(address, physical + KERNEL_VMA);
        assert_eq!(physical % 4096, 0);
    }
    let first = kernel
        .elf_program_headers()
        .iter()
        .map(|header| header.p_paddr(Endianness::Little))
        .min();
    assert_eq!(first, Some(KERNEL_LOAD));
}

#[test]
fn the_bounds_have_symbols() {
    assert_eq!(symbol("__kernel_start"), KERNEL_VMA + KERNEL_LOAD);
    assert!(symbol("__text_start") < symbol("__text_end"));
    assert!(symbol("__text_end") <= symbol("__kernel_end"));
    for bound in [
        "__user_text_start",
        "__user_text_end",
        "__kernel_end",
        "__rodata_start",
        "__data_start",
    ] {
        assert_eq!(symbol(bound) % 4096, 0, "{bound}");
    }
}

#[test]
fn there_are_symbols_but_no_debug_information() {
    let kernel = kernel();
    assert!(kernel.symbols().count() > 0);
    assert!(kernel.section_by_name(".debug_info").is_none() && kernel.section_by_name(".debug_line").is_none());
}
