//! Requests under way, and what becomes of their pages when the disk has answered.
//!
//! A disk that answers at once leaves nothing to do here. With one that works beside the processor, pages that are written are under
//! [`flag::WRITEBACK`], those that are read ahead are [`flag::LOCKED`]; both stay in the swap cache, on no list, and the request has a
//! reference to each, so that neither slot nor frame can be given away under the disk. Answers are taken in when memory is wanted,
//! when somebody needs such a page, and on the way back to programs.
//!
//! A program's fault does not wait here while others can run: it fails with [`Fault::Retry`](crate::Fault::Retry), and is made again when the
//! disk is done with the page ([`Memory::take_page_wait`], [`Memory::take_pages_done`]); it finds the page in the swap cache. Everybody else
//! waits, and nobody runs meanwhile: calls, which may have done something already, and reclaim.
//!
//! Source: Linux, mm/page_io.c (`end_swap_bio_read`, `end_swap_bio_write`), mm/filemap.c (`folio_wait_table`, `__folio_lock_or_retry`). Rules
//! F10, F19, F22.

use super::{CLUSTER_MAX, SwapSlot};
use crate::addr::Pfn;
use crate::error::Error;
use crate::memory::Memory;
use crate::page::{Event, flag};
use crate::platform::{Direction, Io, IoError, Platform, Vmstat};
use crate::record::Field;
use crate::shmem::{InodeId, Sgp};
use crate::sync::{Word, Word32};

/// Requests under way at most.
pub const IN_FLIGHT_MAX: usize = 15;

/// Queues of those that wait for pages.
pub const PAGE_QUEUES: u32 = 64;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Purpose {
    /// Somebody waits for the answer.
    Waited = 1,
    ReadAhead = 2,
    Write = 3,
    /// A fault is made again when it is answered.
    Fault = 4,
}

/// A read that was begun.
pub(super) enum Read {
    /// The disk has answered.
    Done(Result<(), IoError>),
    /// The caller waits.
    Waited,
    /// The fault is made again later.
    Left,
}

/// The answer that somebody waits for.
mod answer {
    pub(super) const NONE: u32 = 0;
    pub(super) const GOOD: u32 = 1;
    pub(super) const FAILED: u32 = 2;
}

/// A request that the disk has not answered.
#[derive(Debug)]
struct Request {
    /// A [`Purpose`]; 0: none.
    purpose: Word32,
    first: Word32,
    len: Word32,
    /// The objects that pages to be written came from.
    inodes: [Word; CLUSTER_MAX],
}

/// All requests under way.
#[derive(Debug)]
pub(super) struct InFlight {
    count: Word32,
    /// Pages that become free, unless somebody wants them, when writes are answered.
    pub(super) pages_written: Word32,
    /// Whether a disk was ever seen not to answer at once.
    beside: Word32,
    /// To the one request that is waited for, an [`answer`]: answers are taken in without waiting for others, so there is never a second.
    answer: Word32,
    /// 1 + the queue of the page that the last fault waits for; 0 for none.
    noted: Word32,
    /// Queues of pages that faults wait for.
    awaited: Word,
    /// Of them, those with a page that the disk is done with.
    done: Word,
    requests: [Request; IN_FLIGHT_MAX],
}

impl InFlight {
    pub(super) const fn new() -> Self {
        Self {
            count: Word32::new(0),
            pages_written: Word32::new(0),
            beside: Word32::new(0),
            answer: Word32::new(answer::NONE),
            noted: Word32::new(0),
            awaited: Word::new(0),
            done: Word::new(0),
            requests: [const {
                Request {
                    purpose: Word32::new(0),
                    first: Word32::new(0),
                    len: Word32::new(0),
                    inodes: [const { Word::new(0) }; CLUSTER_MAX],
                }
            }; IN_FLIGHT_MAX],
        }
    }

    /// Whether a disk works beside the processor.
    pub(super) fn is_beside(&self) -> bool {
        self.beside.get() != 0
    }

    /// Whether one more request can be begun.
    pub(super) fn has_room(&self) -> bool {
        (self.count.get() as usize) < IN_FLIGHT_MAX
    }

    fn enter(&self, number: u32, purpose: Purpose, first: SwapSlot, len: usize) -> &Request {
        let request = &self.requests[number as usize];
        debug_assert_eq!(request.purpose.get(), 0, "request {number} is under way already");
        request.purpose.set(purpose as u32);
        request.first.set(first.0);
        request.len.set(len as u32);
        self.count.add(1);
        self.beside.set(1);
        request
    }
}

/// Which of [`PAGE_QUEUES`] queues those wait in that wait for a page. Source: Linux `folio_waitqueue`.
fn page_queue(pfn: Pfn) -> u32 {
    pfn.0 % PAGE_QUEUES
}

impl<P: Platform> Memory<P> {
    /// Whether the disk has yet to answer a request.
    #[inline(always)]
    pub(crate) fn swap_in_flight(&self) -> bool {
        self.swap.in_flight.count.get() != 0
    }

    /// Frames that become free when writes under way are done, unless somebody wants their pages.
    pub(crate) fn swap_pages_under_way(&self) -> u64 {
        self.swap.in_flight.pages_written.get().into()
    }

    /// Waits until one more request can be begun. An answer may be a reason to write again, hence more than one.
    #[inline(always)]
    pub(super) fn swap_make_room(&self) {
        while !self.swap.in_flight.has_room() {
            self.swap_reap(true);
        }
    }

    /// Reads, and waits until that is answered.
    #[inline]
    pub(super) fn swap_read(&self, slot: SwapSlot, frames: &[Pfn]) -> Result<(), IoError> {
        self.swap_make_room();
        match self.platform.swap_begin(Direction::Read, slot, frames) {
            Io::Done(result) => result,
            Io::Pending(number) => {
                self.swap.in_flight.enter(number, Purpose::Waited, slot, frames.len());
                self.finish_waited()
            }
        }
    }

    /// Begins to read a page that is wanted, for [`Memory::finish_read`]. The caller's reference to it is the request's if that is left.
    #[inline(always)]
    pub(super) fn begin_read(&self, slot: SwapSlot, pfn: Pfn, sgp: Sgp) -> Read {
        self.swap_make_room();
        match self.platform.swap_begin(Direction::Read, slot, &[pfn]) {
            Io::Done(result) => Read::Done(result),
            Io::Pending(number) => self.wanted_is_pending(number, slot, pfn, sgp),
        }
    }

    #[cold]
    #[inline(never)]
    fn wanted_is_pending(&self, number: u32, slot: SwapSlot, pfn: Pfn, sgp: Sgp) -> Read {
        if sgp == Sgp::Fault && self.platform.others_can_run() {
            self.swap.in_flight.enter(number, Purpose::Fault, slot, 1);
            self.count(Vmstat::Pgmajfault);
            self.note_page_wait(pfn);
            self.wake_kswapd(0);
            return Read::Left;
        }
        self.swap.in_flight.enter(number, Purpose::Waited, slot, 1);
        Read::Waited
    }

    /// The answer to a read that was begun.
    ///
    /// # Errors
    /// [`Error::Eagain`]: the fault is to be made again.
    #[inline(always)]
    pub(super) fn finish_read(&self, begun: Read) -> Result<Result<(), IoError>, Error> {
        match begun {
            Read::Done(result) => Ok(result),
            Read::Waited => Ok(self.finish_waited()),
            Read::Left => Err(Error::Eagain),
        }
    }

    /// Waits for the answer to a request.
    #[cold]
    #[inline(never)]
    fn finish_waited(&self) -> Result<(), IoError> {
        let answer = &self.swap.in_flight.answer;
        while answer.get() == answer::NONE {
            self.swap_reap(true);
        }
        let good = answer.get() == answer::GOOD;
        answer.set(answer::NONE);
        if good { Ok(()) } else { Err(IoError) }
    }

    /// A request to read pages ahead is under way.
    pub(super) fn read_is_pending(&self, number: u32, slot: SwapSlot, frames: &[Pfn]) {
        self.swap
            .in_flight
            .enter(number, Purpose::ReadAhead, slot, frames.len());
        // Somebody has to take the answer in.
        self.wake_kswapd(0);
    }

    /// A request to write pages is under way.
    #[cold]
    pub(super) fn write_is_pending(&self, number: u32, slot: SwapSlot, frames: &[Pfn], inodes: &[Option<InodeId>]) {
        let in_flight = &self.swap.in_flight;
        let request = in_flight.enter(number, Purpose::Write, slot, frames.len());
        for (&inode, kept) in inodes.iter().zip(&request.inodes).take(frames.len()) {
            kept.set(inode.to_word());
        }
        in_flight.pages_written.add(frames.len() as u32);
        self.wake_kswapd(0);
    }

    /// Takes in what the disks have answered; if `wait`, at least one answer, if one is owed. Returns the frames freed.
    pub(crate) fn swap_reap(&self, wait: bool) -> u32 {
        let (mut freed, mut wait) = (0, wait);
        while self.swap_in_flight()
            && let Some((number, result)) = self.platform.swap_completed(wait)
        {
            freed += self.request_done(number, result);
            wait = false;
        }
        freed
    }

    /// Waits until the disk is done with a page.
    ///
    /// # Errors
    /// [`Error::Eagain`]: the fault is to be made again then.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait_on_swap_page(&self, pfn: Pfn, sgp: Sgp) -> Result<(), Error> {
        let mut may_leave = sgp == Sgp::Fault;
        while self.page(pfn).flags.get() & (flag::LOCKED | flag::WRITEBACK) != 0 && self.swap_in_flight() {
            // It may have answered by now.
            self.swap_reap(!may_leave);
            if may_leave && self.page(pfn).flags.get() & (flag::LOCKED | flag::WRITEBACK) != 0 {
                if self.platform.others_can_run() {
                    self.note_page_wait(pfn);
                    return Err(Error::Eagain);
                }
                may_leave = false;
            }
        }
        Ok(())
    }

    /// A fault is to be made again when the disk is done with a page, and counts then.
    fn note_page_wait(&self, pfn: Pfn) {
        let (in_flight, queue) = (&self.swap.in_flight, page_queue(pfn));
        in_flight.noted.set(1 + queue);
        in_flight.awaited.set(in_flight.awaited.get() | 1 << queue);
        self.uncount(Vmstat::Pgfault);
    }

    /// The queue to wait in, after [`Fault::Retry`](crate::Fault::Retry), until [`Memory::take_pages_done`] has its bit.
    pub fn take_page_wait(&self) -> Option<u32> {
        let noted = self.swap.in_flight.noted.get();
        self.swap.in_flight.noted.set(0);
        noted.checked_sub(1)
    }

    /// Whether somebody may wait for a disk.
    #[inline]
    pub fn pages_are_awaited(&self) -> bool {
        self.swap.in_flight.awaited.get() != 0
    }

    /// Queues that hold who waited for a page that a disk is done with, since this was last asked: a bit for each. Others may be in them, too,
    /// and look in vain.
    #[inline]
    pub fn take_pages_done(&self) -> u64 {
        let done = self.swap.in_flight.done.get();
        if done != 0 {
            self.swap.in_flight.done.set(0);
        }
        done
    }

    /// The disk is done with a page.
    fn wake_page(&self, pfn: Pfn) {
        let (in_flight, queue) = (&self.swap.in_flight, 1 << page_queue(pfn));
        if in_flight.awaited.get() & queue != 0 {
            in_flight.awaited.set(in_flight.awaited.get() & !queue);
            in_flight.done.set(in_flight.done.get() | queue);
        }
    }

    /// Takes in what the disks have answered, if anybody waits for that, on behalf of who runs or of nobody.
    pub fn swap_look(&self) {
        let _guard = self.locks.mmap.lock();
        self.swap_reap(false);
    }

    /// Waits until the disks have answered everything, and takes it in.
    pub fn swap_drain(&self) {
        while self.swap_in_flight() {
            self.swap_reap(true);
        }
    }

    fn request_done(&self, number: u32, result: Result<(), IoError>) -> u32 {
        let in_flight = &self.swap.in_flight;
        let request = &in_flight.requests[number as usize];
        let (first, len) = (SwapSlot(request.first.get()), request.len.get());
        let purpose = request.purpose.get();
        request.purpose.set(0);
        in_flight.count.sub(1);
        if purpose == Purpose::Waited as u32 {
            in_flight
                .answer
                .set(if result.is_ok() { answer::GOOD } else { answer::FAILED });
            return 0;
        }
        // Copied before the request's number is given away: writing again may need it.
        let inodes: [Option<InodeId>; CLUSTER_MAX] =
            core::array::from_fn(|i| Field::from_word(request.inodes[i].get()));
        let slots = (first.0..first.0 + len).map(SwapSlot);
        if purpose != Purpose::Write as u32 {
            let ahead = purpose == Purpose::ReadAhead as u32;
            slots.for_each(|slot| self.read_done(slot, result, ahead));
            return 0;
        }
        in_flight.pages_written.sub(len);
        let written = slots
            .zip(inodes)
            .map(|(slot, inode)| match (self.lookup_swap_cache(slot), result) {
                (None, _) => 0,
                (Some(pfn), Ok(())) => {
                    self.wake_page(pfn);
                    self.count(Vmstat::Pswpout);
                    self.page_is_written(pfn)
                }
                (Some(pfn), Err(_)) => {
                    self.wake_page(pfn);
                    self.write_refused(pfn, slot, inode, len == 1)
                }
            });
        written.sum()
    }

    /// A page that was read, `ahead` or for a fault that is made again, is there, or is not to be had.
    pub(super) fn read_done(&self, slot: SwapSlot, result: Result<(), IoError>, ahead: bool) {
        let Some(pfn) = self.lookup_swap_cache(slot) else {
            return;
        };
        let page = self.page(pfn);
        self.wake_page(pfn);
        if result.is_ok() {
            self.count(Vmstat::Pswpin);
            self.platform.count(Vmstat::SwapRa, ahead.into());
        }
        // Whoever meant it may have gone meanwhile.
        let is_meant = self.swap_is_meant(slot);
        if result.is_ok() && is_meant {
            page.steps([Event::Uptodate, Event::Unlock]);
            self.lru_add(pfn);
        } else if is_meant && !ahead {
            // Without content, it tells the fault that there is none to be had.
            page.step(Event::Unlock);
        } else {
            page.step(Event::Unlock);
            self.delete_from_swap_cache(pfn);
            self.put_page(pfn);
        }
        self.put_page(pfn);
    }
}
