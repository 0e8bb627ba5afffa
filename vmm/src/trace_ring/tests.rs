use faultlab_abi::trace::level;

use super::*;
use crate::testing::ram;

const RING: u64 = 0x10_000;
const BYTES: u64 = 0x20_000;
const FAULTS: u64 = 0x20_000;
const CURSOR: u64 = 0x8000;

fn hello() -> Hello {
    Hello {
        trace: RING,
        trace_bytes: BYTES,
        ..Hello::default()
    }
}

fn write_header(ram: &GuestRam, fields: [u64; 7]) {
    for (index, field) in (0..).zip(fields) {
        ram.memory().write_obj(field, GuestAddress(RING + 8 * index)).unwrap();
    }
}

fn write_fault(ram: &GuestRam, slot: u64, stamps: &[(Stage, u32)]) {
    for (stage, tsc) in stamps {
        let at = FAULTS + slot * 64 + (*stage as u64 - 1) * 4;
        ram.memory().write_obj(*tsc, GuestAddress(at)).unwrap();
    }
}

fn stages(fault: &Fault) -> Vec<(Stage, u32)> {
    fault.stamps.iter().map(|stamp| (stamp.stage, stamp.cycles)).collect()
}

#[test]
fn a_record_becomes_a_fault_without_what_an_older_one_left() {
    let ram = ram();
    assert_eq!(level::OFF, 0);
    write_header(&ram, [0, 4, FAULTS, 4, CURSOR, 1000, 0]);
    ram.memory().write_obj(1064_u64, GuestAddress(CURSOR)).unwrap();
    let near_wrap = u32::MAX - 10;
    let stamps = [
        (Stage::FaultEntry, near_wrap),
        (Stage::FindVma, 5),
        (Stage::AllocPages, near_wrap - 1),
        (Stage::ClearPage, 500),
        (Stage::FaultExit, 20),
    ];
    write_fault(&ram, 0, &stamps);
    let trace = read(&ram, &hello());
    assert_eq!(
        stages(&trace.faults[0]),
        [(Stage::FaultEntry, 0), (Stage::FindVma, 16), (Stage::FaultExit, 31)],
        "across the counter's wrap; what lies before the entry or after the exit is not its own"
    );
    assert_eq!((trace.faults.len(), trace.lost_faults), (1, 0));
}

#[test]
fn the_last_faults_in_order_with_their_events() {
    let ram = ram();
    // Written: one lap of 4, and 2 more.
    write_header(&ram, [3, 4, FAULTS, 4, CURSOR, 0, 1]);
    ram.memory().write_obj(128_u64, GuestAddress(CURSOR)).unwrap();
    for (slot, entry) in [(0, 500), (1, 600), (2, 300), (3, 400)] {
        write_fault(
            &ram,
            slot,
            &[(Stage::FaultEntry, entry), (Stage::FaultExit, entry + 50)],
        );
    }
    let event = |stage: Stage, fault: u64, arg: u64| fault << 40 | arg << 8 | stage as u64;
    let events = [
        (610, event(Stage::SwapReadStart, 2, 7)),
        (640, event(Stage::SwapReadEnd, 2, 7)),
        (900, event(Stage::ReclaimStart, 0, 0)),
    ];
    for (index, (tsc, what)) in (0_u64..).zip(events) {
        ram.memory()
            .write_obj(tsc as u64, GuestAddress(RING + PAGE_SIZE + index * 16))
            .unwrap();
        ram.memory()
            .write_obj(what, GuestAddress(RING + PAGE_SIZE + index * 16 + 8))
            .unwrap();
    }
    let trace = read(&ram, &hello());
    let entries: Vec<u64> = trace.faults.iter().map(|fault| fault.entry_tsc).collect();
    assert_eq!((entries, trace.lost_faults), (vec![300, 400, 500, 600], 2));
    let with_io = &trace.faults[3];
    assert_eq!(
        stages(with_io),
        [
            (Stage::FaultEntry, 0),
            (Stage::SwapReadStart, 10),
            (Stage::SwapReadEnd, 40),
            (Stage::FaultExit, 50)
        ]
    );
    assert_eq!(with_io.stamps[1].arg, 7);
    assert_eq!(trace.events.len(), 1, "the one outside faults");

    let now = mark(&ram, &hello());
    assert_eq!(now, Mark { faults: 6, events: 3 });
    let since = |faults, events| {
        let trace = read_since(&ram, &hello(), Mark { faults, events });
        let entries: Vec<u64> = trace.faults.iter().map(|fault| fault.entry_tsc).collect();
        (entries, trace.lost_faults, trace.events.len(), trace.lost_events)
    };
    assert_eq!(read_since(&ram, &hello(), now), Trace::default());
    assert_eq!(since(5, 3), (vec![600], 0, 0, 0));
    assert_eq!(since(1, 2), (vec![300, 400, 500, 600], 1, 1, 0));
    assert_eq!(since(7, 4), (vec![], 0, 0, 0), "a trace that went back");
}

#[test]
fn a_wild_header_is_ignored() {
    let good = [0, 4, FAULTS, 4, CURSOR, 0, 0];
    let wild = [
        (1, 3),
        (1, u64::MAX),
        (1, 1 << 20),
        (2, u64::MAX - 8),
        (2, RING),
        (3, u64::MAX),
        (3, 0),
        (3, 5000),
        (5, 1 << 40),
        (6, u64::MAX),
    ];
    let ram = ram();
    ram.memory().write_obj(64_u64, GuestAddress(CURSOR)).unwrap();
    write_header(&ram, good);
    assert_eq!(read(&ram, &hello()).faults.len(), 1);
    for (field, value) in wild {
        let mut fields = good;
        fields[field] = value;
        write_header(&ram, fields);
        assert_eq!(read(&ram, &hello()), Trace::default(), "{field} {value:#x}");
    }
}
