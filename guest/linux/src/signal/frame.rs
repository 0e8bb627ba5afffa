//! What a handler finds on its stack, and gives back with `rt_sigreturn`.
//!
//! ```text
//! interrupted stack pointer, or the alternate stack's end
//!   128 bytes        red zone, on the interrupted stack only
//!   fpstate          aligned to 64
//!   siginfo_t        128
//!   sigmask          8    --+
//!   sigcontext       256    | ucontext_t
//!   stack_t          24     |
//!   link, flags      16   --+
//!   return address   8         <- RSP in the handler: 8 below a multiple of 16, as after a call
//! ```
//!
//! Source: Linux, arch/x86/include/asm/sigframe.h, arch/x86/include/uapi/asm/sigcontext.h, arch/x86/kernel/signal.c (`get_sigframe`);
//! System V ABI, AMD64 supplement, 3.2.2 (red zone).

use super::altstack::{ALTSTACK_BYTES, AltStack};
use super::info::{INFO_BYTES, Info};
use super::set::SigSet;

/// Offsets in the frame.
const FLAGS_AT: usize = 8;
const STACK_AT: usize = 24;
const REGISTERS_AT: usize = 48;
const SEGMENTS_AT: usize = REGISTERS_AT + 18 * 8;
const TRAP_AT: usize = SEGMENTS_AT + 8;
const FPSTATE_AT: usize = REGISTERS_AT + 23 * 8;
const MASK_AT: usize = REGISTERS_AT + 256;
const INFO_AT: usize = MASK_AT + 8;
/// Bytes of the frame, extended registers apart.
pub const FRAME_BYTES: usize = INFO_AT + INFO_BYTES;
/// Bytes of it that `rt_sigreturn` reads: all but the info.
pub const CONTEXT_BYTES: usize = INFO_AT;

/// Bytes below the stack pointer that are a function's own.
const RED_ZONE_BYTES: u64 = 128;
/// `uc_flags`: SS is valid, and comes back as it is.
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
/// `uc_flags`: the fpstate goes beyond SSE.
const UC_FP_XSTATE: u64 = 1;

/// RFLAGS bits that a frame may set: CF PF AF ZF SF TF DF OF RF AC. Source: Linux `FIX_EFLAGS`.
pub const USER_FLAGS: u64 = 0x5_0dd5;

/// A program's integer registers, and the fault that is told with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// R8 to R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, RFLAGS: the order of `struct sigcontext`.
    pub general: [u64; 18],
    /// CS and SS.
    pub segments: [u16; 2],
    /// Error code, vector and CR2 of the last fault.
    pub fault: [u64; 3],
}

impl Registers {
    /// Index of RAX in [`Registers::general`].
    pub const RAX: usize = 13;
    /// Of RSP.
    pub const RSP: usize = 15;
    /// Of RIP.
    pub const RIP: usize = 16;
    /// Of RFLAGS.
    pub const RFLAGS: usize = 17;
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The frame, which is also the handler's stack pointer.
    pub frame: u64,
    /// Where extended registers go.
    pub fpstate: u64,
}

/// The alternate stack is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Place {
    /// Most bytes below a stack pointer that a frame with so many of extended registers takes.
    #[must_use]
    pub const fn most_bytes(fpstate_bytes: u64) -> u64 {
        const ALIGNMENT: u64 = 63 + 15 + 8;
        RED_ZONE_BYTES + fpstate_bytes + FRAME_BYTES as u64 + ALIGNMENT
    }

    /// The place for a frame with `fpstate_bytes` of extended registers, of a program whose stack pointer is `sp`; `onstack` as its
    /// action says.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn below(sp: u64, altstack: AltStack, onstack: bool, fpstate_bytes: u64) -> Result<Self, NoRoom> {
        let sp = sp.wrapping_sub(RED_ZONE_BYTES);
        let other = if onstack { altstack.top_unless_used_by(sp) } else { None };
        let on_altstack = other.is_some() || altstack.is_used_by(sp);
        let fpstate = other.unwrap_or(sp).wrapping_sub(fpstate_bytes) & !63;
        let frame = (fpstate.wrapping_sub(FRAME_BYTES as u64) & !15).wrapping_sub(8);
        if on_altstack && !altstack.contains(frame) {
            return Err(NoRoom);
        }
        Ok(Self { frame, fpstate })
    }
}

/// What a frame is made of.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Where the handler returns to.
    pub restorer: u64,
    /// What comes back.
    pub registers: &'a Registers,
    /// The mask that comes back.
    pub mask: SigSet,
    /// The alternate stack that comes back.
    pub altstack: AltStack,
    /// Address of the extended registers.
    pub fpstate: u64,
    /// Whether these go beyond SSE.
    pub extended: bool,
    /// What it is about.
    pub info: &'a Info,
}

impl Frame<'_> {
    /// Offset of `siginfo_t`, which a handler gets as its second argument.
    pub const INFO_AT: u64 = INFO_AT as u64;
    /// Offset of `ucontext_t`, its third.
    pub const CONTEXT_AT: u64 = FLAGS_AT as u64;

    /// As it lies on the stack.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        let mut put = |at: usize, word: u64| bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        put(0, self.restorer);
        let xstate = if self.extended { UC_FP_XSTATE } else { 0 };
        put(FLAGS_AT, xstate | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS);
        for (index, word) in self.registers.general.into_iter().enumerate() {
            put(REGISTERS_AT + 8 * index, word);
        }
        let [cs, ss] = self.registers.segments.map(u64::from);
        put(SEGMENTS_AT, cs | ss << 48);
        let [error_code, vector, cr2] = self.registers.fault;
        for (index, word) in [error_code, vector, self.mask.0, cr2].into_iter().enumerate() {
            put(TRAP_AT + 8 * index, word);
        }
        put(FPSTATE_AT, self.fpstate);
        put(MASK_AT, self.mask.0);
        bytes[STACK_AT..STACK_AT + ALTSTACK_BYTES].copy_from_slice(&self.altstack.saved());
        bytes[INFO_AT..].copy_from_slice(&self.info.encode());
        bytes
    }
}

/// What a program gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its registers, flags without those that are not a program's; the segments as it has them.
    pub registers: Registers,
    /// Its mask.
    pub mask: SigSet,
    /// Its alternate stack, as `sigaltstack` takes it.
    pub altstack: [u8; ALTSTACK_BYTES],
    /// Address of extended registers; 0 if they are to be as at a program's start.
    pub fpstate: u64,
}

impl Restored {
    /// From a frame. `rflags` are those in force, for the bits that do not come from it.
    #[must_use]
    pub fn decode(bytes: &[u8; CONTEXT_BYTES], rflags: u64) -> Self {
        let get = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let mut general = [0; 18];
        for (index, word) in general.iter_mut().enumerate() {
            *word = get(REGISTERS_AT + 8 * index);
        }
        let flags = &mut general[Registers::RFLAGS];
        *flags = *flags & USER_FLAGS | rflags & !USER_FLAGS;
        let segments = get(SEGMENTS_AT);
        // Ring 3, whatever else it is.
        let segments = [segments as u16 | 3, (segments >> 48) as u16 | 3];
        let mut altstack = [0; ALTSTACK_BYTES];
        altstack.copy_from_slice(&bytes[STACK_AT..STACK_AT + ALTSTACK_BYTES]);
        Self {
            registers: Registers {
                general,
                segments,
                fault: [0; 3],
            },
            mask: SigSet(get(MASK_AT)).blockable(),
            altstack,
            fpstate: get(FPSTATE_AT),
        }
    }
}
