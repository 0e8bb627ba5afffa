//! `execve`: another program in the same process.
//!
//! The new address space is complete before the old one goes: until then every error leaves the process as it was.
//!
//! | | after `execve` |
//! |---|---|
//! | address space, System V attachments, locks on memory | none: rule A61 |
//! | handlers | default; what is ignored stays so |
//! | alternate stack, vector registers, FS and GS | as at a program's start |
//! | mask, pending signals, number, parent, group, ids, limits | kept |
//! | descriptors | kept, but for those with `FD_CLOEXEC` |

use faultlab_abi::layout::PAGE_SIZE;
use faultlab_kernel::elf::Program;
use faultlab_kernel::stack::{self, STRINGS_MAX_BYTES, Strings, Write};
use faultlab_mm::mmap::{map_flag, prot};
use faultlab_mm::shmem::InodeId;
use faultlab_mm::vma::MmId;

use super::{NotLoaded, PATH_MAX, load, program_at, set_name, set_program};
use crate::entry::PtRegs;
use crate::platform::{LINUX, MEMORY};
use crate::syscall::{Errno, Outcome};
use crate::{fpu, process, sched, uaccess};

/// Longest string. Source: Linux `MAX_ARG_STRLEN`.
const STRING_MAX_BYTES: usize = 32 * PAGE_SIZE as usize;
/// Bytes that go from one address space to another at a time.
const CHUNK_BYTES: usize = 256;

/// `execve(path, argv, envp)`.
///
/// # Errors
/// `ENOENT`, `ENAMETOOLONG`, `ENOEXEC`, `E2BIG`, `ENOMEM`, `EFAULT`.
pub(crate) fn execve(regs: &mut PtRegs, [path, argv, envp]: [u64; 3]) -> Result<Outcome, Errno> {
    let mut name = [0; PATH_MAX];
    let len = uaccess::string_len(path, PATH_MAX - 1)?.ok_or(Errno::ENAMETOOLONG)?;
    uaccess::copy_from_user(&mut name[..len], path)?;
    let strings = (UserStrings::measure(argv, true)?, UserStrings::measure(envp, false)?);
    let process = process::current();
    let file = program_at(process, &name[..len])?;
    let mm = MEMORY.mm_alloc().inspect_err(|_| MEMORY.iput(file))?;
    MEMORY.set_rlimits(mm, process.limits.get().of_memory(process.cred.get().privileged()));
    let loaded = read_program(mm, file).and_then(|program| {
        let sp = load(mm, file, process, &program, &name[..=len], strings).map_err(|error| match error {
            NotLoaded::Errno(errno) | NotLoaded::Stack(stack::Error::Access(errno)) => errno,
            NotLoaded::Stack(stack::Error::TooLong) => Errno::E2BIG,
        })?;
        Ok(PtRegs::start(program.entry, sp))
    });
    let pid = process.pid.get();
    match loaded {
        Ok(start) => {
            *regs = start;
            set_program(process, file);
            if let Some(old) = process.mm.replace(Some(mm)) {
                sched::enter_address_space(mm);
                MEMORY.mmput(old, pid);
            }
        }
        Err(errno) => {
            MEMORY.mmput(mm, pid);
            MEMORY.iput(file);
            return Err(errno);
        }
    }
    set_name(process, &name[..len]);
    process.executed.set(true);
    LINUX.exec_signals(&process.signals);
    LINUX.close_on_exec(process::current_files());
    sched::set_fs_base(0);
    sched::set_gs_base(0);
    fpu::reset(process);
    fpu::load(process);
    Ok(Outcome::Registers)
}

/// Reads a program's headers, through a mapping of them that is gone afterwards.
fn read_program(mm: MmId, file: InodeId) -> Result<Program, Errno> {
    let len = MEMORY.getattr(file).size;
    let mut head = [0; PAGE_SIZE as usize];
    let head = &mut head[..len.min(PAGE_SIZE) as usize];
    let addr = MEMORY.do_mmap(mm, 0, PAGE_SIZE, prot::READ, map_flag::SHARED, Some(file.into()), 0)?;
    uaccess::copy_from(mm, head, addr)?;
    MEMORY.do_munmap(mm, addr, PAGE_SIZE)?;
    Program::parse_head(head, len).map_err(|_| Errno::ENOEXEC)
}

/// Strings of the running process, that an array of pointers with a null pointer at its end names.
struct UserStrings {
    array: u64,
    /// Pointers.
    pointers: u64,
    bytes: u64,
    /// An empty string, where there would be none: programs rely on their name. Source: Linux, fs/exec.c (`do_execveat_common`).
    empty: bool,
}

impl UserStrings {
    fn measure(array: u64, named: bool) -> Result<Self, Errno> {
        let mut strings = Self {
            array,
            pointers: 0,
            bytes: 0,
            empty: false,
        };
        while let Some((_, len)) = strings.at(strings.pointers)? {
            strings.pointers += 1;
            strings.bytes += len;
            if strings.bytes + 8 * strings.pointers > STRINGS_MAX_BYTES {
                return Err(Errno::E2BIG);
            }
        }
        if named && strings.pointers == 0 {
            strings.empty = true;
            strings.bytes = 1;
        }
        Ok(strings)
    }

    /// Address and bytes, NUL included, of a string; `None` at the array's end.
    fn at(&self, index: u64) -> Result<Option<(u64, u64)>, Errno> {
        // A null pointer instead of an array is one without strings.
        if self.array == 0 {
            return Ok(None);
        }
        let pointer = u64::from_le_bytes(uaccess::read(self.array.wrapping_add(8 * index))?);
        if pointer == 0 {
            return Ok(None);
        }
        let len = uaccess::string_len(pointer, STRING_MAX_BYTES - 1)?.ok_or(Errno::E2BIG)?;
        Ok(Some((pointer, len as u64 + 1)))
    }

    /// Calls `each` with address and bytes of every string.
    fn each<E: From<Errno>>(&self, mut each: impl FnMut(u64, u64) -> Result<(), E>) -> Result<(), E> {
        for index in 0..self.pointers {
            if let Some((pointer, len)) = self.at(index)? {
                each(pointer, len)?;
            }
        }
        Ok(())
    }
}

impl Strings<Errno> for UserStrings {
    fn count(&self) -> u64 {
        self.pointers + u64::from(self.empty)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn lengths(&self, each: &mut dyn FnMut(u64) -> Result<(), stack::Error<Errno>>) -> Result<(), stack::Error<Errno>> {
        if self.empty {
            return each(1);
        }
        self.each(|_, len| each(len))
    }

    fn copy(&self, mut addr: u64, write: &mut Write<'_, Errno>) -> Result<(), Errno> {
        if self.empty {
            return write(addr, &[0]);
        }
        self.each(|from, len| {
            let mut chunk = [0; CHUNK_BYTES];
            for done in (0..len).step_by(CHUNK_BYTES) {
                let part = &mut chunk[..(len - done).min(CHUNK_BYTES as u64) as usize];
                uaccess::copy_from_user(part, from + done)?;
                write(addr + done, part)?;
            }
            addr += len;
            Ok(())
        })
    }
}
