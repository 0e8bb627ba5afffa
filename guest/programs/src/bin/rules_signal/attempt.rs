//! Runs an instruction that may fault, and tells what a handler is told of it.

use core::arch::naked_asm;
use core::fmt::{self, Display};
use core::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use faultlab_programs::arena::must;
use faultlab_programs::sys::signals::{self, Action, AltStack, Context, Info};
use linux_raw_sys::general::{SA_NODEFER, SA_ONSTACK, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};

/// What the last handler was told.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static ADDR: AtomicUsize = AtomicUsize::new(0);
static ERROR: AtomicU64 = AtomicU64::new(0);
static VECTOR: AtomicU64 = AtomicU64::new(0);
static CR2: AtomicUsize = AtomicUsize::new(0);
static RIP: AtomicUsize = AtomicUsize::new(0);
/// The stack that [`run`] comes back to.
static STACK: AtomicUsize = AtomicUsize::new(0);

/// Room for handlers where the program's own stack is none.
const STACK_BYTES: usize = 32 << 10;

#[repr(align(16))]
struct HandlerStack(core::cell::UnsafeCell<[u8; STACK_BYTES]>);
// SAFETY: only its address is used; one thread.
unsafe impl Sync for HandlerStack {}
static HANDLER_STACK: HandlerStack = HandlerStack(core::cell::UnsafeCell::new([0; STACK_BYTES]));

/// The alternate stack of these handlers.
pub(crate) fn handler_stack() -> AltStack {
    AltStack {
        sp: HANDLER_STACK.0.get() as usize,
        size: STACK_BYTES,
        ..AltStack::default()
    }
}

/// Single step and alignment check, which would catch the handler itself.
const TF_AC: usize = 0x4_0100;

/// Ends alignment checks, which Linux leaves on for handlers, before [`note`].
#[unsafe(naked)]
extern "C" fn enter(_signal: i32, _info: &Info, _context: &mut Context) {
    naked_asm!(
        "pushfq",
        "and qword ptr [rsp], ~0x40000",
        "popfq",
        "jmp {note}",
        note = sym note,
    )
}

extern "C" fn note(_signal: i32, info: &Info, context: &mut Context) {
    SIGNAL.store(info.signal, Relaxed);
    CODE.store(info.code, Relaxed);
    ADDR.store(info.addr, Relaxed);
    ERROR.store(context.error_code, Relaxed);
    VECTOR.store(context.vector, Relaxed);
    CR2.store(context.cr2, Relaxed);
    RIP.store(context.general[Context::RIP], Relaxed);
    context.general[Context::RIP] = recover as *const () as usize;
    context.general[Context::RFLAGS] &= !TF_AC;
}

/// Installs the handlers; they run on a stack of their own.
pub(crate) fn install() {
    let stack = handler_stack();
    // SAFETY: nothing else uses that memory.
    must(unsafe { signals::sigaltstack([&raw const stack as usize, 0]) });
    for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP] {
        // SAFETY: it touches statics only, and goes on in `recover`, which is where `run` expects it.
        let answer = unsafe { signals::action(signal, &Action::handler(enter, SA_ONSTACK | SA_NODEFER)) };
        must(answer.map(|_| 0));
    }
}

/// Calls a function that may fault with its argument, and comes back in any case.
#[unsafe(naked)]
extern "C" fn run(function: usize, argument: usize) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rip + {stack}], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "jmp {recover}",
        stack = sym STACK,
        recover = sym recover,
    )
}

/// Where [`run`] goes on after a fault: the floating-point unit is as at the start, whatever was tried.
#[unsafe(naked)]
extern "C" fn recover() {
    naked_asm!(
        "mov rsp, [rip + {stack}]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "fninit",
        "push 0x1f80",
        "ldmxcsr [rsp]",
        "add rsp, 8",
        "cld",
        "ret",
        stack = sym STACK,
    )
}

/// An instruction: a function in assembly.
pub(crate) type Instruction = extern "C" fn(usize);

/// What became of it.
pub(crate) struct Outcome {
    signal: i32,
    code: i32,
    addr: usize,
    error: u64,
    vector: u64,
    cr2: usize,
    rip: usize,
    argument: usize,
    function: usize,
}

/// Tries an instruction with an address.
pub(crate) fn attempt(instruction: Instruction, argument: usize) -> Outcome {
    SIGNAL.store(0, Relaxed);
    run(instruction as usize, argument);
    Outcome {
        signal: SIGNAL.load(Relaxed),
        code: CODE.load(Relaxed),
        addr: ADDR.load(Relaxed),
        error: ERROR.load(Relaxed),
        vector: VECTOR.load(Relaxed),
        cr2: CR2.load(Relaxed),
        rip: RIP.load(Relaxed),
        argument,
        function: instruction as usize,
    }
}

pub(crate) fn name(signal: i32) -> &'static str {
    match signal {
        4 => "SIGILL",
        5 => "SIGTRAP",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        17 => "SIGCHLD",
        _ => "a signal",
    }
}

/// An address as what it is near to.
struct Near<'a>(usize, &'a Outcome);

impl Display for Near<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(address, outcome) = self;
        let from = |base: usize| address.wrapping_sub(base).cast_signed();
        match *address {
            0 => f.write_str("0"),
            at if at == outcome.argument => f.write_str("the address"),
            _ if from(outcome.argument).unsigned_abs() < 64 => write!(f, "the address {:+}", from(outcome.argument)),
            _ if from(outcome.function).unsigned_abs() < 64 => write!(f, "the code {:+}", from(outcome.function)),
            _ if at_kernel(*address) => write!(f, "{address:#x}"),
            _ => f.write_str("elsewhere"),
        }
    }
}

fn at_kernel(address: usize) -> bool {
    address.cast_signed() < 0
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.signal == 0 {
            return f.write_str("nothing");
        }
        let (addr, rip) = (Near(self.addr, self), Near(self.rip, self));
        write!(f, "{} {}, si_addr {addr}, rip {rip}", name(self.signal), self.code)?;
        // Whether an entry was there that did not allow it is the kernel's affair: bit 0 of a page fault's.
        let error = if self.vector == 14 { self.error & !1 } else { self.error };
        write!(f, ", vector {} error {error:#x}", self.vector)?;
        if self.vector == 14 {
            write!(f, " cr2 {}", Near(self.cr2, self))?;
        }
        Ok(())
    }
}
