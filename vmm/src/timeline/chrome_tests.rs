use super::super::clock::GuestClock;
use super::super::log::{BlockKind, BlockSpan, ExitKind, ExitSpan, Log};
use super::*;
use crate::host_events::{HostEvent, HostTrace};
use crate::trace_ring::Stamp;

/// A fault that reads from the disk, on a guest whose counter is 1,000,000 ahead.
fn example() -> (Trace, Timeline) {
    let stamps = [
        (Stage::FaultEntry, 0),
        (Stage::WalkPageTables, 100),
        (Stage::FilemapGetEntry, 200),
        (Stage::SwapReadStart, 300),
        (Stage::SwapReadEnd, 900),
        (Stage::FaultExit, 1000),
    ];
    let stamp = |(stage, cycles)| Stamp { stage, cycles, arg: 5 };
    let trace = Trace {
        faults: vec![Fault {
            entry_tsc: 1_002_000,
            stamps: stamps.map(stamp).to_vec(),
            address: 0x7000,
            rip: 0x40_1000,
            error_code: 6,
            pid: 2,
        }],
        lost_faults: 4,
        ..Trace::default()
    };
    let exit = ExitSpan {
        start: 2400,
        end: 2800,
        kind: ExitKind::MmioWrite,
        address: 0xd000_0050,
    };
    let request = BlockSpan {
        submitted: 0,
        completed: 0,
        start: 2450,
        end: 2750,
        kind: BlockKind::Read,
        sector: 40,
        bytes: 4096,
    };
    let host = |tsc, kind| HostEvent {
        tsc,
        kind,
        detail: "vcpu 0".into(),
    };
    let timeline = Timeline {
        exits: Log {
            spans: vec![exit],
            lost: 0,
        },
        block: Log {
            spans: vec![request],
            lost: 0,
        },
        host: Some(Ok(HostTrace {
            events: vec![
                host(2350, HostEventKind::Exit),
                host(2400, HostEventKind::KvmPageFault),
                host(2850, HostEventKind::Entry),
            ],
            lost: 1,
        })),
        clock: GuestClock {
            offset_cycles: 1_000_000,
            error_cycles: 20,
            drift_cycles: 0,
        },
    };
    (trace, timeline)
}

fn events(value: &Value, ph: &str) -> Vec<Value> {
    let all = value["traceEvents"].as_array().unwrap();
    all.iter().filter(|event| event["ph"] == ph).cloned().collect()
}

#[test]
fn guest_vmm_and_host_lie_on_one_axis() {
    let (trace, timeline) = example();
    let value = serde_json::to_value(ChromeTrace::new(&trace, &timeline, 1_000_000)).unwrap();
    let span = |name: &str| {
        let slice = events(&value, "X").into_iter().find(|event| event["name"] == name);
        let slice = slice.unwrap_or_else(|| panic!("no {name} in {value:#}"));
        (slice["ts"].as_f64().unwrap(), slice["dur"].as_f64().unwrap())
    };
    assert_eq!(span("exc_page_fault"), (0.0, 1.0));
    assert_eq!(span("shmem_fault"), (0.1, 0.8));
    assert_eq!(span("swap_read"), (0.3, 0.6));
    assert_eq!(span("mmio write"), (0.4, 0.4));
    assert_eq!(span("disk read"), (0.45, 0.3));
    assert_eq!(span("kvm_exit to kvm_entry"), (0.35, 0.5));
    assert_eq!(events(&value, "i")[0]["name"], "kvm_page_fault");
    assert_eq!(value["otherData"]["lost_faults"], 4);
    assert_eq!(value["otherData"]["guest_tsc_error_cycles"], 20);
}

#[test]
fn a_flow_leads_to_the_disk_and_back() {
    let (trace, timeline) = example();
    let value = serde_json::to_value(ChromeTrace::new(&trace, &timeline, 1_000_000)).unwrap();
    let point = |ph: &str| {
        let event = events(&value, ph).remove(0);
        (event["pid"].clone(), event["ts"].clone(), event["id"].clone())
    };
    assert_eq!(point("s"), (json!(GUEST), json!(0.301), json!(1)));
    assert_eq!(point("t"), (json!(VMM), json!(0.451), json!(1)));
    assert_eq!(point("f"), (json!(GUEST), json!(0.899), json!(1)));
}

#[test]
fn the_access_is_in_the_error_code() {
    assert_eq!([0x4, 0x6, 0x7, 0x14].map(access), ["read", "write", "write", "fetch"]);
}
