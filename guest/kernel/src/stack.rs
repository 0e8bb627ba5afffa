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
    pub(super) const MINSIGSTKSZ: u64 = 51;
}

/// Bytes of words that are written at a time.
const BUFFER_BYTES: usize = 512;
/// Pairs of the auxiliary vector.
const AUXV_PAIRS: usize = 19;

/// Writes bytes at an address.
pub type Write<'w, E> = dyn FnMut(u64, &[u8]) -> Result<(), E> + 'w;

/// NUL-terminated strings that a stack gets, wherever they are now.
pub trait Strings<E> {
    /// How many.
    fn count(&self) -> u64;

    /// Bytes of all, NULs included.
    fn bytes(&self) -> u64;

    /// Calls `each` with each one's bytes, NUL included, in order.
    ///
    /// # Errors
    /// What `each` says, and what reading them does.
    fn lengths(&self, each: &mut dyn FnMut(u64) -> Result<(), Error<E>>) -> Result<(), Error<E>>;

    /// Writes them one after the other from `addr` on.
    ///
    /// # Errors
    /// What `write` says, and what reading them does.
    fn copy(&self, addr: u64, write: &mut Write<'_, E>) -> Result<(), E>;
}

/// Strings that are here, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Block<'a>(&'a [u8]);

impl<'a> Block<'a> {
    /// The strings of a block.
    ///
    /// # Errors
    /// [`Unterminated`].
    pub fn new(block: &'a [u8]) -> Result<Self, Unterminated> {
        match block.last() {
            None | Some(0) => Ok(Self(block)),
            Some(_) => Err(Unterminated),
        }
    }

    /// All but the first.
    #[must_use]
    pub fn rest(self) -> Self {
        let after = |at: usize| self.0.get(at + 1..);
        let end = self.0.iter().position(|byte| *byte == 0);
        Self(end.and_then(after).unwrap_or_default())
    }
}

/// Strings that are here before others that are elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Prefixed<'a, S> {
    /// Those here.
    pub first: Block<'a>,
    /// The others.
    pub rest: S,
}

impl<E, S: Strings<E>> Strings<E> for Prefixed<'_, S> {
    fn count(&self) -> u64 {
        Strings::<E>::count(&self.first) + self.rest.count()
    }

    fn bytes(&self) -> u64 {
        Strings::<E>::bytes(&self.first) + self.rest.bytes()
    }

    fn lengths(&self, each: &mut dyn FnMut(u64) -> Result<(), Error<E>>) -> Result<(), Error<E>> {
        self.first.lengths(each)?;
        self.rest.lengths(each)
    }

    fn copy(&self, addr: u64, write: &mut Write<'_, E>) -> Result<(), E> {
        self.first.copy(addr, write)?;
        self.rest.copy(addr + Strings::<E>::bytes(&self.first), write)
    }
}

/// The last string has no NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unterminated;

impl<E> Strings<E> for Block<'_> {
    fn count(&self) -> u64 {
        self.0.iter().filter(|byte| **byte == 0).count() as u64
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn lengths(&self, each: &mut dyn FnMut(u64) -> Result<(), Error<E>>) -> Result<(), Error<E>> {
        let mut start = 0;
        for (index, _) in self.0.iter().enumerate().filter(|(_, byte)| **byte == 0) {
            each((index + 1 - start) as u64)?;
            start = index + 1;
        }
        Ok(())
    }

    fn copy(&self, addr: u64, write: &mut Write<'_, E>) -> Result<(), E> {
        if self.0.is_empty() { Ok(()) } else { write(addr, self.0) }
    }
}

/// What a stack is built from.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a, A, B> {
    /// The program's path, with its NUL.
    pub path: &'a [u8],
    /// Arguments.
    pub argv: A,
    /// Environment.
    pub envp: B,
    /// The loaded program.
    pub program: &'a Program,
    /// Real and effective user, real and effective group.
    pub ids: [u32; 4],
    /// For `AT_HWCAP`: CPUID leaf 1, EDX.
    pub hwcap: u64,
    /// For `AT_MINSIGSTKSZ`: most bytes that a handler's frame takes of a stack.
    pub signal_frame_bytes: u64,
    /// For `AT_RANDOM`.
    pub random: [u64; 2],
}

/// Why no stack was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// More than [`STRINGS_MAX_BYTES`].
    TooLong,
    /// Strings could not be read, or the memory not be written.
    Access(E),
}

impl<E> From<E> for Error<E> {
    fn from(error: E) -> Self {
        Self::Access(error)
    }
}

impl<A, B> Contents<'_, A, B> {
    /// Writes the stack below `top` (16-byte aligned) with `write(address, bytes)`, and returns the initial stack
    /// pointer.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn build<E>(&self, top: u64, mut write: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<u64, Error<E>>
    where
        A: Strings<E>,
        B: Strings<E>,
    {
        let strings = self.argv.bytes() + self.envp.bytes();
        let pointers = self.argv.count() + self.envp.count() + 2;
        if strings.saturating_add(8 * pointers) > STRINGS_MAX_BYTES {
            return Err(Error::TooLong);
        }
        let random = top - 16;
        let path = random - self.path.len() as u64;
        let envp = path - self.envp.bytes();
        let argv = envp - self.argv.bytes();
        let words = 1 + pointers + 2 * AUXV_PAIRS as u64;
        let sp = (argv - 8 * words) & !15;

        let mut out = Words {
            write: &mut write,
            at: sp,
            buffer: [0; BUFFER_BYTES],
            used: 0,
        };
        out.push(self.argv.count())?;
        out.push_pointers(argv, &self.argv)?;
        out.push_pointers(envp, &self.envp)?;
        for (kind, value) in self.auxv(random, path) {
            out.push(kind)?;
            out.push(value)?;
        }
        out.flush()?;
        self.argv.copy(argv, &mut write).map_err(Error::Access)?;
        self.envp.copy(envp, &mut write).map_err(Error::Access)?;
        write(path, self.path).map_err(Error::Access)?;
        for (index, word) in self.random.iter().enumerate() {
            write(random + 8 * index as u64, &word.to_le_bytes()).map_err(Error::Access)?;
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
            (at::UID, u64::from(self.ids[0])),
            (at::EUID, u64::from(self.ids[1])),
            (at::GID, u64::from(self.ids[2])),
            (at::EGID, u64::from(self.ids[3])),
            (at::SECURE, 0),
            (at::RANDOM, random),
            (at::HWCAP2, 0),
            (at::EXECFN, path),
            (at::MINSIGSTKSZ, self.signal_frame_bytes),
            (at::NULL, 0),
        ]
    }
}

/// Writes words in ascending order, several at a time.
struct Words<'w, E> {
    write: &'w mut Write<'w, E>,
    at: u64,
    buffer: [u8; BUFFER_BYTES],
    used: usize,
}

impl<E> Words<'_, E> {
    fn push(&mut self, word: u64) -> Result<(), Error<E>> {
        self.buffer[self.used..self.used + 8].copy_from_slice(&word.to_le_bytes());
        self.used += 8;
        if self.used == self.buffer.len() {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), Error<E>> {
        if self.used != 0 {
            (self.write)(self.at, &self.buffer[..self.used]).map_err(Error::Access)?;
        }
        self.at += self.used as u64;
        self.used = 0;
        Ok(())
    }

    /// The address of each string, the first being at `base`, and a null pointer.
    fn push_pointers(&mut self, mut base: u64, strings: &impl Strings<E>) -> Result<(), Error<E>> {
        strings.lengths(&mut |bytes| {
            self.push(base)?;
            base += bytes;
            Ok(())
        })?;
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

    fn contents<'a>(argv: &'a [u8], envp: &'a [u8], program: &'a Program) -> Contents<'a, Block<'a>, Block<'a>> {
        Contents {
            path: b"/path\0",
            argv: Block::new(argv).expect("terminated"),
            envp: Block::new(envp).expect("terminated"),
            program,
            ids: [1, 2, 3, 4],
            hwcap: 7,
            signal_frame_bytes: 2048,
            random: [1, 2],
        }
    }

    fn build(argv: &[u8], envp: &[u8]) -> Result<(u64, Vec<u8>), Error<()>> {
        let program = program();
        let contents = contents(argv, envp, &program);
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
            assert_eq!(string(&memory, value(at::EXECFN)), b"/path");
            assert_eq!([at::UID, at::EUID, at::GID, at::EGID].map(value), [1, 2, 3, 4]);
            assert_eq!(value(at::MINSIGSTKSZ), 2048);
            assert_eq!(
                (word(&memory, value(at::RANDOM)), word(&memory, value(at::RANDOM) + 8)),
                (1, 2)
            );
        }
    }

    #[test]
    fn bad_strings_are_refused() {
        for block in [&b"a"[..], b"a\0b", b"\0b"] {
            assert_eq!(Block::new(block).err(), Some(Unterminated));
        }
        assert_eq!(
            build(&[0; 300_000], b"").map(|_| ()),
            Err(Error::TooLong),
            "pointers count too"
        );
        assert!(build(b"\0", b"").is_ok(), "an empty argument is one");
    }

    #[test]
    fn failing_memory_is_reported() {
        let program = program();
        let contents = contents(b"a\0", b"", &program);
        assert_eq!(contents.build(TOP, |_, _| Err("no")), Err(Error::Access("no")));
    }
}
