//! Ends a guest that makes no progress, takes too long, or is to be stopped.
//!
//! A thread makes the vCPU return from the guest once a second. The vCPU's own thread then looks: was a stop asked for,
//! is the time up, and did the guest do anything? A guest in ring 0 whose counters did not move while the vCPU's thread had the
//! processor for [`STILL_LIMIT_SECONDS`] is stuck. It is the thread's own time that counts, so that a process which was
//! stopped, or starved on a busy machine, does not blame its guest. Ring 3 may spin as long as it likes: that is a program's right. A guest
//! that is idle does what it wants to; but not while a disk owes it an answer that will not come: then its idle time counts, too.
//!
//! Locks: none; the thread shares two atomics and the kick ([`crate::vcpu::kick`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use faultlab_abi::lab::Hello;
use faultlab_abi::vmstat::Item;
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use crate::devices::bus::Bus;
use crate::memory::GuestRam;
use crate::outcome::{End, WatchdogCause};
use crate::vcpu::Stopped;
use crate::vcpu::kick::{ArmedGuard, StopHandle};

/// Time between two looks.
const TICK: Duration = Duration::from_secs(1);

/// Time of the vCPU's thread without progress after which a guest is stuck, in seconds.
pub const STILL_LIMIT_SECONDS: u32 = 10;

/// The same before the kernel's first command: where ring 0 is emulated, preparing the page array of the largest RAM
/// takes longer than the limit above, and there are no counters yet.
pub const BOOT_LIMIT_SECONDS: u32 = 40;

/// The thread that ticks, until it is dropped.
struct Ticker {
    shared: Arc<TickerShared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct TickerShared {
    ticks: AtomicU32,
    done: AtomicBool,
}

impl Ticker {
    /// Ticks every [`TICK`], and at `deadline`.
    fn start(stop: StopHandle, deadline: Option<Instant>) -> std::io::Result<Ticker> {
        let shared = Arc::new(TickerShared::default());
        let theirs = Arc::clone(&shared);
        // The thread only waits and kicks: a small stack keeps it out of the memory account.
        let thread = thread::Builder::new()
            .name("watchdog".into())
            .stack_size(64 << 10)
            .spawn(move || {
                while !theirs.done.load(Ordering::SeqCst) {
                    wait(&theirs.done, deadline);
                    theirs.ticks.fetch_add(1, Ordering::SeqCst);
                    stop.kick();
                }
            })?;
        Ok(Ticker {
            shared,
            thread: Some(thread),
        })
    }
}

/// Waits for one tick, less if the deadline is nearer; returns early when done.
fn wait(done: &AtomicBool, deadline: Option<Instant>) {
    let tick_end = Instant::now() + TICK;
    // A deadline that has passed was reported already; the next look ends the run.
    let end = deadline
        .filter(|deadline| *deadline > Instant::now())
        .map_or(tick_end, |deadline| deadline.min(tick_end));
    while !done.load(Ordering::SeqCst) {
        let now = Instant::now();
        if now >= end {
            break;
        }
        thread::park_timeout(end - now);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.done.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic; if it did, the run's result is still good.
            let _ = thread.join();
        }
    }
}

/// The vCPU thread's side.
pub(crate) struct Watch {
    armed: ArmedGuard,
    stop: StopHandle,
    ticker: Ticker,
    ticks_seen: u32,
    limit: Option<(Duration, Instant)>,
    progress: Progress,
}

impl Watch {
    /// Starts the watchdog over `vcpu`, which the calling thread is about to run.
    pub(crate) fn start(stop: &StopHandle, vcpu: &mut VcpuFd, timeout: Option<Duration>) -> std::io::Result<Watch> {
        // A limit beyond what the clock can represent is none.
        let limit = timeout.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?)));
        if let Some((_, deadline)) = limit {
            stop.end_at(deadline);
        }
        let ticker = Ticker::start(stop.clone(), limit.map(|(_, deadline)| deadline))?;
        let armed = stop.arm(vcpu);
        let watch = Watch {
            armed,
            stop: stop.clone(),
            ticker,
            ticks_seen: 0,
            limit,
            progress: Progress::default(),
        };
        if watch.stop.stopped().is_some() {
            // Asked before the vCPU was armed: make its first `KVM_RUN` return.
            watch.stop.kick();
        }
        Ok(watch)
    }

    /// Called when `KVM_RUN` was interrupted: says whether the run is over.
    pub(crate) fn look(&mut self, vcpu: &VcpuFd, bus: &Bus, ram: &GuestRam) -> Option<Stopped> {
        // Clear first and look afterwards, so that a kick in between is not lost.
        self.armed.acknowledge();
        if let Some(signal) = self.stop.stopped() {
            return Some(Stopped::End(End::Stopped(signal)));
        }
        if let Some((limit, deadline)) = self.limit
            && Instant::now() >= deadline
        {
            return Some(Stopped::Watchdog(WatchdogCause::TimedOut { limit }));
        }
        let ticks = self.ticker.shared.ticks.load(Ordering::SeqCst);
        if ticks == self.ticks_seen {
            return None;
        }
        self.ticks_seen = ticks;
        let ring = vcpu.get_sregs().map_or(3, |sregs| sregs.cs.selector & 3);
        let hello = bus.lab.hello();
        let limit = if hello.is_some() {
            STILL_LIMIT_SECONDS
        } else {
            BOOT_LIMIT_SECONDS
        };
        let (heartbeat, time) = if bus.blocks.iter().any(|block| block.device().unanswered().is_some()) {
            (heartbeat(bus, ram, hello), thread_time() + bus.lab.idle_time())
        } else {
            (
                heartbeat(bus, ram, hello).wrapping_add(bus.lab.idle_waits()),
                thread_time(),
            )
        };
        self.progress
            .observe(ring == 0, heartbeat, time, limit)
            .map(|seconds| Stopped::Watchdog(WatchdogCause::NoProgress { seconds }))
    }
}

/// A number that changes whenever the guest gets something done: its own counters, commands, swap requests. Idle waits are not in it.
fn heartbeat(bus: &Bus, ram: &GuestRam, hello: Option<&Hello>) -> u64 {
    const ITEMS: [Item; 6] = [
        Item::NrSyscalls,
        Item::Pgfault,
        Item::Pswpin,
        Item::Pswpout,
        Item::Pgalloc,
        // The end of a large process frees for seconds where ring 0 is emulated.
        Item::Pgfree,
    ];
    let devices = bus.lab.commands()
        + bus
            .blocks
            .iter()
            .map(|block| block.device().counters().requests)
            .sum::<u64>();
    let Some(hello) = hello else { return devices };
    ITEMS.iter().fold(devices, |sum, item| {
        let value = ram
            .memory()
            .read_obj::<u64>(GuestAddress(hello.vmstat + 8 * *item as u64))
            .unwrap_or(0);
        sum.wrapping_add(value)
    })
}

/// Processor time that this thread has had, in the guest and outside it.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Since when a guest did nothing in ring 0.
#[derive(Debug, Default)]
struct Progress {
    heartbeat: u64,
    /// The thread's time at the last look that found progress.
    since: Duration,
}

impl Progress {
    /// One look, when the thread has had `time`; `Some` with `limit`, in seconds, when each look found ring 0 and the same heartbeat for so much of it.
    fn observe(&mut self, in_ring0: bool, heartbeat: u64, time: Duration, limit: u32) -> Option<u32> {
        let moved = heartbeat != std::mem::replace(&mut self.heartbeat, heartbeat);
        if moved || !in_ring0 {
            self.since = time;
        }
        (time.saturating_sub(self.since) >= Duration::from_secs(limit.into())).then_some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these moments of the thread's time, in seconds; the last one's answer, before which there was none.
    fn observe(
        progress: &mut Progress,
        in_ring0: bool,
        heartbeat: u64,
        seconds: std::ops::RangeInclusive<u64>,
    ) -> Option<u32> {
        let mut last = None;
        for second in seconds {
            assert_eq!(last, None, "before {second} s");
            last = progress.observe(in_ring0, heartbeat, Duration::from_secs(second), STILL_LIMIT_SECONDS);
        }
        last
    }

    #[test]
    fn only_time_at_a_still_ring_0_counts() {
        let mut progress = Progress::default();
        assert_eq!(observe(&mut progress, true, 0, 0..=9), None);
        assert_eq!(observe(&mut progress, true, 1, 10..=19), None, "the heartbeat moved");
        assert_eq!(observe(&mut progress, false, 1, 20..=40), None, "a program runs");
        assert_eq!(observe(&mut progress, true, 1, 41..=49), None);
        assert_eq!(observe(&mut progress, true, 1, 50..=50), Some(STILL_LIMIT_SECONDS));
    }

    #[test]
    fn looks_at_a_starved_thread_do_not_count() {
        let mut progress = Progress::default();
        for _ in 0..1000 {
            assert_eq!(observe(&mut progress, true, 0, 1..=1), None);
        }
    }

    #[test]
    fn a_heartbeat_that_falls_is_progress_too() {
        let mut progress = Progress::default();
        assert_eq!(observe(&mut progress, true, 5, 1..=10), None);
        assert_eq!(observe(&mut progress, true, 4, 11..=20), None);
    }

    #[test]
    fn a_thread_that_computes_has_had_time() {
        let before = thread_time();
        while thread_time() < before + Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    }
}
