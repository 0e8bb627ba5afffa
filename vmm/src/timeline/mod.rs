//! What happened when, on one axis: the guest's faults, the VMM's exits and disk requests, the host kernel's events.
//!
//! | module | what is in it |
//! |---|---|
//! | [`clock`] | the host's time-stamp counter, and the guest's offset to it |
//! | [`log`] | spans of the VMM, bounded |
//! | [`chrome`] | the timeline as a Chrome trace-event file |
//! | [`requests`] | disk requests of a phase, and the stages of one |
//! | [`slices`] | a fault as nested slices |
//! | [`text`] | one fault's timeline for people |
//!
//! The axis is the host's time-stamp counter: the VMM and the host kernel's events read it, the guest's differs by an
//! offset that is measured before and after the run.

pub mod chrome;
pub mod clock;
pub mod log;
pub mod requests;
pub mod slices;
pub mod text;

use self::clock::GuestClock;
use self::log::{BlockSpan, ExitSpan, Log};
use crate::host_events::HostTrace;

/// What was recorded beside the guest's own trace.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Exits that the VMM served.
    pub exits: Log<ExitSpan>,
    /// Requests that the swap disk served.
    pub block: Log<BlockSpan>,
    /// The host kernel's events, or why there are none; `None` if not asked for.
    pub host: Option<Result<HostTrace, String>>,
    /// How the guest's time stamps relate to the others.
    pub clock: GuestClock,
}
