//! A program's initial stack: arguments, environment, auxiliary vector.
//!
//! ```text
//! top      16 random bytes, the program's path, environment strings, argument strings
//!          auxiliary vector, null pair last
//!          environment pointers, null last
//!          argument pointers, null last
//! bottom   argument count                        <- initial stack pointer, 16-byte aligned
//! ```
//!
//! Source: System V ABI, AMD64 supplement, 3.4.1 "Initial Stack and Register State"; Linux, fs/binfmt_elf.c.

use faultlab_abi::layout::PAGE_SIZE;

use crate::elf::Program;

/// Most bytes of arguments and environment together, as on Linux with its default stack limit (a quarter of 8 MiB).
pub const STRINGS_MAX_BYTES: u64 = 2 << 20;

/// Types of auxiliary vector entries. Source: Linux, include/uapi/linux/auxvec.h.
mod at {
    pub(super) const NULL: u64 = 0;
    pub(super) const PHDR: u64 = 3;
    pub(super) const PHENT: u64 = 4;
    pub(super) const PHNUM: u64 = 5;
    pub(super) const PAGESZ: u64 = 6;
    pub(super) const BASE: u64 = 7;
    pub(super) const FLAGS: u64 = 8;
    pub(super) const ENTRY: u64 = 9;
    pub(super) const UID: u64 = 11;
    pub(super) const EUID: u64 = 12;
    pub(super) const GID: u64 = 13;
    pub(super) const EGID: u64 = 14;
    pub(super) const HWCAP: u64 = 16;
    pub(super) const CLKTCK: u64 = 17;
    pub(super) const SECURE: u64 = 23;
    pub(super) const RANDOM: u64 = 25;
    pub(super) const HWCAP2: u64 = 26;
    pub(super) const EXECFN: u64 = 31;
}

/// Bytes of words that are written at a time.
const BUFFER_BYTES: usize = 512;
/// Pairs of the auxiliary vector.
const AUXV_PAIRS: usize = 18;

/// What a stack is built from.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// Arguments, each NUL-terminated, the first being the program's path.
    pub argv: &'a [u8],
    /// Environment, each NUL-terminated.
    pub envp: &'a [u8],
    /// The loaded program.
    pub program: &'a Program,
    /// For `AT_HWCAP`: CPUID leaf 1, EDX.
    pub hwcap: u64,
    /// For `AT_RANDOM`.
    pub random: [u64; 2],
}

/// Why no stack was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// No argument at all, or a string without its NUL.
    Unterminated,
    /// More than [`STRINGS_MAX_BYTES`].
    TooLong,
    /// The memory could not be written.
    Write(E),
}

impl Contents<'_> {
    /// Writes the stack below `top` (16-byte aligned) with `write(address, bytes)`, and returns the initial stack
    /// pointer.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn build<E>(&self, top: u64, write: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<u64, Error<E>> {
        let path_bytes = self
            .argv
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(Error::Unterminated)?
            + 1;
        if self.envp.last().is_some_and(|last| *last != 0) || self.argv.last() != Some(&0) {
            return Err(Error::Unterminated);
        }
        let strings = (self.argv.len() + self.envp.len()) as u64;
        let pointers = count(self.argv) + count(self.envp) + 2;
        if strings + 8 * pointers as u64 > STRINGS_MAX_BYTES {
            return Err(Error::TooLong);
        }
        let random = top - 16;
        let path = random - path_bytes as u64;
        let envp = path - self.envp.len() as u64;
        let argv = envp - self.argv.len() as u64;
        let words = 1 + pointers + 2 * AUXV_PAIRS;
        let sp = (argv - 8 * words as u64) & !15;

        let mut out = Words {
            write,
            at: sp,
            buffer: [0; BUFFER_BYTES],
            used: 0,
        };
        out.push(count(self.argv) as u64)?;
        out.push_pointers(argv, self.argv)?;
        out.push_pointers(envp, self.envp)?;
        for (kind, value) in self.auxv(random, path) {
            out.push(kind)?;
            out.push(value)?;
        }
        out.flush()?;
        let mut write = out.write;
        write(argv, self.argv).map_err(Error::Write)?;
        if !self.envp.is_empty() {
            write(envp, self.envp).map_err(Error::Write)?;
        }
        write(path, &self.argv[..path_bytes]).map_err(Error::Write)?;
        for (index, word) in self.random.iter().enumerate() {
            write(random + 8 * index as u64, &word.to_le_bytes()).map_err(Error::Write)?;
        }
        Ok(sp)
    }

    fn auxv(&self, random: u64, path: u64) -> [(u64, u64); AUXV_PAIRS] {
        [
            (at::HWCAP, self.hwcap),
            (at::PAGESZ, PAGE_SIZE),
            (at::CLKTCK, 100),
            (at::PHDR, self.program.phdr),
            (at::PHENT, 56),
            (at::PHNUM, u64::from(self.program.phnum)),
            (at::BASE, 0),
            (at::FLAGS, 0),
            (at::ENTRY, self.program.entry),
            (at::UID, 0),
            (at::EUID, 0),
            (at::GID, 0),
            (at::EGID, 0),
            (at::SECURE, 0),
            (at::RANDOM, random),
            (at::HWCAP2, 0),
            (at::EXECFN, path),
            (at::NULL, 0),
        ]
    }
}

/// Number of NUL-terminated strings.
fn count(strings: &[u8]) -> usize {
    strings.iter().filter(|byte| **byte == 0).count()
}

/// Writes words in ascending order, several at a time.
struct Words<W> {
    write: W,
    at: u64,
    buffer: [u8; BUFFER_BYTES],
    used: usize,
}

impl<W> Words<W> {
    fn push<E>(&mut self, word: u64) -> Result<(), Error<E>>
    where
        W: FnMut(u64, &[u8]) -> Result<(), E>,
    {
        self.buffer[self.used..self.used + 8].copy_from_slice(&word.to_le_bytes());
        self.used += 8;
        if self.used == self.buffer.len() {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush<E>(&mut self) -> Result<(), Error<E>>
    where
        W: FnMut(u64, &[u8]) -> Result<(), E>,
    {
        if self.used != 0 {
            (self.write)(self.at, &self.buffer[..self.used]).map_err(Error::Write)?;
        }
        self.at += self.used as u64;
        self.used = 0;
        Ok(())
    }

    /// The address of each string of a block at `base`, and a null pointer.
    fn push_pointers<E>(&mut self, base: u64, strings: &[u8]) -> Result<(), Error<E>>
    where
        W: FnMut(u64, &[u8]) -> Result<(), E>,
    {
        let mut start = 0;
        for (index, _) in strings.iter().enumerate().filter(|(_, byte)| **byte == 0) {
            self.push(base + start as u64)?;
            start = index + 1;
        }
        self.push(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x10_0000;

    fn program() -> Program {
        let mut file = vec![0u8; 0x1000];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        for (at, value) in [(16, 2u64), (18, 62), (24, 0x40_0000), (32, 64), (54, 56), (56, 1)] {
            file[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
        }
        for (at, value) in [(0, 1u64 | 5 << 32), (8, 0), (16, 0x40_0000), (32, 0x1000), (40, 0x1000)] {
            file[64 + at..72 + at].copy_from_slice(&value.to_le_bytes());
        }
        Program::parse(&file).expect("good")
    }

    fn build(argv: &[u8], envp: &[u8]) -> Result<(u64, Vec<u8>), Error<()>> {
        let program = program();
        let contents = Contents {
            argv,
            envp,
            program: &program,
            hwcap: 7,
            random: [1, 2],
        };
        let mut memory = vec![0xaa; TOP as usize];
        let sp = contents.build(TOP, |at, bytes| {
            memory
                .get_mut(at as usize..at as usize + bytes.len())
                .ok_or(())?
                .copy_from_slice(bytes);
            Ok(())
        })?;
        Ok((sp, memory))
    }

    fn word(memory: &[u8], at: u64) -> u64 {
        le_word(memory, at as usize)
    }

    fn le_word(memory: &[u8], at: usize) -> u64 {
        crate::le(memory, at).map(u64::from_le_bytes).expect("in memory")
    }

    fn string(memory: &[u8], at: u64) -> &[u8] {
        memory[at as usize..].split(|byte| *byte == 0).next().expect("a string")
    }

    #[test]
    fn a_program_finds_what_it_was_given() {
        for count in [1usize, 2, 3, 61, 62, 63, 64, 200] {
            let argv: Vec<u8> = (0..count).flat_map(|i| format!("arg{i}\0").into_bytes()).collect();
            let (sp, memory) = build(&argv, b"A=1\0BC=\0").expect("fits");
            assert_eq!(sp % 16, 0);
            assert_eq!(word(&memory, sp), count as u64);
            for index in 0..count {
                let pointer = word(&memory, sp + 8 + 8 * index as u64);
                assert_eq!(string(&memory, pointer), format!("arg{index}").as_bytes());
            }
            let envp = sp + 8 + 8 * count as u64 + 8;
            assert_eq!(word(&memory, envp - 8), 0);
            assert_eq!(string(&memory, word(&memory, envp)), b"A=1");
            assert_eq!(string(&memory, word(&memory, envp + 8)), b"BC=");
            assert_eq!(word(&memory, envp + 16), 0);
            let auxv = envp + 24;
            let pairs: Vec<(u64, u64)> = (0..AUXV_PAIRS as u64)
                .map(|i| (word(&memory, auxv + 16 * i), word(&memory, auxv + 16 * i + 8)))
                .collect();
            let value = |kind| pairs.iter().find(|pair| pair.0 == kind).expect("there").1;
            assert_eq!(*pairs.last().expect("some"), (at::NULL, 0));
            assert_eq!(
                (value(at::PHDR), value(at::PHNUM), value(at::ENTRY)),
                (0x40_0040, 1, 0x40_0000)
            );
            assert_eq!((value(at::PAGESZ), value(at::HWCAP), value(at::PHENT)), (4096, 7, 56));
            assert_eq!(string(&memory, value(at::EXECFN)), b"arg0");
            assert_eq!(
                (word(&memory, value(at::RANDOM)), word(&memory, value(at::RANDOM) + 8)),
                (1, 2)
            );
        }
    }

    #[test]
    fn bad_strings_are_refused() {
        assert_eq!(build(b"", b"").map(|_| ()), Err(Error::Unterminated));
        assert_eq!(build(b"a", b"").map(|_| ()), Err(Error::Unterminated));
        assert_eq!(build(b"a\0b", b"").map(|_| ()), Err(Error::Unterminated));
        assert_eq!(build(b"a\0", b"X=1").map(|_| ()), Err(Error::Unterminated));
        assert_eq!(
            build(&[0; 300_000], b"").map(|_| ()),
            Err(Error::TooLong),
            "pointers count too"
        );
        assert!(build(b"\0", b"").is_ok(), "an empty path is a path");
    }

    #[test]
    fn failing_memory_is_reported() {
        let program = program();
        let contents = Contents {
            argv: b"a\0",
            envp: b"",
            program: &program,
            hwcap: 0,
            random: [0; 2],
        };
        assert_eq!(contents.build(TOP, |_, _| Err("no")), Err(Error::Write("no")));
    }
}
