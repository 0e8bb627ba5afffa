//! The threads that answer faults. They end when the [`Server`] is dropped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::UffdOptions;
use super::descriptor::{Descriptor, Fault};

/// A sleep may end so much late; the rest of a delay is spent polling the clock.
const SLEEP_SLACK: Duration = Duration::from_micros(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    descriptor: Descriptor,
    /// Readable once the threads are to end.
    stop: std::os::fd::OwnedFd,
    options: UffdOptions,
    /// Faults answered, or about to be.
    served: AtomicU64,
    /// Whether an answer failed, and the kernel serves from now on.
    failed: AtomicBool,
}

impl Server {
    /// Starts the threads.
    pub(super) fn start(descriptor: Descriptor, options: UffdOptions) -> io::Result<Server> {
        let shared = Arc::new(Shared {
            descriptor,
            stop: eventfd(0, EventfdFlags::CLOEXEC)?,
            options,
            served: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        });
        let mut server = Server {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
        };
        for index in 0..options.threads.max(1) {
            let shared = Arc::clone(&shared);
            // Should one not start, the others end with `server`.
            let thread = thread::Builder::new().name(format!("uffd-{index}"));
            server.threads.push(thread.spawn(move || shared.serve())?);
        }
        Ok(server)
    }

    /// Faults answered so far; whoever waited for an answer sees its own counted.
    pub(super) fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Never read, so it stays readable for every thread.
        let _ = rustix::io::write(&self.shared.stop, &1_u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self) {
        loop {
            let mut events = [
                PollFd::new(&self.descriptor, PollFlags::IN),
                PollFd::new(&self.stop, PollFlags::IN),
            ];
            match poll(&mut events, None) {
                Ok(_) if !events[1].revents().is_empty() => return,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return self.give_up(None, &error.into()),
            }
            match self.descriptor.read() {
                Ok(Some(fault)) => {
                    // Before the answer: the kernel orders what happens before it and what the waiter does next.
                    self.served.fetch_add(1, Ordering::Relaxed);
                    wait(self.options.delay);
                    match self.descriptor.answer(fault, self.options.fill) {
                        Ok(true) => {}
                        // Told once more, and counted the first time.
                        Ok(false) => drop(self.served.fetch_sub(1, Ordering::Relaxed)),
                        Err(error) => self.give_up(Some(fault), &error),
                    }
                }
                Ok(None) => {}
                Err(error) => return self.give_up(None, &error),
            }
        }
    }

    /// Whoever waits must not wait for ever.
    fn give_up(&self, fault: Option<Fault>, error: &io::Error) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            log::error!("userfaultfd: cannot answer {fault:x?}: {error}; the kernel serves what follows");
        }
        if let Some(Fault { page, .. }) = fault {
            let _ = self.descriptor.unregister(page, faultlab_abi::layout::PAGE_SIZE);
        }
    }
}

/// Sleeps, then polls the clock: a timer alone is late by more than a fault takes.
fn wait(delay: Duration) {
    if delay.is_zero() {
        return;
    }
    let end = Instant::now() + delay;
    if let Some(sleep) = delay.checked_sub(SLEEP_SLACK) {
        thread::sleep(sleep);
    }
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
