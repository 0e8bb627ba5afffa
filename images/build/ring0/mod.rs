//! The instruction check: refuses a guest kernel with an instruction that KVM's emulator does not have.
//!
//! On hosts without hardware virtualization KVM interprets ring 0, and stops the VM at anything outside the integer
//! baseline. Compiling without SSE is not enough to know: the toolchain's `core` is precompiled *with* SSE. Link-time
//! optimization compiles it again with the kernel's flags, but that is an accident of the profile, assembly has no
//! flags at all, and what slipped in would be found on such a host only, on the day it runs. So every instruction of
//! ring 0 is decoded. There is no exemption for panics: the panic path is ring 0 too.
//!
//! | file | what it does |
//! |---|---|
//! | `image.rs` | reads the ELF: the functions of ring 0 |
//! | `refused.rs` | judges one instruction, and names the remedy |
//!
//! Code in `.user_text` runs in ring 3 on purpose and is not checked. Functions named `native_...` run only where
//! ring 0 is native, and may hold the instructions that need it (`sysretq`, `xsave`, `stac`...), never vector
//! arithmetic.

use std::fmt;

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind};

mod image;
mod refused;
#[cfg(test)]
mod tests;

use image::{Function, Image};

/// One instruction that ring 0 must not contain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Demangled name of the function.
    pub symbol: String,
    /// Virtual address of the instruction.
    pub address: u64,
    /// The instruction in Intel syntax.
    pub instruction: String,
    /// Why it is refused.
    pub reason: &'static str,
    /// What to do instead.
    pub remedy: &'static str,
    /// Functions that call or jump to this one directly.
    pub callers: Vec<String>,
}

/// Why a kernel is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// The file is no kernel that the check understands.
    Image(String),
    /// Ring 0 contains what it must not.
    Refused(Vec<Violation>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Image(what) => write!(f, "instruction check: {what}"),
            Error::Refused(violations) => {
                let count = violations.len();
                writeln!(
                    f,
                    "instruction check: {count} instruction(s) that ring 0 must not contain"
                )?;
                for v in violations {
                    writeln!(
                        f,
                        "  {} at {:#x}: `{}`: {}",
                        v.symbol, v.address, v.instruction, v.reason
                    )?;
                    if !v.callers.is_empty() {
                        writeln!(f, "    called by {}", v.callers.join(", "))?;
                    }
                    writeln!(f, "    remedy: {}", v.remedy)?;
                }
                Ok(())
            }
        }
    }
}

/// Checks a kernel's ELF file; returns how many instructions of ring 0 were checked.
///
/// # Errors
/// [`Error::Image`] if the file cannot be read as a kernel, [`Error::Refused`] with every violation otherwise.
pub(crate) fn check(elf: &[u8]) -> Result<usize, Error> {
    check_image(&Image::parse(elf).map_err(Error::Image)?)
}

fn check_image(image: &Image) -> Result<usize, Error> {
    let mut checked = 0;
    let mut violations = Vec::new();
    for function in &image.functions {
        for instruction in decode(function) {
            checked += 1;
            if let Some(refusal) = refused::judge(&instruction, &function.name) {
                violations.push(Violation {
                    symbol: function.name.clone(),
                    address: instruction.ip(),
                    instruction: refused::text(&instruction),
                    reason: refusal.reason,
                    remedy: refusal.remedy,
                    callers: callers(image, function),
                });
            }
        }
    }
    if violations.is_empty() {
        Ok(checked)
    } else {
        Err(Error::Refused(violations))
    }
}

fn decode(function: &Function) -> Decoder<'_> {
    Decoder::with_ip(64, &function.code, function.start, DecoderOptions::NONE)
}

/// Names of the functions with a direct branch into this one.
fn callers(image: &Image, function: &Function) -> Vec<String> {
    let enters = |instruction: Instruction| {
        instruction.op0_kind() == OpKind::NearBranch64
            && (function.start..function.end()).contains(&instruction.near_branch_target())
    };
    let others = image.functions.iter().filter(|other| other.start != function.start);
    others
        .filter(|other| decode(other).into_iter().any(enters))
        .map(|other| other.name.clone())
        .collect()
}
