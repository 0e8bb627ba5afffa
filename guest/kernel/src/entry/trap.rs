//! Exceptions, after the entry saved the registers.
//!
//! Source: Intel SDM vol. 3, 4.7 "Page-Fault Exceptions", 6.15; Linux, arch/x86/mm/fault.c.

use core::cell::Cell;

use faultlab_abi::layout::USER_END;
use faultlab_abi::vmstat::Item;
use faultlab_linux::signal::{Info, Signal, code};
use faultlab_mm::Fault;
use faultlab_mm::addr::VirtAddr;
use faultlab_mm::fault::Access;

use crate::cpu::regs::PtRegs;
use crate::cpu::{ring3, segments};
use crate::entry;
use crate::global::Global;
use crate::mem::platform::{MEMORY, memory};
use crate::report::{panic, vmstat};
use crate::syscall;
use crate::task::kswapd::run_kswapd;
use crate::task::{exit, page_wait, preempt, process, signal};

/// Bits of a page fault's error code.
mod error_code {
    pub(super) const PRESENT: u64 = 1 << 0;
    pub(super) const WRITE: u64 = 1 << 1;
    pub(super) const RESERVED: u64 = 1 << 3;
    pub(super) const FETCH: u64 = 1 << 4;
}

/// What [`page_fault_slow`] needs to know of the fault that [`page_fault`] could not resolve.
#[derive(Clone, Copy)]
struct Unresolved {
    fault: Fault,
    addr: u64,
    error_code: u64,
}

static UNRESOLVED: Global<Cell<Option<Unresolved>>> = Global::new(Cell::new(None));

/// A page fault in ring 3. Returns 0 when the program can go on, 1 for [`page_fault_slow`].
pub(crate) extern "C" fn page_fault<const LEVEL: u8>(addr: u64, error_code: u64) -> u32 {
    match resolve::<LEVEL>(addr, error_code) {
        Ok(()) => {
            run_kswapd::<LEVEL>();
            0
        }
        Err(fault) => {
            UNRESOLVED.set(Some(Unresolved {
                fault,
                addr,
                error_code,
            }));
            1
        }
    }
}

#[inline(always)]
fn resolve<const LEVEL: u8>(addr: u64, error_code: u64) -> Result<(), Fault> {
    if addr >= USER_END {
        vmstat::count(Item::Pgfault, 1);
        return Err(Fault::SegvMaperr);
    }
    let access = if error_code & error_code::WRITE != 0 {
        Access::Write
    } else if error_code & error_code::FETCH != 0 {
        Access::Exec
    } else {
        Access::Read
    };
    memory::<LEVEL>().handle_mm_fault(process::current_mm(), VirtAddr(addr), access)
}

/// The fault as Linux finds it: a fetch where no entry is first looks for a page, and only then for the right to execute it.
fn as_first_told(fault: Fault, addr: u64, error_code: u64) -> Fault {
    if fault != Fault::SegvAccerr || error_code & (error_code::FETCH | error_code::PRESENT) != error_code::FETCH {
        return fault;
    }
    let found = MEMORY.handle_mm_fault(process::current_mm(), VirtAddr(addr), Access::Read);
    found.err().unwrap_or(fault)
}

/// The error code that a program is told: nothing about page tables that are not its own. Source: Linux, arch/x86/mm/fault.c
/// (`sanitize_error_code`).
fn told(addr: u64, error_code: u64) -> u64 {
    if addr >= USER_END {
        error_code & !error_code::RESERVED | error_code::PRESENT
    } else {
        error_code
    }
}

/// The process that caused the fault gets a signal; or one has to end, so that there is memory.
pub(crate) extern "C" fn page_fault_slow(regs: &mut PtRegs) {
    let Some(Unresolved {
        fault,
        addr,
        error_code,
    }) = UNRESOLVED.take()
    else {
        panic!("a page fault that nobody described")
    };
    // Hosts that share one half of the address space with the guest report such bits there, in entries of their own.
    if error_code & error_code::RESERVED != 0 && addr < USER_END || ring3::runs() {
        panic::exception(crate::cpu::interrupts::vector::PAGE_FAULT, error_code, regs);
    }
    let (fault, error_code) = (as_first_told(fault, addr, error_code), told(addr, error_code));
    if fault == Fault::Userfault && syscall::userfault::touched(regs).is_ok() {
        return signal::before_return(regs);
    }
    if fault == Fault::Retry {
        page_wait::sleep(regs);
        return signal::before_return(regs);
    }
    let mut by_signal = |signal, code| signal::page_fault(&Info::fault(signal, code, addr), addr, error_code, regs);
    match fault {
        Fault::SegvMaperr => by_signal(Signal::SEGV, code::SEGV_MAPERR),
        Fault::SegvAccerr => by_signal(Signal::SEGV, code::SEGV_ACCERR),
        Fault::BusAdrerr | Fault::Userfault | Fault::Retry => by_signal(Signal::BUS, code::BUS_ADRERR),
        // The program, if it is still there, faults again.
        Fault::Oom => exit::out_of_memory(regs),
    }
    signal::before_return(regs);
}

/// Any other exception, one in ring 0, or the timer.
pub(crate) extern "C" fn exception(vector: u64, error_code: u64, regs: &mut PtRegs) {
    let from_ring_3 = regs.volatile.cs & 3 == 3;
    if vector == crate::cpu::interrupts::vector::TIMER && from_ring_3 {
        preempt::interrupt(regs);
        return;
    }
    // The return to a program with values of its own choosing failed: as if the program had failed.
    let returning = regs.volatile.cs == segments::KERNEL_CS && entry::is_return_to_program(regs.volatile.rip);
    if !(from_ring_3 || returning) || vector == crate::cpu::interrupts::vector::NMI || ring3::runs() {
        panic::exception(vector, error_code, regs);
    }
    if returning {
        // What the `iretq` was to load is still there, at the stack pointer of the exception: the program's own.
        let at = regs.volatile.rsp as *const [u64; 5];
        // SAFETY: ring 0's stack, which the processor aligned down before it pushed anything below.
        let frame = unsafe { at.read() };
        let v = &mut regs.volatile;
        [v.rip, v.cs, v.rflags, v.rsp, v.ss] = frame;
    }
    signal::trap(vector, error_code, regs);
    signal::before_return(regs);
}
