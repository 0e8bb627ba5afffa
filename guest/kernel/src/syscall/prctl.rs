//! `prctl`, as far as it is about huge pages. Source: PR_SET_THP_DISABLE(2const). Rule G1.

use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::mem::platform::MEMORY;
use crate::task::process::current_mm;

const NR_PRCTL: u64 = 157;
const PR_SET_THP_DISABLE: u64 = 41;
const PR_GET_THP_DISABLE: u64 = 42;

/// Carries out a call of these; `None` for another's number, and for what `prctl` can do elsewhere.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        ..
    } = regs.volatile;
    if rax != NR_PRCTL {
        return None;
    }
    match rdi {
        PR_SET_THP_DISABLE if rdx | r10 | r8 != 0 => Some(Err(Errno::EINVAL)),
        PR_SET_THP_DISABLE => {
            MEMORY.set_thp_disabled(current_mm(), rsi != 0);
            Some(Ok(Outcome::Value(0)))
        }
        PR_GET_THP_DISABLE if rsi | rdx | r10 | r8 != 0 => Some(Err(Errno::EINVAL)),
        PR_GET_THP_DISABLE => Some(Ok(Outcome::Value(u64::from(MEMORY.thp_disabled(current_mm()))))),
        _ => None,
    }
}
