//! Static x86-64 executables.
//!
//! Source: System V ABI, chapters 4 and 5; AMD64 supplement; Linux, fs/binfmt_elf.c.

use faultlab_abi::layout::{PAGE_SIZE, USER_END, USER_MIN};

use crate::le;

/// Most segments a program may load.
pub const SEGMENTS_MAX: usize = 16;
/// Where position-independent programs go: Linux's `ELF_ET_DYN_BASE`, two thirds of the way up.
pub const DYN_BIAS: u64 = 0x5555_5555_4000;

const EHDR_BYTES: usize = 64;
const PHDR_BYTES: usize = 56;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

/// Rights of a segment (`p_flags`).
pub mod flag {
    /// Execute.
    pub const X: u32 = 1;
    /// Write.
    pub const W: u32 = 2;
    /// Read.
    pub const R: u32 = 4;
}

/// A piece of the file that is mapped.
///
/// # Invariants
/// `filesz <= memsz`, which is not 0; `[vaddr, vaddr + memsz)` lies in the programs' half. If `filesz` is not 0,
/// `[offset, offset + filesz)` lies in the file, and `offset` and `vaddr` are congruent modulo the page size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Address, bias included.
    pub vaddr: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// Bytes in memory.
    pub memsz: u64,
    /// [`flag`] bits.
    pub flags: u32,
}

/// A program that can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Address of its first instruction.
    pub entry: u64,
    /// Address of its program headers in memory, 0 if no segment contains them.
    pub phdr: u64,
    /// Number of its program headers.
    pub phnum: u16,
    /// First address past its highest segment.
    pub end: u64,
    segments: [Segment; SEGMENTS_MAX],
    count: usize,
}

/// Why a file cannot be run; the text completes "not a static x86-64 program: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

impl Program {
    /// Reads the headers of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(file: &[u8]) -> Result<Self, Refusal> {
        Self::parse_head(file, file.len() as u64)
    }

    /// As [`Program::parse`], from the first bytes of a file of `file_len` bytes; all headers have to be there.
    ///
    /// # Errors
    /// As there.
    pub fn parse_head(file: &[u8], file_len: u64) -> Result<Self, Refusal> {
        let header = file.get(..EHDR_BYTES).ok_or(Refusal("shorter than an ELF header"))?;
        let (kind, phnum) = check_header(header)?;
        let bias = if kind == ET_DYN { DYN_BIAS } else { 0 };
        let phoff = long(header, 32);
        let mut program = Self {
            entry: long(header, 24).wrapping_add(bias),
            phdr: 0,
            phnum,
            end: 0,
            segments: [Segment::default(); SEGMENTS_MAX],
            count: 0,
        };
        for index in 0..usize::from(phnum) {
            let at = usize::try_from(phoff)
                .ok()
                .and_then(|phoff| phoff.checked_add(index * PHDR_BYTES));
            let phdr = at.and_then(|at| file.get(at..)?.get(..PHDR_BYTES));
            let phdr = phdr.ok_or(Refusal("its program headers lie outside the file"))?;
            match half(phdr, 0) {
                PT_INTERP => return Err(Refusal("it needs an interpreter (dynamically linked)")),
                PT_LOAD if long(phdr, 40) != 0 => program.push(segment(phdr, bias, file_len)?, phoff)?,
                _ => {}
            }
        }
        if !program
            .segments()
            .iter()
            .any(|s| s.flags & flag::X != 0 && program.entry.wrapping_sub(s.vaddr) < s.memsz)
        {
            return Err(Refusal("its entry lies outside its executable segments"));
        }
        Ok(program)
    }

    /// Its segments in the order of the file. Where pages of some overlap, the last one has them.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or_default()
    }

    fn push(&mut self, segment: Segment, phoff: u64) -> Result<(), Refusal> {
        let free = self
            .segments
            .get_mut(self.count)
            .ok_or(Refusal("it has more than 16 segments"))?;
        *free = segment;
        self.count += 1;
        self.end = self.end.max(segment.vaddr + segment.memsz);
        let into = phoff.wrapping_sub(segment.offset);
        if into < segment.filesz {
            self.phdr = segment.vaddr + into;
        }
        Ok(())
    }
}

/// Checks the ELF header; returns `e_type` and `e_phnum`.
fn check_header(header: &[u8]) -> Result<(u16, u16), Refusal> {
    if !header.starts_with(b"\x7fELF") {
        return Err(Refusal("no ELF file"));
    }
    // Class and order of bytes say nothing to Linux, either.
    if short(header, 18) != EM_X86_64 {
        return Err(Refusal("for another machine"));
    }
    let kind = short(header, 16);
    if kind != ET_EXEC && kind != ET_DYN {
        return Err(Refusal("no executable (e_type)"));
    }
    if usize::from(short(header, 54)) != PHDR_BYTES || short(header, 56) == 0 {
        return Err(Refusal("it has no program headers"));
    }
    Ok((kind, short(header, 56)))
}

fn segment(phdr: &[u8], bias: u64, file_len: u64) -> Result<Segment, Refusal> {
    let segment = Segment {
        flags: half(phdr, 4),
        offset: long(phdr, 8),
        vaddr: long(phdr, 16).wrapping_add(bias),
        filesz: long(phdr, 32),
        memsz: long(phdr, 40),
    };
    if segment.filesz > segment.memsz {
        return Err(Refusal("a segment is larger in the file than in memory"));
    }
    let file_end = segment.offset.checked_add(segment.filesz);
    // Where a segment of zeroes lies in the file says nothing.
    if segment.filesz != 0 && file_end.is_none_or(|end| end > file_len) {
        return Err(Refusal("truncated: a segment ends past the end of the file"));
    }
    if segment.filesz != 0 && (segment.offset ^ segment.vaddr) & (PAGE_SIZE - 1) != 0 {
        return Err(Refusal("a segment's address and offset differ within the page"));
    }
    if segment.vaddr < USER_MIN
        || segment
            .vaddr
            .checked_add(segment.memsz)
            .is_none_or(|end| end > USER_END)
    {
        return Err(Refusal("a segment lies outside the programs' addresses"));
    }
    Ok(segment)
}

/// Readers of fields within a header whose length was checked.
fn short(bytes: &[u8], at: usize) -> u16 {
    le(bytes, at).map_or(0, u16::from_le_bytes)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    le(bytes, at).map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    le(bytes, at).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Phdr(u32, u32, u64, u64, u64, u64);

    fn file(kind: u16, entry: u64, phdrs: &[Phdr]) -> Vec<u8> {
        let mut file = vec![0; 0x3000];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16..18].copy_from_slice(&kind.to_le_bytes());
        file[18..20].copy_from_slice(&EM_X86_64.to_le_bytes());
        file[24..32].copy_from_slice(&entry.to_le_bytes());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[54..56].copy_from_slice(&56u16.to_le_bytes());
        file[56..58].copy_from_slice(&(phdrs.len() as u16).to_le_bytes());
        for (index, Phdr(kind, flags, offset, vaddr, filesz, memsz)) in phdrs.iter().enumerate() {
            let mut bytes = Vec::new();
            bytes.extend(kind.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
            for word in [*offset, *vaddr, *vaddr, *filesz, *memsz, 4096] {
                bytes.extend(word.to_le_bytes());
            }
            file[64 + index * 56..][..56].copy_from_slice(&bytes);
        }
        file
    }

    fn good() -> Vec<u8> {
        let text = Phdr(PT_LOAD, 5, 0, 0x40_0000, 0x1234, 0x1234);
        let data = Phdr(PT_LOAD, 6, 0x1ff0, 0x40_2ff0, 0x20, 0x5000);
        file(ET_EXEC, 0x40_1000, &[text, Phdr(4, 4, 0, 0, 0, 0), data])
    }

    #[test]
    fn a_static_program() {
        let program = Program::parse(&good()).expect("good");
        assert_eq!(
            (program.entry, program.phdr, program.phnum, program.end),
            (0x40_1000, 0x40_0040, 3, 0x40_7ff0)
        );
        let flags = flag::R | flag::W;
        let data = Segment {
            offset: 0x1ff0,
            vaddr: 0x40_2ff0,
            filesz: 0x20,
            memsz: 0x5000,
            flags,
        };
        assert_eq!(program.segments()[1], data);
    }

    #[test]
    fn position_independent_programs_are_biased() {
        let program = Program::parse(&file(ET_DYN, 0x10, &[Phdr(PT_LOAD, 5, 0, 0, 0x100, 0x100)])).expect("good");
        assert_eq!((program.entry, program.phdr), (DYN_BIAS + 0x10, DYN_BIAS + 64));
    }

    #[test]
    fn segments_share_pages_in_any_order() {
        let phdrs = [
            Phdr(PT_LOAD, 6, 0x1ff0, 0x40_2ff0, 0x10, 0x2000),
            Phdr(PT_LOAD, 5, 0, 0x40_2000, 0x100, 0x100),
            Phdr(PT_LOAD, 6, u64::MAX, 0x40_2123, 0, 0x10),
        ];
        let program = Program::parse(&file(ET_EXEC, 0x40_2000, &phdrs)).expect("good");
        assert_eq!((program.segments().len(), program.end), (3, 0x40_4ff0));
        assert_eq!(program.segments()[0].vaddr, 0x40_2ff0);
    }

    #[test]
    fn every_refusal() {
        let refused = |file: &[u8], what: &str| {
            let refusal = Program::parse(file).expect_err(what);
            assert!(refusal.0.contains(what), "{refusal:?} instead of {what}");
        };
        let exec = |phdr| file(ET_EXEC, 0x40_0000, &[phdr]);
        refused(&[], "shorter");
        refused(&[0; 64], "no ELF");
        refused(&good()[..100], "outside the file");
        refused(&good()[..0x2000], "truncated");
        for (at, byte, what) in [(18, 3, "machine"), (16, 1, "e_type"), (56, 0, "headers")] {
            let mut file = good();
            file[at] = byte;
            refused(&file, what);
        }
        refused(&exec(Phdr(PT_INTERP, 4, 0, 0, 0, 0)), "interpreter");
        refused(&exec(Phdr(PT_LOAD, 5, 0, 0x40_0000, 2, 1)), "larger in the file");
        refused(&exec(Phdr(PT_LOAD, 5, u64::MAX, 0x40_0000, 1, 1)), "truncated");
        refused(&exec(Phdr(PT_LOAD, 5, 1, 0x40_0000, 1, 1)), "within the page");
        refused(&exec(Phdr(PT_LOAD, 5, 0, 0, 1, 1)), "addresses");
        refused(&exec(Phdr(PT_LOAD, 5, 0, 0x40_0000, 1, USER_END)), "addresses");
        refused(&exec(Phdr(PT_LOAD, 5, 0, 0x40_0000, 1, u64::MAX)), "addresses");
        refused(&exec(Phdr(PT_LOAD, 4, 0, 0x40_0000, 1, 1)), "entry");
        let many: Vec<Phdr> = (0..17)
            .map(|i| Phdr(PT_LOAD, 5, 0, 0x40_0000 + i * 4096, 1, 1))
            .collect();
        refused(&file(ET_EXEC, 0x40_0000, &many), "16 segments");
    }
}
