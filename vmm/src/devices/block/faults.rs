//! What is made to go wrong with requests; which faults, and how often, is in [`crate::swap_faults`].
//!
//! The fate of a request is drawn when it is taken, in the order of the queue, so a seed names the same faults however
//! requests are served. The first page of the disk, its header, is spared: a guest that cannot read it has no swap to test.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use faultlab_abi::layout::PAGE_SIZE;

use super::SECTOR_BYTES;
use super::chain::{Request, Segment};
use super::job::Job;
use crate::swap_faults::{Latency, SwapFaults};

/// What went wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Requests that were delayed.
    pub delays: u64,
    /// The sum of these delays, in nanoseconds.
    pub delay_ns: u64,
    /// Reads that were failed.
    pub read_errors: u64,
    /// Writes that were failed, with nothing written.
    pub write_errors: u64,
    /// Writes that were failed after half of them was written.
    pub torn_writes: u64,
    /// Writes of which half was dropped, and which were reported as done.
    pub lost_writes: u64,
    /// Writes that were failed for want of space.
    pub no_space: u64,
    /// Requests that are not answered: 1 at most, since it is the last.
    pub unanswered: u64,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) struct Fate {
    /// How much later than it could be it is served.
    pub(super) delay: Duration,
    pub(super) course: Course,
}

/// How a request ends.
#[derive(Debug)]
pub(super) enum Course {
    /// As it should.
    Proper,
    /// With this error, and nothing moved.
    Failed(io::Error),
    /// A write of which half is written; whether it is reported as done.
    Half {
        /// It is.
        claimed: bool,
    },
    /// Never.
    Unanswered,
}

impl Fate {
    /// That of a request that nothing happens to.
    pub(super) const PROPER: Fate = Fate {
        delay: Duration::ZERO,
        course: Course::Proper,
    };
}

/// Draws fates.
pub(super) struct Injector {
    faults: SwapFaults,
    chance: fastrand::Rng,
    /// Reads and writes so far.
    requests: u64,
    /// Pages that take up space, if it is limited.
    pages: HashSet<u64>,
    injected: Injected,
}

impl Injector {
    /// One that draws `faults`.
    pub(super) fn new(faults: SwapFaults) -> Injector {
        Injector {
            chance: fastrand::Rng::with_seed(faults.errors.seed),
            faults,
            requests: 0,
            pages: HashSet::new(),
            injected: Injected::default(),
        }
    }

    /// What was drawn so far.
    pub(super) fn injected(&self) -> Injected {
        self.injected
    }

    /// The fate of the next request.
    pub(super) fn draw(&mut self, job: &Job, request: &Request) -> Fate {
        let is_write = match job {
            Job::Read => false,
            Job::Write => true,
            Job::Zero { .. } | Job::Flush | Job::Identity => {
                self.give_back(job);
                return Fate::PROPER;
            }
        };
        if request.offset() < PAGE_SIZE {
            return Fate::PROPER;
        }
        if self.faults.stall_after.is_some_and(|limit| self.requests >= limit) {
            self.injected.unanswered += 1;
            return Fate {
                course: Course::Unanswered,
                ..Fate::PROPER
            };
        }
        let delay = self.delay();
        self.requests += 1;
        if !delay.is_zero() {
            self.injected.delays += 1;
            self.injected.delay_ns += delay.as_nanos() as u64;
        }
        let course = if is_write {
            self.course_of_write(request)
        } else {
            self.course_of_read()
        };
        Fate { delay, course }
    }

    fn course_of_read(&mut self) -> Course {
        if self.happens(self.faults.errors.read) {
            self.injected.read_errors += 1;
            return Course::Failed(failed());
        }
        Course::Proper
    }

    fn course_of_write(&mut self, request: &Request) -> Course {
        if self.happens(self.faults.errors.write) {
            self.injected.write_errors += 1;
            return Course::Failed(failed());
        }
        if !self.has_space(request.offset(), request.data_bytes()) {
            self.injected.no_space += 1;
            return Course::Failed(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        if self.happens(self.faults.errors.torn) {
            self.injected.torn_writes += 1;
            return Course::Half { claimed: false };
        }
        if self.happens(self.faults.errors.lost) {
            self.injected.lost_writes += 1;
            return Course::Half { claimed: true };
        }
        Course::Proper
    }

    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.chance.f64() < probability
    }

    fn delay(&mut self) -> Duration {
        match &self.faults.latency {
            Latency::None => Duration::ZERO,
            Latency::Fixed(delay) => *delay,
            Latency::Normal { mean, deviation } => {
                // The Box-Muller transform; the first number is not 0, whose logarithm is not finite.
                let radius = (-2.0 * (1.0 - self.chance.f64()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * self.chance.f64()).cos();
                let seconds = mean.as_secs_f64() + normal * deviation.as_secs_f64();
                Duration::from_secs_f64(seconds.max(0.0))
            }
            Latency::Trace(delays) => delays[(self.requests % delays.len() as u64) as usize],
        }
    }

    /// Whether all pages of the range have space, or get it.
    fn has_space(&mut self, offset: u64, bytes: u64) -> bool {
        let Some(limit) = self.faults.space_bytes else {
            return true;
        };
        let pages = offset / PAGE_SIZE..(offset + bytes).div_ceil(PAGE_SIZE);
        let new = pages.clone().filter(|page| !self.pages.contains(page)).count();
        if (self.pages.len() + new) as u64 * PAGE_SIZE > limit {
            return false;
        }
        self.pages.extend(pages);
        true
    }

    /// Whole pages that are unmapped take up no space any more.
    fn give_back(&mut self, job: &Job) {
        let Job::Zero { ranges, discard } = job else { return };
        for range in ranges.iter().filter(|range| *discard || range.unmap()) {
            let (offset, bytes) = range.span();
            let whole = offset.div_ceil(PAGE_SIZE)..(offset + bytes) / PAGE_SIZE;
            self.pages.retain(|page| !whole.contains(page));
        }
    }
}

/// The error of a disk that failed on purpose.
pub(super) fn failed() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn bytes_of(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

/// The first half of `segments`, in whole sectors.
pub(super) fn half(segments: &[Segment]) -> Vec<Segment> {
    let mut rest = bytes_of(segments) / 2 / SECTOR_BYTES * SECTOR_BYTES;
    let mut kept = Vec::new();
    for segment in segments {
        let len = rest.min(u64::from(segment.len)) as u32;
        if len == 0 {
            break;
        }
        kept.push(Segment { len, ..*segment });
        rest -= u64::from(len);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_write_is_whole_sectors() {
        let segment = |address, len| Segment { address, len };
        let two = [segment(0x1000, 4096), segment(0x9000, 4096)];
        assert_eq!(half(&two), [segment(0x1000, 4096)]);
        assert_eq!(half(&[segment(0x1000, 1536)]), [segment(0x1000, 512)]);
        assert_eq!(half(&[segment(0x1000, 512)]), []);
    }
}
