//! `mmap` and its relatives, in an arena at an address that is the same in every process on every kernel.

use core::fmt::{self, Display};

use faultlab_programs::arena::{
    Answer, FIXED, NO_FILE, PRIVATE, Plain, RW, SHARED, madvise, mmap_raw, mprotect, mremap, munmap,
};
use faultlab_programs::sys::memory::{PAGE_BYTES, PROT_EXEC};
use faultlab_programs::sys::{address_space, files};

use crate::Call;
use crate::draw::Draw;
use crate::stage::Stage;

/// Where the arena begins: far from where kernels place programs, libraries, stacks and mappings.
const BASE: usize = 0x3000_0000_0000;
/// Its pages. Nothing else is mapped for gigabytes on either side.
const PAGES: usize = 40;

/// The address of a page of the arena.
pub(crate) const fn page(index: usize) -> usize {
    BASE + index * PAGE_BYTES
}

/// A page to begin with.
pub(crate) fn any_page(draw: &mut Draw) -> usize {
    draw.below(PAGES)
}

/// Some pages of the arena: the first, and how many.
pub(crate) fn any_pages(draw: &mut Draw) -> (usize, usize) {
    let first = any_page(draw);
    (first, 1 + draw.below((PAGES - first).min(8)))
}

/// Rights, and how they are shown.
pub(crate) fn any_rights(draw: &mut Draw) -> (usize, &'static str) {
    draw.one_of(&[
        (RW, "rw"),
        (RW, "rw"),
        (RW, "rw"),
        (RW, "rw"),
        (1, "r"),
        (1, "r"),
        (0, "none"),
        (RW | PROT_EXEC as usize, "rwx"),
    ])
}

const NOREPLACE: usize = 0x10_0000;
const MAY_MOVE: usize = 1;
const MOVE_FIXED: usize = 2;

/// Pieces of advice whose effect does not depend on how much memory there is. (With `MADV_PAGEOUT`, Linux forgets pages of holes that were only
/// read, which the number of blocks shows; the guest keeps them.)
const ADVICE: [(u32, &str); 11] = [
    (0, "NORMAL"),
    (1, "RANDOM"),
    (3, "WILLNEED"),
    (4, "DONTNEED"),
    (4, "DONTNEED"),
    (9, "REMOVE"),
    (10, "DONTFORK"),
    (11, "DOFORK"),
    (20, "COLD"),
    (22, "POPULATE_READ"),
    (23, "POPULATE_WRITE"),
];

pub(crate) fn make(stage: &Stage, call: &Call, draw: &mut Draw) {
    let (first, count) = any_pages(draw);
    let (from, bytes) = (page(first), count * PAGE_BYTES);
    let pages = Pages(first, count);
    match draw.below(18) {
        0..=2 => {
            let (rights, shown) = any_rights(draw);
            let (kind, kind_shown) = draw.one_of(&[(PRIVATE, "private"), (SHARED, "shared")]);
            let (how, how_shown) = draw.one_of(&[(FIXED, ""), (FIXED, ""), (NOREPLACE, " if free")]);
            let answer = mmap_raw([from, bytes, rights, kind | how, NO_FILE, 0]);
            call.show(
                format_args!("mmap {pages} {kind_shown} {shown}{how_shown}"),
                Page(answer),
            );
        }
        3 => call.show(format_args!("munmap {pages}"), Plain(munmap(from, count))),
        4 | 5 => {
            let (rights, shown) = any_rights(draw);
            call.show(
                format_args!("mprotect {pages} {shown}"),
                Plain(mprotect(from, bytes, rights)),
            );
        }
        6 | 7 => move_pages(call, draw, first, count),
        8 | 9 => {
            let (advice, shown) = draw.one_of(&ADVICE);
            call.show(
                format_args!("madvise {pages} {shown}"),
                Plain(madvise(from, bytes, advice)),
            );
        }
        10 => lock(call, draw, pages),
        11..=13 => {
            let value = draw.next();
            call.show(
                format_args!("store {value:x} to {}", Pages(first, 1)),
                Plain(store(stage, from, value)),
            );
        }
        14 => {
            let value = draw.next();
            let stored = (0..count).filter(|at| store(stage, page(first + at), value ^ *at as u64).is_ok());
            call.show(format_args!("store {value:x} to {pages}"), stored.count());
        }
        15 => call.show(format_args!("load {}", Pages(first, 1)), Word(load(stage, from))),
        _ => call.show(format_args!("load {pages}"), Words(stage, first, count)),
    }
}

fn move_pages(call: &Call, draw: &mut Draw, first: usize, count: usize) {
    let (target, new_count) = any_pages(draw);
    let from = page(first);
    if draw.once_in(2) {
        let answer = mremap(from, count, new_count, 0, 0);
        return call.show(
            format_args!("mremap {} to {new_count} pages", Pages(first, count)),
            Page(answer),
        );
    }
    let answer = mremap(from, count, new_count, MAY_MOVE | MOVE_FIXED, page(target));
    call.show(
        format_args!("mremap {} to {}", Pages(first, count), Pages(target, new_count)),
        Page(answer),
    );
}

fn lock(call: &Call, draw: &mut Draw, pages: Pages) {
    let range = [page(pages.0), pages.1 * PAGE_BYTES];
    // SAFETY: changes where pages are kept, never what they hold.
    let (what, answer) = unsafe {
        match draw.below(4) {
            0 => ("mlock", address_space::mlock(range)),
            1 => ("munlock", address_space::munlock(range)),
            2 => ("msync", address_space::msync([range[0], range[1], 4])),
            _ => (
                "msync, others to look again",
                address_space::msync([range[0], range[1], 6]),
            ),
        }
    };
    call.show(format_args!("{what} {pages}"), Plain(answer));
}

/// Stores a word by way of the kernel, and the next one without, if that can be done without dying.
fn store(stage: &Stage, address: usize, value: u64) -> Answer {
    let words = [value];
    // SAFETY: the file is this program's own, and so is what is written to: no Rust object is in the arena.
    unsafe {
        files::pwrite([stage.scratch, words.as_ptr() as usize, 8, 0])?;
        files::pread([stage.scratch, address, 8, 0])?;
        ((address + 8) as *mut u64).write_volatile(!value);
    }
    Ok(0)
}

/// The first two words of a page, folded: read by the kernel first, which says whether that is possible.
fn load(stage: &Stage, address: usize) -> Result<u64, faultlab_programs::sys::Errno> {
    // SAFETY: as in `store`; what the kernel could read, the program can.
    unsafe {
        files::pwrite([stage.scratch, address, 16, 0])?;
        let words = address as *const u64;
        Ok(words.read_volatile() ^ words.add(1).read_volatile().rotate_left(32))
    }
}

/// A range of pages of the arena.
#[derive(Clone, Copy)]
pub(crate) struct Pages(pub(crate) usize, pub(crate) usize);

impl Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        if self.1 == 1 { Ok(()) } else { write!(f, "+{}", self.1) }
    }
}

/// An address of the arena as the number of its page, or the error.
pub(crate) struct Page(pub(crate) Answer);

impl Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(address) if (BASE..page(PAGES)).contains(&address) => write!(f, "at {}", (address - BASE) / PAGE_BYTES),
            Ok(_) => f.write_str("elsewhere"),
            Err(errno) => errno.fmt(f),
        }
    }
}

struct Word(Result<u64, faultlab_programs::sys::Errno>);

impl Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(word) => write!(f, "{word:x}"),
            Err(errno) => errno.fmt(f),
        }
    }
}

/// What some pages hold, a word each, `-` for one that cannot be read.
struct Words<'a>(&'a Stage, usize, usize);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for at in self.1..self.1 + self.2 {
            match load(self.0, page(at)) {
                Ok(word) => write!(f, "{word:x} ")?,
                Err(_) => f.write_str("- ")?,
            }
        }
        Ok(())
    }
}
