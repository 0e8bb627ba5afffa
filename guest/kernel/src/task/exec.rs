//! Programs into address spaces: segments become mappings of the file's object, the stack gets arguments, environment and auxiliary vector.
//!
//! | file | what it is |
//! |---|---|
//! | `exec.rs` | loading into an address space that nobody uses yet |
//! | `exec/image.rs` | from a path to such an address space: headers, scripts |
//! | `exec/first.rs` | the first program, from the initrd |
//! | `exec/replace.rs` | `execve` |
//!
//! A program is a regular file that may be executed, of any file system.
//!
//! Source: Linux, fs/binfmt_elf.c, fs/exec.c; execve(2).

use faultlab_abi::layout::{PAGE_SIZE, USER_END};
use faultlab_kernel::elf::{self, Program, Segment};
use faultlab_kernel::stack::{Contents, Strings};
use faultlab_linux::Errno;
use faultlab_linux::signal::Place;
use faultlab_linux::vfs::{PATH_MAX, PathAt};
use faultlab_mm::mmap::{map_flag, prot};
use faultlab_mm::shmem::InodeId;
use faultlab_mm::vma::MmId;

use crate::cpu::{fpu, x86};
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::uaccess;
use crate::task::process::{COMM_BYTES, Process};
use image::NotLoaded;

mod first;
mod image;
mod replace;

pub(crate) use first::first_program;
pub(crate) use replace::execve;

/// Size of the stack: Linux's default `RLIMIT_STACK`.
const STACK_BYTES: u64 = 8 << 20;

/// The program at a path, without its NUL: a reference to its file.
///
/// # Errors
/// As [`faultlab_linux::Linux::open_exec`].
fn program_at(process: &Process, path: &[u8]) -> Result<InodeId, Errno> {
    LINUX.open_exec(&process.task(), PathAt::cwd(path))
}

/// Makes a file the program that a process runs; its reference is the process's from now on.
fn set_program(process: &Process, file: InodeId) {
    if let Some(old) = process.exe.replace(Some(file)) {
        MEMORY.iput(old);
    }
}

/// Maps a program and its stack into an empty address space; the initial stack pointer.
fn load(
    mm: MmId,
    file: InodeId,
    process: &Process,
    program: &Program,
    path: &[u8],
    (argv, envp): (impl Strings<Errno>, impl Strings<Errno>),
) -> Result<u64, NotLoaded> {
    const FLAGS: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS | map_flag::FIXED | map_flag::NORESERVE;
    MEMORY.do_mmap(
        mm,
        USER_END - STACK_BYTES,
        STACK_BYTES,
        prot::READ | prot::WRITE,
        FLAGS,
        None,
        0,
    )?;
    // Ring 3 sees it once, at its start; it is not meant to be a secret.
    let seed = x86::rdtsc();
    let random = [
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        seed.rotate_left(32).wrapping_mul(0xbf58_476d_1ce4_e5b9),
    ];
    let cred = process.cred.get();
    let contents = Contents {
        path,
        argv,
        envp,
        program,
        ids: [
            cred.user.real,
            cred.user.effective,
            cred.group.real,
            cred.group.effective,
        ],
        hwcap: u64::from(x86::cpuid(1)[3]),
        signal_frame_bytes: Place::most_bytes(fpu::format().frame_bytes() as u64),
        random,
    };
    // As the stack is built: the path and what is random lie above the strings.
    let env_end = USER_END - 16 - path.len() as u64;
    let env_start = env_end - contents.envp.bytes();
    let arg_start = env_start - contents.argv.bytes();
    let sp = contents
        .build(USER_END, |addr, bytes| uaccess::copy_to(mm, addr, bytes))
        .map_err(NotLoaded::Stack)?;
    MEMORY.set_mm_layout(mm, sp, arg_start, env_start..env_end);
    for segment in program.segments() {
        map_segment(mm, segment, file)?;
    }
    MEMORY.set_brk_start(mm, program.end.next_multiple_of(PAGE_SIZE));
    Ok(sp)
}

/// Maps one segment: what is in the file, and the rest as zeroes.
fn map_segment(mm: MmId, segment: &Segment, inode: InodeId) -> Result<(), Errno> {
    let rights = [
        (elf::flag::R, prot::READ),
        (elf::flag::W, prot::WRITE),
        (elf::flag::X, prot::EXEC),
    ];
    let prot = rights
        .iter()
        .filter(|(flag, _)| segment.flags & flag != 0)
        .fold(0, |all, (_, right)| all | right);
    let start = segment.vaddr & !(PAGE_SIZE - 1);
    let file_end = segment.vaddr + segment.filesz;
    let mut zeroes = start;
    if segment.filesz != 0 {
        zeroes = file_end.next_multiple_of(PAGE_SIZE);
        let flags = map_flag::PRIVATE | map_flag::FIXED;
        MEMORY.do_mmap(
            mm,
            start,
            zeroes - start,
            prot,
            flags,
            Some(inode.into()),
            segment.offset / PAGE_SIZE,
        )?;
        if segment.memsz > segment.filesz && segment.flags & elf::flag::W != 0 {
            uaccess::clear(mm, file_end, zeroes - file_end).map_err(|_| Errno::ENOMEM)?;
        }
    }
    let end = (segment.vaddr + segment.memsz).next_multiple_of(PAGE_SIZE);
    if end > zeroes {
        let flags = map_flag::PRIVATE | map_flag::ANONYMOUS | map_flag::FIXED;
        // As a heap, whatever the segment says. Source: Linux `elf_load`, `vm_brk_flags`.
        let prot = prot::READ | prot::WRITE | prot & prot::EXEC;
        MEMORY.do_mmap(mm, zeroes, end - zeroes, prot, flags, None, 0)?;
    }
    Ok(())
}

/// Names a process after its program.
fn set_name(process: &Process, path: &[u8]) {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut comm = [0; COMM_BYTES];
    // The last byte stays 0, as on Linux.
    for (to, from) in comm.iter_mut().take(COMM_BYTES - 1).zip(name) {
        *to = *from;
    }
    process.comm.set(comm);
}
