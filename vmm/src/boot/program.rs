//! Is this file a program that the guest can run?
//!
//! Source: System V ABI, chapter 4 (object files); AMD64 supplement. A static program is `ET_EXEC`, or `ET_DYN`
//! (static-pie), without `PT_INTERP`.

use std::fmt;
use std::path::Path;

use object::elf::{EM_386, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, ET_REL, FileHeader64, PT_INTERP, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};

use crate::error::ProgramError;
use crate::paths;

/// Larger files do not fit into any guest's memory.
const FILE_MAX_BYTES: u64 = 3 << 30;

/// Reads the program file at `path` and checks it.
///
/// # Errors
/// No such file, no permission, or not a static x86-64 ELF.
pub fn read(path: &Path) -> Result<Vec<u8>, ProgramError> {
    let shown = path.display().to_string();
    let bytes = paths::read(path, FILE_MAX_BYTES).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            ProgramError::NotFound { path: shown.clone() }
        }
        _ => ProgramError::Unreadable {
            path: shown.clone(),
            source,
        },
    })?;
    check(&shown, &bytes)?;
    Ok(bytes)
}

/// Checks that `bytes` are a static x86-64 Linux ELF; `path` is for the message.
///
/// # Errors
/// They are not.
pub fn check(path: &str, bytes: &[u8]) -> Result<(), ProgramError> {
    reject(bytes).map_or(Ok(()), |reason| {
        Err(ProgramError::NotStaticElf {
            path: path.into(),
            reason: reason.to_string(),
        })
    })
}

/// Why a file is no program for the guest.
enum Reason {
    Script,
    NotElf,
    Class,
    Machine(elf::Machine),
    Kind(elf::FileType),
    Truncated,
    Interpreter,
    NoSegments,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Script => f.write_str("is a script"),
            Reason::NotElf => f.write_str("is not an ELF file"),
            Reason::Class => f.write_str("is not a 64-bit little-endian ELF"),
            Reason::Machine(EM_386) => f.write_str("is for 32-bit x86"),
            Reason::Machine(EM_AARCH64) => f.write_str("is for AArch64"),
            Reason::Machine(machine) => write!(f, "is for machine {}, not x86-64", machine.0),
            Reason::Kind(ET_REL) => f.write_str("is an object file, not linked"),
            Reason::Kind(kind) => write!(f, "has ELF type {}, not an executable's", kind.0),
            Reason::Truncated => f.write_str("is a truncated ELF"),
            Reason::Interpreter => f.write_str("is dynamically linked"),
            Reason::NoSegments => f.write_str("has no segment to load"),
        }
    }
}

fn reject(bytes: &[u8]) -> Option<Reason> {
    if bytes.starts_with(b"#!") {
        return Some(Reason::Script);
    }
    if !bytes.starts_with(&elf::ELFMAG) {
        return Some(Reason::NotElf);
    }
    if bytes.len() < size_of::<FileHeader64<Endianness>>() {
        return Some(Reason::Truncated);
    }
    if bytes[4] != elf::ELFCLASS64.0 || bytes[5] != elf::ELFDATA2LSB.0 {
        return Some(Reason::Class);
    }
    let Ok(header) = FileHeader64::<Endianness>::parse(bytes) else {
        return Some(Reason::NotElf);
    };
    let endian = Endianness::Little;
    match (header.e_machine(endian), header.e_type(endian)) {
        (EM_X86_64, ET_EXEC | ET_DYN) => {}
        (EM_X86_64, kind) => return Some(Reason::Kind(kind)),
        (machine, _) => return Some(Reason::Machine(machine)),
    }
    let Ok(segments) = header.program_headers(endian, bytes) else {
        return Some(Reason::Truncated);
    };
    let loads = || segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
    if segments.iter().any(|segment| segment.p_type(endian) == PT_INTERP) {
        Some(Reason::Interpreter)
    } else if loads().next().is_none() {
        Some(Reason::NoSegments)
    } else if loads().any(|segment| segment.data(endian, bytes).is_err()) {
        Some(Reason::Truncated)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
