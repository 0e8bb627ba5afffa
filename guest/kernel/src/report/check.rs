//! The kernel verifies its own structures when the first program has ended: `faultlab exec --check`.
//!
//! Twice: with everybody as they are, and when all have given up what they had. Then nothing may be left but files and segments.

use core::cell::Cell;

use faultlab_abi::lab::panic_reason;
use faultlab_kernel::cmdline::Check;
use faultlab_kernel::line;
use faultlab_mm::check::Violation;
use faultlab_mm::gfp::Gfp;

use crate::global::Global;
use crate::mem::platform::{LINUX, MEMORY};
use crate::report::{log, panic};

static WANTED: Global<Cell<Option<Check>>> = Global::new(Cell::new(None));

/// Notes what is to be verified.
pub(crate) fn start(check: Option<Check>) {
    WANTED.set(check);
}

/// Whether anything is.
pub(crate) fn is_wanted() -> bool {
    WANTED.get().is_some()
}

/// Verifies everything while everybody has what they have.
pub(crate) fn before_the_end() {
    if WANTED.get() == Some(Check::Spoilt) {
        // A frame that nobody knows of.
        _ = MEMORY.alloc_pages(Gfp::KERNEL, 0);
    }
    MEMORY.swap_drain();
    ensure(MEMORY.verify().and_then(|()| LINUX.verify()));
}

/// Verifies what is left.
pub(crate) fn after_the_end() {
    ensure(MEMORY.verify_at_rest().and_then(|()| LINUX.verify_at_rest()));
    log::info(&line!["the kernel's structures agree with each other"]);
}

fn ensure(verified: Result<(), Violation>) {
    if let Err(found) = verified {
        let text = line![
            found.what,
            " ",
            found.at,
            ": ",
            found.found,
            ", expected ",
            found.expected,
            "; please report this with the program that was run"
        ];
        panic::stop(panic_reason::INVARIANT, &text)
    }
}
