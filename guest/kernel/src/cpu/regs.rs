//! The registers that an entry into ring 0 saves, in the order in which it pushes them.

use crate::cpu::segments::{USER_CS, USER_DS};

/// Registers that are saved on every entry.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct VolatileRegs {
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rdx: u64,
    pub(crate) rcx: u64,
    pub(crate) rax: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

/// All integer registers of a program. Source: Linux, `struct pt_regs` (other order).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PtRegs {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    pub(crate) volatile: VolatileRegs,
}

const _: () = assert!(size_of::<VolatileRegs>() == 14 * 8 && size_of::<PtRegs>() == 20 * 8);

impl PtRegs {
    /// All zero: nobody's registers.
    pub(crate) const ZERO: Self = Self {
        r15: 0,
        r14: 0,
        r13: 0,
        r12: 0,
        rbp: 0,
        rbx: 0,
        volatile: VolatileRegs {
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rdx: 0,
            rcx: 0,
            rax: 0,
            rdi: 0,
            rsi: 0,
            rip: 0,
            cs: 0,
            rflags: 0,
            rsp: 0,
            ss: 0,
        },
    };

    /// Those of a program that begins at `rip` with its stack at `rsp`, interrupts on as on Linux.
    pub(crate) const fn start(rip: u64, rsp: u64) -> Self {
        let volatile = VolatileRegs {
            rip,
            cs: USER_CS,
            rflags: 0x202,
            rsp,
            ss: USER_DS,
            ..Self::ZERO.volatile
        };
        Self { volatile, ..Self::ZERO }
    }

    /// In the order of [`faultlab_abi::lab::Panic::gpr`]; RSP is the record's own field.
    pub(crate) fn gpr(&self) -> [u64; 15] {
        let v = &self.volatile;
        [
            v.rax, self.rbx, v.rcx, v.rdx, v.rsi, v.rdi, self.rbp, v.r8, v.r9, v.r10, v.r11, self.r12, self.r13,
            self.r14, self.r15,
        ]
    }
}
