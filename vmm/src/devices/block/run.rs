//! Requests of one direction whose places on the disk follow each other, carried out as one transfer: what a block layer
//! merges. A reader or writer of pages in order then costs a system call a run, not a page.
//!
//! Only where nothing happens to requests on purpose and nobody notes when each was where: then every request must be seen alone.
//! When a transfer fails, each of its requests is carried out alone, so that an error reaches whom it concerns.

use virtio_queue::{Error, Queue, QueueOwnedT, QueueT};

use super::backend::Backend;
use super::chain::Request;
use super::disk::Disk;
use super::job::{Failure, Job};
use super::used_ring;
use crate::memory::GuestRam;

/// Pieces of guest memory in one transfer at most, as many as Linux takes in one call (`UIO_MAXIOV` is 1,024).
const SEGMENTS_MAX: usize = 512;

/// A request, and the head of its chain.
type Member = (u16, Request);

/// Requests that wait to be carried out together.
#[derive(Default)]
pub(super) struct Run {
    /// The first, and what it asks for.
    first: Option<(u16, Job, Request)>,
    /// Those behind it.
    more: Vec<Member>,
    /// Where on the disk the next one has to begin.
    end: u64,
    /// Pieces of guest memory of all.
    segments: usize,
    /// Chains to be given back, and how many of their bytes were written.
    done: Vec<(u16, u32)>,
}

/// Whom requests are served for, and by what.
pub(super) struct Served<'a> {
    pub(super) disk: &'a mut Disk,
    pub(super) backend: &'a mut dyn Backend,
    pub(super) ram: &'a GuestRam,
}

impl Run {
    /// Serves all that is available, at most one queue length. `tell` is called before requests are given back. Returns whether there
    /// were any.
    ///
    /// # Errors
    /// The rings are broken.
    #[inline(always)]
    pub(super) fn serve_queue(
        &mut self,
        queue: &mut Queue,
        mut served: Served<'_>,
        tell: impl Fn(&Served<'_>),
    ) -> Result<bool, Error> {
        let mut taken = 0;
        while taken < queue.size() {
            let Some(chain) = queue.iter(served.ram.memory())?.next() else {
                break;
            };
            let head = chain.head_index();
            if head >= queue.size() {
                return Err(Error::InvalidDescriptorIndex);
            }
            taken += 1;
            served.disk.counters.requests += 1;
            let request = match Request::parse(chain, served.ram) {
                Ok(request) => request,
                Err(error) => {
                    served.disk.refuse(head, error);
                    self.done.push((head, 0));
                    continue;
                }
            };
            if self.goes_on_with(&request, &served) {
                self.end += request.data_bytes();
                self.segments += pieces(&request);
                self.more.push((head, request));
                continue;
            }
            self.give_back(queue, &mut served, &tell)?;
            match served.disk.job(&request, served.ram) {
                Ok(job) => {
                    self.end = request.offset().wrapping_add(request.data_bytes());
                    self.segments = pieces(&request);
                    self.first = Some((head, job, request));
                }
                Err(failure) => {
                    let written = served.disk.answer(&request, Err(failure), served.ram);
                    self.done.push((head, written));
                }
            }
        }
        self.give_back(queue, &mut served, &tell)?;
        Ok(taken > 0)
    }

    /// Whether a request continues the transfer of those that wait.
    #[inline(always)]
    fn goes_on_with(&self, request: &Request, served: &Served<'_>) -> bool {
        let Some((_, Job::Read | Job::Write, first)) = &self.first else {
            return false;
        };
        request.kind == first.kind
            && request.offset() == self.end
            && self.segments + pieces(request) <= SEGMENTS_MAX
            && served.disk.job(request, served.ram).is_ok()
    }

    /// Carries out those that wait, and gives back all that is done.
    #[inline(always)]
    fn give_back(
        &mut self,
        queue: &mut Queue,
        served: &mut Served<'_>,
        tell: &impl Fn(&Served<'_>),
    ) -> Result<(), Error> {
        if let Some((head, job, request)) = self.first.take() {
            if self.more.is_empty() {
                let result = perform(&job, &request, served);
                self.end(head, &job, &request, result, served);
            } else {
                self.carry_out_together((head, request), &job, served);
            }
        }
        if self.done.is_empty() {
            return Ok(());
        }
        tell(served);
        let added = used_ring::add_all(queue, served.ram, &self.done);
        self.done.clear();
        added
    }

    #[inline(never)]
    fn carry_out_together(&mut self, first: Member, job: &Job, served: &mut Served<'_>) {
        let mut more = std::mem::take(&mut self.more);
        let mut all = Request {
            kind: first.1.kind,
            sector: first.1.sector,
            ..Request::default()
        };
        for (_, request) in [&first].into_iter().chain(&more) {
            all.readable.extend_from_slice(&request.readable);
            all.writable.extend_from_slice(&request.writable);
        }
        let together = perform(job, &all, served).is_ok();
        for (head, request) in [first].into_iter().chain(more.drain(..)) {
            let result = match job {
                _ if !together => perform(job, &request, served),
                Job::Read => Ok(request.data_bytes() as u32),
                _ => Ok(0),
            };
            self.end(head, job, &request, result, served);
        }
        // Its memory is for the next run.
        self.more = more;
    }

    #[inline(always)]
    fn end(&mut self, head: u16, job: &Job, request: &Request, result: Result<u32, Failure>, served: &mut Served<'_>) {
        if result.is_ok() {
            served.disk.count(job, request);
        }
        let written = served.disk.answer(request, result, served.ram);
        self.done.push((head, written));
    }
}

fn pieces(request: &Request) -> usize {
    request.readable.len() + request.writable.len()
}

#[inline(always)]
fn perform(job: &Job, request: &Request, served: &mut Served<'_>) -> Result<u32, Failure> {
    job.perform(request, served.backend, served.disk.must_settle(), served.ram)
}
