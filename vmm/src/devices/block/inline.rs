//! Requests served in order in the vCPU's thread: all that is available when the doorbell rings is answered before its
//! exit returns, so the guest's time for a swap fault contains the whole of its I/O and nothing else.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use virtio_queue::{Queue, QueueOwnedT, QueueT};

use super::backend::Backend;
use super::chain::Request;
use super::disk::Disk;
use super::faults::{Course, Fate};
use super::job::{Failure, Job};
use super::run::{Run, Served};
use super::used_ring;
use crate::devices::virtio_mmio::Notices;
use crate::memory::GuestRam;
use crate::timeline::clock::host_tsc;
use crate::timeline::log::{BlockSpan, SharedLog};
use crate::vcpu::kick::StopHandle;

/// The part of a delay that is spent awake, because a sleep ends up to a timer slack and a wake-up late.
pub(super) const AWAKE: Duration = Duration::from_micros(100);

/// The disk and who serves it.
pub(super) struct Inline {
    pub(super) server: Server,
    queue: Option<(Queue, Arc<Notices>)>,
}

/// All but the queue.
pub(super) struct Server {
    pub(super) disk: Disk,
    pub(super) backend: Box<dyn Backend>,
    run: Run,
    /// Says when nobody needs a late answer any more.
    pub(super) stop: StopHandle,
    /// Where served requests are noted, if they are.
    pub(super) spans: Option<SharedLog>,
}

impl Inline {
    /// Before the driver started it.
    pub(super) fn new(disk: Disk, backend: Box<dyn Backend>) -> Inline {
        Inline {
            server: Server {
                disk,
                backend,
                run: Run::default(),
                stop: StopHandle::default(),
                spans: None,
            },
            queue: None,
        }
    }

    pub(super) fn start(&mut self, queue: Queue, notices: &Arc<Notices>) {
        self.queue = Some((queue, Arc::clone(notices)));
    }

    pub(super) fn stop(&mut self) {
        self.queue = None;
        // Of rings that broke, requests may be left.
        self.server.run = Run::default();
    }

    pub(super) fn notify(&mut self, ram: &GuestRam) {
        let Some((queue, notices)) = &mut self.queue else {
            return;
        };
        let used_before = queue.next_used();
        let served = self.server.serve_queue(queue, ram);
        if used_ring::wants_interrupt(queue, ram, used_before).unwrap_or(true) {
            notices.used();
        }
        if let Err(error) = served {
            log::warn!("virtio queue is broken, the device needs a reset: {error}");
            notices.broken();
        }
    }
}

impl Server {
    /// At most one queue length of chains, so that a guest that lets the disk overwrite the ring itself cannot keep the
    /// VMM here. The vCPU that could add more in good faith waits for this to return.
    fn serve_queue(&mut self, queue: &mut Queue, ram: &GuestRam) -> Result<(), virtio_queue::Error> {
        if self.disk.is_faulty() || self.spans.is_some() {
            self.serve_each(queue, ram)?;
        } else {
            let served = Served {
                disk: &mut self.disk,
                backend: &mut *self.backend,
                ram,
            };
            self.run.serve_queue(queue, served, |_| {})?;
        }
        if queue.event_idx_enabled() {
            queue.enable_notification(ram.memory())?;
        }
        Ok(())
    }

    /// One after the other, because something may happen to each, or is noted of each.
    #[cold]
    fn serve_each(&mut self, queue: &mut Queue, ram: &GuestRam) -> Result<(), virtio_queue::Error> {
        for _ in 0..queue.size() {
            if self.disk.unanswered.is_some() {
                break;
            }
            let Some(chain) = queue.iter(ram.memory())?.next() else {
                break;
            };
            let head = chain.head_index();
            if head >= queue.size() {
                return Err(virtio_queue::Error::InvalidDescriptorIndex);
            }
            self.disk.counters.requests += 1;
            let written = match Request::parse(chain, ram) {
                Ok(request) => match self.serve_or_note(&request, ram) {
                    Some(written) => written,
                    None => {
                        self.disk.leave_unanswered(&request);
                        break;
                    }
                },
                Err(error) => {
                    self.disk.refuse(head, error);
                    0
                }
            };
            used_ring::add(queue, ram, head, written)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn serve_or_note(&mut self, request: &Request, ram: &GuestRam) -> Option<u32> {
        if self.spans.is_some() {
            return self.serve_noted(request, ram);
        }
        self.serve(request, ram, |_| {})
    }

    /// Serves one chain, and notes when for the timeline.
    #[cold]
    #[inline(never)]
    fn serve_noted(&mut self, request: &Request, ram: &GuestRam) -> Option<u32> {
        let mut span = BlockSpan {
            start: host_tsc(),
            ..request.span()
        };
        let written = self.serve(request, ram, |step| match step {
            Step::Submit => span.submitted = host_tsc(),
            Step::Completed => span.completed = host_tsc(),
        });
        span.end = host_tsc();
        if let Some(spans) = &self.spans {
            spans.push(span);
        }
        written
    }

    /// Serves one chain. Returns how many bytes of it were written, for the used ring; `None` if it stays unanswered.
    #[inline(always)]
    fn serve(&mut self, request: &Request, ram: &GuestRam, mut at: impl FnMut(Step)) -> Option<u32> {
        let result = match self.disk.job(request, ram) {
            Ok(job) => {
                at(Step::Submit);
                let result = if self.disk.is_faulty() {
                    self.perform_faulty(&job, request, ram)?
                } else {
                    job.perform(request, &mut *self.backend, self.disk.must_settle(), ram)
                };
                at(Step::Completed);
                if result.is_ok() {
                    self.disk.count(&job, request);
                }
                result
            }
            Err(failure) => Err(failure),
        };
        Some(self.disk.answer(request, result, ram))
    }

    /// `None`: it is never answered.
    #[cold]
    fn perform_faulty(&mut self, job: &Job, request: &Request, ram: &GuestRam) -> Option<Result<u32, Failure>> {
        let Fate { delay, course } = self.disk.fate(job, request);
        if matches!(course, Course::Unanswered) {
            return None;
        }
        if !delay.is_zero() {
            wait(delay, &self.stop);
        }
        Some(job.perform_on(course, request, &mut *self.backend, self.disk.must_settle(), ram))
    }
}

/// Where a request is.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It goes to the backend.
    Submit,
    /// It comes back.
    Completed,
}

/// Waits so long, or until the run is over: what stops it also ends the sleep.
fn wait(delay: Duration, stop: &StopHandle) {
    let end = Instant::now() + delay;
    loop {
        let left = end.saturating_duration_since(Instant::now()).saturating_sub(AWAKE);
        if left.is_zero() || stop.is_over() {
            break;
        }
        thread::park_timeout(left);
    }
    while Instant::now() < end && !stop.is_over() {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_delay_ends_with_the_run() {
        let stop = StopHandle::default();
        stop.end_at(Instant::now());
        wait(Duration::from_secs(3600), &stop);
        let stop = StopHandle::default();
        let (waiter, theirs) = (thread::current(), stop.clone());
        let stopping = thread::spawn(move || {
            theirs.stop(15);
            // As a kick does.
            waiter.unpark();
        });
        wait(Duration::from_secs(3600), &stop);
        stopping.join().unwrap();
        let since = Instant::now();
        wait(Duration::from_millis(2), &StopHandle::default());
        assert!(since.elapsed() >= Duration::from_millis(2));
    }
}
