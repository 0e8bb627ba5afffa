//! The timeline as a Chrome trace-event file, for <https://ui.perfetto.dev>.
//!
//! | process | threads |
//! |---|---|
//! | 1, the guest | one a guest process (its faults), 0: events outside faults |
//! | 2, the VMM | 1: exits served in user space; 2 and up: the swap disk, one a request at the same time |
//! | 3, the host kernel | 1: from `kvm_exit` to `kvm_entry`, and faults as instants |
//!
//! A flow leads from a fault's wait for the disk to the disk's request and back to the wait. Its points lie a nanosecond within their
//! slices: on a boundary a viewer takes the slice before or the one after, or finds none. `ts` and `dur` are microseconds on the host's
//! time-stamp counter since the first event; `otherData` says how exact the guest's are on it, and what was lost.
//!
//! Source: "Trace Event Format" (Chromium project), sections "Complete Events", "Flow Events", "Metadata Events".

use std::collections::BTreeSet;

use faultlab_abi::trace::{Record, Stage};
use serde::Serialize;
use serde_json::{Value, json};

use super::log::lanes;
use super::{Timeline, slices};
use crate::host_events::HostEventKind;
use crate::trace_ring::{Fault, Trace, works};

const GUEST: u32 = 1;
const VMM: u32 = 2;
const HOST: u32 = 3;
/// Thread of the guest's events outside faults.
const OUTSIDE: u32 = 0;
const EXITS: u32 = 1;
const DISK: u32 = 2;
const KVM: u32 = 1;

/// A whole file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChromeTrace {
    trace_events: Vec<Event>,
    display_time_unit: &'static str,
    other_data: Value,
}

#[derive(Debug, Serialize)]
struct Event {
    name: String,
    cat: &'static str,
    ph: &'static str,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    /// Of a flow's end: it belongs to the slice that encloses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    /// Of an instant: its scope is the thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    args: Value,
}

impl ChromeTrace {
    /// The file for what was traced, on a host whose time-stamp counter runs at `tsc_khz`.
    #[must_use]
    pub fn new(trace: &Trace, timeline: &Timeline, tsc_khz: u64) -> ChromeTrace {
        let mut writer = Writer {
            events: Vec::new(),
            origin: first(trace, timeline),
            tsc_khz: tsc_khz.max(1),
            flows: 0,
            lanes: lanes(&timeline.block.spans),
        };
        writer.guest(trace, timeline);
        writer.vmm(timeline);
        writer.host(timeline);
        // An outer slice before the inner one that begins with it.
        let key = |event: &Event| {
            (
                event.ph != "M",
                event.pid,
                event.tid,
                event.ts,
                -event.dur.unwrap_or(0.0),
            )
        };
        writer
            .events
            .sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
        ChromeTrace {
            trace_events: writer.events,
            display_time_unit: "ns",
            other_data: other_data(trace, timeline, tsc_khz),
        }
    }
}

/// The earliest time stamp of all, on the host's axis.
fn first(trace: &Trace, timeline: &Timeline) -> u64 {
    let guest = trace.faults.iter().map(|fault| fault.entry_tsc);
    let guest = guest.chain(trace.events.iter().map(|event| event.tsc));
    let host = timeline.host.iter().flatten().flat_map(|host| &host.events);
    guest
        .map(|tsc| timeline.clock.to_host(tsc))
        .chain(timeline.exits.spans.iter().map(|exit| exit.start))
        .chain(timeline.block.spans.iter().map(|request| request.start))
        .chain(host.map(|event| event.tsc))
        .min()
        .unwrap_or(0)
}

fn other_data(trace: &Trace, timeline: &Timeline, tsc_khz: u64) -> Value {
    let clock = timeline.clock;
    let (host_lost, unavailable) = match &timeline.host {
        None => (None, Some("not asked for: --host-events")),
        Some(Ok(host)) => (Some(host.lost), None),
        Some(Err(reason)) => (None, Some(reason.as_str())),
    };
    json!({
        "tsc_khz": tsc_khz,
        "guest_tsc_offset_cycles": clock.offset_cycles,
        "guest_tsc_error_cycles": clock.error_cycles,
        "guest_tsc_drift_cycles": clock.drift_cycles,
        "lost_faults": trace.lost_faults,
        "lost_guest_events": trace.lost_events,
        "lost_exits": timeline.exits.lost,
        "lost_disk_requests": timeline.block.lost,
        "lost_host_events": host_lost,
        "host_events_unavailable": unavailable,
    })
}

/// How a fault's error code names the access. Source: Intel SDM vol. 3, 4.7.
#[must_use]
pub fn access(error_code: u32) -> &'static str {
    match (error_code & 1 << 4 != 0, error_code & 1 << 1 != 0) {
        (true, _) => "fetch",
        (_, true) => "write",
        _ => "read",
    }
}

struct Writer {
    events: Vec<Event>,
    origin: u64,
    tsc_khz: u64,
    flows: u32,
    /// Of each disk request.
    lanes: Vec<usize>,
}

/// Where an event is drawn: process and thread.
type Track = (u32, u32);

/// Where requests in a lane are drawn.
fn disk_track(lane: usize) -> Track {
    (VMM, DISK + lane as u32)
}

impl Writer {
    /// Nanoseconds since the first event, so that rounding keeps the order of time stamps.
    fn ns(&self, tsc: u64) -> u64 {
        (u128::from(tsc.saturating_sub(self.origin)) * 1_000_000 / u128::from(self.tsc_khz)) as u64
    }

    fn push(&mut self, ph: &'static str, cat: &'static str, name: &str, track: Track, tsc: u64) -> &mut Event {
        self.push_at(ph, cat, name, track, self.ns(tsc))
    }

    /// The same at so many nanoseconds since the first event.
    fn push_at(&mut self, ph: &'static str, cat: &'static str, name: &str, (pid, tid): Track, ns: u64) -> &mut Event {
        let ts = ns as f64 / 1e3;
        self.events.push(Event {
            name: name.to_owned(),
            cat,
            ph,
            ts,
            dur: None,
            pid,
            tid,
            id: None,
            bp: None,
            s: None,
            args: json!({}),
        });
        let last = self.events.len() - 1;
        &mut self.events[last]
    }

    fn slice(&mut self, cat: &'static str, name: &str, track: Track, (start, end): (u64, u64), args: Value) {
        let ns = self.ns(end.max(start)) - self.ns(start);
        let event = self.push("X", cat, name, track, start);
        (event.dur, event.args) = (Some(ns as f64 / 1e3), args);
    }

    /// Names a process (without a thread) or a thread.
    fn name(&mut self, pid: u32, tid: Option<u32>, name: &str) {
        let kind = if tid.is_some() { "thread_name" } else { "process_name" };
        let origin = self.origin;
        self.push("M", "", kind, (pid, tid.unwrap_or(0)), origin).args = json!({ "name": name });
    }

    fn guest(&mut self, trace: &Trace, timeline: &Timeline) {
        self.name(GUEST, None, "guest");
        self.name(GUEST, Some(OUTSIDE), "kernel, outside faults");
        let processes: BTreeSet<u32> = trace.faults.iter().map(|fault| fault.pid).collect();
        for pid in processes {
            self.name(GUEST, Some(pid), &format!("process {pid} on vCPU 0"));
        }
        for fault in &trace.faults {
            self.fault(fault, timeline);
        }
        self.works(&trace.events, timeline);
    }

    /// What was done outside faults, work within work included.
    fn works(&mut self, events: &[Record], timeline: &Timeline) {
        for work in works(events) {
            let [start, within @ .., end] = work else { continue };
            let Some(stage) = Stage::from_number(end.stage_and_arg as u8) else {
                continue;
            };
            let io = matches!(stage, Stage::SwapReadEnd | Stage::SwapWriteEnd);
            let name = match stage {
                Stage::ReclaimEnd => Stage::ReclaimStart.name(),
                Stage::PageoutEnd => Stage::PageoutStart.name(),
                _ => stage.name(),
            };
            let span = (timeline.clock.to_host(start.tsc), timeline.clock.to_host(end.tsc));
            self.slice("guest", name, (GUEST, OUTSIDE), span, json!({ "argument": end.arg() }));
            if io {
                self.flow((GUEST, OUTSIDE), span, end.arg(), timeline);
            }
            self.works(within, timeline);
        }
    }

    fn fault(&mut self, fault: &Fault, timeline: &Timeline) {
        let track = (GUEST, fault.pid);
        let entry = timeline.clock.to_host(fault.entry_tsc);
        for slice in slices::of(fault) {
            let span = (entry + u64::from(slice.start), entry + u64::from(slice.end));
            let args = match (slice.depth, slice.slot) {
                (0, _) => json!({
                    "address": format!("{:#x}", fault.address),
                    "rip": format!("{:#x}", fault.rip),
                    "access": access(fault.error_code),
                    "error_code": fault.error_code,
                    "pid": fault.pid,
                    "cycles": fault.cycles(),
                }),
                (_, Some(slot)) => json!({ "slot": slot, "cycles": slice.end - slice.start }),
                _ => json!({ "cycles": slice.end - slice.start }),
            };
            self.slice("fault", slice.name, track, span, args);
            if let Some(slot) = slice.slot {
                self.flow(track, span, slot, timeline);
            }
        }
    }

    /// From the wait for the disk to its request, and back.
    fn flow(&mut self, track: Track, (start, end): (u64, u64), slot: u32, timeline: &Timeline) {
        let error = timeline.clock.error_cycles;
        let Some(request) = slices::request(&timeline.block.spans, start, end, error, slot).copied() else {
            return;
        };
        let at = timeline.block.spans.partition_point(|span| span.start < request.start);
        let lane = self.lanes.get(at).copied().unwrap_or_default();
        self.flows += 1;
        let id = Some(self.flows);
        let after = |start: u64, end: u64| (self.ns(start) + 1).min(self.ns(end));
        let points = [
            ("s", track, after(start, end)),
            ("t", disk_track(lane), after(request.start, request.end)),
            ("f", track, self.ns(end).saturating_sub(1).max(self.ns(start))),
        ];
        for (ph, track, ns) in points {
            let event = self.push_at(ph, "disk", "swap request", track, ns);
            (event.id, event.bp) = (id, (ph == "f").then_some("e"));
        }
    }

    fn vmm(&mut self, timeline: &Timeline) {
        self.name(VMM, None, "VMM");
        self.name(VMM, Some(EXITS), "exits served in user space");
        for lane in 0..=self.lanes.iter().copied().max().unwrap_or_default() {
            let (_, tid) = disk_track(lane);
            self.name(VMM, Some(tid), "swap disk");
        }
        for exit in &timeline.exits.spans {
            let args = json!({ "address": format!("{:#x}", exit.address) });
            self.slice("exit", exit.kind.name(), (VMM, EXITS), (exit.start, exit.end), args);
        }
        let lanes = self.lanes.clone();
        for (request, lane) in timeline.block.spans.iter().zip(lanes) {
            let track = disk_track(lane);
            let args = json!({ "sector": request.sector, "slot": request.sector / 8, "bytes": request.bytes });
            self.slice("disk", request.kind.name(), track, (request.start, request.end), args);
            for (stage, start, end) in request.stages() {
                self.slice("disk", stage, track, (start, end), json!({ "cycles": end - start }));
            }
        }
    }

    fn host(&mut self, timeline: &Timeline) {
        let Some(Ok(host)) = &timeline.host else { return };
        self.name(HOST, None, "host kernel");
        self.name(HOST, Some(KVM), "vCPU 0: out of the guest");
        let mut exit = None;
        for event in &host.events {
            match event.kind {
                HostEventKind::Exit => exit = Some(event),
                HostEventKind::Entry => {
                    if let Some(exit) = exit.take() {
                        let args = json!({ "exit": exit.detail, "entry": event.detail });
                        self.slice("kvm", "kvm_exit to kvm_entry", (HOST, KVM), (exit.tsc, event.tsc), args);
                    }
                }
                kind => {
                    let instant = self.push("i", "kvm", kind.name(), (HOST, KVM), event.tsc);
                    (instant.s, instant.args) = (Some("t"), json!({ "detail": event.detail }));
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "chrome_tests.rs"]
mod tests;
