//! `futex`, and the futexes that a thread leaves behind.
//!
//! A thread that waits is in [`FUTEXES`] by the slot that it has, until its call returns: when it runs again and makes the call anew, it finds
//! there whether it was woken. So it is woken once, however often it looks.
//!
//! Those with inheritance of priorities (`FUTEX_LOCK_PI`) have nothing to inherit, since all take turns alike: they are locks that the kernel
//! hands from one thread to the next. Differs from Linux: waiting for a condition and then for such a lock in one call
//! (`FUTEX_WAIT_REQUEUE_PI`), which C libraries do not use any more, is `ENOSYS`.
//!
//! Source: futex(2); Linux, kernel/futex/syscalls.c, waitwake.c, requeue.c, core.c (`exit_robust_list`).

use faultlab_abi::layout::USER_END;
use faultlab_linux::futex::{
    BITSET_ANY, CLOCK_REALTIME, FUTEX_TID_MASK, FUTEX_WAITERS, Futexes, Left, PRIVATE, Wait, WakeOp, left_by, op,
    walk_robust_list,
};
use faultlab_mm::addr::VirtAddr;
use faultlab_mm::mmap::FutexKey;
use faultlab_mm::vma::MmId;

use super::{Errno, Outcome, time};
use crate::cpu::regs::PtRegs;
use crate::dev::clock;
use crate::global::Global;
use crate::mem::platform::MEMORY;
use crate::mem::uaccess;
use crate::task::process::{self, Interrupted, PROCESSES_MAX, Process, State, current_mm};

static FUTEXES: Global<Futexes<PROCESSES_MAX>> = Global::new(Futexes::new());

/// The number of the call.
pub(super) const NUMBER: u64 = 202;

/// `futex(addr, op, value, timeout or second value, second addr, third value)`.
pub(super) fn futex(regs: &PtRegs) -> Result<Outcome, Errno> {
    let v = &regs.volatile;
    let (addr, value, timeout) = (v.rdi, v.rdx as u32, v.r10);
    let (other, third) = (v.r8, v.r9 as u32);
    let flags = v.rsi as u32;
    let private = flags & PRIVATE != 0;
    let command = flags & !(PRIVATE | CLOCK_REALTIME);
    if flags & CLOCK_REALTIME != 0 && !matches!(command, op::WAIT_BITSET | op::LOCK_PI2) {
        return Err(Errno::ENOSYS);
    }
    let count = |count: Result<u64, Errno>| count.map(Outcome::Value);
    match command {
        op::WAIT => wait(addr, private, value, BITSET_ANY, || {
            let span = span(timeout)?;
            Ok(span.map(|span| clock::monotonic_ns().saturating_add(span)))
        }),
        op::WAIT_BITSET => wait(addr, private, value, third, || {
            let end = span(timeout)?;
            Ok(end.map(|end| match flags & CLOCK_REALTIME {
                0 => end,
                _ => clock::monotonic_of_realtime(end),
            }))
        }),
        op::WAKE => count(wake(key(addr, private)?, value, BITSET_ANY)),
        op::WAKE_BITSET if third == 0 => Err(Errno::EINVAL),
        op::WAKE_BITSET => count(wake(key(addr, private)?, value, third)),
        op::REQUEUE => count(requeue([addr, other], private, [value, timeout as u32], None)),
        op::CMP_REQUEUE => count(requeue([addr, other], private, [value, timeout as u32], Some(third))),
        op::WAKE_OP => count(wake_op(
            [addr, other],
            private,
            [value, timeout as u32],
            WakeOp::decode(third),
        )),
        // The first of the two is on the clock of the day always.
        op::LOCK_PI => lock(addr, private, || until(timeout, true)),
        op::LOCK_PI2 => lock(addr, private, || until(timeout, flags & CLOCK_REALTIME != 0)),
        op::TRYLOCK_PI => try_lock(addr, private),
        op::UNLOCK_PI => count(unlock(addr, private)),
        _ => Err(Errno::ENOSYS),
    }
}

/// A time of one of the two clocks that a program may leave out, on the monotonic one.
fn until(addr: u64, of_the_day: bool) -> Result<Option<u64>, Errno> {
    let end = span(addr)?;
    Ok(end.map(|end| {
        if of_the_day {
            clock::monotonic_of_realtime(end)
        } else {
            end
        }
    }))
}

/// Takes a lock if nobody has it; whether it did, otherwise the word. Source: Linux `futex_lock_pi_atomic`.
fn take(addr: u64) -> Result<Result<(), u32>, Errno> {
    let (own, word) = (process::current().tid.get(), read(addr)?);
    match word & FUTEX_TID_MASK {
        0 => {
            uaccess::copy_to_user(addr, &(own | word & !FUTEX_TID_MASK).to_le_bytes())?;
            Ok(Ok(()))
        }
        owner if owner == own => Err(Errno::EDEADLK),
        owner => match process::find_thread(owner).filter(|owner| owner.lives()) {
            Some(_) => Ok(Err(word)),
            None => Err(Errno::ESRCH),
        },
    }
}

/// `FUTEX_LOCK_PI`: who was woken was given the lock.
fn lock(addr: u64, private: bool, deadline: impl FnOnce() -> Result<Option<u64>, Errno>) -> Result<Outcome, Errno> {
    let (own, index) = (process::current(), process::current_index());
    match FUTEXES.state(index) {
        Wait::Idle => {
            let deadline = deadline()?;
            let key = key(addr, private)?;
            let Err(word) = take(addr)? else {
                return Ok(Outcome::Value(0));
            };
            uaccess::copy_to_user(addr, &(word | FUTEX_WAITERS).to_le_bytes())?;
            FUTEXES.wait(index, key, BITSET_ANY);
            process::set_deadline(own, deadline);
        }
        Wait::Queued => {}
        Wait::Woken => {
            leave(own);
            return Ok(Outcome::Value(0));
        }
    }
    match own.deadline.get() {
        Some(deadline) if deadline <= clock::monotonic_ns() => {
            leave(own);
            Err(Errno::ETIMEDOUT)
        }
        _ => Ok(Outcome::Sleep(Interrupted::Anyway)),
    }
}

/// `FUTEX_TRYLOCK_PI`.
fn try_lock(addr: u64, private: bool) -> Result<Outcome, Errno> {
    key(addr, private)?;
    match take(addr)? {
        Ok(()) => Ok(Outcome::Value(0)),
        Err(_) => Err(Errno::EAGAIN),
    }
}

/// `FUTEX_UNLOCK_PI`: the lock is the first one's who waits for it.
fn unlock(addr: u64, private: bool) -> Result<u64, Errno> {
    if read(addr)? & FUTEX_TID_MASK != process::current().tid.get() {
        return Err(Errno::EPERM);
    }
    let word = hand_over(key(addr, private)?, 0);
    uaccess::copy_to_user(addr, &word.to_le_bytes())?;
    Ok(0)
}

/// Gives a lock to the first that waits for it: what its word is then, besides `more`; 0 if nobody does.
fn hand_over(key: FutexKey, more: u32) -> u32 {
    let mut word = more;
    FUTEXES.wake(key, 1, BITSET_ANY, |index| {
        word |= process::table()[index].tid.get();
        woken(index);
    });
    if FUTEXES.any(key) { word | FUTEX_WAITERS } else { word }
}

/// A time that a program may leave out.
fn span(addr: u64) -> Result<Option<u64>, Errno> {
    match addr {
        0 => Ok(None),
        addr => time::read_timespec(addr).map(Some),
    }
}

/// The word at an address of the running process.
fn key(addr: u64, private: bool) -> Result<FutexKey, Errno> {
    key_of(current_mm(), addr, private)
}

fn key_of(mm: MmId, addr: u64, private: bool) -> Result<FutexKey, Errno> {
    if !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    // As Linux has it: the first address that is none passes.
    if addr > USER_END {
        return Err(Errno::EFAULT);
    }
    if private {
        return Ok(FutexKey::private(Some(mm), addr));
    }
    // What is not there yet, or has to grow, is brought in.
    let mut word = [0; 4];
    uaccess::copy_from(mm, &mut word, addr)?;
    Ok(MEMORY.futex_key(mm, VirtAddr(addr))?)
}

fn read(addr: u64) -> Result<u32, Errno> {
    uaccess::read(addr).map(u32::from_le_bytes)
}

/// Waits; `deadline` says until when, on the monotonic clock.
fn wait(
    addr: u64,
    private: bool,
    value: u32,
    bitset: u32,
    deadline: impl FnOnce() -> Result<Option<u64>, Errno>,
) -> Result<Outcome, Errno> {
    let (own, index) = (process::current(), process::current_index());
    match FUTEXES.state(index) {
        Wait::Idle => {
            let deadline = deadline()?;
            if bitset == 0 {
                return Err(Errno::EINVAL);
            }
            let key = key(addr, private)?;
            if read(addr)? != value {
                return Err(Errno::EAGAIN);
            }
            FUTEXES.wait(index, key, bitset);
            process::set_deadline(own, deadline);
        }
        Wait::Queued => {}
        Wait::Woken => {
            leave(own);
            return Ok(Outcome::Value(0));
        }
    }
    match own.deadline.get() {
        Some(deadline) if deadline <= clock::monotonic_ns() => {
            leave(own);
            Err(Errno::ETIMEDOUT)
        }
        // The rest of the time is not told, so a call with one is not made again after a handler.
        Some(_) => Ok(Outcome::Sleep(Interrupted::Once)),
        None => Ok(Outcome::Sleep(Interrupted::Restartable)),
    }
}

/// A thread's call is over, or the thread is; whether it was woken.
fn leave(thread: &Process) -> bool {
    match FUTEXES.leave(thread.index()) {
        Wait::Idle => false,
        state => {
            process::set_deadline(thread, None);
            state == Wait::Woken
        }
    }
}

/// A handler is about to run instead of a call in which the running thread may wait for a futex: it does not any more. Whether it was woken
/// before that: then the call is over. Source: Linux `futex_wait`, which looks for that first.
pub(crate) fn interrupted() -> bool {
    leave(process::current())
}

/// A thread has been woken, and goes on when it can.
fn woken(index: usize) {
    let thread = &process::table()[index];
    if thread.state.get() == State::Waiting {
        thread.state.set(State::Runnable);
    }
}

/// Wakes at most `most` threads, at least one.
fn wake(key: FutexKey, most: u32, bitset: u32) -> Result<u64, Errno> {
    Ok(FUTEXES.wake(key, at_least_one(most), bitset, woken))
}

/// As on Linux, none or less than none are one.
fn at_least_one(most: u32) -> u64 {
    u64::from(most.cast_signed().max(1).cast_unsigned())
}

fn requeue(addrs: [u64; 2], private: bool, counts: [u32; 2], expected: Option<u32>) -> Result<u64, Errno> {
    let [wake, most] = counts.map(|count| u64::try_from(count.cast_signed()).map_err(|_| Errno::EINVAL));
    let (wake, most) = (wake?, most?);
    let keys = [key(addrs[0], private)?, key(addrs[1], private)?];
    if let Some(expected) = expected
        && read(addrs[0])? != expected
    {
        return Err(Errno::EAGAIN);
    }
    Ok(FUTEXES.requeue(keys, wake, most, woken))
}

fn wake_op(addrs: [u64; 2], private: bool, counts: [u32; 2], op: WakeOp) -> Result<u64, Errno> {
    let keys = [key(addrs[0], private)?, key(addrs[1], private)?];
    let old = read(addrs[1])?;
    // Nobody else runs meanwhile.
    uaccess::copy_to_user(addrs[1], &op.apply(old)?.to_le_bytes())?;
    let also = op.holds(old)?;
    let mut count = wake(keys[0], counts[0], BITSET_ANY)?;
    if also {
        count += wake(keys[1], counts[1], BITSET_ANY)?;
    }
    Ok(count)
}

/// A thread is about to leave its address space: it waits for nothing, those who wait for its robust locks or for its end learn of it.
pub(crate) fn exit(thread: &Process) {
    leave(thread);
    let Some(mm) = thread.mm.get() else { return };
    let wake_at = |addr: u64| {
        if let Ok(key) = key_of(mm, addr, false) {
            FUTEXES.wake(key, 1, BITSET_ANY, woken);
        }
    };
    let head = thread.robust_list.take();
    if head != 0 {
        let read = |addr| {
            let mut word = [0; 8];
            uaccess::copy_from(mm, &mut word, addr).ok()?;
            Some(u64::from_le_bytes(word))
        };
        // What is wrong with the list is the program's affair.
        _ = walk_robust_list(head, read, |left| release_lock(mm, thread.tid.get(), left, wake_at));
    }
    let word = thread.clear_child_tid.take();
    // Nobody could see it otherwise.
    if word != 0 && MEMORY.mm_users(mm) > 1 {
        _ = uaccess::copy_to(mm, word, &0u32.to_le_bytes());
        wake_at(word);
    }
}

/// Lets who waits for a lock know that thread `tid`, if it held it, has ended. Source: Linux `handle_futex_death`.
fn release_lock(mm: MmId, tid: u32, left: Left, wake_at: impl Fn(u64)) -> Option<()> {
    if !left.addr.is_multiple_of(4) {
        return None;
    }
    let mut word = [0; 4];
    uaccess::copy_from(mm, &mut word, left.addr).ok()?;
    let word = u32::from_le_bytes(word);
    // It gave the lock back, and did not come to wake the next.
    if left.pending && !left.pi && word == 0 {
        wake_at(left.addr);
        return Some(());
    }
    if let Some(mut new) = left_by(tid, word) {
        if left.pi
            && word & FUTEX_WAITERS != 0
            && let Ok(key) = key_of(mm, left.addr, false)
        {
            new = hand_over(key, new & !(FUTEX_TID_MASK | FUTEX_WAITERS));
        }
        uaccess::copy_to(mm, left.addr, &new.to_le_bytes()).ok()?;
        if !left.pi && word & FUTEX_WAITERS != 0 {
            wake_at(left.addr);
        }
    }
    Some(())
}
