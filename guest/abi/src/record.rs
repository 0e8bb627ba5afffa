//! What `faults` writes where there is no laboratory: on plain Linux, to the descriptor that `--record` names.
//!
//! The stream is a sequence of records: a [`Header`], and so many bytes of payload. What is counted there is what Linux
//! counts for the process; all else is as in [`crate::dev`].
//!
//! | [`Header::kind`] | payload |
//! |---|---|
//! | [`PHASE`] | [`Phase`], then its samples, 8 bytes each |
//! | [`SKIP`] | [`crate::dev::SkipArgs`] |

use core::mem::size_of;

use crate::dev::PhaseArgs;

/// A phase has ended.
pub const PHASE: u64 = 1;
/// A row will not come.
pub const SKIP: u64 = 2;

/// What every record begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`PHASE`] or [`SKIP`].
    pub kind: u64,
    /// Bytes of the payload.
    pub bytes: u64,
}

/// One phase, less its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Phase {
    /// As in the laboratory.
    pub args: PhaseArgs,
    /// Faults without I/O in the phase. Source: getrusage(2), `ru_minflt`.
    pub minflt: u64,
    /// Faults with I/O. Source: the same, `ru_majflt`.
    pub majflt: u64,
}

const _: () = assert!(size_of::<Header>() == 16);
const _: () = assert!(size_of::<Phase>() == size_of::<PhaseArgs>() + 16);
