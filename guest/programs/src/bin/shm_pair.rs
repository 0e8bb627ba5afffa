//! `shm-pair [SIZE]`: two processes share one System V segment, and each verifies what the other wrote.
//!
//! Phases are separated by `wait4`, not by spinning, so that it also works where nothing preempts a process:
//!
//! 1. the parent writes pattern 1;
//! 2. child 1 verifies it through the attachment that it inherited and through one of its own, and writes pattern 2;
//! 3. the parent verifies pattern 2 and writes pattern 3;
//! 4. child 2 verifies pattern 3, detaches what it inherited, and writes pattern 4 through an attachment of its own;
//! 5. the parent verifies pattern 4, removes the segment, verifies it once more, and detaches it for good.

#![no_std]
#![no_main]

use faultlab_programs::print::Bytes;
use faultlab_programs::shm::{Attachment, Segment};
use faultlab_programs::start::{Args, USAGE};
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::sys::{Errno, sysv_shm};
use faultlab_programs::{eprintln, parse, println};

faultlab_programs::program!(main);

const DEFAULT_BYTES: u64 = 64 << 10;

/// What went wrong; shown as one line.
enum Failure {
    Call(&'static str, Errno),
    Word {
        who: &'static str,
        word: usize,
        found: u64,
        expected: u64,
    },
    Attachments {
        found: u64,
        expected: u64,
    },
    Child {
        status: i32,
    },
    StillThere,
}

fn main(args: Args) -> i32 {
    let bytes = match (args.get(1), args.len()) {
        (None, _) => DEFAULT_BYTES,
        (Some(text), 2) if parse::size_bytes(text).is_some_and(|bytes| bytes >= 8) => {
            parse::size_bytes(text).unwrap_or(DEFAULT_BYTES)
        }
        (Some(text), _) => {
            eprintln!(
                "shm-pair: \"{}\": give at most one size of at least 8 bytes, such as 64K",
                Bytes(text)
            );
            return USAGE;
        }
    };
    match run(bytes as usize) {
        Ok(()) => {
            println!("shm-pair: ok");
            0
        }
        Err(failure) => {
            report(&failure);
            1
        }
    }
}

fn report(failure: &Failure) {
    match failure {
        Failure::Call(what, errno) => eprintln!("shm-pair: {what}: {errno}"),
        Failure::Word {
            who,
            word,
            found,
            expected,
        } => {
            eprintln!("shm-pair: {who}: word {word} is {found:#018x}, expected {expected:#018x}");
        }
        Failure::Attachments { found, expected } => {
            eprintln!("shm-pair: the segment counts {found} attachments, expected {expected}");
        }
        Failure::Child { status } => eprintln!("shm-pair: a child ended with status {status}, expected 0"),
        Failure::StillThere => eprintln!("shm-pair: the removed segment can still be found"),
    }
}

fn run(bytes: usize) -> Result<(), Failure> {
    let segment = Segment::create(bytes).map_err(|errno| Failure::Call("shmget", errno))?;
    let shared = segment.attach(0).map_err(|errno| Failure::Call("shmat", errno))?;
    fill(&shared, 1);
    println!("parent: {bytes} bytes, pattern 1 written");

    in_child(|| {
        let own = segment
            .attach(0)
            .map_err(|errno| Failure::Call("shmat in child 1", errno))?;
        check_attachments(&segment, 3)?;
        verify("child 1, inherited attachment", &shared, 1)?;
        verify("child 1, own attachment", &own, 1)?;
        fill(&own, 2);
        verify("child 1, inherited attachment", &shared, 2)?;
        println!("child 1: pattern 1 verified twice, pattern 2 written");
        Ok(())
    })?;
    check_attachments(&segment, 1)?;
    verify("parent", &shared, 2)?;
    fill(&shared, 3);
    println!("parent: pattern 2 verified, pattern 3 written");

    in_child(|| {
        verify("child 2, inherited attachment", &shared, 3)?;
        // SAFETY: this process ends before the parent's `shared` is dropped in it.
        unsafe { sysv_shm::detach(shared.base()) }.map_err(|errno| Failure::Call("shmdt in child 2", errno))?;
        check_attachments(&segment, 1)?;
        let own = segment
            .attach(0)
            .map_err(|errno| Failure::Call("shmat in child 2", errno))?;
        verify("child 2, own attachment", &own, 3)?;
        fill(&own, 4);
        println!("child 2: pattern 3 verified, pattern 4 written after detaching");
        Ok(())
    })?;
    verify("parent", &shared, 4)?;
    println!("parent: pattern 4 verified");

    remove(segment, shared)
}

/// Removes the segment while it is attached: its contents must stay until the last detach, and then be gone.
fn remove(segment: Segment, shared: Attachment) -> Result<(), Failure> {
    let id = segment.id;
    sysv_shm::remove(id).map_err(|errno| Failure::Call("shmctl IPC_RMID", errno))?;
    core::mem::forget(segment);
    verify("parent after IPC_RMID", &shared, 4)?;
    drop(shared);
    match sysv_shm::stat(id) {
        Ok(_) => Err(Failure::StillThere),
        Err(_) => {
            println!("parent: segment removed");
            Ok(())
        }
    }
}

/// Runs `body` in a child and waits for it.
fn in_child(body: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    match process::fork().map_err(|errno| Failure::Call("fork", errno))? {
        Fork::Child => {
            let status = match body() {
                Ok(()) => 0,
                Err(failure) => {
                    report(&failure);
                    1
                }
            };
            process::exit(status)
        }
        Fork::Parent(child) => {
            let status = process::wait(child).map_err(|errno| Failure::Call("wait4", errno))?;
            match process::exit_status(status) {
                0 => Ok(()),
                status => Err(Failure::Child { status }),
            }
        }
    }
}

fn check_attachments(segment: &Segment, expected: u64) -> Result<(), Failure> {
    let found = sysv_shm::stat(segment.id)
        .map_err(|errno| Failure::Call("shmctl IPC_STAT", errno))?
        .nattch;
    if found == expected {
        Ok(())
    } else {
        Err(Failure::Attachments { found, expected })
    }
}

/// Pattern `number`: every word differs from every other word, and from itself in another pattern.
fn pattern(number: u64, word: usize) -> u64 {
    (word as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(number as u32)
        ^ number
}

fn fill(shared: &Attachment, number: u64) {
    for word in 0..shared.words() {
        shared.write(word, pattern(number, word));
    }
}

fn verify(who: &'static str, shared: &Attachment, number: u64) -> Result<(), Failure> {
    for word in 0..shared.words() {
        let (found, expected) = (shared.read(word), pattern(number, word));
        if found != expected {
            return Err(Failure::Word {
                who,
                word,
                found,
                expected,
            });
        }
    }
    Ok(())
}
