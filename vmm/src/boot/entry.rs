//! The state of the vCPU at the kernel's entry: 64-bit mode, flat segments, the first GiB mapped one to one.
//!
//! Source: Linux, Documentation/arch/x86/boot.rst, "64-bit Boot Protocol": CS is 0x10, DS, ES and SS are 0x18, RSI is
//! the zero page, interrupts are off. Descriptors: Intel SDM volume 3, 3.4.5; page tables: 4.5.

use faultlab_abi::layout::{BOOT_GDT, BOOT_PAGE_TABLES, PAGE_SIZE, ZERO_PAGE};
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_fpu, kvm_regs, kvm_segment};
use kvm_ioctls::{Kvm, VcpuFd};
use vm_memory::{Bytes, GuestAddress};

use crate::error::{BootError, KvmError};
use crate::memory::GuestRam;

/// `__BOOT_CS` and `__BOOT_DS`.
const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;

/// Null, unused, 64-bit code, data: present, accessed, 4 GiB.
const GDT: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_NE: u64 = 1 << 5;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// Bit 1 of RFLAGS is always set; interrupts are off.
const RFLAGS_INITIAL: u64 = 2;

const PTE_PRESENT_WRITE: u64 = 3;
const PTE_PAGE_SIZE: u64 = 1 << 7;
const LARGE_PAGE_BYTES: u64 = 2 << 20;
const TABLE_ENTRIES: u64 = 512;

/// Writes GDT and page tables: PML4, PDPT and one PD that maps 1 GiB in 2 MiB pages.
///
/// # Errors
/// RAM is too small for them.
pub fn write_tables(ram: &GuestRam) -> Result<(), BootError> {
    let put = |value: u64, address: u64| {
        let what = "the entry's tables";
        ram.memory()
            .write_obj(value, GuestAddress(address))
            .map_err(|error| BootError::Write {
                what,
                reason: error.to_string(),
            })
    };
    for (index, descriptor) in GDT.into_iter().enumerate() {
        put(descriptor, BOOT_GDT + 8 * index as u64)?;
    }
    let (pml4, pdpt, pd) = (
        BOOT_PAGE_TABLES,
        BOOT_PAGE_TABLES + PAGE_SIZE,
        BOOT_PAGE_TABLES + 2 * PAGE_SIZE,
    );
    put(pdpt | PTE_PRESENT_WRITE, pml4)?;
    put(pd | PTE_PRESENT_WRITE, pdpt)?;
    (0..TABLE_ENTRIES).try_for_each(|n| put((n * LARGE_PAGE_BYTES) | PTE_PAGE_SIZE | PTE_PRESENT_WRITE, pd + 8 * n))
}

/// Sets CPUID and every register for an entry at guest-physical `entry`.
///
/// # Errors
/// KVM refuses.
pub fn configure_vcpu(kvm: &Kvm, vcpu: &VcpuFd, entry: u64) -> Result<(), KvmError> {
    let cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(KvmError::of("KVM_GET_SUPPORTED_CPUID"))?;
    vcpu.set_cpuid2(&cpuid).map_err(KvmError::of("KVM_SET_CPUID2"))?;
    set_system_registers(vcpu)?;
    // The reset values that the ABI gives a program too: all exceptions masked, extended precision.
    let fpu = kvm_fpu {
        fcw: 0x37f,
        mxcsr: 0x1f80,
        ..kvm_fpu::default()
    };
    vcpu.set_fpu(&fpu).map_err(KvmError::of("KVM_SET_FPU"))?;
    let regs = kvm_regs {
        rip: entry,
        rsi: ZERO_PAGE,
        rflags: RFLAGS_INITIAL,
        ..kvm_regs::default()
    };
    vcpu.set_regs(&regs).map_err(KvmError::of("KVM_SET_REGS"))
}

fn set_system_registers(vcpu: &VcpuFd) -> Result<(), KvmError> {
    let mut sregs = vcpu.get_sregs().map_err(KvmError::of("KVM_GET_SREGS"))?;
    sregs.gdt.base = BOOT_GDT;
    sregs.gdt.limit = (8 * GDT.len() - 1) as u16;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    let data = segment(BOOT_DS, 3, false);
    sregs.cs = segment(BOOT_CS, 11, true);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
    sregs.cr3 = BOOT_PAGE_TABLES;
    sregs.cr4 = CR4_PAE;
    sregs.efer = EFER_LME | EFER_LMA;
    vcpu.set_sregs(&sregs).map_err(KvmError::of("KVM_SET_SREGS"))
}

/// A flat, present ring-0 segment of 4 GiB, as in [`GDT`].
fn segment(selector: u16, type_: u8, long: bool) -> kvm_segment {
    kvm_segment {
        selector,
        type_,
        limit: u32::MAX,
        present: 1,
        s: 1,
        g: 1,
        l: u8::from(long),
        db: u8::from(!long),
        ..kvm_segment::default()
    }
}
