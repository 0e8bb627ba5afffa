//! Handlers' frames: the alternate stack, what comes back from a handler, and frames that nobody should believe.

use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use faultlab_programs::arena::{Arena, NONE, PRIVATE, Plain, RW, line, must};
use faultlab_programs::sys::memory::PAGE_BYTES;
use faultlab_programs::sys::process;
use faultlab_programs::sys::signals::{self, Action, AltStack, Context, Info};
use linux_raw_sys::general::{
    RLIMIT_CORE, SA_NODEFER, SA_ONSTACK, SIG_SETMASK, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SIGUSR1,
};

use crate::actions::child;
use crate::attempt::handler_stack;

const P: usize = PAGE_BYTES;
const DISABLE: u32 = 2;
const AUTODISARM: u32 = 1 << 31;

/// What the last handler saw.
static SP: AtomicUsize = AtomicUsize::new(0);
static FLAGS: AtomicU64 = AtomicU64::new(0);
static OLD: AtomicUsize = AtomicUsize::new(0);
static OLD_FLAGS: AtomicU32 = AtomicU32::new(0);
static CHANGE: AtomicU32 = AtomicU32::new(0);
/// What the next handler changes, and to what.
static CHANGED: AtomicUsize = AtomicUsize::new(usize::MAX);
static VALUE: AtomicU64 = AtomicU64::new(0);

extern "C" fn look(_signal: i32, _info: &Info, context: &mut Context) {
    let here = 0u8;
    SP.store(&raw const here as usize, Relaxed);
    FLAGS.store(context.flags & 6, Relaxed);
    OLD.store(context.altstack.sp, Relaxed);
    let mut now = AltStack::default();
    // SAFETY: fills `now`.
    _ = unsafe { signals::sigaltstack([0, &raw mut now as usize]) };
    OLD_FLAGS.store(now.flags, Relaxed);
    let other = AltStack {
        size: 1 << 14,
        ..handler_stack()
    };
    // SAFETY: the same memory.
    let answer = unsafe { signals::sigaltstack([&raw const other as usize, 0]) };
    CHANGE.store(answer.err().map_or(0, |errno| errno.0), Relaxed);
}

fn handle(signal: u32, handler: signals::Handler, flags: u32) {
    // SAFETY: the handlers here change what their cases expect.
    must(unsafe { signals::action(signal, &Action::handler(handler, flags)) }.map(|_| 0));
}

fn alternate(stack: AltStack) -> Plain {
    // SAFETY: the stack is of the arena, or the handlers' own.
    Plain(unsafe { signals::sigaltstack([&raw const stack as usize, 0]) })
}

pub(crate) fn show(arena: &Arena) {
    alternate_stacks(arena);
    registers();
    hostile(arena);
}

fn alternate_stacks(arena: &Arena) {
    arena.clear();
    let sp = arena.map(10, 8, RW, PRIVATE);
    let stack = |size: usize, flags: u32| AltStack {
        sp,
        size,
        flags,
        padding: 0,
    };
    line("sigaltstack", "too small", alternate(stack(2047, 0)));
    line("sigaltstack", "unknown flags", alternate(stack(8 * P, 4)));
    line("sigaltstack", "a bad address", Plain(unsafe_altstack(8)));
    for (case, flags) in [("given", 0), ("given and disarmed", AUTODISARM), ("none", DISABLE)] {
        line("sigaltstack", case, alternate(stack(8 * P, flags)));
        for onstack in [SA_ONSTACK, 0] {
            handle(SIGUSR1, look, onstack);
            must(signals::raise(SIGUSR1).map(|()| 0));
            let on = (sp..sp + 8 * P).contains(&SP.load(Relaxed));
            let place = if on { "on it" } else { "elsewhere" };
            let told = if OLD.load(Relaxed) == sp { "told" } else { "not told" };
            line(
                "sigaltstack",
                format_args!("{case}, SA_ONSTACK {}", onstack != 0),
                format_args!(
                    "{place}, {told}, flags {:#x}, changing it {}, uc_flags {:#x}",
                    OLD_FLAGS.load(Relaxed),
                    CHANGE.load(Relaxed),
                    FLAGS.load(Relaxed)
                ),
            );
            _ = alternate(stack(8 * P, flags));
        }
    }
    let overflown = child(|| {
        no_core();
        must(signals::mask(SIG_SETMASK, 0).map(|_| 0));
        _ = alternate(stack(4096, 0));
        handle(SIGUSR1, raise_again, SA_ONSTACK | SA_NODEFER);
        _ = signals::raise(SIGUSR1);
        0
    });
    line("sigaltstack", "handlers in handlers until it is full", overflown);
}

fn unsafe_altstack(address: usize) -> faultlab_programs::arena::Answer {
    // SAFETY: nothing is there to be read.
    unsafe { signals::sigaltstack([address, 0]) }
}

extern "C" fn raise_again(_signal: i32, _info: &Info, _context: &mut Context) {
    _ = signals::raise(SIGUSR1);
}

fn no_core() {
    _ = process::set_limit(RLIMIT_CORE, 0, 0);
}

/// Overwrites every register that it can reach, and skips the instruction that caused it.
extern "C" fn clobber(_signal: i32, _info: &Info, context: &mut Context) {
    context.general[Context::RIP] += 2;
    // SAFETY: all of them are declared, or are vector registers that the kernel brings back: that is what is tested.
    unsafe {
        asm!(
            "pcmpeqd xmm0, xmm0", "movdqa xmm1, xmm0", "movdqa xmm7, xmm0", "movdqa xmm8, xmm0", "movdqa xmm15, xmm0",
            "fninit", "fldpi", "std", "cld",
            out("xmm0") _, out("xmm1") _, out("xmm7") _, out("xmm8") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _, out("st(4)") _, out("st(5)") _,
            out("st(6)") _, out("st(7)") _, out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _, out("mm4") _,
            out("mm5") _, out("mm6") _, out("mm7") _,
        );
    }
    if has_avx() {
        clobber_avx();
    }
}

#[unsafe(naked)]
extern "C" fn clobber_avx() {
    naked_asm!(
        "vpcmpeqd xmm0, xmm0, xmm0",
        "vinsertf128 ymm3, ymm0, xmm0, 1",
        "vinsertf128 ymm12, ymm0, xmm0, 1",
        "ret"
    )
}

fn has_avx() -> bool {
    const OSXSAVE_AVX: u32 = 1 << 27 | 1 << 28;
    core::arch::x86_64::__cpuid(1).ecx & OSXSAVE_AVX == OSXSAVE_AVX
}

/// Fills registers, faults with `ud2`, and adds up what is left: integer registers, x87, SSE.
#[unsafe(naked)]
extern "C" fn keep() -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov eax, 1",
        "mov ebx, 2",
        "mov ecx, 4",
        "mov edx, 8",
        "mov esi, 16",
        "mov edi, 32",
        "mov ebp, 64",
        "mov r8d, 128",
        "mov r9d, 256",
        "mov r10d, 512",
        "mov r11d, 1024",
        "mov r12d, 2048",
        "mov r13d, 4096",
        "mov r14d, 8192",
        "mov r15d, 16384",
        "mov rax, 0x0123456789abcdef",
        "movq xmm0, rax",
        "movq xmm8, rax",
        "movq xmm15, rax",
        "pinsrw xmm15, eax, 7",
        "mov eax, 1",
        "fninit",
        "fld1",
        "fldpi",
        "stc",
        "ud2",
        "sbb eax, -1",
        "add eax, ebx",
        "add eax, ecx",
        "add eax, edx",
        "add eax, esi",
        "add eax, edi",
        "add eax, ebp",
        "add eax, r8d",
        "add eax, r9d",
        "add eax, r10d",
        "add eax, r11d",
        "add eax, r12d",
        "add eax, r13d",
        "add eax, r14d",
        "add eax, r15d",
        "movq rcx, xmm0",
        "movq rdx, xmm8",
        "movq rsi, xmm15",
        "pextrw edi, xmm15, 7",
        "add rcx, rdx",
        "add rcx, rsi",
        "add rcx, rdi",
        "shl rax, 48",
        "add rax, rcx",
        "fsubp st(1), st",
        "push 0",
        "fistp dword ptr [rsp]",
        "pop rcx",
        "add rax, rcx",
        "fninit",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

/// The same with the upper halves of AVX registers: how many of four words are as they were.
#[unsafe(naked)]
extern "C" fn keep_avx() -> u64 {
    naked_asm!(
        "mov eax, 0x1234567",
        "movd xmm3, eax",
        "vinsertf128 ymm3, ymm3, xmm3, 1",
        "vinsertf128 ymm12, ymm3, xmm3, 1",
        "ud2",
        "vextractf128 xmm4, ymm3, 1",
        "vextractf128 xmm5, ymm12, 1",
        "movd ecx, xmm4",
        "movd edx, xmm5",
        "movd esi, xmm3",
        "movd edi, xmm12",
        "xor r8d, r8d",
        "cmp ecx, eax",
        "sete r8b",
        "cmp edx, eax",
        "sete r9b",
        "add r8b, r9b",
        "cmp esi, eax",
        "sete r9b",
        "add r8b, r9b",
        "cmp edi, eax",
        "sete r9b",
        "add r8b, r9b",
        "vzeroupper",
        "mov eax, r8d",
        "ret",
    )
}

/// Control words of x87 and SSE in the last handler.
static CONTROL: AtomicU64 = AtomicU64::new(0);

extern "C" fn control(_signal: i32, _info: &Info, _context: &mut Context) {
    CONTROL.store(control_words(), Relaxed);
}

fn control_words() -> u64 {
    let (mut x87, mut simd) = (0u16, 0u32);
    // SAFETY: fills both.
    unsafe { asm!("fnstcw [{}]", "stmxcsr [{}]", in(reg) &raw mut x87, in(reg) &raw mut simd, options(nostack)) };
    u64::from(x87) << 32 | u64::from(simd)
}

fn set_control_words(x87: u16, simd: u32) {
    // SAFETY: every exception stays masked, and nothing here depends on how numbers are rounded.
    unsafe { asm!("fldcw [{}]", "ldmxcsr [{}]", in(reg) &raw const x87, in(reg) &raw const simd, options(nostack)) };
}

fn registers() {
    handle(SIGUSR1, control, 0);
    set_control_words(0x0f7f, 0xffa0);
    must(signals::raise(SIGUSR1).map(|()| 0));
    line(
        "signal",
        "control words in a handler",
        format_args!("{:#x}", CONTROL.load(Relaxed)),
    );
    line(
        "sigreturn",
        "control words after it",
        format_args!("{:#x}", control_words()),
    );
    set_control_words(0x037f, 0x1f80);
    _ = alternate(handler_stack());
    handle(SIGILL, clobber, 0);
    line("sigreturn", "registers after a handler", format_args!("{:#x}", keep()));
    let upper = if has_avx() { keep_avx() } else { 4 };
    line("sigreturn", "upper halves of AVX registers after a handler", upper);
}

/// Changes a word of its frame: index in [`Context::general`], or beyond it one of the others.
extern "C" fn spoil(_signal: i32, _info: &Info, context: &mut Context) {
    context.general[Context::RIP] += 2;
    let value = VALUE.load(Relaxed);
    match CHANGED.load(Relaxed) {
        index @ 0..18 => context.general[index] = value as usize,
        18 => context.segments[0] = value as u16,
        19 => context.fpstate = value as *mut [u8; 512],
        20 => context.mask = value,
        21 => {
            context.altstack = AltStack {
                flags: 77,
                ..context.altstack
            }
        }
        22 => {
            // MXCSR, reserved bits included.
            // SAFETY: the kernel put 512 bytes or more there.
            unsafe { (&mut *context.fpstate)[24..28].copy_from_slice(&(value as u32).to_le_bytes()) };
        }
        23 => {
            // Everything that is said about what follows the first 512 bytes, and that.
            // SAFETY: as above.
            unsafe { (&mut *context.fpstate)[464..].fill(value as u8) };
        }
        _ => {}
    }
}

/// `ud2`, and RFLAGS afterwards.
#[unsafe(naked)]
extern "C" fn flags_after() -> u64 {
    naked_asm!("ud2", "pushfq", "pop rax", "push 2", "popfq", "cld", "ret")
}

/// What becomes of a child whose handler returns with this.
fn spoilt(case: &str, index: usize, value: u64) {
    CHANGED.store(index, Relaxed);
    VALUE.store(value, Relaxed);
    let ended = child(|| {
        no_core();
        handle(SIGILL, spoil, 0);
        let flags = flags_after();
        line(
            "sigreturn",
            format_args!("{case}: it goes on"),
            format_args!("flags {:#x}", flags & !0x8d5),
        );
        let mask = signals::mask(SIG_SETMASK, 0).unwrap_or(0);
        line("sigreturn", format_args!("{case}: mask"), format_args!("{mask:#x}"));
        5
    });
    line("sigreturn", case, ended);
}

fn hostile(arena: &Arena) {
    arena.clear();
    // What `attempt` installed goes on where no attempt is.
    for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGTRAP] {
        // SAFETY: no handler.
        must(unsafe { signals::action(signal, &Action::DEFAULT) }.map(|_| 0));
    }
    const RIP: usize = Context::RIP;
    const RSP: usize = Context::RSP;
    const FLAGS: usize = Context::RFLAGS;
    spoilt("as it was", usize::MAX, 0);
    spoilt("RIP not canonical", RIP, 1 << 62);
    spoilt("RIP just not canonical", RIP, 0x8000_0000_0000);
    spoilt("RIP in the kernel", RIP, 0xffff_ffff_8010_0000);
    spoilt("RIP 0", RIP, 0);
    spoilt("RSP not canonical", RSP, 1 << 62);
    spoilt("RSP in the kernel", RSP, 0xffff_ffff_8020_0000);
    spoilt("all flags", FLAGS, !0x0004_0100);
    spoilt("no flags", FLAGS, 0);
    spoilt("I/O privilege", FLAGS, 0x3202);
    spoilt("nested task, virtual 8086", FLAGS, 0x2_4202);
    spoilt("CS null", 18, 0);
    spoilt("CS of ring 0", 18, 0x10);
    spoilt("CS a data segment", 18, 0x2b);
    spoilt("CS beyond the table", 18, 0xfff3);
    spoilt("fpstate nowhere", 19, 64);
    spoilt("fpstate in the kernel", 19, 0xffff_ffff_8010_0000);
    spoilt("no fpstate", 19, 0);
    spoilt("mask of everything", 20, !0);
    spoilt("alternate stack with unknown flags", 21, 0);
    spoilt("MXCSR with all exceptions masked", 22, 0x1fc0);
    spoilt("fpstate marked with zeroes", 23, 0);
    let none = child(|| {
        no_core();
        // SAFETY: ends the process, unless the kernel believes anything.
        _ = unsafe { signals::rt_sigreturn([]) };
        0
    });
    line("sigreturn", "without a handler", none);
    no_place(arena);
}

/// Handlers that cannot begin.
fn no_place(arena: &Arena) {
    let none = arena.map(10, 4, NONE, PRIVATE);
    let cases: [(&str, usize, bool); 4] = [
        ("an alternate stack without rights", none, true),
        ("an alternate stack in the kernel", 0xffff_ffff_8010_0000, true),
        ("an alternate stack that is nowhere", 4096, true),
        ("a handler that is nowhere", 0, false),
    ];
    for (case, sp, onstack) in cases {
        let ended = child(|| {
            no_core();
            _ = alternate(AltStack {
                sp,
                size: 3 * P,
                ..AltStack::default()
            });
            let mut action = Action::handler(look, SA_ONSTACK);
            if !onstack {
                action.handler = 0x10;
            }
            // SAFETY: never runs.
            must(unsafe { signals::action(SIGUSR1, &action) }.map(|_| 0));
            _ = signals::raise(SIGUSR1);
            0
        });
        line("signal", case, ended);
    }
    let ended = child(|| {
        no_core();
        let action = Action {
            flags: 0,
            ..Action::handler(look, 0)
        };
        // SAFETY: never runs.
        must(unsafe { signals::action(SIGUSR1, &action) }.map(|_| 0));
        _ = signals::raise(SIGUSR1);
        0
    });
    line("signal", "a handler without a restorer", ended);
    let ended = child(|| {
        no_core();
        handle(SIGSEGV, fault_again, 0);
        _ = signals::raise(SIGSEGV);
        0
    });
    line("signal", "a fault in its own handler", ended);
    let ended = child(|| {
        no_core();
        must(signals::mask(SIG_SETMASK, signals::set(SIGILL)).map(|_| 0));
        handle(SIGILL, clobber, 0);
        keep() as i32
    });
    line("signal", "a fault whose signal is blocked", ended);
    let ended = child(|| {
        no_core();
        // SAFETY: no handler.
        must(unsafe { signals::action(SIGILL, &Action::IGNORE) }.map(|_| 0));
        keep() as i32
    });
    line("signal", "a fault whose signal is ignored", ended);
}

extern "C" fn fault_again(_signal: i32, _info: &Info, _context: &mut Context) {
    // SAFETY: faults.
    unsafe { asm!("mov al, [{}]", in(reg) 8usize, out("al") _, options(nostack, readonly)) };
}
