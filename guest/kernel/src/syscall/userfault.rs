//! `userfaultfd`, what is done with its descriptor, and those that wait for an answer.
//!
//! A touch in ring 3 waits where it is: the program makes it again when it is woken. A touch of the kernel's own, on the program's behalf,
//! made its call fail with `EFAULT`; the call is made again instead, once the page is there. Differs from Linux where a call had done
//! something before it touched the page: what it did counts, a read or write of several pages comes out short.
//!
//! Source: userfaultfd(2), ioctl_userfaultfd(2); Linux, fs/userfaultfd.c (`handle_userfault`).

use faultlab_linux::file::File;
use faultlab_linux::userfault::{Request, WORDS_MAX};
use faultlab_mm::userfaultfd::{Message, Userfault, UserfaultId};

use super::{Errno, Outcome, cred};
use crate::cpu::regs::PtRegs;
use crate::mem::platform::{LINUX, MEMORY};
use crate::mem::uaccess;
use crate::task::process::{self, Interrupted, current_files, current_mm};
use crate::task::{rseq, signal};

/// `userfaultfd(flags)`.
pub(super) fn userfaultfd(flags: u64) -> Result<u64, Errno> {
    LINUX.userfaultfd(current_files(), current_mm(), flags, cred::current().privileged())
}

/// A `read` of a context: as many messages as there are, and fit.
pub(super) fn read(file: File<'_>, id: UserfaultId, addr: u64, len: u64) -> Result<Outcome, Errno> {
    let mut done = 0;
    while len - done >= Message::BYTES as u64 || done == 0 {
        match LINUX.userfault_read(file, id, len - done) {
            Ok(Some(message)) => uaccess::copy_to_user(addr + done, &message.encode())?,
            Ok(None) if done == 0 => {
                process::current().waiter.wait(LINUX.userfault_keys(id));
                return Ok(Outcome::Sleep(Interrupted::Restartable));
            }
            Err(errno) if done == 0 => return Err(errno),
            _ => break,
        }
        done += Message::BYTES as u64;
    }
    Ok(Outcome::Value(done))
}

/// An `ioctl` of a context.
pub(super) fn ioctl(id: UserfaultId, number: u32, arg: u64) -> Result<u64, Errno> {
    let request = Request::of(number);
    let mut words = [0; WORDS_MAX];
    // Who was not introduced is told so before anything is looked at.
    if request == Some(Request::Api) || MEMORY.userfaultfd_is_initialized(id) {
        for (at, word) in (arg..).step_by(8).zip(&mut words[..request.map_or(0, Request::words)]) {
            *word = u64::from_le_bytes(uaccess::read(at)?);
        }
    }
    let answer = LINUX.userfault_ioctl(id, request, words, current_mm())?;
    for (at, word) in (arg + answer.at as u64 * 8..)
        .step_by(8)
        .zip(&answer.words[..answer.count])
    {
        uaccess::copy_to_user(at, &word.to_le_bytes())?;
    }
    answer.result.map(|()| 0)
}

/// The running process touched, in ring 3, a page that is to be put there: it sleeps, and makes its access again.
///
/// # Errors
/// `EFAULT`: nobody is asked.
pub(crate) fn touched(regs: &mut PtRegs) -> Result<(), Errno> {
    match MEMORY.take_userfault() {
        Some(fault) => {
            rseq::interrupted(regs);
            wait(fault, false, signal::sleep, regs)
        }
        None => Ok(()),
    }
}

/// A call failed: whether it was because the kernel touched such a page for it. Then it is made again.
pub(super) fn failed_by_it(errno: Errno, regs: &mut PtRegs) -> bool {
    let Some(fault) = MEMORY.take_userfault() else {
        return false;
    };
    errno == Errno::EFAULT
        && wait(
            fault,
            true,
            |regs| signal::sleep_and_restart(Interrupted::Nothing, regs),
            regs,
        )
        .is_ok()
}

fn wait(fault: Userfault, in_kernel: bool, sleep: impl FnOnce(&mut PtRegs), regs: &mut PtRegs) -> Result<(), Errno> {
    let process = process::current();
    if let Some(keys) = LINUX.wait_userfault(fault, process.tid.get(), in_kernel)? {
        process.waiter.wait(keys);
        sleep(regs);
    } else if in_kernel {
        signal::restart(regs);
    }
    Ok(())
}
