//! `lab-check [PAGES [populated]]`: asks `/dev/faultlab` for everything it can do, verifies the state after each step, and tries hostile arguments.
//!
//! PAGES is how much of the window is used at most: 1,024 if not given, whole granules in any case; `populated` says that the host backed it before the guest ran. One line a check; status 1 if one failed, 2 where there is no such device. What a VM cannot (no window, no dirty log) is
//! said, and is no failure.
//!
//! | file | what it is |
//! |---|---|
//! | `device.rs` | the device's calls |
//! | `states.rs` | cold, warm, touched; of the window and of memory |
//! | `dirty.rs` | the dirty log of the window |
//! | `hostile.rs` | arguments that must be refused |

#![no_std]
#![no_main]

mod device;
mod dirty;
mod hostile;
mod states;

use core::cell::Cell;
use core::fmt::Display;

use faultlab_abi::dev::{self, HostInfo};
use faultlab_abi::layout::WINDOW_MAX_BYTES;
use faultlab_programs::print::Bytes;
use faultlab_programs::start::{Args, USAGE};
use faultlab_programs::sys::Errno;
use faultlab_programs::sys::memory::{self, PAGE_BYTES};
use faultlab_programs::{eprintln, parse, println};

use device::Device;

faultlab_programs::program!(main);

/// Pages of the window that are used unless told otherwise.
const DEFAULT_PAGES: usize = 1024;
/// As many as the largest window has.
const MAX_PAGES: u64 = WINDOW_MAX_BYTES / PAGE_BYTES as u64;

/// The device, and how the checks went.
pub(crate) struct Lab {
    pub(crate) device: Device,
    pub(crate) info: HostInfo,
    pages_max: usize,
    /// The host backed all memory before the guest ran.
    pub(crate) populated: bool,
    failed: Cell<u32>,
}

/// A part of the window, mapped.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) start: *mut u8,
    pub(crate) bytes: usize,
}

fn main(args: Args) -> i32 {
    let mut words = args.iter();
    let pages_max = match words.next() {
        None => Some(DEFAULT_PAGES),
        Some(text) => parse::number(text)
            .filter(|pages| (1..=MAX_PAGES).contains(pages))
            .map(|pages| pages as usize),
    };
    let Some(pages_max) = pages_max else {
        eprintln!("lab-check: give a number of pages from 1 to {MAX_PAGES}");
        return USAGE;
    };
    let device = match Device::open() {
        Ok(device) => device,
        Err(errno) => {
            eprintln!("lab-check: {}: {errno}", Bytes(dev::PATH.as_bytes()));
            return 2;
        }
    };
    let info = match device.info() {
        Ok(info) => info,
        Err(errno) => {
            eprintln!("lab-check: HOST_INFO: {errno}");
            return 1;
        }
    };
    let lab = Lab {
        device,
        info,
        pages_max,
        populated: words.next() == Some(b"populated"),
        failed: Cell::new(0),
    };
    lab.run();
    match lab.failed.get() {
        0 => {
            println!("lab-check: ok");
            0
        }
        failed => {
            eprintln!("lab-check: {failed} checks failed");
            1
        }
    }
}

impl Lab {
    fn run(&self) {
        let name = self.info.backing.split(|byte| *byte == 0).next().unwrap_or_default();
        println!(
            "host: backing {}, granule {}, window {}, flags {:#x}",
            Bytes(name),
            self.info.granule_bytes,
            self.info.window_bytes,
            self.info.flags
        );
        states::of_memory(self);
        match self.map_window() {
            Some(window) => {
                states::of_window(self, window);
                if self.has(dev::host_flag::DIRTY_LOG) {
                    dirty::check(self, window);
                } else {
                    println!("dirty log: none");
                }
                hostile::of_window(self, window);
            }
            None => println!("window: none"),
        }
        states::exits(self);
        hostile::of_all(self);
    }

    /// Maps the window, or as much of it as is used.
    fn map_window(&self) -> Option<Window> {
        let granule = self.info.granule_bytes as usize;
        let bytes = (self.info.window_bytes as usize).min((self.pages_max * PAGE_BYTES).next_multiple_of(granule));
        if bytes == 0 {
            return None;
        }
        match memory::map_device(self.device.descriptor, dev::WINDOW_OFFSET, bytes) {
            Ok(start) => Some(Window { start, bytes }),
            Err(errno) => {
                self.expect("window: mmap", errno, "an address", false);
                None
            }
        }
    }

    pub(crate) fn has(&self, flag: u64) -> bool {
        self.info.flags & flag != 0
    }

    /// One check's line.
    pub(crate) fn expect(&self, what: &str, found: impl Display, expected: impl Display, good: bool) {
        if good {
            println!("{what}: {found}");
        } else {
            self.failed.set(self.failed.get() + 1);
            println!("{what}: {found}, not {expected}: FAILED");
        }
    }

    /// A call that must do this.
    pub(crate) fn expect_count(&self, what: &str, result: Result<u64, Errno>, expected: usize) {
        match result {
            Ok(found) => self.expect(what, found, expected, found == expected as u64),
            Err(errno) => self.expect(what, errno, expected, false),
        }
    }

    /// A call that must work.
    pub(crate) fn expect_ok(&self, what: &str, result: Result<(), Errno>) {
        match result {
            Ok(()) => {}
            Err(errno) => self.expect(what, errno, "done", false),
        }
    }

    /// A call that must be refused so.
    pub(crate) fn expect_errno<T>(&self, what: &str, result: Result<T, Errno>, expected: Errno) {
        match result {
            Ok(_) => self.expect(what, "done", expected, false),
            Err(errno) => self.expect(what, errno, expected, errno == expected),
        }
    }
}
