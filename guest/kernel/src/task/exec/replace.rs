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
//! | timers that the program made | none; intervals go on |
//! | descriptors | kept, but for those with `FD_CLOEXEC` |
//! | other threads | ended; the one that called it is the first |

use faultlab_abi::layout::PAGE_SIZE;
use faultlab_kernel::stack::{self, STRINGS_MAX_BYTES, Strings, Write};

use super::image::{self, Image, NotLoaded, WithoutFirst};
use super::{PATH_MAX, set_name, set_program};
use crate::cpu::fpu;
use crate::cpu::regs::PtRegs;
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::uaccess;
use crate::syscall::{Errno, Outcome};
use crate::task::process::Process;
use crate::task::rseq::Rseq;
use crate::task::{exit, process, sched, times};

/// Longest string. Source: Linux `MAX_ARG_STRLEN`.
const STRING_MAX_BYTES: usize = 32 * PAGE_SIZE as usize;
/// Bytes that go from one address space to another at a time.
const CHUNK_BYTES: usize = 256;

/// `execve(path, argv, envp)`.
///
/// # Errors
/// `ENOENT`, `ENAMETOOLONG`, `ENOEXEC`, `ELOOP`, `E2BIG`, `ENOMEM`, `EFAULT`; those of a walk.
pub(crate) fn execve(regs: &mut PtRegs, [path, argv, envp]: [u64; 3]) -> Result<Outcome, Errno> {
    let mut name = [0; PATH_MAX];
    let len = uaccess::string_len(path, PATH_MAX - 1)?.ok_or(Errno::ENAMETOOLONG)?;
    uaccess::copy_from_user(&mut name[..len], path)?;
    let strings = (UserStrings::measure(argv, true)?, UserStrings::measure(envp, false)?);
    let process = process::current();
    let Image { mm, file, start } = image::build(process, &name[..=len], strings).map_err(|error| match error {
        NotLoaded::Errno(errno) | NotLoaded::Stack(stack::Error::Access(errno)) => errno,
        NotLoaded::Stack(stack::Error::TooLong) => Errno::E2BIG,
        NotLoaded::NoProgram(_) => Errno::ENOEXEC,
    })?;
    let pid = process.pid.get();
    own_alone(process).inspect_err(|_| {
        MEMORY.mmput(mm, pid);
        MEMORY.iput(file);
    })?;
    *regs = start;
    let process = only_thread(process);
    exit::leave_memory(process);
    times::look_at_memory(process);
    set_program(process, file);
    if let Some(old) = process.mm.replace(Some(mm)) {
        sched::enter_address_space(mm);
        MEMORY.mmput(old, pid);
    }
    set_name(process, &name[..len]);
    process.executed.set(true);
    process.rseq.set(Rseq::NONE);
    LINUX.exec_signals(&process.signals);
    LINUX.exec_timers(&process.timers);
    LINUX.close_on_exec(process::current_files());
    sched::set_fs_base(0);
    sched::set_gs_base(0);
    fpu::reset(process);
    fpu::load(process);
    Ok(Outcome::Registers)
}

/// Gives a thread descriptors and actions of signals of its own: what the new program does with them is nobody else's affair.
fn own_alone(process: &Process) -> Result<(), Errno> {
    process.files.set(Some(LINUX.unshare_table(process::current_files())?));
    LINUX.unshare_actions(&process.signals)
}

/// Ends the other threads of the running one's process, and makes it the first: what is left of it, in the slot that the process has.
/// Source: Linux, fs/exec.c (`de_thread`).
fn only_thread(process: &'static Process) -> &'static Process {
    let leader = process.leader();
    if leader.threads.get() > 1 || !process.is_leader() {
        exit::end_others(process, 0);
    }
    if !process.is_leader() {
        process::take_place_of_leader(process);
    }
    leader
}

/// Strings of the running process, that an array of pointers with a null pointer at its end names.
struct UserStrings {
    array: u64,
    /// The first pointer that counts.
    first: u64,
    /// Pointers from there on.
    pointers: u64,
    bytes: u64,
    /// An empty string, where there would be none: programs rely on their name. Source: Linux, fs/exec.c (`do_execveat_common`).
    empty: bool,
}

impl UserStrings {
    fn measure(array: u64, named: bool) -> Result<Self, Errno> {
        let mut strings = Self {
            array,
            first: 0,
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
        for index in self.first..self.first + self.pointers {
            if let Some((pointer, len)) = self.at(index)? {
                each(pointer, len)?;
            }
        }
        Ok(())
    }
}

impl WithoutFirst for UserStrings {
    fn without_first(self) -> Result<Self, Errno> {
        if self.empty || self.pointers == 0 {
            return Ok(Self {
                empty: false,
                bytes: 0,
                ..self
            });
        }
        let first = self.at(self.first)?.map_or(0, |(_, len)| len);
        Ok(Self {
            first: self.first + 1,
            pointers: self.pointers - 1,
            bytes: self.bytes.saturating_sub(first),
            ..self
        })
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
