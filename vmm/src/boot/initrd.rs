//! The initrd: a newc archive with the program, its arguments and its environment.
//!
//! Every file's data starts on a page of the archive, and the archive on a page of RAM, so that a kernel may map the
//! files in place. The padding is in the file name: NULs up to the next page, counted by `namesize`. Where that would
//! make a name longer than Linux accepts, directory entries (which unpack to nothing new) move the file on.
//!
//! The archive is written straight into guest RAM: the program's bytes are copied once.
//!
//! # Invariants
//! `Initrd::bytes` is exactly what `Initrd::write` writes: both run the same code, on different sinks.
//!
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

use faultlab_abi::layout::{INITRD_ARGV, INITRD_ENVP, PAGE_SIZE};
use vm_memory::{Bytes, GuestAddress};

use crate::error::BootError;
use crate::memory::GuestRam;

/// Bytes of an entry's header: the magic and 13 numbers of 8 hexadecimal digits.
const HEADER_BYTES: u64 = 110;
/// Longest name with its NULs. Source: Linux, init/initramfs.c (`PATH_MAX`).
const NAME_MAX_BYTES: u64 = 4096;
/// Longest program name: leaves room to pad.
const PROGRAM_NAME_MAX_BYTES: usize = 1024;
const TRAILER: &[u8] = b"TRAILER!!!";
/// The directory of [`INITRD_ARGV`] and [`INITRD_ENVP`].
const DIRECTORY: &[u8] = b".faultlab";

const MODE_DIRECTORY: u32 = 0o040_755;
const MODE_PROGRAM: u32 = 0o100_755;
const MODE_FILE: u32 = 0o100_644;

/// What goes into the archive.
#[derive(Debug)]
pub(crate) struct Initrd<'a> {
    name: &'a [u8],
    program: &'a [u8],
    argv: Vec<u8>,
    envp: Vec<u8>,
}

impl<'a> Initrd<'a> {
    /// An archive with `program` under the name `argv[0]`.
    pub(crate) fn new(program: &'a [u8], argv: &'a [Vec<u8>], envp: &[Vec<u8>]) -> Result<Initrd<'a>, BootError> {
        let name = argv.first().map_or(&[][..], Vec::as_slice);
        let reserved = relative(name).starts_with(DIRECTORY) || name == TRAILER;
        if name.is_empty() || name.len() > PROGRAM_NAME_MAX_BYTES || reserved {
            return Err(BootError::ProgramName { bytes: name.len() });
        }
        Ok(Initrd {
            name,
            program,
            argv: nul_terminated(argv)?,
            envp: nul_terminated(envp)?,
        })
    }

    /// Bytes of the archive.
    pub(crate) fn bytes(&self) -> u64 {
        let mut archive = Archive {
            offset: 0,
            inode: 0,
            sink: |_: u64, _: &[u8]| Ok(()),
        };
        // A sink that does nothing cannot fail.
        let _ = self.write_to(&mut archive);
        archive.offset
    }

    /// Writes the archive to RAM from `start`, which is page-aligned.
    pub(super) fn write(&self, ram: &GuestRam, start: u64) -> Result<(), BootError> {
        let sink = |offset: u64, bytes: &[u8]| {
            ram.memory()
                .write_slice(bytes, GuestAddress(start + offset))
                .map_err(|error| BootError::Write {
                    what: "the initrd",
                    reason: error.to_string(),
                })
        };
        self.write_to(&mut Archive {
            offset: 0,
            inode: 0,
            sink,
        })
    }

    fn write_to<S: Sink>(&self, archive: &mut Archive<S>) -> Result<(), BootError> {
        archive.entry(DIRECTORY, MODE_DIRECTORY, &[])?;
        archive.aligned_file(INITRD_ARGV.as_bytes(), MODE_FILE, &self.argv)?;
        archive.aligned_file(INITRD_ENVP.as_bytes(), MODE_FILE, &self.envp)?;
        archive.aligned_file(self.name, MODE_PROGRAM, self.program)?;
        archive.entry(TRAILER, 0, &[])
    }
}

/// `name` without any leading `/` and `./`: kernels look files up without them.
fn relative(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_prefix(b"/").or_else(|| name.strip_prefix(b"./")) {
        name = rest;
    }
    name
}

fn nul_terminated(strings: &[Vec<u8>]) -> Result<Vec<u8>, BootError> {
    let mut joined = Vec::with_capacity(strings.iter().map(|string| string.len() + 1).sum());
    for (index, string) in strings.iter().enumerate() {
        if string.contains(&0) {
            return Err(BootError::Nul { index });
        }
        joined.extend_from_slice(string);
        joined.push(0);
    }
    Ok(joined)
}

/// Where the bytes go: offset in the archive, bytes.
trait Sink: FnMut(u64, &[u8]) -> Result<(), BootError> {}
impl<F: FnMut(u64, &[u8]) -> Result<(), BootError>> Sink for F {}

struct Archive<S> {
    offset: u64,
    inode: u32,
    sink: S,
}

impl<S: Sink> Archive<S> {
    /// An entry whose data starts on a page.
    fn aligned_file(&mut self, name: &[u8], mode: u32, data: &[u8]) -> Result<(), BootError> {
        loop {
            let unpadded = self.offset + HEADER_BYTES + name.len() as u64 + 1;
            let padding = unpadded.next_multiple_of(PAGE_SIZE) - unpadded;
            if name.len() as u64 + 1 + padding <= NAME_MAX_BYTES {
                return self.padded_entry(name, 1 + padding, mode, data);
            }
            self.entry(DIRECTORY, MODE_DIRECTORY, &[])?;
        }
    }

    /// An entry whose name ends with one NUL.
    fn entry(&mut self, name: &[u8], mode: u32, data: &[u8]) -> Result<(), BootError> {
        self.padded_entry(name, 1, mode, data)
    }

    fn padded_entry(&mut self, name: &[u8], nuls: u64, mode: u32, data: &[u8]) -> Result<(), BootError> {
        self.inode += 1;
        let name_size = name.len() as u64 + nuls;
        // Inode, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check.
        let fields = [
            self.inode,
            mode,
            0,
            0,
            1,
            0,
            data.len() as u32,
            0,
            0,
            0,
            0,
            name_size as u32,
            0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.put(header.as_bytes())?;
        self.put(name)?;
        // RAM is zero already; only the offset moves.
        self.offset = (self.offset + nuls).next_multiple_of(4);
        self.put(data)?;
        self.offset = self.offset.next_multiple_of(4);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BootError> {
        (self.sink)(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
