//! `uname getrandom`: what programs ask for before they begin.
//!
//! Source: uname(2), getrandom(2).

use faultlab_linux::proc::{HOSTNAME, OSRELEASE, OSTYPE, VERSION};

use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::random;
use crate::mem::uaccess;

mod nr {
    pub(super) const UNAME: u64 = 63;
    pub(super) const GETRANDOM: u64 = 318;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs { rax, rdi, rsi, rdx, .. } = regs.volatile;
    Some(match rax {
        nr::UNAME => uname(rdi),
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
