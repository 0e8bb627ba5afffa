//! A backend with faults on purpose in front of it; which, and how often, is in [`crate::swap_faults`].
//!
//! The first page of the disk, its header, is spared: a guest that cannot read it has no swap to test.
//!
//! A delay is spent in the thread that serves the request, most of it asleep and the end of it awake, because a sleep
//! ends up to a timer slack and a wake-up late.

use std::collections::HashSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use faultlab_abi::layout::PAGE_SIZE;

use super::{Backend, FileAccount, Trouble};
use crate::devices::block::SECTOR_BYTES;
use crate::devices::block::chain::Segment;
use crate::memory::GuestRam;
use crate::swap_faults::{Latency, SwapFaults};

/// The part of a delay that is spent awake.
const AWAKE: Duration = Duration::from_micros(100);

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

/// A backend that misbehaves as told.
pub(super) struct FaultyBackend {
    inner: Box<dyn Backend>,
    faults: SwapFaults,
    chance: fastrand::Rng,
    /// Reads and writes so far.
    requests: u64,
    /// Pages that take up space, if it is limited.
    pages: HashSet<u64>,
    injected: Injected,
}

impl FaultyBackend {
    pub(super) fn new(inner: Box<dyn Backend>, faults: SwapFaults) -> FaultyBackend {
        FaultyBackend {
            inner,
            chance: fastrand::Rng::with_seed(faults.errors.seed),
            faults,
            requests: 0,
            pages: HashSet::new(),
            injected: Injected::default(),
        }
    }

    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.chance.f64() < probability
    }

    /// What every request meets: a disk that answers late or not at all.
    fn begin(&mut self) -> Result<(), Trouble> {
        if self.faults.stall_after.is_some_and(|limit| self.requests >= limit) {
            self.injected.unanswered += 1;
            return Err(Trouble::NoAnswer);
        }
        let delay = self.delay();
        self.requests += 1;
        if !delay.is_zero() {
            self.injected.delays += 1;
            self.injected.delay_ns += delay.as_nanos() as u64;
            wait(delay);
        }
        Ok(())
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
}

fn bytes_of(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

/// The first half of `segments`, in whole sectors.
fn half(segments: &[Segment]) -> Vec<Segment> {
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

fn wait(delay: Duration) {
    let end = Instant::now() + delay;
    thread::sleep(delay.saturating_sub(AWAKE));
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

fn failed() -> Trouble {
    Trouble::Failed(io::Error::from_raw_os_error(libc::EIO))
}

impl Backend for FaultyBackend {
    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn read(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> Result<(), Trouble> {
        if offset < PAGE_SIZE {
            return self.inner.read(offset, segments, ram);
        }
        self.begin()?;
        if self.happens(self.faults.errors.read) {
            self.injected.read_errors += 1;
            return Err(failed());
        }
        self.inner.read(offset, segments, ram)
    }

    fn write(&mut self, offset: u64, segments: &[Segment], ram: &GuestRam) -> Result<(), Trouble> {
        if offset < PAGE_SIZE {
            return self.inner.write(offset, segments, ram);
        }
        self.begin()?;
        if self.happens(self.faults.errors.write) {
            self.injected.write_errors += 1;
            return Err(failed());
        }
        if !self.has_space(offset, bytes_of(segments)) {
            self.injected.no_space += 1;
            return Err(Trouble::Failed(io::Error::from_raw_os_error(libc::ENOSPC)));
        }
        if self.happens(self.faults.errors.torn) {
            self.injected.torn_writes += 1;
            self.inner.write(offset, &half(segments), ram)?;
            return Err(failed());
        }
        if self.happens(self.faults.errors.lost) {
            self.injected.lost_writes += 1;
            return self.inner.write(offset, &half(segments), ram);
        }
        self.inner.write(offset, segments, ram)
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        self.inner.flush()
    }

    fn zero(&mut self, offset: u64, bytes: u64, unmap: bool) -> Result<(), Trouble> {
        self.inner.zero(offset, bytes, unmap)?;
        if unmap {
            let whole = offset.div_ceil(PAGE_SIZE)..(offset + bytes) / PAGE_SIZE;
            self.pages.retain(|page| !whole.contains(page));
        }
        Ok(())
    }

    fn account(&self) -> Option<FileAccount> {
        self.inner.account()
    }

    fn injected(&self) -> Option<Injected> {
        Some(self.injected)
    }
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
