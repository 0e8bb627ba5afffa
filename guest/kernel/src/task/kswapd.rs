//! kswapd, which has no process of its own here.

use crate::mem::platform::memory;
use crate::task::page_wait;

/// Reclaims before going back to a program, if somebody found memory low: kswapd's work, on this vCPU's time.
#[inline(always)]
pub(crate) fn run_kswapd<const LEVEL: u8>() {
    let memory = memory::<LEVEL>();
    if memory.kswapd_wanted() {
        memory.kswapd();
        page_wait::wake();
    }
}
