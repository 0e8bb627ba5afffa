//! Memory whose faults another process answers through userfaultfd: the round trip of a fault through it and back.
//!
//! ```text
//! this process   touches a page ------------------------> sleeps . . . . . . . . . . . . . goes on
//! the answerer   reads (sleeps) . . . . . gets the message, UFFDIO_COPY or _CONTINUE, reads again (sleeps)
//! ```
//!
//! The answerer is a child that has the descriptor from its parent. A page is answered beforehand, so that it sleeps in its read when the first
//! fault comes, and each fault is the same.
//!
//! Source: userfaultfd(2), ioctl_userfaultfd(2), linux/userfaultfd.h. Rules H3 to H5.

use faultlab_abi::dev::{PhaseArgs, SAME_EACH_TIME};
use faultlab_programs::sys::memory::{self, PAGE_BYTES, PROT_READ, PROT_WRITE};
use faultlab_programs::sys::process::{self, Fork};
use faultlab_programs::sys::{self, files, signals, userfaultfd};

use super::private::own_stack;
use super::resident::Pages;
use super::{touch, warm_next_frames};
use crate::phase::{Failure, Phases};

/// Pages under one page table. Source: Intel SDM, volume 3, 4.5.
const TABLE: usize = 512;
/// Where regions are mapped: a 2 MiB boundary away from segments and all else.
const ADDRESS: usize = 0x1400_0000_0000;
/// The first version of the interface, and the only one.
const API: u64 = 0xaa;
/// `UFFD_FEATURE_MINOR_SHMEM`.
const MINOR_SHMEM: u64 = 1 << 10;
const SIGKILL: usize = 9;
/// Bytes of a message; which of its words is the address.
const MESSAGE_WORDS: usize = 4;
const MESSAGE_ADDRESS: usize = 2;

/// Which faults are answered, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Missing pages are copied there.
    Copy,
    /// Cached pages are mapped.
    Continue,
}

/// A region with measured pages; the first of each page table is an anchor. Unmapped when dropped, and the answerer ended.
///
/// # Invariants
/// Mapped readable and writable as long as it lives; one lives at a time.
struct Answered {
    count: usize,
    descriptor: i32,
    file: Option<i32>,
    answerer: Option<i32>,
}

const fn page(index: usize) -> usize {
    index / (TABLE - 1) * TABLE + 1 + index % (TABLE - 1)
}

impl Answered {
    fn bytes(&self) -> usize {
        (page(self.count - 1) + 1) * PAGE_BYTES
    }

    /// So many pages, and a process that answers.
    fn start(count: usize, answer: Answer) -> Result<Answered, Failure> {
        let mut region = Answered {
            count,
            descriptor: open()?,
            file: None,
            answerer: None,
        };
        let bytes = region.bytes();
        match answer {
            // SAFETY: nothing else is mapped there; one region lives at a time.
            Answer::Copy => unsafe { memory::map_fixed(ADDRESS, bytes, PROT_READ | PROT_WRITE) }
                .map_err(|errno| Failure::Call("mmap", errno))?,
            Answer::Continue => region.map_cached()?,
        }
        // A kernel that has no huge pages refuses, and none are what is wanted.
        _ = memory::small_pages(ADDRESS, bytes);
        region.register(answer)?;
        match process::fork().map_err(|errno| Failure::Call("fork", errno))? {
            Fork::Child => answer_all(region.descriptor, answer),
            Fork::Parent(child) => region.answerer = Some(child),
        }
        for anchor in (0..bytes).step_by(TABLE * PAGE_BYTES) {
            // SAFETY: a page of the region.
            unsafe { ((ADDRESS + anchor) as *mut u64).write_volatile(1) };
        }
        Ok(region)
    }

    /// A memory file whose pages are all in the page cache, and not mapped.
    fn map_cached(&mut self) -> Result<(), Failure> {
        // SAFETY: only reads the name.
        let file = unsafe { files::memfd_create([c"answered".as_ptr() as usize, 0]) }
            .map_err(|errno| Failure::Call("memfd_create", errno))? as i32;
        self.file = Some(file);
        let bytes = self.bytes();
        // SAFETY: the file is ours.
        unsafe { files::ftruncate([file as usize, bytes]) }.map_err(|errno| Failure::Call("ftruncate", errno))?;
        // SAFETY: the same.
        unsafe { files::fallocate([file as usize, 0, 0, bytes]) }.map_err(|errno| Failure::Call("fallocate", errno))?;
        // SAFETY: nothing else is mapped there; one region lives at a time.
        unsafe { memory::map_file_fixed(ADDRESS, bytes, file) }.map_err(|errno| Failure::Call("mmap", errno))
    }

    fn register(&self, answer: Answer) -> Result<(), Failure> {
        let mode = match answer {
            Answer::Copy => userfaultfd::MODE_MISSING,
            Answer::Continue => userfaultfd::MODE_MINOR,
        };
        let range = [ADDRESS as u64, self.bytes() as u64, mode, 0];
        userfaultfd::register(self.descriptor, range).map_err(|errno| Failure::Call("ioctl UFFDIO_REGISTER", errno))
    }
}

/// A new userfaultfd.
fn open() -> Result<i32, Failure> {
    let descriptor = userfaultfd::open().map_err(|_| Failure::Skip("userfaultfd is not permitted here"))?;
    match userfaultfd::introduce(descriptor, API, MINOR_SHMEM) {
        Ok(()) => Ok(descriptor),
        Err(_) => {
            _ = sys::close(descriptor);
            Err(Failure::Skip(
                "userfaultfd cannot let cached pages be mapped here (Linux 5.14)",
            ))
        }
    }
}

/// The answerer: until it is killed.
fn answer_all(descriptor: i32, answer: Answer) -> ! {
    #[repr(align(4096))]
    struct Page([u8; PAGE_BYTES]);
    static SOURCE: Page = Page([1; PAGE_BYTES]);
    let mut message = [0u64; MESSAGE_WORDS];
    loop {
        // SAFETY: the buffer is as long as is said.
        let read = unsafe {
            files::read([
                descriptor as usize,
                message.as_mut_ptr() as usize,
                size_of_val(&message),
            ])
        };
        let page = message[MESSAGE_ADDRESS] & !(PAGE_BYTES as u64 - 1);
        let answered = read.and_then(|_| match answer {
            Answer::Copy => userfaultfd::copy(descriptor, page, &raw const SOURCE.0 as u64, PAGE_BYTES as u64),
            Answer::Continue => userfaultfd::let_go(descriptor, page, PAGE_BYTES as u64),
        });
        if answered.is_err() {
            process::exit(1);
        }
    }
}

impl Pages for Answered {
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn address(&self, index: usize) -> *mut u64 {
        (ADDRESS + page(index) * PAGE_BYTES) as *mut u64
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        if let Some(child) = self.answerer {
            // SAFETY: a child of this process.
            _ = unsafe { signals::kill([child as usize, SIGKILL]) };
            _ = process::wait(child);
        }
        // SAFETY: addresses into the region are handed out by `address` only, whose callers borrow it.
        _ = unsafe { memory::unmap(ADDRESS as *mut u8, self.bytes()) };
        for descriptor in [Some(self.descriptor), self.file].into_iter().flatten() {
            _ = sys::close(descriptor);
        }
    }
}

pub(super) fn copy(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    measure(phases, pages, Answer::Copy)
}

pub(super) fn let_go(phases: &mut Phases, pages: usize) -> Result<(), Failure> {
    measure(phases, pages, Answer::Continue)
}

fn measure(phases: &mut Phases, pages: usize, answer: Answer) -> Result<(), Failure> {
    let region = Answered::start(pages, answer)?;
    warm_next_frames(phases, pages)?;
    own_stack();
    let expected = PhaseArgs {
        expect_pgfault: SAME_EACH_TIME,
        expect_pgalloc: if answer == Answer::Copy { pages as u64 } else { 0 },
        expect_syscalls: SAME_EACH_TIME,
        ..PhaseArgs::default()
    };
    touch(phases, &region, expected)
}
