//! The I/O thread's loop.
//!
//! While the thread is awake it asks for no doorbells; before it sleeps it asks for the next, and looks once more (VIRTIO
//! 1.2, 2.7.7 and 2.7.10). It falls asleep when it has found nothing to do for a while, at once if there is only one
//! processor, and sleeps until the doorbell rings, a transfer is over, or a late request is due; the end of a delay is spent
//! awake.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use virtio_queue::{Queue, QueueOwnedT, QueueT};

use super::flights::{Flight, Flights};
use super::{Engine, Server};
use crate::devices::block::chain::Request;
use crate::devices::block::faults::{Course, Fate};
use crate::devices::block::inline::AWAKE;
use crate::devices::block::job::Failure;
use crate::devices::block::run::{Run, Served};
use crate::devices::block::used_ring;
use crate::devices::virtio_mmio::Notices;
use crate::timeline::clock::host_tsc;
use crate::timeline::log::BlockSpan;

/// The queue, and who serves it.
pub(super) struct Serving {
    server: Box<Server>,
    queue: Queue,
    notices: Arc<Notices>,
    flights: Flights,
    run: Run,
    /// The vCPU has another processor.
    may_linger: bool,
}

/// How long the thread looks for more before it sleeps: about what falling asleep and waking up take.
const LINGER: Duration = Duration::from_micros(50);

/// The rings are broken.
type Broken = virtio_queue::Error;

impl Serving {
    pub(super) fn new(server: Box<Server>, queue: Queue, notices: Arc<Notices>) -> Serving {
        Serving {
            flights: Flights::new(queue.size()),
            run: Run::default(),
            server,
            queue,
            notices,
            may_linger: thread::available_parallelism().is_ok_and(|processors| processors.get() > 1),
        }
    }

    /// Serves the queue until the driver, or the end of the run, stops it.
    pub(super) fn run(mut self) -> Box<Server> {
        let served = self.serve();
        if let Err(error) = &served {
            log::warn!("virtio queue is broken, the device needs a reset: {error}");
            self.server.publish();
            self.notices.broken();
        }
        self.drain(served.is_ok());
        while !self.is_stopping() {
            self.sleep(None);
        }
        self.server.publish();
        self.server
    }

    fn is_stopping(&self) -> bool {
        self.server.shared.stopping.load(Ordering::SeqCst)
    }

    fn serve(&mut self) -> Result<(), Broken> {
        let mut idle_since = None;
        while !self.is_stopping() {
            let used_before = self.queue.next_used();
            let moved = self.take()? | self.begin_late()?;
            self.server.engine.submit();
            let moved = self.reap()? | moved;
            if used_ring::wants_interrupt(&self.queue, &self.server.ram, used_before)? {
                self.notices.used();
                if let Some(raise) = &self.server.raise {
                    raise();
                }
            }
            if moved {
                idle_since = None;
            } else if !self.linger(&mut idle_since) {
                self.rest()?;
            }
        }
        Ok(())
    }

    /// Takes what is available, at most one queue length. Returns whether there was anything.
    fn take(&mut self) -> Result<bool, Broken> {
        let Server {
            disk,
            engine,
            ram,
            spans,
            shared,
            ..
        } = &mut *self.server;
        if let (Engine::Plain(backend), false, None) = (engine, disk.is_faulty(), spans) {
            let served = Served {
                disk,
                backend: &mut **backend,
                ram,
            };
            return self.run.serve_queue(&mut self.queue, served, |served| {
                shared.publish(served.disk, served.backend.account());
            });
        }
        self.take_each()
    }

    /// The same, each seen alone.
    fn take_each(&mut self) -> Result<bool, Broken> {
        for count in 0..self.queue.size() {
            if !self.may_take() {
                return Ok(count > 0);
            }
            let Some(chain) = self.queue.iter(self.server.ram.memory())?.next() else {
                return Ok(count > 0);
            };
            let head = chain.head_index();
            if head >= self.queue.size() {
                return Err(Broken::InvalidDescriptorIndex);
            }
            self.server.disk.counters.requests += 1;
            match Request::parse(chain, &self.server.ram) {
                Ok(request) => self.admit(head, request)?,
                Err(error) => {
                    self.server.disk.refuse(head, error);
                    self.use_up(head, 0)?;
                }
            }
        }
        Ok(true)
    }

    /// Whether a further request may be taken.
    fn may_take(&self) -> bool {
        self.server.disk.unanswered.is_none() && !self.flights.is_full()
    }

    fn admit(&mut self, head: u16, request: Request) -> Result<(), Broken> {
        let noting = self.server.spans.is_some();
        let start = if noting { host_tsc() } else { 0 };
        let disk = &mut self.server.disk;
        let job = match disk.job(&request, &self.server.ram) {
            Ok(job) => job,
            Err(failure) => {
                let span = BlockSpan {
                    start,
                    ..request.span()
                };
                return self.answer(head, &request, Err(failure), span);
            }
        };
        let Fate { delay, course } = disk.fate(&job, &request);
        if matches!(course, Course::Unanswered) {
            disk.leave_unanswered(&request);
            self.server.publish();
            return Ok(());
        }
        let span = BlockSpan {
            start,
            submitted: if noting { host_tsc() } else { 0 },
            ..request.span()
        };
        let flight = Box::new(Flight {
            head,
            request,
            job,
            course,
            half_claimed: None,
            span,
        });
        let Some(slot) = self.flights.insert(flight) else {
            return Ok(());
        };
        if delay.is_zero() {
            return self.begin(slot);
        }
        self.flights.delay(slot, delay);
        Ok(())
    }

    /// Begins late requests whose time has come. Returns whether there were any.
    fn begin_late(&mut self) -> Result<bool, Broken> {
        let mut any = false;
        while let Some(slot) = self.flights.take_due() {
            self.begin(slot)?;
            any = true;
        }
        Ok(any)
    }

    fn begin(&mut self, slot: u16) -> Result<(), Broken> {
        let server = &mut *self.server;
        let Some(flight) = self.flights.get_mut(slot) else {
            return Ok(());
        };
        let settle = server.disk.must_settle();
        match server.engine.start(slot, flight, settle, &server.ram) {
            Some(result) => self.end(slot, result),
            None => Ok(()),
        }
    }

    /// Answers what is over. Returns whether there was anything.
    fn reap(&mut self) -> Result<bool, Broken> {
        let mut any = false;
        while let Some((slot, moved)) = self.server.engine.reap() {
            let result = self.flights.get_mut(slot).map(|flight| flight.end(moved));
            if let Some(result) = result {
                self.end(slot, result)?;
            }
            any = true;
        }
        Ok(any)
    }

    /// A request is over, and so is its flight.
    fn end(&mut self, slot: u16, result: Result<u32, Failure>) -> Result<(), Broken> {
        let Some(mut flight) = self.flights.remove(slot) else {
            return Ok(());
        };
        if self.server.spans.is_some() {
            flight.span.completed = host_tsc();
        }
        if result.is_ok() {
            self.server.disk.count(&flight.job, &flight.request);
        }
        self.answer(flight.head, &flight.request, result, flight.span)
    }

    fn answer(
        &mut self,
        head: u16,
        request: &Request,
        result: Result<u32, Failure>,
        mut span: BlockSpan,
    ) -> Result<(), Broken> {
        let server = &mut *self.server;
        let written = server.disk.answer(request, result, &server.ram);
        if let Some(spans) = &server.spans {
            span.end = host_tsc();
            spans.push(span);
        }
        self.use_up(head, written)
    }

    /// Gives a chain back to the driver. What others see of the request is complete before the driver sees it.
    fn use_up(&mut self, head: u16, written: u32) -> Result<(), Broken> {
        self.server.publish();
        used_ring::add(&mut self.queue, &self.server.ram, head, written)
    }

    /// Whether to look again at once: shortly after there was something to do, if that takes nobody's processor.
    fn linger(&self, idle_since: &mut Option<Instant>) -> bool {
        let since = *idle_since.get_or_insert_with(Instant::now);
        std::hint::spin_loop();
        self.may_linger && since.elapsed() < LINGER
    }

    /// Sleeps unless there is something to do after all.
    fn rest(&mut self) -> Result<(), Broken> {
        let due = self.flights.next_due();
        if due.is_some_and(|due| due <= Instant::now() + AWAKE) {
            std::hint::spin_loop();
            return Ok(());
        }
        let ram = Arc::clone(&self.server.ram);
        if self.may_take() && self.queue.enable_notification(ram.memory())? {
            return Ok(());
        }
        self.sleep(due);
        self.queue.disable_notification(ram.memory())
    }

    /// Until something happens, or shortly before `due`.
    fn sleep(&self, due: Option<Instant>) {
        let timeout = due.map(|due| {
            let rest = due.saturating_duration_since(Instant::now()).saturating_sub(AWAKE);
            Timespec::try_from(rest).unwrap_or_default()
        });
        let ear = PollFd::from_borrowed_fd(self.server.ear.descriptor(), PollFlags::IN);
        let engine = self.server.engine.descriptor();
        let engine = engine.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        let mut descriptors: Vec<PollFd<'_>> = [Some(ear), engine].into_iter().flatten().collect();
        // Interrupted, it is as if something had happened: the caller looks.
        let _ = poll(&mut descriptors, timeout.as_ref());
        self.server.ear.clear();
    }

    /// Waits for what the backend is busy with, and answers it while the rings are whole; forgets what was not begun.
    fn drain(&mut self, mut whole: bool) {
        while let Some((slot, moved)) = self.server.engine.wait() {
            let result = self.flights.get_mut(slot).map(|flight| flight.end(moved));
            if let (Some(result), true) = (result, whole) {
                whole = self.end(slot, result).is_ok();
            }
        }
    }
}
