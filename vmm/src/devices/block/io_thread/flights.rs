//! Requests that were taken and are not answered yet.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::devices::block::chain::Request;
use crate::devices::block::faults::Course;
use crate::devices::block::job::{Failure, Job, end_of_half};
use crate::timeline::log::BlockSpan;

/// One request on its way.
pub(super) struct Flight {
    /// The head of its chain.
    pub(super) head: u16,
    pub(super) request: Request,
    pub(super) job: Job,
    pub(super) course: Course,
    /// It is a write of which half is written; whether it is reported as done.
    pub(super) half_claimed: Option<bool>,
    /// When it was where, if that is noted.
    pub(super) span: BlockSpan,
}

impl Flight {
    /// What the driver is told if the bytes were moved so: how many of the request's it got.
    pub(super) fn end(&self, moved: std::io::Result<()>) -> Result<u32, Failure> {
        moved?;
        match (&self.job, self.half_claimed) {
            (_, Some(claimed)) => end_of_half(claimed),
            (Job::Read, None) => Ok(self.request.data_bytes() as u32),
            (_, None) => Ok(0),
        }
    }
}

/// All of them, by slot: as many as the queue has entries, because a driver that keeps to the rules has no more.
pub(super) struct Flights {
    slots: Vec<Option<Box<Flight>>>,
    free: Vec<u16>,
    /// Those that are late on purpose: when they are to begin.
    late: BinaryHeap<Reverse<(Instant, u16)>>,
}

impl Flights {
    pub(super) fn new(most: u16) -> Flights {
        Flights {
            slots: (0..most).map(|_| None).collect(),
            free: (0..most).rev().collect(),
            late: BinaryHeap::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Gives a request a slot, which must be free. Returns `None`, and forgets the request, if none is.
    pub(super) fn insert(&mut self, flight: Box<Flight>) -> Option<u16> {
        let slot = self.free.pop()?;
        self.slots[usize::from(slot)] = Some(flight);
        Some(slot)
    }

    pub(super) fn get_mut(&mut self, slot: u16) -> Option<&mut Flight> {
        self.slots[usize::from(slot)].as_deref_mut()
    }

    pub(super) fn remove(&mut self, slot: u16) -> Option<Box<Flight>> {
        let flight = self.slots[usize::from(slot)].take()?;
        self.free.push(slot);
        Some(flight)
    }

    /// Has the request begin so much later.
    pub(super) fn delay(&mut self, slot: u16, delay: Duration) {
        self.late.push(Reverse((Instant::now() + delay, slot)));
    }

    /// When the next late request is to begin.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.late.peek().map(|Reverse((due, _))| *due)
    }

    /// A late request whose time has come.
    pub(super) fn take_due(&mut self) -> Option<u16> {
        let due = self.next_due()?;
        if Instant::now() < due {
            return None;
        }
        self.late.pop().map(|Reverse((_, slot))| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(head: u16) -> Box<Flight> {
        Box::new(Flight {
            head,
            request: Request::default(),
            job: Job::Flush,
            course: Course::Proper,
            half_claimed: None,
            span: BlockSpan::default(),
        })
    }

    #[test]
    fn a_slot_is_used_by_one_request_at_a_time() {
        let mut flights = Flights::new(2);
        let first = flights.insert(flight(5)).unwrap();
        let second = flights.insert(flight(6)).unwrap();
        assert_ne!(first, second);
        assert!(flights.is_full() && flights.insert(flight(7)).is_none());
        assert_eq!(flights.remove(first).map(|flight| flight.head), Some(5));
        assert!(flights.remove(first).is_none());
        assert_eq!(flights.insert(flight(7)), Some(first));
        assert_eq!(flights.get_mut(second).map(|flight| flight.head), Some(6));
    }

    #[test]
    fn late_requests_begin_in_the_order_of_their_times() {
        let mut flights = Flights::new(3);
        let ms = Duration::from_millis;
        for (slot, delay) in [(0, ms(0)), (1, ms(3_600_000)), (2, ms(0))] {
            flights.delay(slot, delay);
        }
        let begun: Vec<_> = std::iter::from_fn(|| flights.take_due()).collect();
        assert_eq!(begun, [0, 2]);
        assert!(flights.next_due().is_some_and(|due| due > Instant::now()));
    }
}
