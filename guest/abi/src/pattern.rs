//! In which order a scenario touches its pages. Its text is what command lines and reports call it, and what
//! [`crate::dev::PhaseArgs::pattern`] holds.

use core::fmt;

/// An order of touching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Nothing is touched: the operation has no order. Not for command lines.
    None,
    /// One page after another.
    Seq,
    /// In random order.
    Rand,
    /// In steps of so many pages, at least 1.
    Stride(u32),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::None => f.write_str("none"),
            Pattern::Seq => f.write_str("seq"),
            Pattern::Rand => f.write_str("rand"),
            Pattern::Stride(pages) => write!(f, "stride:{pages}"),
        }
    }
}
