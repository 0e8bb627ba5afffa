//! From a path to an address space that is ready to be entered: the headers are read, scripts lead to their interpreters.
//!
//! Source: Linux, fs/exec.c (`exec_binprm`), fs/binfmt_script.c; execve(2), "Interpreter scripts".

use faultlab_abi::layout::PAGE_SIZE;
use faultlab_kernel::elf::{Program, Refusal};
use faultlab_kernel::script::Script;
use faultlab_kernel::stack::{self, Block, Prefixed, Strings};
use faultlab_linux::Errno;
use faultlab_linux::vfs::PATH_MAX;
use faultlab_mm::shmem::InodeId;
use faultlab_mm::vma::MmId;

use super::{load, program_at};
use crate::cpu::regs::PtRegs;
use crate::mem::platform::MEMORY;
use crate::task::process::Process;

/// Scripts that may lead to each other. Source: Linux `exec_binprm`.
const SCRIPTS_MAX: usize = 5;
/// Bytes of a file's beginning that are looked at for an interpreter. Source: Linux `BINPRM_BUF_SIZE`.
const SCRIPT_HEAD_BYTES: usize = 256;
/// Most bytes of the arguments that scripts put before those of the call: the path, and a line of each.
const PREFIX_BYTES: usize = PATH_MAX + SCRIPTS_MAX * (SCRIPT_HEAD_BYTES + 2);

/// What a process is to become.
pub(super) struct Image {
    pub(super) mm: MmId,
    /// The program's file, with a reference.
    pub(super) file: InodeId,
    pub(super) start: PtRegs,
}

/// Why a program is not loaded.
pub(crate) enum NotLoaded {
    /// An error of a call.
    Errno(Errno),
    /// The stack cannot be built.
    Stack(stack::Error<Errno>),
    /// The file is no program.
    NoProgram(Refusal),
}

impl From<Errno> for NotLoaded {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<faultlab_mm::Error> for NotLoaded {
    fn from(error: faultlab_mm::Error) -> Self {
        Self::Errno(error.into())
    }
}

/// Strings whose first can be left out: a script's name comes in its place.
pub(super) trait WithoutFirst: Sized {
    /// The others.
    ///
    /// # Errors
    /// Reading them.
    fn without_first(self) -> Result<Self, Errno>;
}

impl WithoutFirst for Block<'_> {
    fn without_first(self) -> Result<Self, Errno> {
        Ok(self.rest())
    }
}

/// Arguments that scripts put first, each with its NUL.
struct Prefix {
    bytes: [u8; PREFIX_BYTES],
    start: usize,
}

impl Prefix {
    /// Puts strings, with their NULs, before what there is.
    fn put(&mut self, strings: &[u8]) -> Result<(), Errno> {
        let start = self.start.checked_sub(strings.len()).ok_or(Errno::E2BIG)?;
        self.bytes[start..self.start].copy_from_slice(strings);
        self.start = start;
        Ok(())
    }

    fn put_terminated(&mut self, string: &[u8]) -> Result<(), Errno> {
        self.put(&[0])?;
        self.put(string)
    }

    /// Leaves the first string out.
    fn drop_first(&mut self) {
        let rest = &self.bytes[self.start..];
        self.start += rest.iter().position(|byte| *byte == 0).map_or(0, |end| end + 1);
    }

    fn block(&self) -> Block<'_> {
        Block::new(&self.bytes[self.start..]).unwrap_or_default()
    }
}

/// The program at a path with its NUL, or the one that the script there names, loaded; nothing is left of it otherwise.
///
/// # Errors
/// [`NotLoaded`].
pub(super) fn build<A, E>(process: &Process, path: &[u8], (argv, envp): (A, E)) -> Result<Image, NotLoaded>
where
    A: Strings<Errno> + WithoutFirst,
    E: Strings<Errno>,
{
    let mut head = [0; PAGE_SIZE as usize];
    let name = path.strip_suffix(&[0]).unwrap_or(path);
    let file = program_at(process, name)?;
    if read_head(file, &mut head)?.starts_with(b"#!") {
        MEMORY.iput(file);
        let argv = argv.without_first()?;
        let mut prefix = Prefix {
            bytes: [0; PREFIX_BYTES],
            start: PREFIX_BYTES,
        };
        let file = interpreter(process, name, &mut head, &mut prefix)?;
        let argv = Prefixed {
            first: prefix.block(),
            rest: argv,
        };
        loaded(process, file, &head, path, (argv, envp))
    } else {
        loaded(process, file, &head, path, (argv, envp))
    }
}

/// Follows scripts to a program, whose beginning is in `head` at the end: its file.
fn interpreter(
    process: &Process,
    script: &[u8],
    head: &mut [u8; PAGE_SIZE as usize],
    prefix: &mut Prefix,
) -> Result<InodeId, NotLoaded> {
    let mut name = [0; SCRIPT_HEAD_BYTES];
    let mut name_len = 0;
    for depth in 0..SCRIPTS_MAX {
        let line = Script::parse(&head[..SCRIPT_HEAD_BYTES])
            .ok_or(NotLoaded::NoProgram(Refusal("its first line names no interpreter")))?;
        if depth == 0 {
            prefix.put_terminated(script)?;
        } else {
            // What it was called by is replaced by its path.
            prefix.drop_first();
            prefix.put_terminated(&name[..name_len])?;
        }
        if let Some(argument) = line.argument {
            prefix.put_terminated(argument)?;
        }
        prefix.put_terminated(line.interpreter)?;
        name_len = line.interpreter.len();
        name[..name_len].copy_from_slice(line.interpreter);
        // The empty path is that of a directory there. Source: Linux `open_exec`.
        if name_len == 0 {
            return Err(Errno::EACCES.into());
        }
        let file = program_at(process, &name[..name_len])?;
        if !read_head(file, head)?.starts_with(b"#!") {
            return Ok(file);
        }
        MEMORY.iput(file);
    }
    Err(Errno::ELOOP.into())
}

/// Reads a file's beginning; zeroes follow it. The file is put on errors.
fn read_head(file: InodeId, head: &mut [u8; PAGE_SIZE as usize]) -> Result<&[u8], NotLoaded> {
    let len = MEMORY.getattr(file).size.min(PAGE_SIZE) as usize;
    head[len..].fill(0);
    match MEMORY.kernel_read(file, 0, &mut head[..len]) {
        Ok(_) => Ok(&head[..len]),
        Err(error) => {
            MEMORY.iput(file);
            Err(error.into())
        }
    }
}

/// Loads a program from the file, whose reference the image takes over.
fn loaded(
    process: &Process,
    file: InodeId,
    head: &[u8; PAGE_SIZE as usize],
    path: &[u8],
    strings: (impl Strings<Errno>, impl Strings<Errno>),
) -> Result<Image, NotLoaded> {
    let len = MEMORY.getattr(file).size;
    let image = Program::parse_head(&head[..len.min(PAGE_SIZE) as usize], len)
        .map_err(NotLoaded::NoProgram)
        .and_then(|program| {
            let mm = MEMORY.mm_alloc()?;
            MEMORY.set_rlimits(
                mm,
                process.leader().limits.get().of_memory(process.cred.get().privileged()),
            );
            // Kept across execve. Source: PR_SET_THP_DISABLE(2const).
            if let Some(old) = process.mm.get() {
                MEMORY.set_thp_disabled(mm, MEMORY.thp_disabled(old));
            }
            match load(mm, file, process, &program, path, strings) {
                Ok(sp) => Ok(Image {
                    mm,
                    file,
                    start: PtRegs::start(program.entry, sp),
                }),
                Err(error) => {
                    MEMORY.mmput(mm, process.pid.get());
                    Err(error)
                }
            }
        });
    image.inspect_err(|_| MEMORY.iput(file))
}
