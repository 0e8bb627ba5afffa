//! The initrd: a newc archive with the program, its arguments and its environment, and the files that are brought in.
//!
//! Every file's data starts on a page of the archive, and the archive on a page of RAM, so that a kernel may map the
//! files in place. The padding is in the file name: NULs up to the next page, counted by `namesize`. Where that would
//! make a name longer than Linux accepts, directory entries (which unpack to nothing new) move the file on.
//!
//! The archive is written straight into guest RAM: the program's bytes are copied once. The crate `cpio` can neither pad names nor
//! write in place, so this is our own.
//!
//! # Invariants
//! `Initrd::bytes` is exactly what `Initrd::write` writes: both run the same code, on different sinks.
//!
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;

use faultlab_abi::layout::{INITRD_ARGV, INITRD_CWD, INITRD_ENVP, INITRD_PATH, PAGE_SIZE};
use vm_memory::{Bytes, GuestAddress};

use super::files::{Content, GuestFile, relative};
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

const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;
const MODE_DIRECTORY: u32 = TYPE_DIRECTORY | 0o755;
const MODE_PROGRAM: u32 = TYPE_FILE | 0o755;
const MODE_FILE: u32 = TYPE_FILE | 0o644;

/// Bytes of a file that are in the VMM's own memory at a time.
const CHUNK_BYTES: u64 = 256 << 10;

/// What goes into the archive.
#[derive(Debug)]
pub(crate) struct Initrd<'a> {
    /// The program's name in the archive and its bytes; `None` if it is one of the files.
    program: Option<(Cow<'a, [u8]>, &'a [u8])>,
    argv: Vec<u8>,
    envp: Vec<u8>,
    path: Option<Cow<'a, [u8]>>,
    cwd: &'a [u8],
    files: &'a [GuestFile],
}

impl<'a> Initrd<'a> {
    /// An archive with `program` under the name `argv[0]`.
    pub(crate) fn new(program: &'a [u8], argv: &'a [Vec<u8>], envp: &[Vec<u8>]) -> Result<Initrd<'a>, BootError> {
        let name = argv.first().map_or(&[][..], Vec::as_slice);
        Initrd::without_program(argv, envp)?.with_program(name, program)
    }

    /// An archive with nothing to run yet.
    pub(crate) fn without_program(argv: &[Vec<u8>], envp: &[Vec<u8>]) -> Result<Initrd<'a>, BootError> {
        Ok(Initrd {
            program: None,
            argv: nul_terminated(argv)?,
            envp: nul_terminated(envp)?,
            path: None,
            cwd: &[],
            files: &[],
        })
    }

    /// With a program, which is to be run.
    pub(crate) fn with_program(self, name: &'a [u8], program: &'a [u8]) -> Result<Initrd<'a>, BootError> {
        check_name(name)?;
        Ok(Initrd {
            program: Some((name.into(), program)),
            ..self
        })
    }

    /// With a program at an absolute path, which is to be run.
    pub(crate) fn with_owned_program(self, path: Vec<u8>, program: &'a [u8]) -> Result<Initrd<'a>, BootError> {
        check_name(&path)?;
        Ok(Initrd {
            program: Some((path.clone().into(), program)),
            path: Some(path.into()),
            ..self
        })
    }

    /// Runs what is at `path` in the guest.
    pub(crate) fn running(self, path: &'a [u8]) -> Initrd<'a> {
        Initrd {
            path: Some(path.into()),
            ..self
        }
    }

    /// With files and a working directory; an empty one is the root.
    pub(crate) fn with_files(self, files: &'a [GuestFile], cwd: &'a [u8]) -> Result<Initrd<'a>, BootError> {
        for file in files {
            // The root itself is there, and has rights.
            if !relative(&file.path).is_empty() {
                check_name(&file.path)?;
            }
        }
        Ok(Initrd { files, cwd, ..self })
    }

    /// Bytes of the archive.
    pub(crate) fn bytes(&self) -> u64 {
        let mut archive = Archive {
            offset: 0,
            inode: 0,
            measuring: true,
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
            measuring: false,
            sink,
        })
    }

    fn write_to<S: Sink>(&self, archive: &mut Archive<S>) -> Result<(), BootError> {
        archive.entry(DIRECTORY, MODE_DIRECTORY, &[])?;
        archive.aligned_file(INITRD_ARGV.as_bytes(), MODE_FILE, &self.argv)?;
        archive.aligned_file(INITRD_ENVP.as_bytes(), MODE_FILE, &self.envp)?;
        if let Some(path) = &self.path {
            archive.aligned_file(INITRD_PATH.as_bytes(), MODE_FILE, path)?;
        }
        if !self.cwd.is_empty() {
            archive.aligned_file(INITRD_CWD.as_bytes(), MODE_FILE, self.cwd)?;
        }
        for file in self.files {
            archive.file(file)?;
        }
        if let Some((name, program)) = &self.program {
            archive.aligned_file(name, MODE_PROGRAM, program)?;
        }
        archive.entry(TRAILER, 0, &[])
    }
}

/// Refuses names that an archive cannot have, or that are the kernel's own.
fn check_name(name: &[u8]) -> Result<(), BootError> {
    let reserved = relative(name).starts_with(DIRECTORY) || name == TRAILER;
    if name.is_empty() || name.len() > PROGRAM_NAME_MAX_BYTES || reserved || name.contains(&0) {
        return Err(BootError::ProgramName { bytes: name.len() });
    }
    Ok(())
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
    /// Only where things lie is asked for.
    measuring: bool,
    sink: S,
}

/// Whose an entry is, and what may be done with it.
#[derive(Clone, Copy)]
struct Owned {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Owned {
    /// Root's.
    fn root(mode: u32) -> Owned {
        Owned { mode, uid: 0, gid: 0 }
    }
}

impl<S: Sink> Archive<S> {
    /// A file, directory or link that is brought in.
    fn file(&mut self, file: &GuestFile) -> Result<(), BootError> {
        let owned = |kind: u32| Owned {
            mode: kind | file.rights,
            uid: file.uid,
            gid: file.gid,
        };
        let name = relative(&file.path);
        match &file.content {
            // The root: the kernel made it.
            _ if name.is_empty() => Ok(()),
            Content::Directory => self.padded_entry(name, 1, owned(TYPE_DIRECTORY), &[]),
            Content::Symlink(target) => self.padded_entry(name, 1, owned(TYPE_SYMLINK), target),
            Content::Bytes(bytes) if bytes.len() as u64 >= PAGE_SIZE => {
                let nuls = self.align(name)?;
                self.padded_entry(name, nuls, owned(TYPE_FILE), bytes)
            }
            // Less than a page is copied in any case.
            Content::Bytes(bytes) => self.padded_entry(name, 1, owned(TYPE_FILE), bytes),
            Content::Host { path, bytes } => {
                let nuls = if *bytes < PAGE_SIZE { 1 } else { self.align(name)? };
                self.header(name, nuls, owned(TYPE_FILE), *bytes)?;
                if self.measuring {
                    self.offset += bytes;
                } else {
                    self.put_file(path, *bytes)?;
                }
                self.offset = self.offset.next_multiple_of(4);
                Ok(())
            }
        }
    }

    /// An entry whose data starts on a page.
    fn aligned_file(&mut self, name: &[u8], mode: u32, data: &[u8]) -> Result<(), BootError> {
        let nuls = self.align(name)?;
        self.padded_entry(name, nuls, Owned::root(mode), data)
    }

    /// NULs that a name needs for the data after it to start on a page. Entries that make nothing new may be put before it.
    fn align(&mut self, name: &[u8]) -> Result<u64, BootError> {
        loop {
            let unpadded = self.offset + HEADER_BYTES + name.len() as u64 + 1;
            let padding = unpadded.next_multiple_of(PAGE_SIZE) - unpadded;
            if name.len() as u64 + 1 + padding <= NAME_MAX_BYTES {
                return Ok(1 + padding);
            }
            self.entry(DIRECTORY, MODE_DIRECTORY, &[])?;
        }
    }

    /// An entry whose name ends with one NUL.
    fn entry(&mut self, name: &[u8], mode: u32, data: &[u8]) -> Result<(), BootError> {
        self.padded_entry(name, 1, Owned::root(mode), data)
    }

    fn padded_entry(&mut self, name: &[u8], nuls: u64, owned: Owned, data: &[u8]) -> Result<(), BootError> {
        self.header(name, nuls, owned, data.len() as u64)?;
        self.put(data)?;
        self.offset = self.offset.next_multiple_of(4);
        Ok(())
    }

    fn header(&mut self, name: &[u8], nuls: u64, owned: Owned, bytes: u64) -> Result<(), BootError> {
        self.inode += 1;
        let name_size = name.len() as u64 + nuls;
        // Inode, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check.
        let fields = [
            self.inode,
            owned.mode,
            owned.uid,
            owned.gid,
            1,
            0,
            u32::try_from(bytes).unwrap_or(u32::MAX),
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
        Ok(())
    }

    /// The content of a file of this host, which must have as many bytes as were announced.
    fn put_file(&mut self, path: &std::path::Path, bytes: u64) -> Result<(), BootError> {
        let failed = |reason: std::io::Error| BootError::Bring {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let changed = || std::io::Error::other("it changed while it was read");
        let mut file = File::open(path).map_err(failed)?;
        let mut chunk = vec![0; bytes.min(CHUNK_BYTES) as usize];
        let mut left = bytes;
        while left > 0 {
            let part = &mut chunk[..left.min(CHUNK_BYTES) as usize];
            file.read_exact(part).map_err(|_| failed(changed()))?;
            self.put(part)?;
            left -= part.len() as u64;
        }
        match file.read(&mut [0]).map_err(failed)? {
            0 => Ok(()),
            _ => Err(failed(changed())),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BootError> {
        (self.sink)(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
