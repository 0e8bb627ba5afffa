//! Loads the first program from the root file system, which is filled from the initrd: its segments are mappings of its file.
//!
//! The initrd's memory is given to the memory manager as frames in use; those that do not become pages of files come free before the
//! program runs.
//!
//! Source: Linux, fs/binfmt_elf.c, fs/exec.c.

use core::ops::Range;

use faultlab_abi::lab::panic_reason;
use faultlab_abi::layout::{INITRD_ARGV, INITRD_ENVP, PAGE_SIZE, USER_END};
use faultlab_kernel::elf::{self, Program, Segment};
use faultlab_kernel::stack::{self, Contents};
use faultlab_kernel::text::Line;
use faultlab_kernel::{cpio, line};
use faultlab_linux::limits::Limits;
use faultlab_linux::vfs::{Fs, PathAt, Task};
use faultlab_mm::Error;
use faultlab_mm::addr::Pfn;
use faultlab_mm::mmap::{map_flag, prot};
use faultlab_mm::shmem::InodeId;
use faultlab_mm::vma::MmId;

use crate::entry::{self, PtRegs};
use crate::platform::{LINUX, MEMORY};
use crate::process::{self, COMM_BYTES, INIT_PID, Process, State};
use crate::syscall::Errno;
use crate::{boot, panic, ram, rootfs, sched, uaccess, x86};

/// Size of the stack: Linux's default `RLIMIT_STACK`.
const STACK_BYTES: u64 = 8 << 20;

/// Loads the program that the initrd names and enters it.
pub(crate) fn first_program(initrd: Pfn, initrd_len: u64) -> ! {
    let archive = ram::bytes(initrd, initrd_len);
    let argv = &archive[find(archive, INITRD_ARGV.as_bytes()).unwrap_or_else(|| missing(INITRD_ARGV.as_bytes()))];
    let envp = find(archive, INITRD_ENVP.as_bytes()).map_or(&[][..], |range| &archive[range]);
    let path = argv.split(|byte| *byte == 0).next().unwrap_or_default();
    let file = find(archive, path).unwrap_or_else(|| missing(path));
    let program = Program::parse(&archive[file.clone()]).unwrap_or_else(|refusal| {
        panic::stop(
            panic_reason::NOT_A_PROGRAM,
            &line![path, " is not a static x86-64 program: ", refusal.0],
        )
    });

    let (index, process) = process::alloc().unwrap_or_else(|| boot::fail(&line!["exec: no free process"]));
    let mm = MEMORY.mm_alloc().unwrap_or_else(|error| no_memory(path, error));
    prepare(process, mm, path);
    sched::load_first(index);

    let sp = build_stack(mm, argv, envp, &program);
    let end = Pfn::of_phys((initrd.phys() + initrd_len).next_multiple_of(PAGE_SIZE));
    MEMORY.init_used(initrd, end);
    if end < ram::end() {
        MEMORY.init(end, ram::end());
    }
    let task = root_file_system(process, path);
    rootfs::populate(&task, initrd, archive);
    let inode = LINUX
        .open_exec(&task, PathAt::cwd(path))
        .unwrap_or_else(|Errno(number)| boot::fail(&line!["exec: ", path, ": errno ", u32::from(number)]));
    if let Err(error) = map_program(mm, inode, &program) {
        no_memory(path, error);
    }
    // What is needed of the initrd is copied, or a page of a file, by now; `path` and the others are not used any more.
    rootfs::free_archive(initrd, archive);
    entry::enter_program(&PtRegs::start(program.entry, sp))
}

/// Mounts the root; on whose behalf it is to be filled.
fn root_file_system(process: &Process, path: &[u8]) -> Task {
    LINUX.mount_root().unwrap_or_else(|_| no_memory(path, Error::Enomem));
    process.fs.set(LINUX.first_fs());
    Task {
        cred: process.cred.get(),
        fs: Fs {
            umask: 0,
            ..process.fs.get()
        },
        table: process::current_files(),
    }
}

/// Where a file lies in the initrd.
fn find(archive: &[u8], name: &[u8]) -> Option<Range<usize>> {
    cpio::find(archive, name).unwrap_or_else(|malformed| {
        boot::fail(&line![
            "boot: the initrd is no newc cpio archive at byte ",
            malformed.at
        ])
    })
}

fn missing(name: &[u8]) -> ! {
    boot::fail(&line!["boot: the initrd has no file \"", name, "\""])
}

fn no_memory(path: &[u8], error: Error) -> ! {
    let text: Line = line![
        "exec: ",
        path,
        ": cannot be loaded (errno ",
        u32::from(error.errno()),
        "); give the guest more memory"
    ];
    boot::fail(&text)
}

fn prepare(process: &Process, mm: MmId, path: &[u8]) {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut comm = [0; COMM_BYTES];
    // The last byte stays 0, as on Linux.
    for (to, from) in comm.iter_mut().take(COMM_BYTES - 1).zip(name) {
        *to = *from;
    }
    process.comm.set(comm);
    process.mm.set(Some(mm));
    process.limits.set(Limits::INIT);
    let files = LINUX
        .standard_table()
        .unwrap_or_else(|_| no_memory(path, Error::Enomem));
    process.files.set(Some(files));
    process.parent.set(INIT_PID);
    process.state.set(State::Runnable);
    sched::reset_fpu(&process.fpu);
}

/// Maps the stack and fills its top; returns the initial stack pointer.
fn build_stack(mm: MmId, argv: &[u8], envp: &[u8], program: &Program) -> u64 {
    const FLAGS: u64 = map_flag::PRIVATE | map_flag::ANONYMOUS | map_flag::FIXED | map_flag::NORESERVE;
    let rights = prot::READ | prot::WRITE;
    if let Err(error) = MEMORY.do_mmap(mm, USER_END - STACK_BYTES, STACK_BYTES, rights, FLAGS, None, 0) {
        no_memory(argv, error);
    }
    // Ring 3 sees it once, at its start; it is not meant to be a secret.
    let seed = x86::rdtsc();
    let random = [
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        seed.rotate_left(32).wrapping_mul(0xbf58_476d_1ce4_e5b9),
    ];
    let hwcap = u64::from(x86::cpuid(1)[3]);
    let contents = Contents {
        argv,
        envp,
        program,
        hwcap,
        random,
    };
    contents.build(USER_END, uaccess::copy_to_user).unwrap_or_else(|error| {
        boot::fail(&match error {
            stack::Error::Unterminated => line![
                "boot: ",
                INITRD_ARGV,
                " or ",
                INITRD_ENVP,
                " does not end with a NUL, or is empty"
            ],
            stack::Error::TooLong => line![
                "exec: more than ",
                stack::STRINGS_MAX_BYTES >> 20,
                " MiB of arguments and environment"
            ],
            stack::Error::Write(_) => line!["exec: no memory for the stack; give the guest more memory"],
        })
    })
}

/// Maps all segments of a file, whose reference is given up, and sets the heap's start.
fn map_program(mm: MmId, inode: InodeId, program: &Program) -> Result<(), Error> {
    for segment in program.segments() {
        map_segment(mm, segment, inode)?;
    }
    // The mappings hold it.
    MEMORY.iput(inode);
    MEMORY.set_brk_start(mm, program.end.next_multiple_of(PAGE_SIZE));
    Ok(())
}

/// Maps one segment: what is in the file, and the rest as zeroes.
fn map_segment(mm: MmId, segment: &Segment, inode: InodeId) -> Result<(), Error> {
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
            uaccess::clear_user(file_end, zeroes - file_end).map_err(|_| Error::Enomem)?;
        }
    }
    let end = (segment.vaddr + segment.memsz).next_multiple_of(PAGE_SIZE);
    if end > zeroes {
        let flags = map_flag::PRIVATE | map_flag::ANONYMOUS | map_flag::FIXED;
        MEMORY.do_mmap(mm, zeroes, end - zeroes, prot, flags, None, 0)?;
    }
    Ok(())
}
