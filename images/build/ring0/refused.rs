//! Judges one instruction: is it in the set that KVM's emulator is known to carry out?
//!
//! The set is an allow list by CPU feature, so that an instruction nobody thought of is refused; what is inside these
//! features and still does not work is listed by mnemonic. Measured on a host that interprets ring 0.

use iced_x86::{CpuidFeature, Formatter, Instruction, IntelFormatter, Mnemonic};

/// Prefix of functions that run only where ring 0 is native.
const NATIVE_PREFIX: &str = "native_";

/// Why an instruction is refused, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Why.
    pub reason: &'static str,
    /// What to do instead.
    pub remedy: &'static str,
}

const VECTOR: Refusal = Refusal {
    reason: "vector or floating-point code: the emulator lacks it, and ring 0 saves no such registers on a fault",
    remedy: "use no floats or vector intrinsics; if it is a function of precompiled `core`, see that the profile \
             compiles it again (lto = \"fat\"), or do without it",
};
const EXTENSION: Refusal = Refusal {
    reason: "outside the instruction set that KVM's emulator carries out",
    remedy: "stay within baseline x86-64: no `target-feature` or `target-cpu` above it, no intrinsic for it",
};
const NATIVE_ONLY: Refusal = Refusal {
    reason: "works only where ring 0 is native",
    remedy: "run it in ring 3 from `.user_text`, or move it to a function named `native_...` that is called only where \
             ring 0 is native",
};
const SOFTWARE_INTERRUPT: Refusal = Refusal {
    reason: "a software interrupt, which KVM's emulator does not carry out in ring 0",
    remedy: "use `ud2` for a trap, or call the handler",
};
const HYPERCALL: Refusal = Refusal {
    reason: "a hypercall, which loops for ever under KVM's emulator",
    remedy: "use port I/O or MMIO to reach the VMM",
};
const NOT_CODE: Refusal = Refusal {
    reason: "not an instruction",
    remedy: "keep data out of `.text`",
};

/// Why this instruction must not be in this function of ring 0; `None` if it may.
pub(super) fn judge(instruction: &Instruction, function: &str) -> Option<Refusal> {
    let refusal = refuse(instruction)?;
    let native = function
        .split('=')
        .any(|name| name.rsplit("::").next().is_some_and(|n| n.starts_with(NATIVE_PREFIX)));
    (refusal != NATIVE_ONLY || !native).then_some(refusal)
}

/// The instruction in Intel syntax.
pub(super) fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    text
}

fn refuse(instruction: &Instruction) -> Option<Refusal> {
    if instruction.is_invalid() {
        return Some(NOT_CODE);
    }
    match instruction.mnemonic() {
        // Also what older processors take for `bsf`, `bsr`; a trap that raises #UD; the whole state in one.
        Mnemonic::Tzcnt | Mnemonic::Lzcnt | Mnemonic::Ud2 | Mnemonic::Fxsave | Mnemonic::Fxsave64 => None,
        Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => None,
        Mnemonic::Lfence | Mnemonic::Mfence | Mnemonic::Sfence | Mnemonic::Pause | Mnemonic::Clflush => None,
        Mnemonic::Prefetcht0 | Mnemonic::Prefetcht1 | Mnemonic::Prefetcht2 => None,
        Mnemonic::Prefetchnta | Mnemonic::Prefetchw | Mnemonic::Prefetch => None,
        Mnemonic::Int | Mnemonic::Int1 | Mnemonic::Int3 | Mnemonic::Into => Some(SOFTWARE_INTERRUPT),
        Mnemonic::Vmcall | Mnemonic::Vmmcall => Some(HYPERCALL),
        Mnemonic::Sysret | Mnemonic::Sysretq | Mnemonic::Sysexit | Mnemonic::Sysexitq => Some(NATIVE_ONLY),
        Mnemonic::Sysenter | Mnemonic::Syscall => Some(EXTENSION),
        Mnemonic::Stac | Mnemonic::Clac | Mnemonic::Invpcid | Mnemonic::Xgetbv | Mnemonic::Xsetbv => Some(NATIVE_ONLY),
        Mnemonic::Ldmxcsr | Mnemonic::Stmxcsr => Some(NATIVE_ONLY),
        _ => instruction
            .cpuid_features()
            .iter()
            .find_map(|feature| outside(*feature)),
    }
}

/// Why instructions of this feature are refused.
fn outside(feature: CpuidFeature) -> Option<Refusal> {
    use CpuidFeature as F;
    match feature {
        F::INTEL8086 | F::INTEL8086_ONLY | F::INTEL186 | F::INTEL286 | F::INTEL386 | F::INTEL486 | F::X64 => None,
        F::CMOV | F::CPUID | F::CX8 | F::TSC | F::MSR | F::FSGSBASE | F::MULTIBYTENOP | F::SYSCALL => None,
        F::XSAVE | F::XSAVEC | F::XSAVEOPT | F::XSAVES => Some(NATIVE_ONLY),
        F::POPCNT | F::BMI1 | F::BMI2 | F::ADX | F::CMPXCHG16B | F::RDTSCP | F::MONITOR | F::MOVBE => Some(EXTENSION),
        F::RDPID | F::SMAP | F::INVPCID => Some(EXTENSION),
        F::FPU | F::FPU287 | F::FPU387 | F::MMX | F::SSE | F::SSE2 | F::SSE3 | F::SSSE3 | F::SSE4A => Some(VECTOR),
        F::SSE4_1 | F::AVX | F::AVX2 | F::AVX512F | F::FMA | F::F16C | F::AES | F::PCLMULQDQ => Some(VECTOR),
        _ => Some(EXTENSION),
    }
}
