//! The host kernel's own events of the vCPU's thread, through a private tracefs instance.
//!
//! | module | what is in it |
//! |---|---|
//! | `instance` | the instance: made, switched, read, removed |
//! | `line` | a line of its text |
//! | `side` | a row's host side made of events |
//!
//! The instance's clock is the time-stamp counter, so its events need no other clock to be compared with the VMM's and
//! the guest's. Only events of one thread are recorded. It is removed when the value is dropped; what a killed process left is
//! removed by the next.
//!
//! Source: Linux, Documentation/trace/ftrace.rst, "Instances" and `trace_clock`; Documentation/trace/events.rst.

mod instance;
mod line;
mod side;

pub use instance::HostEvents;
pub use line::{HostEvent, HostEventKind};
pub use side::{HostSide, HostSideTimes, HostTally};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostTrace {
    /// In the order of time.
    pub events: Vec<HostEvent>,
    /// Events that the kernel overwrote or dropped, and lines that could not be read.
    pub lost: u64,
}
