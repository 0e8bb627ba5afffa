//! `uname getrandom sched_getaffinity`: what programs ask for before they begin.
//!
//! Source: uname(2), getrandom(2), sched_setaffinity(2).

use faultlab_linux::proc::{HOSTNAME, OSRELEASE, OSTYPE, VERSION};

use super::{Errno, Outcome};
use crate::entry::{PtRegs, VolatileRegs};
use crate::{process, random, uaccess};

mod nr {
    pub(super) const UNAME: u64 = 63;
    pub(super) const SCHED_GETAFFINITY: u64 = 204;
    pub(super) const GETRANDOM: u64 = 318;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs { rax, rdi, rsi, rdx, .. } = regs.volatile;
    Some(match rax {
        nr::UNAME => uname(rdi),
        nr::SCHED_GETAFFINITY => sched_getaffinity(rdi as u32, rsi, rdx),
        nr::GETRANDOM => getrandom(rdi, rsi, rdx),
        _ => return None,
    })
}

fn uname(addr: u64) -> Result<Outcome, Errno> {
    const FIELD_BYTES: usize = 65;
    const FIELDS: [&str; 6] = [OSTYPE, HOSTNAME, OSRELEASE, VERSION, "x86_64", "(none)"];
    let mut bytes = [0; FIELD_BYTES * FIELDS.len()];
    for (to, field) in bytes.chunks_exact_mut(FIELD_BYTES).zip(FIELDS) {
        to[..field.len()].copy_from_slice(field.as_bytes());
    }
    uaccess::copy_to_user(addr, &bytes)?;
    Ok(Outcome::Value(0))
}

/// There is one processor.
fn sched_getaffinity(pid: u32, bytes: u64, addr: u64) -> Result<Outcome, Errno> {
    const MASK_BYTES: u64 = 8;
    if bytes < MASK_BYTES || !bytes.is_multiple_of(MASK_BYTES) {
        return Err(Errno::EINVAL);
    }
    if pid != 0 && process::find_thread(pid).is_none() {
        return Err(Errno::ESRCH);
    }
    uaccess::copy_to_user(addr, &1u64.to_le_bytes())?;
    Ok(Outcome::Value(MASK_BYTES))
}

fn getrandom(addr: u64, len: u64, flags: u64) -> Result<Outcome, Errno> {
    const KNOWN: u64 = 7;
    /// `GRND_RANDOM | GRND_INSECURE`: both cannot be meant.
    const CONTRADICTION: u64 = 6;
    const MOST: u64 = 32 << 20;
    if flags & !KNOWN != 0 || flags & CONTRADICTION == CONTRADICTION {
        return Err(Errno::EINVAL);
    }
    let len = len.min(MOST);
    random::read(addr, len).map(Outcome::Value)
}
