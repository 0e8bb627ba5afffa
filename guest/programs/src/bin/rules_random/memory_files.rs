//! Memory files: descriptors, which children inherit, and what is behind them.

use core::fmt::{self, Display};

use faultlab_programs::arena::{Answer, FIXED, Plain, mmap_raw};
use faultlab_programs::sys::files;
use faultlab_programs::sys::memory::PAGE_BYTES;

use crate::Call;
use crate::draw::Draw;
use crate::space::{Page, Pages, any_pages, any_rights, page};

/// The descriptors that calls are about: the first is the one after the program's own.
const FIRST: usize = 4;
const DESCRIPTORS: usize = 6;
const END: usize = FIRST + DESCRIPTORS;
/// Files are this long at most.
const BYTES: usize = 10 * PAGE_BYTES;

const SHARED_FILE: usize = 1;
const PRIVATE_FILE: usize = 2;
const ADD_SEALS: usize = 1033;
const GET_SEALS: usize = 1034;

pub(crate) fn make(call: &Call, draw: &mut Draw) {
    let file = FIRST + draw.below(DESCRIPTORS);
    let offset = draw.below(BYTES);
    let bytes = draw.one_of(&[1, 100, PAGE_BYTES, 5000, 3 * PAGE_BYTES]);
    match draw.below(20) {
        0..=2 => create(call, draw),
        3..=5 => map(call, draw, file),
        6..=8 => write(call, draw, file, offset, bytes),
        9 | 10 => read(call, file, offset, bytes),
        11 | 12 => {
            let size = draw.one_of(&[0, offset, offset & !(PAGE_BYTES - 1), BYTES]);
            // SAFETY: changes the file only.
            let answer = unsafe { files::ftruncate([file, size]) };
            call.show(format_args!("ftruncate {file} to {size}"), Plain(answer));
        }
        13 => allocate(call, draw, file, offset, bytes),
        14 => {
            let (whence, shown) = draw.one_of(&[(0, "start"), (1, "position"), (2, "end"), (3, "data"), (4, "hole")]);
            // SAFETY: changes the position only.
            let answer = unsafe { files::lseek([file, offset, whence]) };
            call.show(format_args!("lseek {file} {offset} from {shown}"), Number(answer));
        }
        15 => {
            // SAFETY: descriptors are plain numbers here.
            let answer = unsafe { files::dup([file]) };
            show_new(call, format_args!("dup {file}"), answer);
        }
        16 => {
            // SAFETY: as above.
            let answer = unsafe { files::close([file]) };
            call.show(format_args!("close {file}"), Plain(answer));
        }
        17 => {
            let seals = draw.one_of(&[1, 2, 4, 8, 16, 6]);
            // SAFETY: touches no memory.
            let answer = unsafe { files::fcntl([file, ADD_SEALS, seals]) };
            call.show(format_args!("seal {file} with {seals}"), Plain(answer));
        }
        18 => {
            // SAFETY: touches no memory.
            let answer = unsafe { files::fcntl([file, GET_SEALS, 0]) };
            call.show(format_args!("seals of {file}"), Number(answer));
        }
        _ => stat(call, file),
    }
}

fn create(call: &Call, draw: &mut Draw) {
    let seals = draw.below(2) * 2;
    // SAFETY: only reads the name.
    let answer = unsafe { files::memfd_create([c"random".as_ptr() as usize, seals]) };
    show_new(call, "memfd_create", answer);
}

/// A new descriptor; one past those that calls are about is closed again. (Its number depends on what this program was started with.)
pub(crate) fn show_new(call: &Call, what: impl Display, answer: Answer) {
    match answer {
        Ok(new @ END..) => {
            // SAFETY: nobody uses it.
            _ = unsafe { files::close([new]) };
            call.show(what, "enough");
        }
        _ => call.show(what, Number(answer)),
    }
}

fn map(call: &Call, draw: &mut Draw, file: usize) {
    let (first, count) = any_pages(draw);
    let (rights, shown) = any_rights(draw);
    let (kind, kind_shown) = draw.one_of(&[(SHARED_FILE, "shared"), (PRIVATE_FILE, "private")]);
    let offset = draw.below(6);
    let answer = mmap_raw([
        page(first),
        count * PAGE_BYTES,
        rights,
        kind | FIXED,
        file,
        offset * PAGE_BYTES,
    ]);
    call.show(
        format_args!(
            "mmap {} {kind_shown} {shown} of {file} from its page {offset}",
            Pages(first, count)
        ),
        Page(answer),
    );
}

fn write(call: &Call, draw: &mut Draw, file: usize, offset: usize, bytes: usize) {
    let buffer = [draw.below(255) as u8 + 1; 3 * PAGE_BYTES];
    let (what, answer) = match draw.below(3) {
        // SAFETY: reads no more than the buffer.
        0 => ("write", unsafe {
            files::write([file, buffer.as_ptr() as usize, bytes.min(100)])
        }),
        // SAFETY: as above.
        _ => ("pwrite", unsafe {
            files::pwrite([file, buffer.as_ptr() as usize, bytes, offset])
        }),
    };
    call.show(
        format_args!("{what} {file}, {bytes} of {} at {offset}", buffer[0]),
        Number(answer),
    );
}

fn read(call: &Call, file: usize, offset: usize, bytes: usize) {
    let mut buffer = [0u8; 3 * PAGE_BYTES];
    // SAFETY: writes no more than the buffer.
    let answer = unsafe { files::pread([file, buffer.as_mut_ptr() as usize, bytes, offset]) };
    let sum = buffer
        .iter()
        .fold(0u32, |sum, &byte| sum.rotate_left(3) ^ u32::from(byte));
    call.show(
        format_args!("pread {file}, {bytes} at {offset}"),
        format_args!("{}, {sum:x}", Number(answer)),
    );
}

fn allocate(call: &Call, draw: &mut Draw, file: usize, offset: usize, bytes: usize) {
    let (mode, shown) = draw.one_of(&[
        (0, ""),
        (1, ", size kept"),
        (3, ", a hole"),
        (3, ", a hole"),
        (2, ", a hole, size not kept"),
    ]);
    // SAFETY: changes the file only.
    let answer = unsafe { files::fallocate([file, mode, offset, bytes]) };
    call.show(
        format_args!("fallocate {file}, {bytes} at {offset}{shown}"),
        Plain(answer),
    );
}

fn stat(call: &Call, file: usize) {
    let mut stat = [0u64; 18];
    // SAFETY: the buffer has the size of the structure.
    match unsafe { files::fstat([file, stat.as_mut_ptr() as usize]) } {
        Ok(_) => call.show(
            format_args!("fstat {file}"),
            format_args!("{} bytes, {} blocks", stat[6], stat[8]),
        ),
        Err(errno) => call.show(format_args!("fstat {file}"), errno),
    }
}

/// A number or the error.
pub(crate) struct Number(pub(crate) Answer);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(number) => number.fmt(f),
            Err(errno) => errno.fmt(f),
        }
    }
}
