//! Reads the guest's trace at the end of a run, or of a phase, and makes faults of its records.
//!
//! The guest is hostile: the trace's address and size were checked with the hello; what its header says is checked
//! against them here, and records are read with bounds checks.
//!
//! A slot of a fault record that the fault did not stamp holds what an older fault left in the ring, which is told by its
//! time: it does not lie between entry and exit. Where the ring was overwritten, one left a whole number of 2^32 cycles ago,
//! to within the fault's length, would be taken for a stamp.
//!
//! Source: `guest/abi/src/trace.rs`.

use std::collections::HashMap;

use faultlab_abi::lab::Hello;
use faultlab_abi::layout::PAGE_SIZE;
use faultlab_abi::trace::{FaultRecord, Header, Record, STAMPS, Stage};
use vm_memory::{Bytes, GuestAddress};

use crate::memory::GuestRam;

/// Most events, and most faults, that are kept.
const KEEP_MAX: u64 = 262_144;

/// How far the guest's trace was written at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    faults: u64,
    events: u64,
}

/// What the guest's trace holds of a run, or of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The last faults, oldest first.
    pub faults: Vec<Fault>,
    /// The last events that happened outside faults, oldest first.
    pub events: Vec<Record>,
    /// Faults that were overwritten or left out before those.
    pub lost_faults: u64,
    /// Events, in faults and outside, that were overwritten or left out.
    pub lost_events: u64,
}

/// One page fault of a program, resolved by the guest kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The guest's time-stamp counter at its entry. Without [`faultlab_abi::trace::level::TIMELINE`] the low half, unless an event tells the rest.
    pub entry_tsc: u64,
    /// Stages in the order they were reached, from [`Stage::FaultEntry`] to [`Stage::FaultExit`].
    pub stamps: Vec<Stamp>,
    /// The address that faulted.
    pub address: u64,
    /// The program's instruction.
    pub rip: u64,
    /// The processor's error code.
    pub error_code: u32,
    /// The process.
    pub pid: u32,
}

/// A stage reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which.
    pub stage: Stage,
    /// Time-stamp counter cycles since the fault's entry.
    pub cycles: u32,
    /// The stage's argument; 0 for most.
    pub arg: u32,
}

impl Fault {
    /// Cycles from entry to exit.
    #[must_use]
    pub fn cycles(&self) -> u32 {
        self.stamps.last().map_or(0, |stamp| stamp.cycles)
    }

    /// The fault that `record` describes: its stamps in order, those that are not its own left out.
    fn of(record: &FaultRecord, events: &[Record]) -> Fault {
        let (entry, exit) = (record.stamps[0], record.stamps[STAMPS - 1]);
        let length = exit.wrapping_sub(entry);
        // An event has a whole time stamp.
        let since = |event: &Record| (event.tsc as u32).wrapping_sub(entry);
        let entry_tsc = match (record.entry_high, events.iter().rfind(|event| since(event) <= length)) {
            (0, Some(event)) => event.tsc.wrapping_sub(since(event).into()),
            (high, _) => u64::from(high) << 32 | u64::from(entry),
        };
        let hot = (1_u8..).zip(record.stamps).map(|(number, tsc)| (number, tsc, 0));
        let events = events
            .iter()
            .map(|event| (event.stage_and_arg as u8, event.tsc as u32, event.arg()));
        let mut stamps: Vec<Stamp> = hot
            .chain(events)
            .filter_map(|(number, tsc, arg)| {
                let cycles = tsc.wrapping_sub(entry);
                // 0 is a slot that was never stamped.
                let stage = Stage::from_number(number).filter(|_| tsc != 0 && cycles <= length)?;
                Some(Stamp { stage, cycles, arg })
            })
            .collect();
        stamps.sort_by_key(|stamp| (stamp.cycles, stamp.stage == Stage::FaultExit));
        Fault {
            entry_tsc,
            stamps,
            address: record.address,
            rip: record.rip,
            error_code: record.error_code,
            pid: record.pid,
        }
    }
}

impl Trace {
    /// Adds what was traced later.
    pub(crate) fn extend(&mut self, later: Trace) {
        self.faults.extend(later.faults);
        self.events.extend(later.events);
        self.lost_faults = self.lost_faults.saturating_add(later.lost_faults);
        self.lost_events = self.lost_events.saturating_add(later.lost_events);
    }
}

/// Pieces of work outside faults, oldest first: the events of each, from the one that begins it to the one that ends it. Work within work is part of it.
pub(crate) fn works(events: &[Record]) -> Vec<&[Record]> {
    let mut works = Vec::new();
    let mut left = events;
    while !left.is_empty() {
        let len = work_len(left);
        works.extend(len.map(|len| &left[..len]));
        left = &left[len.unwrap_or(1)..];
    }
    works
}

/// Events of the work that the first of `events` begins; `None` if it begins none, or how it went on was overwritten.
fn work_len(events: &[Record]) -> Option<usize> {
    let mut ends = Vec::new();
    let mut tsc = events.first()?.tsc;
    for (at, event) in events.iter().enumerate() {
        if event.tsc < tsc {
            return None;
        }
        tsc = event.tsc;
        let stage = Stage::from_number(event.stage_and_arg as u8)?;
        match end_of(stage) {
            Some(end) => ends.push(end),
            None if ends.last() == Some(&stage) => drop(ends.pop()),
            None if stage == Stage::SwapQueued && at > 0 => {}
            None => return None,
        }
        if ends.is_empty() {
            return Some(at + 1);
        }
    }
    None
}

/// How work ends that begins so.
fn end_of(start: Stage) -> Option<Stage> {
    Some(match start {
        Stage::SwapReadStart => Stage::SwapReadEnd,
        Stage::SwapWriteStart => Stage::SwapWriteEnd,
        Stage::ReclaimStart => Stage::ReclaimEnd,
        Stage::PageoutStart => Stage::PageoutEnd,
        _ => return None,
    })
}

/// How far the guest's trace is written now; the beginning if there is none, or if what its header says cannot be.
pub(crate) fn mark(ram: &GuestRam, hello: &Hello) -> Mark {
    if hello.trace_bytes == 0 {
        return Mark::default();
    }
    let header = header(ram, hello.trace);
    let now = checked(&header, hello).and_then(|()| written(ram, &header));
    now.unwrap_or_default()
}

/// The guest's trace; empty if there is none, or if what its header says cannot be.
pub(crate) fn read(ram: &GuestRam, hello: &Hello) -> Trace {
    read_since(ram, hello, Mark::default())
}

/// The same of what was written since [`mark`].
pub(crate) fn read_since(ram: &GuestRam, hello: &Hello, since: Mark) -> Trace {
    if hello.trace_bytes == 0 {
        return Trace::default();
    }
    let header = header(ram, hello.trace);
    let trace = checked(&header, hello).and_then(|()| collect(ram, hello, &header, since));
    trace.unwrap_or_else(|| {
        log::warn!("the trace's header cannot be true ({header:x?}); ignored");
        Trace::default()
    })
}

fn word(ram: &GuestRam, address: u64) -> u64 {
    ram.memory().read_obj(GuestAddress(address)).unwrap_or(0)
}

fn header(ram: &GuestRam, at: u64) -> Header {
    let field = |index: u64| word(ram, at + 8 * index);
    Header {
        head: field(0),
        capacity: field(1),
        faults: field(2),
        fault_capacity: field(3),
        cursor: field(4),
        cursor_base: field(5),
        laps: field(6),
    }
}

/// Whether both rings lie within the trace.
fn checked(header: &Header, hello: &Hello) -> Option<()> {
    let end = hello.trace + hello.trace_bytes;
    let events_end = header.capacity.checked_mul(size_of::<Record>() as u64)?;
    let events_end = (hello.trace + PAGE_SIZE).checked_add(events_end)?;
    let faults_end = header.fault_capacity.checked_mul(size_of::<FaultRecord>() as u64)?;
    let faults_end = header.faults.checked_add(faults_end)?;
    let fits = header.capacity.is_power_of_two() && events_end <= header.faults && faults_end <= end;
    (fits && header.fault_capacity > 0).then_some(())
}

/// How far a trace with this header is written.
fn written(ram: &GuestRam, header: &Header) -> Option<Mark> {
    let offset = word(ram, header.cursor).checked_sub(header.cursor_base)?;
    let slot = offset / size_of::<FaultRecord>() as u64;
    let before = header.laps.checked_mul(header.fault_capacity)?;
    (slot < header.fault_capacity).then_some(Mark {
        faults: before.checked_add(slot)?,
        events: header.head,
    })
}

fn collect(ram: &GuestRam, hello: &Hello, header: &Header, since: Mark) -> Option<Trace> {
    // A trace that went back has nothing new.
    let new_events = header.head.saturating_sub(since.events);
    let kept_events = new_events.min(header.capacity).min(KEEP_MAX);
    let events: Vec<Record> = (header.head - kept_events..header.head)
        .map(|number| {
            let at = hello.trace + PAGE_SIZE + number % header.capacity * size_of::<Record>() as u64;
            Record {
                tsc: word(ram, at),
                stage_and_arg: word(ram, at + 8),
            }
        })
        .collect();

    let written = written(ram, header)?.faults;
    let new_faults = written.saturating_sub(since.faults);
    let kept = new_faults.min(header.fault_capacity).min(KEEP_MAX);
    let mut of_slot: HashMap<u64, Vec<Record>> = HashMap::new();
    for event in &events {
        if let Some(slot) = event.fault() {
            of_slot.entry(slot).or_default().push(*event);
        }
    }
    let faults = (written - kept..written)
        .map(|number| {
            let slot = number % header.fault_capacity;
            let record = fault_record(ram, header.faults + slot * size_of::<FaultRecord>() as u64);
            Fault::of(&record, of_slot.get(&slot).map_or(&[], Vec::as_slice))
        })
        .collect();
    Some(Trace {
        faults,
        events: events.iter().filter(|event| event.fault().is_none()).copied().collect(),
        lost_faults: new_faults - kept,
        lost_events: new_events - kept_events,
    })
}

fn fault_record(ram: &GuestRam, at: u64) -> FaultRecord {
    let half = |index: u64| ram.memory().read_obj::<u32>(GuestAddress(at + 4 * index)).unwrap_or(0);
    FaultRecord {
        stamps: std::array::from_fn(|index| half(index as u64)),
        entry_high: half(9),
        address: word(ram, at + 40),
        rip: word(ram, at + 48),
        error_code: half(14),
        pid: half(15),
    }
}

#[cfg(test)]
mod tests;
