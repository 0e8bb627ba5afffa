//! What the report says of the host that measured and of the guests.

use faultlab::memory::Backing;
use faultlab::{HostIdentity, Outcome};
use serde_json::{Map, Value, json};

use super::plan::Plan;
use crate::cli::TraceLevel;

/// The `host` object: the identity, and which faultlab measured.
pub(super) fn host(identity: &HostIdentity) -> Map<String, Value> {
    // An identity has only string keys and finite numbers, so this gives an object.
    let mut map = match serde_json::to_value(identity) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    map.insert("faultlab_version".into(), env!("CARGO_PKG_VERSION").into());
    map.insert("faultlab_commit".into(), env!("FAULTLAB_COMMIT").into());
    // An unoptimised build of the same compiler costs more instructions.
    let profile = if cfg!(debug_assertions) { ", debug build" } else { "" };
    let toolchain = format!("{}{profile}", env!("FAULTLAB_TOOLCHAIN"));
    map.insert("faultlab_toolchain".into(), toolchain.into());
    map
}

/// The `vm` object: the configuration, and what the last guest said and cost.
pub(super) fn vm(plan: &Plan<'_>, budget_ms: u64, outcome: Option<&Outcome>) -> Map<String, Value> {
    let swap_file = plan.vm.swap_file.as_ref().map(|path| path.display().to_string());
    let trace_level = match plan.vm.trace_level {
        TraceLevel::Off => "off",
        TraceLevel::Stages => "stages",
    };
    let backings: Vec<&str> = plan.backings.iter().map(|backing| backing.name()).collect();
    let window_bytes = |backing: &Backing| plan.window_bytes(*backing);
    let mut map = Map::new();
    map.insert("memory_bytes".into(), plan.vm.memory.into());
    map.insert("backing".into(), backings.first().copied().into());
    map.insert(
        "window_bytes".into(),
        json!(plan.backings.iter().map(window_bytes).max()),
    );
    if backings.len() > 1 {
        map.insert("backings".into(), json!(backings));
    }
    map.insert("vcpus".into(), 1.into());
    map.insert("swap_file".into(), json!(swap_file));
    if swap_file.is_none() {
        map.insert("swap_bytes".into(), plan.vm.swap.into());
    }
    if !plan.vm.areas.swap_area.is_empty() {
        map.insert("swap_areas".into(), plan.vm.areas.described().into());
    }
    map.insert("swap_backend".into(), plan.vm.swap_backend.name().into());
    map.insert("swap_direct".into(), plan.vm.swap_direct.into());
    map.insert("swap_io".into(), plan.vm.swap_io.here().name().into());
    let faults = plan.vm.faults.faults();
    if !faults.is_none() {
        map.insert("swap_faults".into(), format!("{faults:?}").into());
    }
    map.insert("trace_level".into(), trace_level.into());
    map.insert("budget_ms".into(), budget_ms.into());
    if plan.is_seeded() {
        map.insert("seed".into(), plan.seed.into());
    }
    if let Some(outcome) = outcome {
        map.insert("swap_pages".into(), json!(outcome.hello.map(|hello| hello.swap_pages)));
        map.insert(
            "managed_pages".into(),
            json!(outcome.hello.map(|hello| hello.managed_pages)),
        );
        let gate = |hello: faultlab_abi::lab::Hello| if hello.syscall_gate == 1 { "ud2" } else { "syscall" };
        map.insert("syscall_gate".into(), json!(outcome.hello.map(gate)));
        map.insert("vmm_resident_kib".into(), outcome.vmm_resident_kib.into());
        map.insert("start_to_guest_us".into(), json!(outcome.start_to_guest.as_micros()));
    }
    map
}
