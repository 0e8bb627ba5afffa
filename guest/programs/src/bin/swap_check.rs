//! `swap-check [--swaps N] [--seed N]`: loses nothing, or says what. Every page holds a word that says whose it is (object, index,
//! generation) at a place that depends on it; what else is in the page stays zero. In random order pages are written anew, verified,
//! paged out, shared with children by `fork`, punched out of their object, and whole objects come and go, until N pages (4,096 if
//! not given) were paged out. Now and then a swap disk is taken back by `swapoff`, if the kernel lets it, and given back.
//!
//! Ends with status 1 if a page is not what was last stored there. A page that the kernel says it lost (SIGBUS) ends it by that signal.

#![no_std]
#![no_main]

use core::ffi::CStr;

use faultlab_programs::print::Bytes;
use faultlab_programs::start::{Args, USAGE};
use faultlab_programs::sys::memory::{MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PAGE_BYTES, PROT_READ, PROT_WRITE};
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::sys::{self, Errno, address_space, memory, swap};
use faultlab_programs::{eprintln, parse, println};
use linux_raw_sys::general::MADV_REMOVE;

faultlab_programs::program!(main);

const DEFAULT_SWAPS: u64 = 4096;
/// Objects; even ones are shared, odd ones private.
const OBJECTS: usize = 6;
/// Pages of each.
const PAGES: usize = 96;
/// What may be swapped to.
const DISKS: [&CStr; 4] = [c"/dev/vda", c"/dev/vdb", c"/dev/vdc", c"/dev/vdd"];
/// No flag of `swapon`.
const UNKNOWN_FLAG: u32 = 0x8_0000;
/// Pages of a range that one operation works on, at most.
const RANGE_MAX: u64 = 24;

/// An object: where it is mapped, and what each of its pages holds (generation; 0: nothing).
#[derive(Clone, Copy)]
struct Object {
    base: *mut u64,
    generations: [u32; PAGES],
}

struct Checker {
    objects: [Object; OBJECTS],
    chance: u64,
    generation: u32,
    swaps: u64,
    verified: u64,
    swapoffs: u64,
    /// What was refused, as it should be.
    refused: u64,
    /// How many of [`DISKS`] there are to swap to; none but in faultlab's guest: only its swap is taken away.
    disks: u64,
}

fn main(args: Args) -> i32 {
    let Some((swaps, seed)) = parse_arguments(&args) else {
        return USAGE;
    };
    match run(swaps, seed) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(errno) => {
            eprintln!("swap-check: {errno}; give the guest more memory");
            1
        }
    }
}

fn parse_arguments(args: &Args) -> Option<(u64, u64)> {
    let (mut swaps, mut seed) = (DEFAULT_SWAPS, 1);
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        let number = parse::number(rest.next().unwrap_or_default());
        match (argument, number) {
            (b"--swaps", Some(number)) => swaps = number,
            (b"--seed", Some(number)) => seed = number,
            _ => {
                eprintln!(
                    "swap-check: \"{}\" is not understood; usage: swap-check [--swaps N] [--seed N]",
                    Bytes(argument)
                );
                return None;
            }
        }
    }
    Some((swaps, seed))
}

fn run(swaps: u64, seed: u64) -> Result<bool, Errno> {
    let mut checker = Checker {
        objects: [Object {
            base: core::ptr::null_mut(),
            generations: [0; PAGES],
        }; OBJECTS],
        chance: seed,
        generation: 0,
        swaps: 0,
        verified: 0,
        swapoffs: 0,
        refused: 0,
        disks: 0,
    };
    if sys::open_read_write(c"/dev/faultlab").is_ok() {
        let is_on = |disk: &&CStr| swap::swapon(disk, 0) == Err(Errno::EBUSY);
        checker.disks = DISKS.iter().copied().take_while(|disk| is_on(disk)).count() as u64;
    }
    for which in 0..OBJECTS {
        checker.make(which)?;
    }
    while checker.swaps < swaps {
        if !checker.step()? {
            return Ok(false);
        }
    }
    let good = (0..OBJECTS).all(|which| checker.verify(which, 0, PAGES));
    if good {
        let Checker {
            swaps,
            verified,
            swapoffs,
            refused,
            ..
        } = checker;
        println!(
            "swap-check: ok, {swaps} pages paged out, {verified} verified, {swapoffs} times swapoff, {refused} refused"
        );
    }
    Ok(good)
}

/// What the page of a generation holds: no two hold the same.
fn value(which: usize, page: usize, generation: u32) -> u64 {
    (which as u64 + 1) << 56 | (page as u64) << 32 | u64::from(generation)
}

/// The word of the page that holds it.
fn place(which: usize, page: usize, generation: u32) -> usize {
    (which * 89 + page * 7 + generation as usize * 31) % (PAGE_BYTES / 8)
}

impl Checker {
    /// splitmix64. Source: Steele, Lea and Flood 2014.
    fn below(&mut self, limit: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// Maps a new object in the place of one.
    fn make(&mut self, which: usize) -> Result<(), Errno> {
        let kind = if which.is_multiple_of(2) {
            MAP_SHARED
        } else {
            MAP_PRIVATE
        };
        let base = memory::map(PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1)?;
        self.objects[which] = Object {
            base: base.cast(),
            generations: [0; PAGES],
        };
        Ok(())
    }

    /// One operation on a range of an object; `false` if a page is wrong.
    fn step(&mut self) -> Result<bool, Errno> {
        let which = self.below(OBJECTS as u64) as usize;
        let first = self.below(PAGES as u64) as usize;
        let count = (1 + self.below(RANGE_MAX) as usize).min(PAGES - first);
        let bytes = count * PAGE_BYTES;
        let at = self.objects[which].base.wrapping_add(first * PAGE_BYTES / 8);
        match self.below(64) {
            0..24 => self.write(which, first, count),
            24..36 => return Ok(self.verify(which, first, count)),
            36..58 => {
                memory::page_out(at.cast(), bytes)?;
                self.swaps += count as u64;
            }
            58 | 59 => return self.fork(which),
            60 if which.is_multiple_of(2) => {
                // SAFETY: the range is this program's own, and what it holds is given up.
                unsafe { address_space::madvise([at as usize, bytes, MADV_REMOVE as usize]) }?;
                self.objects[which].generations[first..first + count].fill(0);
            }
            61 => {
                let base = self.objects[which].base;
                // SAFETY: nothing refers to the object any more; it is made anew.
                unsafe { memory::unmap(base.cast(), PAGES * PAGE_BYTES) }?;
                self.make(which)?;
            }
            62 if self.disks != 0 => return self.swap_off_and_on(),
            _ => {}
        }
        Ok(true)
    }

    /// Takes one of the disks away, and gives it back with another priority or none of its own. Where what is on it does not fit elsewhere, that
    /// is refused: then all is as before. `false` if something that must be refused is not.
    fn swap_off_and_on(&mut self) -> Result<bool, Errno> {
        let disk = DISKS[self.below(self.disks) as usize];
        let flags = [0, swap::FLAG_PREFER | 1, swap::FLAG_PREFER | 7][self.below(3) as usize];
        let on_again = [
            swap::swapon(disk, flags) == Err(Errno::EBUSY),
            swap::swapon(disk, UNKNOWN_FLAG) == Err(Errno::EINVAL),
            swap::swapoff(c"/dev/vdz") == Err(Errno::ENOENT),
        ];
        let off_again = match swap::swapoff(disk) {
            Ok(()) => {
                self.swapoffs += 1;
                let off_again = swap::swapoff(disk) == Err(Errno::EINVAL);
                swap::swapon(disk, flags)?;
                off_again
            }
            Err(errno) => errno == Errno::ENOMEM,
        };
        self.refused += on_again.len() as u64 + 1;
        let good = off_again && on_again == [true; 3];
        if !good {
            eprintln!("swap-check: {on_again:?} {off_again}: swapon or swapoff was not refused as it must be");
        }
        Ok(good)
    }

    fn write(&mut self, which: usize, first: usize, count: usize) {
        self.generation += 1;
        let generation = self.generation;
        let object = &mut self.objects[which];
        for page in first..first + count {
            let words = object.base.wrapping_add(page * PAGE_BYTES / 8);
            let old = place(which, page, object.generations[page]);
            // SAFETY: both words are in the object, which is mapped for writing.
            unsafe {
                words.add(old).write_volatile(0);
                words
                    .add(place(which, page, generation))
                    .write_volatile(value(which, page, generation));
            }
            object.generations[page] = generation;
        }
    }

    /// Whether pages are what was stored; says which is not.
    fn verify(&mut self, which: usize, first: usize, count: usize) -> bool {
        let object = &self.objects[which];
        for page in first..first + count {
            let generation = object.generations[page];
            let words = object.base.wrapping_add(page * PAGE_BYTES / 8);
            let holds = place(which, page, generation);
            for word in 0..PAGE_BYTES / 8 {
                let expected = match generation {
                    0 => 0,
                    _ if word == holds => value(which, page, generation),
                    _ => 0,
                };
                // SAFETY: in the object, which is mapped for reading.
                let found = unsafe { words.add(word).read_volatile() };
                if found != expected {
                    eprintln!(
                        "swap-check: object {which} page {page} word {word} is {found:#018x}, expected {expected:#018x}, after {} pages",
                        self.swaps
                    );
                    return false;
                }
            }
        }
        self.verified += count as u64;
        true
    }

    /// A child finds everything as it was, changes its copy, and its parent finds nothing changed.
    fn fork(&mut self, which: usize) -> Result<bool, Errno> {
        match process::fork()? {
            Fork::Child => {
                let good = self.verify(which, 0, PAGES);
                let private = which | 1;
                self.write(private, 0, PAGES / 4);
                process::exit(i32::from(!(good && self.verify(private, 0, PAGES))))
            }
            Fork::Parent(child) => {
                let status = process::exit_status(process::wait(child)?);
                if status != 0 {
                    eprintln!("swap-check: a child ended with status {status}");
                }
                Ok(status == 0 && self.verify(which | 1, 0, PAGES))
            }
        }
    }
}
