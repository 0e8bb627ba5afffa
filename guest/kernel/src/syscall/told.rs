//! What is told, and can hardly be changed: `capget capset personality adjtimex clock_adjtime ioprio_get ioprio_set sync_file_range`; and memory of
//! other processes: `process_vm_readv process_vm_writev`.
//!
//! Who has the effective user 0 has all capabilities, others have none (`faultlab_linux::cred`), so `capset` can say only what is so already.
//! Nobody may set a clock, and nothing drifts. There is one class of everything that waits for a disk.
//!
//! Source: the man page of each; Linux, kernel/capability.c, block/ioprio.c, fs/sync.c, mm/process_vm_access.c.

use faultlab_linux::file::Kind;
use faultlab_mm::addr::VirtAddr;
use faultlab_mm::vma::MmId;

use super::file::file;
use super::time::{Clock, NS_PER_S};
use super::{Errno, Outcome};
use crate::cpu::regs::{PtRegs, VolatileRegs};
use crate::dev::clock;
use crate::mem::platform::MEMORY;
use crate::mem::uaccess;
use crate::task::process::{self, Process, current_mm};

mod nr {
    pub(super) const CAPGET: u64 = 125;
    pub(super) const CAPSET: u64 = 126;
    pub(super) const PERSONALITY: u64 = 135;
    pub(super) const ADJTIMEX: u64 = 159;
    pub(super) const IOPRIO_SET: u64 = 251;
    pub(super) const IOPRIO_GET: u64 = 252;
    pub(super) const SYNC_FILE_RANGE: u64 = 277;
    pub(super) const CLOCK_ADJTIME: u64 = 305;
    pub(super) const PROCESS_VM_READV: u64 = 310;
    pub(super) const PROCESS_VM_WRITEV: u64 = 311;
}

/// Carries out a call of these; `None` for another's number.
pub(super) fn call(regs: &PtRegs) -> Option<Result<Outcome, Errno>> {
    let VolatileRegs {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..
    } = regs.volatile;
    let result = match rax {
        nr::CAPGET => capget(rdi, rsi),
        nr::CAPSET => capset(rdi, rsi),
        nr::PERSONALITY => personality(rdi as u32),
        nr::ADJTIMEX => adjtimex(rdi),
        nr::CLOCK_ADJTIME => match Clock::new(rdi) {
            Ok(Clock::Real { coarse: false }) if rdi == 0 => adjtimex(rsi),
            Ok(_) => Err(Errno::EOPNOTSUPP),
            Err(errno) => Err(errno),
        },
        nr::IOPRIO_GET => ioprio(rdi as u32, rsi as u32).map(|()| 0),
        nr::IOPRIO_SET => ioprio_set(rdi as u32, rsi as u32, rdx as u32),
        nr::SYNC_FILE_RANGE => sync_file_range(rdi, rsi, rdx, r10),
        nr::PROCESS_VM_READV => process_vm(rdi as i32, [rsi, rdx], [r10, r8], r9, false),
        nr::PROCESS_VM_WRITEV => process_vm(rdi as i32, [rsi, rdx], [r10, r8], r9, true),
        _ => return None,
    };
    Some(result.map(Outcome::Value))
}

/// Capabilities that there are: bits 0 to 40.
const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// What a process has: effective, permitted, inheritable.
fn capabilities(process: &Process) -> [u64; 3] {
    let user = process.cred.get().user;
    let all_if = |has: bool| if has { ALL_CAPABILITIES } else { 0 };
    let permitted = [user.real, user.effective, user.saved].contains(&0);
    [all_if(user.effective == 0), all_if(permitted), 0]
}

/// A header: of which process, and in how many words of 32 bits each set is. An unknown version is told the one to use.
fn header(addr: u64, data: u64) -> Result<Option<(u32, usize)>, Errno> {
    const VERSION_1: u32 = 0x1998_0330;
    const VERSION_2: u32 = 0x2007_1026;
    const VERSION_3: u32 = 0x2008_0522;
    let bytes: [u8; 8] = uaccess::read(addr)?;
    let both = u64::from_le_bytes(bytes);
    let (version, pid) = (both as u32, (both >> 32) as u32);
    match version {
        VERSION_1 => Ok(Some((pid, 1))),
        VERSION_2 | VERSION_3 => Ok(Some((pid, 2))),
        _ => {
            uaccess::copy_to_user(addr, &VERSION_3.to_le_bytes())?;
            if data == 0 { Ok(None) } else { Err(Errno::EINVAL) }
        }
    }
}

fn capget(head: u64, data: u64) -> Result<u64, Errno> {
    let Some((pid, words)) = header(head, data)? else {
        return Ok(0);
    };
    if pid.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let process = match pid {
        0 => process::current(),
        pid => process::find_thread(pid).ok_or(Errno::ESRCH)?,
    };
    if data == 0 {
        return Ok(0);
    }
    let sets = capabilities(process);
    for word in 0..words {
        for (index, set) in sets.into_iter().enumerate() {
            let at = data.wrapping_add((word * sets.len() + index) as u64 * 4);
            uaccess::copy_to_user(at, &((set >> (32 * word)) as u32).to_le_bytes())?;
        }
    }
    Ok(0)
}

fn capset(head: u64, data: u64) -> Result<u64, Errno> {
    let (pid, words) = header(head, 1)?.ok_or(Errno::EINVAL)?;
    if pid != 0 && pid != process::current().tid.get() {
        return Err(Errno::EPERM);
    }
    let sets = capabilities(process::current());
    for word in 0..words {
        for (index, set) in sets.into_iter().enumerate() {
            let at = data.wrapping_add((word * sets.len() + index) as u64 * 4);
            let wanted = u32::from_le_bytes(uaccess::read(at)?);
            let known = (ALL_CAPABILITIES >> (32 * word)) as u32;
            if wanted & known != (set >> (32 * word)) as u32 {
                return Err(Errno::EPERM);
            }
        }
    }
    Ok(0)
}

/// What there was. Addresses are not drawn by lot here, so that it may be asked not to be changes nothing; the others would.
fn personality(wanted: u32) -> Result<u64, Errno> {
    const ASK: u32 = u32::MAX;
    const ADDR_NO_RANDOMIZE: u32 = 0x004_0000;
    let kept = &process::current().leader().personality;
    match wanted {
        ASK => {}
        0 | ADDR_NO_RANDOMIZE => return Ok(kept.replace(wanted).into()),
        _ => return Err(Errno::EINVAL),
    }
    Ok(kept.get().into())
}

/// A clock that nobody corrects: told, not set.
fn adjtimex(addr: u64) -> Result<u64, Errno> {
    const TIMEX_BYTES: usize = 208;
    const TIME_ERROR: u64 = 5;
    const STA_UNSYNC: u64 = 0x40;
    const ERROR_MAX_US: u64 = 16_000_000;
    const TOLERANCE: u64 = 500 << 16;
    const TICK_US: u64 = 10_000;
    let modes = u32::from_le_bytes(uaccess::read(addr)?);
    if modes != 0 {
        return Err(Errno::EPERM);
    }
    let now = clock::realtime_ns();
    let mut words = [0; TIMEX_BYTES / 8];
    words[3] = ERROR_MAX_US;
    words[4] = ERROR_MAX_US;
    words[5] = STA_UNSYNC;
    words[6] = 2;
    words[7] = 1;
    words[8] = TOLERANCE;
    words[9] = now / NS_PER_S;
    words[10] = now % NS_PER_S / 1000;
    words[11] = TICK_US;
    for (word, at) in words.into_iter().zip((addr..).step_by(8)) {
        uaccess::copy_to_user(at, &word.to_le_bytes())?;
    }
    Ok(TIME_ERROR)
}

/// Whether there is whom `which` and `who` name. Source: ioprio_set(2).
fn ioprio(which: u32, who: u32) -> Result<(), Errno> {
    const PROCESS: u32 = 1;
    const GROUP: u32 = 2;
    const USER: u32 = 3;
    let own = process::current();
    let found = match which {
        PROCESS => who == 0 || process::find_thread(who).is_some(),
        GROUP => {
            who == 0
                || process::table()
                    .iter()
                    .any(|other| other.lives() && other.leader().group.get() == who)
        }
        USER => who == 0 || own.cred.get().user.real == who,
        _ => return Err(Errno::EINVAL),
    };
    if found { Ok(()) } else { Err(Errno::ESRCH) }
}

/// No class is the only one.
fn ioprio_set(which: u32, who: u32, priority: u32) -> Result<u64, Errno> {
    ioprio(which, who)?;
    if priority == 0 { Ok(0) } else { Err(Errno::EINVAL) }
}

/// Nothing here has a disk of its own to be written to.
fn sync_file_range(descriptor: u64, offset: u64, bytes: u64, flags: u64) -> Result<u64, Errno> {
    const KNOWN: u32 = 7;
    let file = file(descriptor)?;
    let end = offset.cast_signed().checked_add(bytes.cast_signed());
    if flags as u32 & !KNOWN != 0 || offset.cast_signed() < 0 || end.is_none_or(|end| end < offset.cast_signed()) {
        return Err(Errno::EINVAL);
    }
    match file.kind() {
        Kind::Object(_) | Kind::Directory(_) | Kind::Proc(_) => Ok(0),
        _ => Err(Errno::ESPIPE),
    }
}

/// Most vectors of a call. Source: Linux `UIO_MAXIOV`.
const VECTORS_MAX: u64 = 1024;

/// A list of pieces of memory, in the running process's own.
struct Pieces {
    next: u64,
    left: u64,
    addr: u64,
    len: u64,
}

impl Pieces {
    fn new([vectors, count]: [u64; 2]) -> Result<Self, Errno> {
        if count > VECTORS_MAX {
            return Err(Errno::EINVAL);
        }
        for index in 0..count {
            let (_, len) = Self::read(vectors.wrapping_add(16 * index))?;
            if len.cast_signed() < 0 {
                return Err(Errno::EINVAL);
            }
        }
        Ok(Self {
            next: vectors,
            left: count,
            addr: 0,
            len: 0,
        })
    }

    fn read(at: u64) -> Result<(u64, u64), Errno> {
        let pair = u128::from_le_bytes(uaccess::read(at)?);
        Ok((pair as u64, (pair >> 64) as u64))
    }

    /// What is left of the first piece that is not done; `None` at the end.
    fn first(&mut self) -> Result<Option<(u64, u64)>, Errno> {
        while self.len == 0 {
            if self.left == 0 {
                return Ok(None);
            }
            (self.addr, self.len) = Self::read(self.next)?;
            self.next = self.next.wrapping_add(16);
            self.left -= 1;
        }
        Ok(Some((self.addr, self.len)))
    }

    fn advance(&mut self, by: u64) {
        self.addr = self.addr.wrapping_add(by);
        self.len -= by;
    }
}

/// Whether the running process may look into another's memory. Source: Linux `__ptrace_may_access`.
pub(super) fn may_access(other: &Process) -> bool {
    let (caller, target) = (process::current().cred.get(), other.cred.get());
    let same = [target.user.real, target.user.effective, target.user.saved] == [caller.user.real; 3]
        && [target.group.real, target.group.effective, target.group.saved] == [caller.group.real; 3];
    other.pid.get() == process::current().pid.get() || same || caller.privileged()
}

/// `process_vm_readv` and `process_vm_writev`: bytes from another process's memory, or into it; as many as came before what was not there.
fn process_vm(pid: i32, own: [u64; 2], other: [u64; 2], flags: u64, writes: bool) -> Result<u64, Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (mut own, mut other) = (Pieces::new(own)?, Pieces::new(other)?);
    if own.first()?.is_none() || other.first()?.is_none() {
        return Ok(0);
    }
    let process = u32::try_from(pid)
        .ok()
        .and_then(process::find_thread)
        .ok_or(Errno::ESRCH)?;
    let mm = process.mm.get().ok_or(Errno::ESRCH)?;
    if !may_access(process) {
        return Err(Errno::EPERM);
    }
    let mut done = 0;
    while let (Some(near), Some(far)) = (own.first()?, other.first()?) {
        match copy_some(mm, near, far, writes) {
            Ok(bytes) => {
                done += bytes;
                own.advance(bytes);
                other.advance(bytes);
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// At most so many bytes as both pieces have, and not beyond the end of a page of the other's: what is behind that may not be there.
fn copy_some(mm: MmId, near: (u64, u64), far: (u64, u64), writes: bool) -> Result<u64, Errno> {
    const CHUNK_BYTES: u64 = 256;
    const _: () = assert!(faultlab_abi::layout::PAGE_SIZE.is_multiple_of(CHUNK_BYTES));
    let in_chunk = CHUNK_BYTES - far.0 % CHUNK_BYTES;
    let len = near.1.min(far.1).min(in_chunk);
    let mut buffer = [0; CHUNK_BYTES as usize];
    let chunk = &mut buffer[..len as usize];
    MEMORY.may_access_remote(mm, VirtAddr(far.0), writes)?;
    if writes {
        uaccess::copy_from(current_mm(), chunk, near.0)?;
        uaccess::copy_to(mm, far.0, chunk)?;
    } else {
        uaccess::copy_from(mm, chunk, far.0)?;
        uaccess::copy_to(current_mm(), near.0, chunk)?;
    }
    Ok(len)
}
