//! A request that a disk which stalls on purpose owes its driver.

use std::fmt;
use std::time::{Duration, Instant};

use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};

use super::chain::Request;

/// A request that the device took and has not answered.
#[derive(Clone, Copy, Debug)]
pub struct Unanswered {
    /// `VIRTIO_BLK_T_*`.
    kind: u32,
    /// Which of all requests it is, from 1.
    number: u64,
    sector: u64,
    data_bytes: u64,
    since: Instant,
}

impl Unanswered {
    /// `request`, the so many-th, from now on.
    pub(super) fn new(request: &Request, number: u64) -> Unanswered {
        Unanswered {
            kind: request.kind,
            number,
            sector: request.sector,
            data_bytes: request.data_bytes(),
            since: Instant::now(),
        }
    }

    /// How long the driver has waited.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            VIRTIO_BLK_T_IN => "a read",
            VIRTIO_BLK_T_OUT => "a write",
            _ => "a request",
        };
        write!(
            f,
            "the swap disk, which has not answered request {}, {what} of {} bytes at sector {} (page {}), for {:.1} s",
            self.number,
            self.data_bytes,
            self.sector,
            self.sector / 8,
            self.waited().as_secs_f64()
        )
    }
}
