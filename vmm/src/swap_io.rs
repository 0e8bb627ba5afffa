//! Who serves the swap disk's requests, and how they reach the file.
//!
//! | `--swap-io` | thread | transfers | at a time |
//! |---|---|---|---|
//! | `inline` | the vCPU's, while it waits in the doorbell's exit | `preadv`, `pwritev` | one |
//! | `thread` | one of its own | `preadv`, `pwritev` | one; requests that are late on purpose wait aside |
//! | `uring` | one of its own | `io_uring` | as many as the queue holds |

use std::sync::OnceLock;

use io_uring::{IoUring, Probe, opcode};

/// Who serves requests, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SwapIo {
    /// The vCPU's thread.
    #[default]
    Inline,
    /// An I/O thread with vectored reads and writes.
    Thread,
    /// An I/O thread with `io_uring`.
    Uring,
}

impl SwapIo {
    /// All of them.
    pub const ALL: [SwapIo; 3] = [SwapIo::Inline, SwapIo::Thread, SwapIo::Uring];

    /// Its name in reports and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SwapIo::Inline => "inline",
            SwapIo::Thread => "thread",
            SwapIo::Uring => "uring",
        }
    }

    /// What takes its place here: itself, unless it is `io_uring` and this host has none or forbids it.
    #[must_use]
    pub fn on_this_host(self) -> SwapIo {
        match self {
            SwapIo::Uring if !has_uring() => SwapIo::Thread,
            other => other,
        }
    }
}

/// Whether this process may use `io_uring`, with all that the swap disk needs of it. Asked once.
///
/// Source: io_uring_setup(2), io_uring_register(2) `IORING_REGISTER_PROBE`.
fn has_uring() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let mut probe = Probe::new();
        let asked = IoUring::new(2).and_then(|ring| ring.submitter().register_probe(&mut probe));
        asked.is_ok()
            && [opcode::Readv::CODE, opcode::Writev::CODE, opcode::Fsync::CODE]
                .iter()
                .all(|&code| probe.is_supported(code))
    })
}
