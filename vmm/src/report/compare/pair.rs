//! Which report of B is compared with which of A, and in what the two differ besides their rows.

use serde_json::{Map, Value};

use super::{Difference, Refusal};
use crate::report::header;
use crate::report::model::Report;

/// Fields of a report's `host` that change what a fault costs.
const HARDWARE: [&str; 11] = [
    "cpu_model",
    "cpus_online",
    "memory_bytes",
    "kernel_release",
    "kvm_kind",
    "second_level_paging",
    "ring0",
    "machine",
    "simulator",
    "thp_enabled",
    "thp_shmem_enabled",
];

/// Fields of a report's `vm` that do.
const GUEST: [&str; 4] = ["memory_bytes", "vcpus", "trace_level", "syscall_gate"];

/// Fields of a report's `host` that are often what is compared.
const SOFTWARE: [&str; 3] = ["faultlab_version", "faultlab_commit", "faultlab_toolchain"];

/// Reports, paired.
pub(super) struct Pairing<'a> {
    pub(super) pairs: Vec<(&'a Report, &'a Report)>,
    pub(super) only_in_a: Vec<&'a Report>,
    pub(super) only_in_b: Vec<&'a Report>,
}

/// Two single reports are a pair, whatever their hosts. In collections, reports of the same machine are, in order.
pub(super) fn reports<'a>(a: &'a [Report], b: &'a [Report]) -> Result<Pairing<'a>, Refusal> {
    if let ([a], [b]) = (a, b) {
        if a.cost_unit != b.cost_unit {
            let (a, b) = (a.cost_unit.name(), b.cost_unit.name());
            return Err(Refusal::Units { a, b });
        }
        return Ok(Pairing {
            pairs: vec![(a, b)],
            only_in_a: Vec::new(),
            only_in_b: Vec::new(),
        });
    }
    let mut only_in_b: Vec<&Report> = b.iter().collect();
    let (mut pairs, mut only_in_a) = (Vec::new(), Vec::new());
    for report in a {
        match only_in_b.iter().position(|other| same_machine(report, other)) {
            Some(at) => pairs.push((report, only_in_b.remove(at))),
            None => only_in_a.push(report),
        }
    }
    if pairs.is_empty() {
        let a = a.iter().map(host).collect::<Vec<_>>().join("; ");
        return Err(Refusal::NothingInCommon { a });
    }
    Ok(Pairing {
        pairs,
        only_in_a,
        only_in_b,
    })
}

fn same_machine(a: &Report, b: &Report) -> bool {
    let same = |field| a.host.get(field) == b.host.get(field);
    a.cost_unit == b.cost_unit && ["machine", "kvm_kind", "second_level_paging"].into_iter().all(same)
}

/// The host in a few words.
pub(super) fn host(report: &Report) -> String {
    let host = header::identity(report);
    let machine = host.machine.map_or_else(String::new, |machine| format!(", {machine}"));
    format!(
        "{}, Linux {}, {}, {}{machine}",
        host.cpu_model,
        host.kernel_release,
        host.kvm_kind.name(),
        header::paging(host.second_level_paging)
    )
}

/// What makes the two hard to compare.
pub(super) fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let host = differences(&a.host, &b.host, &HARDWARE);
    let guest = differences(&a.vm, &b.vm, &GUEST);
    let named = host.into_iter().map(|it| ("host", it));
    let mut warnings: Vec<String> = named
        .chain(guest.into_iter().map(|it| ("guest", it)))
        .map(|(what, Difference { field, a, b })| format!("the {what}s differ: {field} is {a} in A and {b} in B"))
        .collect();
    let rate = |report: &Report| report.host.get("tsc_khz").and_then(Value::as_f64);
    // The rate is measured at boot and differs a little each time.
    if let (Some(rate_a), Some(rate_b)) = (rate(a), rate(b))
        && (rate_a - rate_b).abs() > rate_a * 1e-3
    {
        warnings.push(format!(
            "a cycle is not the same time: {rate_a} kHz in A and {rate_b} kHz in B"
        ));
    }
    for (name, report) in [("A", a), ("B", b)] {
        if report.partial {
            let reason = report.ended.as_deref().unwrap_or("no reason given");
            warnings.push(format!("{name} is partial: {reason}"));
        }
    }
    warnings
}

/// Which faultlab measured, where that differs.
pub(super) fn software(a: &Report, b: &Report) -> Vec<Difference> {
    differences(&a.host, &b.host, &SOFTWARE)
}

fn differences(a: &Map<String, Value>, b: &Map<String, Value>, fields: &[&str]) -> Vec<Difference> {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "unknown".to_owned(),
    };
    let differing = fields.iter().filter(|field| a.get(**field) != b.get(**field));
    let difference = |field: &&str| Difference {
        field: (*field).to_owned(),
        a: text(a.get(*field)),
        b: text(b.get(*field)),
    };
    differing.map(difference).collect()
}
