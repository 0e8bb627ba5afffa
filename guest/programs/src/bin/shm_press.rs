//! `shm-press SIZE [--passes N]`: writes a System V segment of SIZE bytes, best larger than memory, and reads every
//! byte back N times (2 if not given), so that every page that was swapped must have come back as it was.
//!
//! Every 64-bit word holds a value computed from its own index, so a page that comes back as another page, or torn
//! between two, is found as surely as a flipped bit. A kernel that cannot keep the pages ends it with SIGBUS.

#![no_std]
#![no_main]

use faultlab_programs::print::Bytes;
use faultlab_programs::shm::{Attachment, Segment};
use faultlab_programs::start::{Args, USAGE};
use faultlab_programs::{eprintln, parse, println};

faultlab_programs::program!(main);

const DEFAULT_PASSES: u64 = 2;
/// More than anybody waits for.
const MAX_PASSES: u64 = 1_000_000;
/// Mismatches shown in full; all are counted.
const SHOWN: u64 = 8;

fn main(args: Args) -> i32 {
    let Some((bytes, passes)) = parse_arguments(&args) else {
        return USAGE;
    };
    let segment = match Segment::create(bytes) {
        Ok(segment) => segment,
        Err(errno) => {
            eprintln!("shm-press: shmget of {bytes} bytes: {errno}; give a smaller size, or more memory and swap");
            return 1;
        }
    };
    let shared = match segment.attach(0) {
        Ok(shared) => shared,
        Err(errno) => {
            eprintln!("shm-press: shmat of {bytes} bytes: {errno}");
            return 1;
        }
    };
    // Removed before it is filled: should a signal end this process, nothing stays behind.
    drop(segment);
    let words = shared.words();
    let written = write(&shared);
    println!("write: {words} words, checksum {written:#018x}");
    let mut bad = 0;
    for pass in 1..=passes {
        let (checksum, mismatches) = read(&shared, pass);
        println!("pass {pass}: {words} words, checksum {checksum:#018x}, {mismatches} mismatches");
        bad += mismatches;
    }
    let verified = words as u64 * 8 * passes;
    if bad == 0 {
        println!("shm-press: ok, {verified} bytes verified in {passes} passes over {bytes} bytes");
        0
    } else {
        eprintln!("shm-press: {bad} of {} words read back wrong", words as u64 * passes);
        1
    }
}

/// Bytes and passes; says itself what is wrong.
fn parse_arguments(args: &Args) -> Option<(usize, u64)> {
    let (mut bytes, mut passes) = (None, DEFAULT_PASSES);
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        if argument == b"--passes" {
            let text = rest.next().unwrap_or_default();
            match parse::number(text).filter(|passes| (1..=MAX_PASSES).contains(passes)) {
                Some(number) => passes = number,
                None => {
                    eprintln!(
                        "shm-press: --passes \"{}\": give a number from 1 to {MAX_PASSES}",
                        Bytes(text)
                    );
                    return None;
                }
            }
        } else if let Some(size) = parse::size_bytes(argument).filter(|size| *size > 0 && bytes.is_none()) {
            bytes = Some((size as usize).next_multiple_of(8));
        } else {
            eprintln!(
                "shm-press: \"{}\" is not understood; usage: shm-press SIZE [--passes N]",
                Bytes(argument)
            );
            return None;
        }
    }
    if bytes.is_none() {
        eprintln!("shm-press: no size given; usage: shm-press SIZE [--passes N], SIZE such as 24M");
    }
    Some((bytes?, passes))
}

/// The value that word number `index` holds: a bijection, so no two words are equal.
/// Source: the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn value(index: usize) -> u64 {
    let mut x = (index as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Depends on the order of the words too.
fn mix(checksum: u64, word: u64) -> u64 {
    checksum.rotate_left(5) ^ word
}

fn write(shared: &Attachment) -> u64 {
    (0..shared.words()).fold(0, |checksum, index| {
        shared.write(index, value(index));
        mix(checksum, value(index))
    })
}

fn read(shared: &Attachment, pass: u64) -> (u64, u64) {
    let (mut checksum, mut mismatches) = (0, 0);
    for index in 0..shared.words() {
        let (found, expected) = (shared.read(index), value(index));
        checksum = mix(checksum, found);
        if found != expected {
            mismatches += 1;
            if mismatches <= SHOWN {
                eprintln!("shm-press: pass {pass}: word {index} is {found:#018x}, expected {expected:#018x}");
            }
        }
    }
    (checksum, mismatches)
}
