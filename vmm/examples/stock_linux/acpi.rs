//! The tables that tell a stock Linux of its one processor, its interrupt controllers and the disk. Distributions build their kernels without
//! `virtio_mmio.device=`, so the disk is a device of ACPI's, `LNRO0005`.
//!
//! Source: ACPI 6.5, 5.2 (tables; "hardware-reduced": no timer, button or event block), 6.4.3.6 (extended interrupt descriptor); Linux,
//! drivers/virtio/virtio_mmio.c (`virtio_mmio_acpi_match`).

use acpi_tables::Aml;
use acpi_tables::aml::{Device, Interrupt, Memory32Fixed, Name, ResourceTemplate, Scope};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;

const OEM: [u8; 6] = *b"FLTLAB";
const TABLE: [u8; 8] = *b"STOCKLNX";
const REVISION: u32 = 1;

/// Where KVM's interrupt controllers are.
const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;

/// Bytes of a table's header.
const HEADER_BYTES: u32 = 36;

/// All tables in one piece, for `address`, where a kernel looks for them (0xe0000, for one). The disk is at `disk`, a page, and raises the global
/// system interrupt `interrupt` by an edge.
pub(crate) fn tables(address: u64, disk: u32, interrupt: u32) -> Vec<u8> {
    // The root pointer comes first; it is known last.
    let mut all = vec![0; 64];
    let place = |table: Vec<u8>, all: &mut Vec<u8>| {
        let at = address + all.len() as u64;
        all.extend(table);
        all.resize(all.len().next_multiple_of(16), 0);
        at
    };
    let dsdt = place(dsdt(disk, interrupt), &mut all);
    let fadt = FADTBuilder::new(OEM, TABLE, REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::Wbinvd)
        .flag(Flags::HwReducedAcpi)
        .finalize();
    let mut madt = MADT::new(OEM, TABLE, REVISION, LocalInterruptController::Address(LOCAL_APIC));
    madt.add_structure(ProcessorLocalApic::new(0, 0, EnabledStatus::Enabled));
    madt.add_structure(IoApic::new(0, IO_APIC, 0));
    let mut xsdt = XSDT::new(OEM, TABLE, REVISION);
    for table in [bytes(&fadt), bytes(&madt)] {
        xsdt.add_entry(place(table, &mut all));
    }
    let xsdt = place(bytes(&xsdt), &mut all);
    let root = bytes(&Rsdp::new(OEM, xsdt));
    all[..root.len()].copy_from_slice(&root);
    all
}

fn dsdt(disk: u32, interrupt: u32) -> Vec<u8> {
    let memory = Memory32Fixed::new(true, disk, 4096);
    let interrupt = Interrupt::new(true, true, false, false, interrupt);
    let id = Name::new("_HID".into(), &"LNRO0005");
    let number = Name::new("_UID".into(), &0_u8);
    let coherent = Name::new("_CCA".into(), &1_u8);
    let resources = ResourceTemplate::new(vec![&memory, &interrupt]);
    let resources = Name::new("_CRS".into(), &resources);
    let device = Device::new("VDA0".into(), vec![&id, &number, &coherent, &resources]);
    let scope = bytes(&Scope::new("\\_SB_".into(), vec![&device]));
    let mut table = Sdt::new(*b"DSDT", HEADER_BYTES, 2, OEM, TABLE, REVISION);
    table.append_slice(&scope);
    table.as_slice().to_vec()
}

fn bytes(table: &impl Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}
