//! The swap disk's requests of a phase, beside the guest's trace of it: what a guest that waits for the disk waits for.

use super::clock::GuestClock;
use super::log::{BlockSpan, Log};
use super::slices;

/// Requests, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// As the device noted them.
    pub spans: Vec<BlockSpan>,
    /// How the guest's time stamps relate to the device's; `None` if that is not known, and then nothing is found.
    pub clock: Option<GuestClock>,
}

/// The stages of a request that the guest waited for, in their order.
pub const STAGES: [&str; 5] = [DOORBELL, HOST_QUEUE, DEVICE, COMPLETION, RETURN];
/// From the request's being in the queue until the device takes it: the exit, or the wake of the thread that serves.
const DOORBELL: &str = "doorbell exit";
const HOST_QUEUE: &str = "host queue";
const DEVICE: &str = "device";
const COMPLETION: &str = "completion";
/// From the answer's being in the guest's memory until the guest has seen it.
const RETURN: &str = "return to guest";

impl Requests {
    /// Those of a log.
    #[must_use]
    pub fn new(log: Log<BlockSpan>, clock: GuestClock) -> Requests {
        Requests {
            spans: log.spans,
            clock: Some(clock),
        }
    }

    /// Adds those of a later phase of the same guest.
    pub(crate) fn extend(&mut self, later: Requests) {
        self.spans.extend(later.spans);
        self.clock = self.clock.or(later.clock);
    }

    /// The stages, in cycles, of the request for `slot` that was put into the queue at `queued` and waited for until `answered` on the guest's
    /// time-stamp counter. Their sum is the time between. `None` if the device noted no such request, or did not carry it out, or the guest did not
    /// wait for it.
    #[must_use]
    pub fn stages(&self, slot: u32, queued: u64, answered: u64) -> Option<[(&'static str, u64); 5]> {
        let clock = self.clock?;
        let (start, end) = (clock.to_host(queued), clock.to_host(answered));
        let span = slices::request(&self.spans, start, end, clock.error_cycles, slot)?;
        if span.submitted == 0 || span.completed == 0 {
            return None;
        }
        // Clocks that are not exact may have the device begin before it is told; the sum holds all the same.
        let mut at = start;
        let mut until = |to: u64| {
            let to = to.clamp(at, end.max(at));
            to - std::mem::replace(&mut at, to)
        };
        let borders = [span.start, span.submitted, span.completed, span.end, end];
        Some(std::array::from_fn(|stage| (STAGES[stage], until(borders[stage]))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(error_cycles: u64) -> Requests {
        let span = BlockSpan {
            start: 1100,
            submitted: 1110,
            completed: 1180,
            end: 1190,
            sector: 24,
            ..BlockSpan::default()
        };
        Requests {
            spans: vec![span],
            clock: Some(GuestClock {
                offset_cycles: -1000,
                error_cycles,
                drift_cycles: 0,
            }),
        }
    }

    #[test]
    fn the_stages_close_against_the_wait() {
        let stages = requests(0).stages(3, 50, 250).unwrap();
        assert_eq!(stages.map(|(_, cycles)| cycles), [50, 10, 70, 10, 60]);
        assert_eq!(stages.map(|(name, _)| name), STAGES);
    }

    #[test]
    fn they_close_too_where_the_clock_is_wrong() {
        let stages = requests(30).stages(3, 120, 180).unwrap();
        assert_eq!(stages.map(|(_, cycles)| cycles), [0, 0, 60, 0, 0]);
    }

    #[test]
    fn only_a_request_that_was_waited_for_has_them() {
        assert_eq!(requests(0).stages(3, 50, 150), None, "answered later");
        assert_eq!(requests(0).stages(4, 50, 250), None, "another slot");
        let unknown = Requests {
            clock: None,
            ..requests(0)
        };
        assert_eq!(unknown.stages(3, 50, 250), None);
    }
}
