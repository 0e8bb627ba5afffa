//! Signals: the calls, bare, and handlers.
//!
//! Source: signal(7), sigaction(2), sigreturn(2); Linux, arch/x86/include/uapi/asm/signal.h, sigcontext.h.

use core::arch::naked_asm;

use linux_raw_sys::general;

use super::{Errno, call};

bare! {
    rt_sigaction, __NR_rt_sigaction, 4, "rt_sigaction(signal, new, old, bytes)";
    rt_sigprocmask, __NR_rt_sigprocmask, 4, "rt_sigprocmask(how, new, old, bytes)";
    rt_sigpending, __NR_rt_sigpending, 2, "rt_sigpending(set, bytes)";
    rt_sigsuspend, __NR_rt_sigsuspend, 2, "rt_sigsuspend(mask, bytes)";
    rt_sigreturn, __NR_rt_sigreturn, 0, "rt_sigreturn()";
    sigaltstack, __NR_sigaltstack, 2, "sigaltstack(new, old)";
    kill, __NR_kill, 2, "kill(pid, signal)";
    tkill, __NR_tkill, 2, "tkill(tid, signal)";
    tgkill, __NR_tgkill, 3, "tgkill(pid, tid, signal)";
    pause, __NR_pause, 0, "pause()";
}

/// Bytes of a set of signals.
pub const SET_BYTES: usize = 8;

/// A set of one signal.
#[must_use]
pub const fn set(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// The kernel's `struct sigaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Action {
    /// 0: default, 1: ignored, or a function.
    pub handler: usize,
    /// `SA_` flags.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: usize,
    /// Blocked while it runs.
    pub mask: u64,
}

/// `stack_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct AltStack {
    /// Its lowest address.
    pub sp: usize,
    /// `SS_` flags.
    pub flags: u32,
    /// Nothing.
    pub padding: u32,
    /// Its bytes.
    pub size: usize,
}

/// `siginfo_t`, as far as it is used here.
#[derive(Debug)]
#[repr(C)]
pub struct Info {
    /// The signal.
    pub signal: i32,
    /// 0.
    pub errno: i32,
    /// Why.
    pub code: i32,
    padding: i32,
    /// Address of a fault; process and user of a sender.
    pub addr: usize,
    /// Status of a child.
    pub status: i32,
}

impl Info {
    /// Process that sent it, or that it is about.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.addr as i32
    }

    /// That process's user.
    #[must_use]
    pub fn uid(&self) -> u32 {
        (self.addr >> 32) as u32
    }
}

/// `ucontext_t`.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    /// `UC_` flags.
    pub flags: u64,
    link: usize,
    /// The alternate stack.
    pub altstack: AltStack,
    /// R8 to R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, RFLAGS.
    pub general: [usize; 18],
    /// CS, GS, FS, SS.
    pub segments: [u16; 4],
    /// Error code of the last fault.
    pub error_code: u64,
    /// Its vector.
    pub vector: u64,
    /// The mask.
    pub old_mask: u64,
    /// Address of the last page fault.
    pub cr2: usize,
    /// Extended registers: an `fxsave` image, and more.
    pub fpstate: *mut [u8; 512],
    reserved: [u64; 8],
    /// The mask that comes back.
    pub mask: u64,
}

impl Context {
    /// Index of RAX in [`Context::general`].
    pub const RAX: usize = 13;
    /// Of RSP.
    pub const RSP: usize = 15;
    /// Of RIP.
    pub const RIP: usize = 16;
    /// Of RFLAGS.
    pub const RFLAGS: usize = 17;
}

const _: () = assert!(size_of::<Context>() == 304);

/// What a handler is.
pub type Handler = extern "C" fn(i32, &Info, &mut Context);

/// Where handlers return to.
#[unsafe(naked)]
pub extern "C" fn restorer() {
    naked_asm!("mov eax, {number}", "syscall", number = const general::__NR_rt_sigreturn)
}

impl Action {
    /// Default.
    pub const DEFAULT: Self = Self::of(0);
    /// Ignored.
    pub const IGNORE: Self = Self::of(1);

    const fn of(handler: usize) -> Self {
        Self {
            handler,
            flags: 0,
            restorer: 0,
            mask: 0,
        }
    }

    /// A handler with everything that it is told.
    #[must_use]
    pub fn handler(handler: Handler, flags: u32) -> Self {
        Self {
            handler: handler as *const () as usize,
            flags: u64::from(flags | general::SA_SIGINFO | general::SA_RESTORER),
            restorer: restorer as *const () as usize,
            mask: 0,
        }
    }
}

/// `rt_sigaction(2)`; what was before.
///
/// # Errors
/// As in the man page.
///
/// # Safety
/// A handler does nothing that the program, wherever it is interrupted, would not bear.
pub unsafe fn action(signal: u32, new: &Action) -> Result<Action, Errno> {
    let mut old = Action::DEFAULT;
    let arguments = [
        signal as usize,
        &raw const *new as usize,
        &raw mut old as usize,
        SET_BYTES,
    ];
    // SAFETY: both have the layout that the call reads and fills; the handler is the caller's affair.
    unsafe { rt_sigaction(arguments) }.map(|_| old)
}

/// The action of a signal.
///
/// # Errors
/// As in the man page.
pub fn current_action(signal: u32) -> Result<Action, Errno> {
    let mut old = Action::DEFAULT;
    // SAFETY: fills `old` only.
    unsafe { rt_sigaction([signal as usize, 0, &raw mut old as usize, SET_BYTES]) }.map(|_| old)
}

/// `rt_sigprocmask(2)`; the mask before.
///
/// # Errors
/// As in the man page.
pub fn mask(how: u32, set: u64) -> Result<u64, Errno> {
    let mut old = 0u64;
    let arguments = [how as usize, &raw const set as usize, &raw mut old as usize, SET_BYTES];
    // SAFETY: reads `set` and fills `old`.
    unsafe { rt_sigprocmask(arguments) }.map(|_| old)
}

/// `rt_sigpending(2)`; 0 when it fails.
#[must_use]
pub fn pending() -> u64 {
    let mut set = 0u64;
    // SAFETY: fills `set`.
    _ = unsafe { rt_sigpending([&raw mut set as usize, SET_BYTES]) };
    set
}

/// A signal to the process itself.
///
/// # Errors
/// As in tgkill(2).
pub fn raise(signal: u32) -> Result<(), Errno> {
    let own = super::process::id() as usize;
    // SAFETY: touches no memory; a handler is what `action`'s caller answered for.
    unsafe { call(general::__NR_tgkill, [own, own, signal as usize, 0, 0, 0]) }.map(drop)
}
