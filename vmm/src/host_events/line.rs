//! One line of an instance's `trace`: `comm-tid [cpu] flags timestamp: event: details`.

/// Which tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEventKind {
    /// `kvm:kvm_exit`.
    Exit,
    /// `kvm:kvm_entry`.
    Entry,
    /// `kvm:kvm_page_fault`: KVM was asked for a second-level translation.
    KvmPageFault,
    /// `exceptions:page_fault_user`: the VMM's own code faulted.
    PageFaultUser,
    /// `exceptions:page_fault_kernel`: the host kernel faulted on the VMM's memory.
    PageFaultKernel,
}

impl HostEventKind {
    /// All, with group and name.
    pub const ALL: [(HostEventKind, &'static str, &'static str); 5] = [
        (HostEventKind::Exit, "kvm", "kvm_exit"),
        (HostEventKind::Entry, "kvm", "kvm_entry"),
        (HostEventKind::KvmPageFault, "kvm", "kvm_page_fault"),
        (HostEventKind::PageFaultUser, "exceptions", "page_fault_user"),
        (HostEventKind::PageFaultKernel, "exceptions", "page_fault_kernel"),
    ];

    /// The tracepoint's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("", |(_, _, name)| name)
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEvent {
    /// Host time-stamp counter.
    pub tsc: u64,
    /// Which.
    pub kind: HostEventKind,
    /// What the kernel says about it, in its words.
    pub detail: String,
}

impl HostEvent {
    /// The event that a line tells; `None` for anything else.
    pub(super) fn parse(line: &str) -> Option<HostEvent> {
        // The command's name may hold anything, this separator included; what follows it decides.
        line.match_indices("] ")
            .find_map(|(at, _)| Self::after_cpu(&line[at + 2..]))
    }

    /// `flags timestamp: event: details`.
    fn after_cpu(rest: &str) -> Option<HostEvent> {
        let (_flags, rest) = rest.trim_start().split_once(' ')?;
        let (tsc, rest) = rest.trim_start().split_once(": ")?;
        let (name, detail) = rest.split_once(':')?;
        let (kind, ..) = *HostEventKind::ALL.iter().find(|(_, _, known)| *known == name.trim())?;
        Some(HostEvent {
            tsc: tsc.parse().ok()?,
            kind,
            detail: detail.trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let line = "        faultlab-4711    [001] d..2. 123456789012: kvm_exit: vcpu 0 reason npf rip 0x401000 info1 0x100 [x] y";
        let event = HostEvent::parse(line).unwrap();
        assert_eq!((event.tsc, event.kind), (123_456_789_012, HostEventKind::Exit));
        assert!(event.detail.starts_with("vcpu 0 reason npf"));
        assert_eq!(HostEvent::parse("# tracer: nop"), None);
        assert_eq!(HostEvent::parse("CPU:0 [LOST 17 EVENTS]"), None);
        assert_eq!(
            HostEvent::parse(" a-1 [000] d.... 1.5: kvm_exit: x"),
            None,
            "another clock"
        );
        assert_eq!(HostEvent::parse(" a-1 [000] d.... 15: kvm_pio: x"), None);
    }
}
