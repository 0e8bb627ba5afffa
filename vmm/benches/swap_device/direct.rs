//! The same transfers straight to the file: what an I/O thread could do if nobody had to ask it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use faultlab::memory::GuestRam;
use io_uring::{IoUring, opcode, types};

use crate::device::DATA;
use crate::{DEPTH, PAGE, Work};

/// Address, in this process, of the page of data of a slot.
fn buffer(ram: &GuestRam, slot: u16) -> *mut u8 {
    (ram.host_address() + (DATA + PAGE * u64::from(slot)) as usize) as *mut u8
}

/// One `pread` or `pwrite` after the other.
pub(crate) fn one_by_one(file: &File, ram: &GuestRam, work: Work) -> io::Result<()> {
    for (count, page) in work.pages().enumerate() {
        let start = buffer(ram, count as u16 % DEPTH);
        // SAFETY: the page is in `ram`, which stays mapped, and nobody else uses it while this runs: the device is idle.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start, PAGE as usize) };
        if work.write {
            file.write_all_at(bytes, page * PAGE)?;
        } else {
            file.read_exact_at(bytes, page * PAGE)?;
        }
    }
    Ok(())
}

/// Through a ring, [`DEPTH`] at a time.
pub(crate) fn through_uring(file: &File, ram: &GuestRam, work: Work) -> io::Result<()> {
    let mut ring = IoUring::new(u32::from(DEPTH))?;
    let mut pages = work.pages();
    let mut free: Vec<u16> = (0..DEPTH).collect();
    let fd = types::Fd(file.as_raw_fd());
    loop {
        while let Some(slot) = free.pop() {
            let Some(page) = pages.next() else {
                free.push(slot);
                break;
            };
            let (start, len, offset) = (buffer(ram, slot), PAGE as u32, page * PAGE);
            let entry = if work.write {
                opcode::Write::new(fd, start, len).offset(offset).build()
            } else {
                opcode::Read::new(fd, start, len).offset(offset).build()
            };
            // SAFETY: the page is in `ram`, which stays mapped until every transfer is over: the loop ends no earlier.
            unsafe { ring.submission().push(&entry.user_data(u64::from(slot))) }.map_err(io::Error::other)?;
        }
        if free.len() == usize::from(DEPTH) {
            return Ok(());
        }
        ring.submit_and_wait(1)?;
        let done: Vec<(u16, i32)> = ring
            .completion()
            .map(|entry| (entry.user_data() as u16, entry.result()))
            .collect();
        for (slot, result) in done {
            if result != PAGE as i32 {
                return Err(io::Error::other(format!("a transfer ended with {result}")));
            }
            free.push(slot);
        }
    }
}
