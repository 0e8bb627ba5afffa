//! The first program: its file is copied out of the initrd, whose memory then goes to the memory manager like the rest of RAM, so that every
//! frame that this ever frees is one that it was given.

use core::ops::Range;

use faultlab_abi::lab::panic_reason;
use faultlab_abi::layout::{INITRD_ARGV, INITRD_ENVP};
use faultlab_kernel::elf::Program;
use faultlab_kernel::stack::{self, Block};
use faultlab_kernel::{cpio, line};
use faultlab_linux::limits::Limits;
use faultlab_mm::addr::Pfn;
use faultlab_mm::mmap::{map_flag, prot};
use faultlab_mm::shmem::InodeId;
use faultlab_mm::vma::MmId;

use super::{NotLoaded, PROGRAM, PROGRAM_PATH, load, set_name};
use crate::entry::{self, PtRegs};
use crate::platform::{LINUX, MEMORY};
use crate::process::{self, INIT_PID, Process, State};
use crate::syscall::Errno;
use crate::{boot, fpu, panic, ram, sched, uaccess};

/// Loads the program that the initrd names and enters it.
pub(crate) fn first_program(initrd: Pfn, initrd_len: u64) -> ! {
    let archive = ram::bytes(initrd, initrd_len);
    let argv = &archive[find(archive, INITRD_ARGV.as_bytes()).unwrap_or_else(|| missing(INITRD_ARGV.as_bytes()))];
    let envp = find(archive, INITRD_ENVP.as_bytes()).map_or(&[][..], |range| &archive[range]);
    let path = argv.split_inclusive(|byte| *byte == 0).next().unwrap_or_default();
    let name = path.strip_suffix(&[0]).unwrap_or(path);
    let file = find(archive, name).unwrap_or_else(|| missing(name));
    let program = Program::parse(&archive[file.clone()]).unwrap_or_else(|refusal| {
        panic::stop(
            panic_reason::NOT_A_PROGRAM,
            &line![name, " is not a static x86-64 program: ", refusal.0],
        )
    });
    let (Ok(arguments), Ok(environment), false) = (Block::new(argv), Block::new(envp), argv.is_empty()) else {
        boot::fail(&line![
            "boot: ",
            INITRD_ARGV,
            " or ",
            INITRD_ENVP,
            " does not end with a NUL, or is empty"
        ])
    };

    let (index, process) = process::alloc().unwrap_or_else(|| boot::fail(&line!["exec: no free process"]));
    let mm = MEMORY.mm_alloc().unwrap_or_else(|_| no_memory(name, Errno::ENOMEM));
    prepare(process, mm, name).unwrap_or_else(|errno| no_memory(name, errno));
    sched::load_first(index);
    let sp = file_of_bytes(mm, &archive[file])
        .map_err(NotLoaded::Errno)
        .and_then(|inode| {
            PROGRAM.set(Some(inode));
            load(mm, inode, process, &program, path, (arguments, environment))
        })
        .unwrap_or_else(|error| cannot_load(name, &error));
    keep_path(name);
    // Everything that is needed of the initrd is copied by now; `path` and the others are not used any more.
    MEMORY.init(initrd, ram::end());
    entry::enter_program(&PtRegs::start(program.entry, sp))
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

fn cannot_load(path: &[u8], error: &NotLoaded) -> ! {
    match error {
        NotLoaded::Errno(errno) => no_memory(path, *errno),
        NotLoaded::Stack(stack::Error::TooLong) => boot::fail(&line![
            "exec: more than ",
            stack::STRINGS_MAX_BYTES >> 20,
            " MiB of arguments and environment"
        ]),
        NotLoaded::Stack(stack::Error::Access(_)) => {
            boot::fail(&line!["exec: no memory for the stack; give the guest more memory"])
        }
    }
}

fn no_memory(path: &[u8], errno: Errno) -> ! {
    boot::fail(&line![
        "exec: ",
        path,
        ": cannot be loaded (errno ",
        u32::from(errno.0),
        "); give the guest more memory"
    ])
}

fn prepare(process: &Process, mm: MmId, path: &[u8]) -> Result<(), Errno> {
    set_name(process, path);
    process.mm.set(Some(mm));
    process.limits.set(Limits::INIT);
    process.files.set(Some(LINUX.standard_table()?));
    process.parent.set(INIT_PID);
    process.group.set(process.pid.get());
    process.session.set(process.pid.get());
    process.state.set(State::Runnable);
    fpu::alloc(process)?;
    fpu::reset(process);
    Ok(())
}

/// An object with this content, written through a mapping of it that is gone afterwards.
fn file_of_bytes(mm: MmId, content: &[u8]) -> Result<InodeId, Errno> {
    let len = content.len() as u64;
    let inode = MEMORY.shmem_file_setup(len, true)?;
    let addr = MEMORY.do_mmap(
        mm,
        0,
        len,
        prot::READ | prot::WRITE,
        map_flag::SHARED,
        Some(inode.into()),
        0,
    )?;
    uaccess::copy_to_user(addr, content).map_err(|_| Errno::ENOMEM)?;
    MEMORY.do_munmap(mm, addr, len)?;
    Ok(inode)
}

/// Keeps the program's path for `execve`, as far as that takes it.
fn keep_path(path: &[u8]) {
    for (to, from) in PROGRAM_PATH.as_array_of_cells().iter().zip(path) {
        to.set(*from);
    }
}
