//! Commands that bring files back. What the guest hands over is copied once, and judged by [`crate::bring_back`].

use std::io;

use faultlab_abi::layout::PAGE_SIZE;
use vm_memory::{Bytes, GuestAddress};

use super::records::{copy_array, copy_bytes, store};
use super::{Handled, Refusal};
use crate::bring_back::{BringBack, Entry, Stop, plain};
use crate::devices::Session;

/// Limits stated in [`faultlab_abi::lab::kind`].
const PAGES_MAX: u64 = 64;
const NAME_MAX: u64 = 255;
const TARGET_MAX: u64 = 4095;

/// The next place.
pub(super) fn next([address, bytes, answer, ..]: [u64; 6], back: &mut BringBack, session: &Session<'_>) -> Handled {
    if bytes < PAGE_SIZE {
        return Err(Refusal::Invalid);
    }
    let path = back.next_path().unwrap_or_default();
    let written = session.ram.memory().write_slice(&path, GuestAddress(address));
    written.map_err(|_| Refusal::Fault)?;
    store(session.ram, answer, path.len() as u64)?;
    Ok(None)
}

/// Something in the place.
pub(super) fn entry(args: [u64; 6], back: &mut BringBack, session: &Session<'_>) -> Handled {
    let [mode, size, ino, name, target, lengths] = args;
    let text = |address, bytes, max| match bytes {
        0 => Ok(Vec::new()),
        _ => copy_bytes(session.ram, address, bytes, max),
    };
    let entry = Entry {
        mode,
        size,
        ino,
        name: text(name, lengths & 0xffff_ffff, NAME_MAX)?,
        target: text(target, lengths >> 32, TARGET_MAX)?,
    };
    answer(back.step(|tree| tree.entry(&entry)))
}

/// Content of the file that was begun.
pub(super) fn pages(args: [u64; 6], back: &mut BringBack, session: &Session<'_>) -> Handled {
    let [index, addresses, count, ..] = args;
    if count > PAGES_MAX {
        return Err(Refusal::Invalid);
    }
    let addresses: Vec<u64> = copy_array(session.ram, addresses, count)?;
    let mut content = vec![0; (count * PAGE_SIZE) as usize];
    for (page, address) in content.chunks_exact_mut(PAGE_SIZE as usize).zip(addresses) {
        let read = session.ram.memory().read_slice(page, GuestAddress(address));
        read.map_err(|_| Refusal::Fault)?;
    }
    answer(back.step(|tree| tree.pages(index, &content)))
}

/// A file or directory is complete, or the place cannot be brought.
pub(super) fn end(args: [u64; 6], back: &mut BringBack) -> Handled {
    answer(back.step(|tree| match args[0] {
        0 => tree.end(),
        errno => Err(Stop::Failed(guests_reason(errno))),
    }))
}

fn answer(result: Result<(), i32>) -> Handled {
    match result {
        Ok(()) => Ok(None),
        Err(libc::EINVAL) => Err(Refusal::Invalid),
        Err(errno) => Err(Refusal::Told(errno)),
    }
}

/// An error number of the guest's, for people.
fn guests_reason(errno: u64) -> String {
    match i32::try_from(errno) {
        Ok(libc::ENOENT) => "there is no such file in the guest".to_owned(),
        Ok(libc::EOPNOTSUPP) => "it is no file or directory that can be brought".to_owned(),
        Ok(number @ 1..4096) => format!("{} in the guest", plain(&io::Error::from_raw_os_error(number))),
        _ => "the guest could not hand it over".to_owned(),
    }
}
