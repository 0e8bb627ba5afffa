//! Files for the VMM, when the first program has ended: `faultlab exec --out`.
//!
//! The VMM names places, one after another, and is told what is there: the pages of a file by their addresses, so that nothing is copied here.

use core::cell::Cell;

use faultlab_abi::lab::kind;
use faultlab_kernel::line;
use faultlab_linux::Errno;
use faultlab_linux::cred::Cred;
use faultlab_linux::vfs::{Export, Fs, PATH_MAX, Task};
use faultlab_mm::addr::Pfn;
use faultlab_mm::shmem::RUN_PAGES;

use crate::dev::lab;
use crate::global::Global;
use crate::mem::platform::LINUX;
use crate::mem::ram;
use crate::report::log;

static WANTED: Global<Cell<bool>> = Global::new(Cell::new(false));

/// Notes that the VMM is to be asked.
pub(crate) fn start() {
    WANTED.set(true);
}

/// Whether it is.
pub(crate) fn is_wanted() -> bool {
    WANTED.get()
}

/// Hands out what the VMM asks for. Of the task, only that it has descriptors matters: every path is absolute, and root walks it.
pub(crate) fn hand_out(task: &Task) {
    let task = Task {
        cred: Cred::ROOT,
        fs: Fs::NONE,
        ..*task
    };
    let mut path = [0_u8; PATH_MAX];
    while let Some(wanted) = next(&mut path) {
        let end = match LINUX.export(&task, wanted, &mut |step| take(&step)) {
            Ok(()) => continue,
            Err(Errno(number)) => u64::from(number),
        };
        lab::command(kind::OUT_END, [end, 0, 0, 0, 0, 0]);
    }
}

/// The next place.
fn next(path: &mut [u8; PATH_MAX]) -> Option<&[u8]> {
    let answer = Cell::new(0_u64);
    let args = [
        ram::phys_of(&raw mut *path),
        PATH_MAX as u64,
        ram::phys_of(answer.as_ptr()),
        0,
        0,
        0,
    ];
    if lab::command(kind::OUT_NEXT, args) != 0 {
        return None;
    }
    // SAFETY: a local, which the VMM wrote meanwhile.
    let len = unsafe { answer.as_ptr().read_volatile() };
    path.get(..len as usize).filter(|path| !path.is_empty())
}

/// Tells the VMM one step.
fn take(step: &Export<'_>) -> Result<(), Errno> {
    let status = match *step {
        Export::Entry {
            mode,
            size,
            ino,
            name,
            target,
        } => {
            let lengths = name.len() as u64 | (target.len() as u64) << 32;
            let [name, target] = [name, target].map(|bytes| ram::phys_of(bytes.as_ptr()));
            lab::command(kind::OUT_ENTRY, [u64::from(mode), size, ino, name, target, lengths])
        }
        Export::Pages(index, run) => {
            let mut pages = [0; RUN_PAGES];
            pages
                .iter_mut()
                .zip(run)
                .for_each(|(page, pfn): (_, &Pfn)| *page = pfn.phys());
            let args = [index, ram::phys_of(&raw const pages), run.len() as u64, 0, 0, 0];
            lab::command(kind::OUT_PAGES, args)
        }
        Export::End => lab::command(kind::OUT_END, [0; 6]),
        Export::LeftOut(name) => {
            log::warn(&line!["--out: \"", name, "\" is no file, directory or link: left out"]);
            0
        }
    };
    if status == 0 {
        Ok(())
    } else {
        Err(Errno::of_status(status))
    }
}
