//! The swap disk: a virtio block device over a [`SwapFile`].
//!
//! | module | what is in it |
//! |---|---|
//! | `chain` | a descriptor chain, checked: header, data segments, status byte |
//! | `ranges` | the body of discard and write-zeroes requests |
//! | `disk` | what requests mean: what is allowed, what is answered |
//! | `job` | a request that is in order, and carrying it out |
//! | `faults` | what is made to go wrong |
//! | [`backend`] | where the bytes are: file, memory, nothing |
//! | `inline` | requests served in the vCPU's thread, in order |
//! | `io_thread` | requests served by a thread of their own, several at a time |
//! | `doorbell` | how a store of the guest reaches that thread |
//! | `run` | requests that follow each other on the disk, as one transfer |
//! | `used_ring` | giving chains back |
//! | `counters`, `unanswered` | what a caller sees |
//! | this one | the device behind the transport |
//!
//! Who serves is a choice ([`SwapIo`]). A request that is never answered on purpose is the last one taken until the device
//! is reset; [`BlockDevice::unanswered`] says what it owes.
//!
//! Source: VIRTIO 1.2, section 5.2 (block device).

pub mod backend;
mod chain;
mod config;
mod counters;
mod disk;
mod doorbell;
mod faults;
mod inline;
mod io_thread;
mod job;
mod ranges;
mod run;
mod unanswered;
mod used_ring;

use std::io;
use std::sync::Arc;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_WRITE_ZEROES,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::Queue;

pub use self::backend::FileAccount;
pub use self::counters::BlockCounters;
use self::disk::Disk;
use self::doorbell::Doorbell;
pub use self::doorbell::Place;
pub use self::faults::Injected;
use self::inline::Inline;
use self::io_thread::{Engine, IoThread};
pub use self::unanswered::Unanswered;
use super::virtio_mmio::{Notices, VirtioDevice};
use crate::memory::GuestRam;
use crate::swap_faults::SwapFaults;
use crate::swap_file::SwapFile;
use crate::swap_io::SwapIo;
use crate::timeline::log::SharedLog;
use crate::vcpu::kick::StopHandle;

/// Bytes of a sector, the unit of positions and capacity.
pub const SECTOR_BYTES: u64 = 512;

/// Largest queue.
const QUEUE_MAX: u16 = 256;

/// The device behind the transport.
pub struct BlockDevice {
    config: [u8; config::BYTES],
    server: Server,
}

/// Who serves requests.
enum Server {
    /// The thread that rings the doorbell.
    Inline(Box<Inline>),
    /// Another.
    Thread(Box<IoThread>),
}

impl BlockDevice {
    /// A disk over `file` on which `faults` happen, served in the thread that rings its doorbell; with `account`, every
    /// transfer is also counted by the host kernel's own books, and fails if those cannot be read.
    #[must_use]
    pub fn new(file: SwapFile, account: bool, faults: &SwapFaults) -> BlockDevice {
        let disk = Disk::new(file.bytes(), faults);
        let config = config::of(file.bytes() / SECTOR_BYTES, QUEUE_MAX);
        let inline = Inline::new(disk, backend::open(file, account));
        BlockDevice {
            config,
            server: Server::Inline(Box::new(inline)),
        }
    }

    /// The same, served as `how` says. A thread serves the queue in `ram`, and hears the doorbell of the device at `place`
    /// directly, if that is given; else, and if KVM cannot do that, they are passed on by [`VirtioDevice::notify`].
    ///
    /// # Errors
    /// The host has no descriptors or memory left for what the thread needs, or no `io_uring`
    /// ([`SwapIo::on_this_host`] tells).
    pub fn served(
        file: SwapFile,
        account: bool,
        faults: &SwapFaults,
        how: SwapIo,
        ram: &Arc<GuestRam>,
        place: Option<Place>,
    ) -> io::Result<BlockDevice> {
        let disk = Disk::new(file.bytes(), faults);
        let config = config::of(file.bytes() / SECTOR_BYTES, QUEUE_MAX);
        let engine = match how {
            SwapIo::Inline => return Ok(BlockDevice::new(file, account, faults)),
            SwapIo::Uring if !file.is_null() => Engine::uring(file, QUEUE_MAX, ram)?,
            SwapIo::Uring | SwapIo::Thread => Engine::Plain(backend::open(file, account)),
        };
        let thread = IoThread::new(disk, engine, Arc::clone(ram), Doorbell::new(place)?);
        Ok(BlockDevice {
            config,
            server: Server::Thread(Box::new(thread)),
        })
    }

    /// Lets a delay end early once the run is over.
    pub(crate) fn stop_with(&mut self, stop: StopHandle) {
        // A thread's delays hold nobody up.
        if let Server::Inline(inline) = &mut self.server {
            inline.server.stop = stop;
        }
    }

    /// Notes every request from now on in `log`.
    pub fn note_requests(&mut self, log: &SharedLog) {
        match &mut self.server {
            Server::Inline(inline) => inline.server.spans = Some(log.clone()),
            Server::Thread(thread) => thread.note_requests(log.clone()),
        }
    }

    /// Lets the thread that serves the disk, if one does, interrupt the guest by `raise` when the driver asks for that. Served
    /// by who rings, the disk is done when its doorbell's store is: who carried that looks at the interrupt status.
    pub fn interrupt_through(&mut self, raise: impl Fn() + Send + 'static) {
        if let Server::Thread(thread) = &mut self.server {
            thread.interrupt_through(Box::new(raise));
        }
    }

    /// What was done so far; the transport adds its own.
    #[must_use]
    pub fn counters(&self) -> BlockCounters {
        match &self.server {
            Server::Inline(inline) => BlockCounters {
                file: inline.server.backend.account(),
                ..inline.server.disk.counters()
            },
            Server::Thread(thread) => thread.counters(),
        }
    }

    /// The request that the driver waits for in vain, if there is one.
    #[must_use]
    pub fn unanswered(&self) -> Option<Unanswered> {
        match &self.server {
            Server::Inline(inline) => inline.server.disk.unanswered,
            Server::Thread(thread) => thread.unanswered(),
        }
    }

    /// The disk, while nobody serves it elsewhere.
    fn disk(&mut self) -> Option<&mut Disk> {
        match &mut self.server {
            Server::Inline(inline) => Some(&mut inline.server.disk),
            Server::Thread(thread) => thread.disk(),
        }
    }
}

impl VirtioDevice for BlockDevice {
    fn id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        const FEATURES: [u32; 6] = [
            VIRTIO_BLK_F_FLUSH,
            VIRTIO_BLK_F_SEG_MAX,
            VIRTIO_BLK_F_BLK_SIZE,
            VIRTIO_BLK_F_DISCARD,
            VIRTIO_BLK_F_WRITE_ZEROES,
            VIRTIO_RING_F_INDIRECT_DESC,
        ];
        // It saves doorbells where the disk works beside the driver; served by who rings, it would only cost both sides an index a request.
        let notices = match &self.server {
            Server::Inline(_) => 0,
            Server::Thread(_) => 1 << VIRTIO_RING_F_EVENT_IDX,
        };
        FEATURES.iter().fold(notices, |bits, feature| bits | 1 << feature)
    }

    fn features_accepted(&mut self, features: u64) {
        if let Some(disk) = self.disk() {
            disk.accepted = features;
        }
    }

    fn queue_max(&self) -> u16 {
        QUEUE_MAX
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn start(&mut self, queue: Queue, notices: &Arc<Notices>) {
        match &mut self.server {
            Server::Inline(inline) => inline.start(queue, notices),
            Server::Thread(thread) => thread.start(queue, notices),
        }
    }

    fn notify(&mut self, ram: &GuestRam) {
        match &mut self.server {
            Server::Inline(inline) => inline.notify(ram),
            Server::Thread(thread) => thread.notify(),
        }
    }

    fn stop(&mut self) {
        match &mut self.server {
            Server::Inline(inline) => inline.stop(),
            Server::Thread(thread) => thread.stop(),
        }
    }

    fn reset(&mut self) {
        match &mut self.server {
            Server::Inline(inline) => inline.server.disk.reset(),
            Server::Thread(thread) => thread.reset(),
        }
    }
}

#[cfg(test)]
mod tests;
