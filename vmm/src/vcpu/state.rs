//! Where a vCPU stopped: registers, the bytes at RIP, and the kernel symbol.

use std::fmt;

use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use crate::boot::symbols::Symbols;
use crate::memory::GuestRam;

/// Longest x86 instruction, in bytes. Source: Intel SDM volume 2, 2.3.11.
const INSTRUCTION_MAX_BYTES: usize = 15;

/// A vCPU at the moment it was stopped. Its `Display` is for people, several lines.
#[derive(Clone, Debug)]
pub struct VcpuState {
    /// General registers, RIP and RFLAGS.
    pub regs: kvm_regs,
    /// Segments, control registers and tables.
    pub sregs: kvm_sregs,
    /// The bytes at RIP, as far as they are mapped in the guest's page tables and lie in RAM.
    pub code: Vec<u8>,
    /// Function and offset of RIP, if the kernel's symbol table covers it.
    pub symbol: Option<String>,
}

impl VcpuState {
    /// Reads the state of `vcpu`. What KVM does not give is left zero or empty: this is for reports about failures.
    pub(crate) fn read(vcpu: &VcpuFd, ram: &GuestRam, kernel: &[u8]) -> VcpuState {
        let regs = vcpu.get_regs().unwrap_or_default();
        let sregs = vcpu.get_sregs().unwrap_or_default();
        let symbol = Symbols::parse(kernel).name(regs.rip);
        VcpuState {
            regs,
            sregs,
            code: read_code(vcpu, ram, regs.rip),
            symbol,
        }
    }

    /// The current privilege level: 0 kernel, 3 program.
    #[must_use]
    pub fn cpl(&self) -> u8 {
        (self.sregs.cs.selector & 3) as u8
    }
}

/// Byte by byte, because an instruction may cross into a page that is not mapped.
fn read_code(vcpu: &VcpuFd, ram: &GuestRam, rip: u64) -> Vec<u8> {
    (0..INSTRUCTION_MAX_BYTES as u64)
        .map_while(|offset| {
            let translation = vcpu.translate_gva(rip.wrapping_add(offset)).ok()?;
            if translation.valid == 0 {
                return None;
            }
            ram.memory()
                .read_obj::<u8>(GuestAddress(translation.physical_address))
                .ok()
        })
        .collect()
}

impl fmt::Display for VcpuState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (r, s) = (&self.regs, &self.sregs);
        let symbol = self.symbol.as_deref().unwrap_or("no symbol");
        writeln!(f, "  rip {:#018x} ({symbol}), ring {}", r.rip, self.cpl())?;
        f.write_str("  code")?;
        for byte in &self.code {
            write!(f, " {byte:02x}")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "  rax {:#018x} rbx {:#018x} rcx {:#018x} rdx {:#018x}",
            r.rax, r.rbx, r.rcx, r.rdx
        )?;
        writeln!(
            f,
            "  rsi {:#018x} rdi {:#018x} rbp {:#018x} rsp {:#018x}",
            r.rsi, r.rdi, r.rbp, r.rsp
        )?;
        writeln!(
            f,
            "  r8  {:#018x} r9  {:#018x} r10 {:#018x} r11 {:#018x}",
            r.r8, r.r9, r.r10, r.r11
        )?;
        writeln!(
            f,
            "  r12 {:#018x} r13 {:#018x} r14 {:#018x} r15 {:#018x}",
            r.r12, r.r13, r.r14, r.r15
        )?;
        write!(
            f,
            "  cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x}",
            s.cr0, s.cr2, s.cr3, s.cr4, s.efer
        )?;
        write!(
            f,
            " cs {:#x} ss {:#x} rflags {:#x}",
            s.cs.selector, s.ss.selector, r.rflags
        )
    }
}
