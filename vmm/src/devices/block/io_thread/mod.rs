//! Requests served by a thread of their own, several at a time and answered in any order. The vCPU goes on meanwhile; the
//! driver finds the answers in the used ring.
//!
//! | module | what is in it |
//! |---|---|
//! | `serving` | the thread's loop: take, begin, reap, answer, sleep |
//! | `flights` | requests that were taken and not answered yet |
//! | `engine` | who moves the bytes |
//! | this one | the thread, started and stopped |
//!
//! The thread lives from the driver's start of the device to its reset: it ends with every request that the backend has
//! answered, late ones that were not begun forgotten, and never touches guest memory again. So does the end of a run. A
//! process that is killed takes the thread along, and the kernel ends its transfers.
//!
//! Locks: `Shared::seen`, held to copy what others see.

mod engine;
mod flights;
mod serving;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use virtio_queue::Queue;

pub(super) use self::engine::Engine;
use self::serving::Serving;
use super::backend::FileAccount;
use super::counters::BlockCounters;
use super::disk::Disk;
use super::doorbell::{Doorbell, Ear};
use super::unanswered::Unanswered;
use crate::devices::virtio_mmio::Notices;
use crate::memory::GuestRam;
use crate::timeline::log::SharedLog;

/// Bytes of the thread's stack: it calls little, and nothing that recurses.
const STACK_BYTES: usize = 256 << 10;

/// The device's side.
pub(super) struct IoThread {
    /// `None` while the thread has it, and after the thread failed.
    idle: Option<Box<Server>>,
    running: Option<JoinHandle<Box<Server>>>,
    doorbell: Doorbell,
    shared: Arc<Shared>,
}

/// What the thread needs, whoever has it.
struct Server {
    disk: Disk,
    engine: Engine,
    ram: Arc<GuestRam>,
    /// Where served requests are noted, if they are.
    spans: Option<SharedLog>,
    ear: Ear,
    /// How the guest is interrupted, if it can be.
    raise: Option<Box<dyn Fn() + Send>>,
    shared: Arc<Shared>,
}

/// What both sides know.
#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    seen: Mutex<Seen>,
}

/// What others see of the thread: as of its last answer.
#[derive(Clone, Copy, Default)]
struct Seen {
    counters: BlockCounters,
    unanswered: Option<Unanswered>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets others see how things are.
    fn publish(&self, disk: &Disk, file: Option<FileAccount>) {
        *self.lock() = Seen {
            counters: BlockCounters {
                file,
                ..disk.counters()
            },
            unanswered: disk.unanswered,
        };
    }
}

impl Server {
    /// Lets others see how things are.
    fn publish(&self) {
        self.shared.publish(&self.disk, self.engine.account());
    }
}

impl IoThread {
    /// No thread yet: one is made when the driver starts the device.
    pub(super) fn new(disk: Disk, engine: Engine, ram: Arc<GuestRam>, doorbell: Doorbell) -> IoThread {
        let shared = Arc::new(Shared::default());
        let server = Server {
            disk,
            engine,
            ram,
            spans: None,
            ear: doorbell.ear(),
            raise: None,
            shared: Arc::clone(&shared),
        };
        server.publish();
        IoThread {
            idle: Some(Box::new(server)),
            running: None,
            doorbell,
            shared,
        }
    }

    pub(super) fn note_requests(&mut self, log: SharedLog) {
        if let Some(server) = &mut self.idle {
            server.spans = Some(log);
        }
    }

    pub(super) fn interrupt_through(&mut self, raise: Box<dyn Fn() + Send>) {
        if let Some(server) = &mut self.idle {
            server.raise = Some(raise);
        }
    }

    pub(super) fn counters(&self) -> BlockCounters {
        self.shared.lock().counters
    }

    pub(super) fn unanswered(&self) -> Option<Unanswered> {
        self.shared.lock().unanswered
    }

    /// The disk, while the thread does not have it.
    pub(super) fn disk(&mut self) -> Option<&mut Disk> {
        self.idle.as_mut().map(|server| &mut server.disk)
    }

    /// Everything that the driver told is forgotten. The thread was stopped before.
    pub(super) fn reset(&mut self) {
        if let Some(server) = &mut self.idle {
            server.disk.reset();
            server.publish();
        }
    }

    pub(super) fn start(&mut self, queue: Queue, notices: &Arc<Notices>) {
        let Some(server) = self.idle.take() else {
            notices.broken();
            return;
        };
        self.shared.stopping.store(false, Ordering::SeqCst);
        self.doorbell.tie();
        let theirs = Arc::clone(notices);
        let spawned = thread::Builder::new()
            .name("swap-io".into())
            .stack_size(STACK_BYTES)
            .spawn(move || Serving::new(server, queue, theirs).run());
        match spawned {
            Ok(thread) => self.running = Some(thread),
            Err(error) => {
                log::error!("cannot start the swap disk's I/O thread: {error}");
                notices.broken();
            }
        }
        // The driver may have made requests available before the device was its: look once.
        self.doorbell.ring();
    }

    pub(super) fn notify(&self) {
        self.doorbell.ring();
    }

    /// Waits for what the backend is busy with.
    pub(super) fn stop(&mut self) {
        self.doorbell.untie();
        let Some(thread) = self.running.take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.doorbell.ring();
        match thread.join() {
            Ok(server) => self.idle = Some(server),
            Err(_) => log::error!("the swap disk's I/O thread failed; the disk is gone"),
        }
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.stop();
    }
}
