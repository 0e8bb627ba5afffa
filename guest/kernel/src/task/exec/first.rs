//! The first program, from the root file system, which is filled from the initrd.
//!
//! The initrd's memory is given to the memory manager as frames in use; those that do not become pages of files come free before the
//! program runs.

use core::ops::Range;

use faultlab_abi::lab::panic_reason;
use faultlab_abi::layout::{INITRD_ARGV, INITRD_CWD, INITRD_ENVP, INITRD_PATH, PAGE_SIZE};
use faultlab_kernel::stack::{self, Block};
use faultlab_kernel::{cpio, line};
use faultlab_linux::Errno;
use faultlab_linux::cred::Cred;
use faultlab_linux::limits::Limits;
use faultlab_linux::vfs::{Fs, PATH_MAX, PathAt, Task};
use faultlab_mm::addr::Pfn;

use super::image::{self, Image, NotLoaded};
use super::{set_name, set_program};
use crate::boot::rootfs;
use crate::cpu::fpu;
use crate::dev::terminal;
use crate::entry;
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::ram;
use crate::report::panic;
use crate::task::process::{self, OUTSIDE_PID, Process, State};
use crate::task::sched;

/// Loads the program that the initrd names and enters it, as a user and a group.
pub(crate) fn first_program(initrd: Pfn, initrd_len: u64, (user, group): (u32, u32)) -> ! {
    let archive = ram::bytes(initrd, initrd_len);
    let argv = &archive[find(archive, INITRD_ARGV.as_bytes()).unwrap_or_else(|| missing(INITRD_ARGV.as_bytes()))];
    let envp = find(archive, INITRD_ENVP.as_bytes()).map_or(&[][..], |range| &archive[range]);
    let first = argv.split_inclusive(|byte| *byte == 0).next().unwrap_or_default();
    let name = match find(archive, INITRD_PATH.as_bytes()) {
        Some(range) => &archive[range],
        None => first.strip_suffix(&[0]).unwrap_or(first),
    };
    let (Ok(arguments), Ok(environment), false) = (Block::new(argv), Block::new(envp), argv.is_empty()) else {
        panic::boot(&line![
            "boot: ",
            INITRD_ARGV,
            " or ",
            INITRD_ENVP,
            " does not end with a NUL, or is empty"
        ])
    };

    process::start_init();
    let (index, process) = process::alloc().unwrap_or_else(|| panic::boot(&line!["exec: no free process"]));
    prepare(process, name).unwrap_or_else(|errno| no_memory(name, errno));
    let end = Pfn::of_phys((initrd.phys() + initrd_len).next_multiple_of(PAGE_SIZE));
    MEMORY.init_used(initrd, end);
    if end < ram::end() {
        MEMORY.init(end, ram::end());
    }
    let task = root_file_system(process, name);
    rootfs::populate(&task, initrd, archive);
    if let Some(range) = find(archive, INITRD_CWD.as_bytes()) {
        enter_directory(process, &archive[range]);
    }
    let cred = process.cred.get().set_group(group).and_then(|cred| cred.set_user(user));
    process.cred.set(cred.unwrap_or(Cred::ROOT));
    let mut path = [0; PATH_MAX];
    let path = path
        .get_mut(..=name.len())
        .unwrap_or_else(|| no_memory(name, Errno::ENAMETOOLONG));
    path[..name.len()].copy_from_slice(name);
    let Image { mm, file, start } =
        image::build(process, path, (arguments, environment)).unwrap_or_else(|error| cannot_load(name, &error));
    set_program(process, file);
    process.mm.set(Some(mm));
    sched::load_first(index);
    terminal::give_to(process);
    // What is needed of the initrd is copied, or a page of a file, by now; `name` and the others are not used any more.
    rootfs::free_archive(initrd, archive);
    entry::enter_program(&start)
}

/// Makes a directory the working one of the first program.
fn enter_directory(process: &Process, path: &[u8]) {
    let fs = LINUX.chdir(&process.task(), PathAt::cwd(path));
    let fs = fs.unwrap_or_else(|Errno(number)| {
        panic::boot(&line![
            "exec: ",
            path,
            " is no directory to begin in (errno ",
            u32::from(number),
            ")"
        ])
    });
    if let Some(id) = process.fs.get() {
        LINUX.set_fs(id, fs);
    }
}

/// Mounts the root; on whose behalf it is to be filled.
fn root_file_system(process: &Process, path: &[u8]) -> Task {
    LINUX.mount_root().unwrap_or_else(|errno| no_memory(path, errno));
    let fs = LINUX
        .alloc_fs(LINUX.first_fs())
        .unwrap_or_else(|errno| no_memory(path, errno));
    process.fs.set(Some(fs));
    let task = process.task();
    Task {
        fs: Fs { umask: 0, ..task.fs },
        ..task
    }
}

/// Where a file lies in the initrd.
fn find(archive: &[u8], name: &[u8]) -> Option<Range<usize>> {
    cpio::find(archive, name).unwrap_or_else(|malformed| {
        panic::boot(&line![
            "boot: the initrd is no newc cpio archive at byte ",
            malformed.at
        ])
    })
}

fn missing(name: &[u8]) -> ! {
    panic::boot(&line!["boot: the initrd has no file \"", name, "\""])
}

fn cannot_load(path: &[u8], error: &NotLoaded) -> ! {
    match error {
        NotLoaded::NoProgram(refusal) => panic::stop(
            panic_reason::NOT_A_PROGRAM,
            &line![path, " is not a static x86-64 program: ", refusal.0],
        ),
        NotLoaded::Errno(errno @ (Errno::ENOMEM | Errno::ENOSPC)) => no_memory(path, *errno),
        NotLoaded::Errno(Errno::ENOENT | Errno::ENOTDIR) => panic::stop(
            panic_reason::NOT_FOUND,
            &line![
                path,
                ": no such program in the guest, or the interpreter that it names is not there"
            ],
        ),
        NotLoaded::Errno(Errno(number)) => panic::stop(
            panic_reason::NOT_A_PROGRAM,
            &line![path, ": cannot be executed (errno ", u32::from(*number), ")"],
        ),
        NotLoaded::Stack(stack::Error::TooLong) => panic::boot(&line![
            "exec: more than ",
            stack::STRINGS_MAX_BYTES >> 20,
            " MiB of arguments and environment"
        ]),
        NotLoaded::Stack(stack::Error::Access(_)) => {
            panic::boot(&line!["exec: no memory for the stack; give the guest more memory"])
        }
    }
}

fn no_memory(path: &[u8], errno: Errno) -> ! {
    panic::boot(&line![
        "exec: ",
        path,
        ": cannot be loaded (errno ",
        u32::from(errno.0),
        "); give the guest more memory"
    ])
}

fn prepare(process: &Process, path: &[u8]) -> Result<(), Errno> {
    set_name(process, path);
    process.limits.set(Limits::INIT);
    process.files.set(Some(LINUX.standard_table()?));
    process.parent.set(OUTSIDE_PID);
    process.group.set(process.pid.get());
    process.session.set(process.pid.get());
    process.state.set(State::Runnable);
    fpu::alloc(process)?;
    fpu::reset(process);
    Ok(())
}
