//! Memory whose faults threads of the VMM serve through userfaultfd, after a delay if one is asked for.
//!
//! | mode | memory | a cold page | is served by |
//! |---|---|---|---|
//! | missing | private anonymous | is not there | `UFFDIO_COPY` of zeroes, or `UFFDIO_ZEROPAGE` (a store then copies the zero page) |
//! | minor | a memfd | is in the page cache, but not mapped | `UFFDIO_CONTINUE` |
//!
//! In minor mode a page that was never there is served like a missing one.
//!
//! # Invariants
//! The threads end before the area does: [`Served`] joins them when it is dropped, and is dropped first. While they live every fault in the
//! area, of the guest or of the VMM itself, is answered; they touch no guest memory themselves.
//!
//! Source: userfaultfd(2), ioctl_userfaultfd(2); Linux, Documentation/admin-guide/mm/userfaultfd.rst.

mod descriptor;
mod server;

use std::io;
use std::ops::Range;
use std::time::Duration;

use faultlab_abi::layout::PAGE_SIZE;
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate};
use rustix::mm::{Advice, MapFlags};

use self::descriptor::{Descriptor, Mode};
use self::server::Server;
use super::area::Area;
use super::backing::{Backed, Store, Unavailable};
use super::shmem::Memfd;
use super::{anon, huge};

/// How userfaultfd is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UffdOptions {
    /// Threads that serve each area; 1 to 64.
    pub threads: usize,
    /// How long each waits before it answers a fault.
    pub delay: Duration,
    /// What a missing page becomes.
    pub fill: Fill,
}

impl Default for UffdOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            delay: Duration::ZERO,
            fill: Fill::Copy,
        }
    }
}

/// What a missing page becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// A page of its own, copied from one of zeroes (`UFFDIO_COPY`).
    #[default]
    Copy,
    /// The kernel's zero page (`UFFDIO_ZEROPAGE`).
    ZeroPage,
}

/// What is behind the area.
#[derive(Debug)]
enum Memory {
    Anonymous,
    Shared(Memfd),
}

/// See the module.
#[derive(Debug)]
struct Served {
    server: Server,
    memory: Memory,
}

/// Maps `bytes` of anonymous memory, served when missing.
pub(super) fn map_missing(bytes: u64, options: &UffdOptions) -> Result<Backed, Unavailable> {
    let descriptor = Descriptor::open(Mode::Missing)?;
    let area = anon::area(bytes)?;
    serve(area, descriptor, Memory::Anonymous, options)
}

/// Maps `bytes` of a memfd, served when not mapped.
pub(super) fn map_minor(bytes: u64, options: &UffdOptions) -> Result<Backed, Unavailable> {
    let descriptor = Descriptor::open(Mode::Minor)?;
    let (area, memfd) = Memfd::map(bytes, PAGE_SIZE, MemfdFlags::empty(), MapFlags::NORESERVE)?;
    huge::forbid(&area);
    serve(area, descriptor, Memory::Shared(memfd), options)
}

fn serve(area: Area, descriptor: Descriptor, memory: Memory, options: &UffdOptions) -> Result<Backed, Unavailable> {
    descriptor.register(&area)?;
    let server = Server::start(descriptor, *options)?;
    let served = Served { server, memory };
    Ok(Backed::new(area, served))
}

impl Store for Served {
    fn make_cold(&self, area: &Area, range: &Range<u64>) -> io::Result<()> {
        if let Memory::Shared(memfd) = &self.memory {
            // In the page cache, whatever was there before; then out of the page table.
            fallocate(
                &memfd.file,
                FallocateFlags::KEEP_SIZE,
                range.start,
                range.end - range.start,
            )?;
        }
        area.advise(range, Advice::LinuxDontNeed)
    }

    fn served(&self) -> u64 {
        self.server.served()
    }
}
