//! `siginfo_t`: what a signal is about. Source: Linux, include/uapi/asm-generic/siginfo.h; sigaction(2).

use super::set::Signal;

/// Bytes of a `siginfo_t`.
pub const INFO_BYTES: usize = 128;

/// Values of `si_code`.
pub mod code {
    /// `kill`.
    pub const USER: i32 = 0;
    /// The kernel.
    pub const KERNEL: i32 = 0x80;
    /// `sigqueue`.
    pub const QUEUE: i32 = -1;
    /// A timer.
    pub const TIMER: i32 = -2;
    /// Of a descriptor, where the signal's own codes say something else.
    pub const SIGIO: i32 = -5;
    /// `tkill`, `tgkill`.
    pub const TKILL: i32 = -6;
    /// `SIGSEGV`: nothing is mapped there.
    pub const SEGV_MAPERR: i32 = 1;
    /// `SIGSEGV`: what is mapped there does not allow it.
    pub const SEGV_ACCERR: i32 = 2;
    /// `SIGBUS`: not aligned.
    pub const BUS_ADRALN: i32 = 1;
    /// `SIGBUS`: nothing is behind it.
    pub const BUS_ADRERR: i32 = 2;
    /// `SIGFPE`: integer division by zero, or a quotient too large.
    pub const FPE_INTDIV: i32 = 1;
    /// `SIGFPE`: floating-point division by zero.
    pub const FPE_FLTDIV: i32 = 3;
    /// `SIGFPE`: floating-point overflow.
    pub const FPE_FLTOVF: i32 = 4;
    /// `SIGFPE`: floating-point underflow.
    pub const FPE_FLTUND: i32 = 5;
    /// `SIGFPE`: inexact floating-point result.
    pub const FPE_FLTRES: i32 = 6;
    /// `SIGFPE`: invalid floating-point operation.
    pub const FPE_FLTINV: i32 = 7;
    /// `SIGILL`: an operand, for Linux on x86 anything that is no instruction.
    pub const ILL_ILLOPN: i32 = 2;
    /// `SIGTRAP`: a breakpoint.
    pub const TRAP_BRKPT: i32 = 1;
    /// `SIGTRAP`: single step.
    pub const TRAP_TRACE: i32 = 2;
    /// `SIGCHLD`: ended by itself.
    pub const CLD_EXITED: i32 = 1;
    /// `SIGCHLD`: ended by a signal.
    pub const CLD_KILLED: i32 = 2;
    /// `SIGCHLD`: stopped.
    pub const CLD_STOPPED: i32 = 5;
    /// `SIGCHLD`: goes on.
    pub const CLD_CONTINUED: i32 = 6;
}

/// What a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The signal.
    pub signal: Signal,
    /// [`code`].
    pub code: i32,
    /// What depends on the code: the 32 bytes from `si_pid` or `si_addr` on.
    pub rest: [u64; 4],
}

impl Info {
    /// By the kernel, without more to say.
    #[must_use]
    pub const fn kernel(signal: Signal) -> Self {
        Self {
            signal,
            code: code::KERNEL,
            rest: [0; 4],
        }
    }

    /// By an instruction; `addr` is what it accessed, or where it is.
    #[must_use]
    pub const fn fault(signal: Signal, code: i32, addr: u64) -> Self {
        Self {
            signal,
            code,
            rest: [addr, 0, 0, 0],
        }
    }

    /// By a process.
    #[must_use]
    pub const fn sent(signal: Signal, code: i32, pid: u32, uid: u32) -> Self {
        Self {
            signal,
            code,
            rest: [pid as u64 | (uid as u64) << 32, 0, 0, 0],
        }
    }

    /// By a timer, which has this number and carries this value.
    #[must_use]
    pub const fn timer(signal: Signal, number: u32, value: u64) -> Self {
        Self {
            signal,
            code: code::TIMER,
            rest: [number as u64, value, 0, 0],
        }
    }

    /// The number that [`Info::timer`] was given.
    #[must_use]
    pub const fn timer_number(&self) -> u32 {
        self.rest[0] as u32
    }

    /// How often that timer was due besides.
    #[must_use]
    pub const fn with_overrun(mut self, overrun: u32) -> Self {
        self.rest[0] = self.rest[0] as u32 as u64 | (overrun as u64) << 32;
        self
    }

    /// About a child: how it ended, from its wait status. Source: wait4(2), sigaction(2).
    #[must_use]
    pub const fn child(signal: Signal, pid: u32, uid: u32, wait_status: i32) -> Self {
        let (code, status) = match wait_status & 0x7f {
            0 => (code::CLD_EXITED, wait_status >> 8 & 0xff),
            signal => (code::CLD_KILLED, signal),
        };
        Self::child_changed(signal, code, pid, uid, status)
    }

    /// About a child: what became of it, and with which exit status or signal.
    #[must_use]
    pub const fn child_changed(signal: Signal, code: i32, pid: u32, uid: u32, status: i32) -> Self {
        Self {
            signal,
            code,
            rest: [pid as u64 | (uid as u64) << 32, status as u32 as u64, 0, 0],
        }
    }

    /// As a program reads it.
    #[must_use]
    pub fn encode(&self) -> [u8; INFO_BYTES] {
        const SIGNO_AT: usize = 0;
        const CODE_AT: usize = 8;
        const REST_AT: usize = 16;
        let mut bytes = [0; INFO_BYTES];
        bytes[SIGNO_AT..SIGNO_AT + 4].copy_from_slice(&self.signal.number().to_le_bytes());
        bytes[CODE_AT..CODE_AT + 4].copy_from_slice(&self.code.to_le_bytes());
        for (to, word) in bytes[REST_AT..].chunks_exact_mut(8).zip(self.rest) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}
