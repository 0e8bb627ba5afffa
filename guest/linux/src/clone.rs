//! What `clone` and `clone3` are asked for, and what goes together.
//!
//! Differs from Linux: there are no namespaces, control groups and process descriptors; asking for them is `EINVAL`, as on a kernel built
//! without them.
//!
//! Source: Linux, kernel/fork.c (`copy_process`, `clone3_args_valid`, `copy_clone_args_from_user`); clone(2).

use crate::Errno;
use crate::signal::Signal;

/// Bits of the flags. Source: Linux, include/uapi/linux/sched.h.
pub mod flag {
    /// The signal of the child's end, in the flags of `clone`.
    pub(super) const CSIGNAL: u64 = 0xff;
    /// One address space.
    pub const VM: u64 = 0x100;
    /// One working directory and umask.
    pub const FS: u64 = 0x200;
    /// One table of descriptors.
    pub const FILES: u64 = 0x400;
    /// One table of actions of signals.
    pub const SIGHAND: u64 = 0x800;
    pub(super) const PTRACE: u64 = 0x2000;
    /// The parent waits until the child has another address space or ended.
    pub const VFORK: u64 = 0x4000;
    /// The parent is that of the caller.
    pub const PARENT: u64 = 0x8000;
    /// A thread of the caller's process.
    pub const THREAD: u64 = 0x1_0000;
    /// One list of undone semaphore operations: there are none.
    pub(super) const SYSVSEM: u64 = 0x4_0000;
    /// The base of FS.
    pub const SETTLS: u64 = 0x8_0000;
    /// The number goes to the parent's memory.
    pub const PARENT_SETTID: u64 = 0x10_0000;
    /// The child's end clears a word in its memory, and wakes who waits for it.
    pub const CHILD_CLEARTID: u64 = 0x20_0000;
    /// The parent gets a descriptor for the child.
    pub const PIDFD: u64 = 0x1000;
    /// Without effect since Linux 2.6.2.
    pub(super) const DETACHED: u64 = 0x40_0000;
    pub(super) const UNTRACED: u64 = 0x80_0000;
    /// The number goes to the child's memory.
    pub const CHILD_SETTID: u64 = 0x100_0000;
    /// One I/O context: there are none.
    pub(super) const IO: u64 = 0x8000_0000;
    /// Handlers become defaults.
    pub const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    /// What there is here, in both calls.
    pub(super) const KNOWN: u64 = VM
        | FS
        | FILES
        | SIGHAND
        | PTRACE
        | VFORK
        | PARENT
        | THREAD
        | SYSVSEM
        | SETTLS
        | PARENT_SETTID
        | CHILD_CLEARTID
        | UNTRACED
        | CHILD_SETTID
        | PIDFD
        | IO;
}

/// Bytes of a `struct clone_args`: as the call began, and as this Linux knows it.
pub const CLONE3_BYTES: core::ops::RangeInclusive<usize> = 64..=88;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloneArgs {
    /// [`flag`] bits.
    pub flags: u64,
    /// What the parent gets when the child ends.
    pub exit_signal: Option<Signal>,
    /// The child's stack pointer; 0 for the parent's.
    pub stack: u64,
    /// The child's base of FS, with [`flag::SETTLS`].
    pub tls: u64,
    /// Where the number of the descriptor goes in the parent's memory, with [`flag::PIDFD`].
    pub pidfd: u64,
    /// Where the number goes in the parent's memory, with [`flag::PARENT_SETTID`].
    pub parent_tid: u64,
    /// Where it goes in the child's, or is cleared at its end.
    pub child_tid: u64,
}

impl CloneArgs {
    /// `fork`.
    pub const FORK: Self = Self {
        flags: 0,
        exit_signal: Some(Signal::CHLD),
        stack: 0,
        tls: 0,
        pidfd: 0,
        parent_tid: 0,
        child_tid: 0,
    };

    /// `vfork`.
    pub const VFORK: Self = Self {
        flags: flag::VM | flag::VFORK,
        ..Self::FORK
    };

    /// `clone(flags, stack, parent_tid, child_tid, tls)`.
    ///
    /// # Errors
    /// `EINVAL` for what does not go together, and for what there is not.
    pub fn of_clone([flags, stack, parent_tid, child_tid, tls]: [u64; 5]) -> Result<Self, Errno> {
        let flags = flags & u64::from(u32::MAX);
        let args = Self {
            flags: flags & !(flag::CSIGNAL | flag::DETACHED),
            exit_signal: Signal::new(flags & flag::CSIGNAL),
            stack,
            tls,
            pidfd: parent_tid,
            parent_tid,
            child_tid,
        };
        let unknown = args.flags & !flag::KNOWN != 0;
        // One that is without effect, but would be in the way of a later use.
        if unknown || args.has(flag::PIDFD) && flags & flag::DETACHED != 0 {
            return Err(Errno::EINVAL);
        }
        args.check()
    }

    /// `clone3`, of a structure in [`CLONE3_BYTES`] of which what was not given is 0; `user_end` is where a program's addresses end.
    ///
    /// # Errors
    /// As [`CloneArgs::of_clone`].
    pub fn of_clone3(bytes: &[u8; 88], user_end: u64) -> Result<Self, Errno> {
        let (words, _) = bytes.as_chunks();
        let [
            flags,
            pidfd,
            child_tid,
            parent_tid,
            exit_signal,
            stack,
            stack_bytes,
            tls,
            set_tid,
            set_tids,
            cgroup,
        ] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|at: usize| u64::from_le_bytes(words[at]));
        let unknown = flags & !(flag::KNOWN | flag::CLEAR_SIGHAND) != 0 || set_tid | set_tids | cgroup != 0;
        let both = flag::SIGHAND | flag::CLEAR_SIGHAND;
        let told_twice = flags & (flag::THREAD | flag::PARENT) != 0 && exit_signal != 0;
        let end = stack.checked_add(stack_bytes).filter(|&end| end <= user_end);
        let bad_stack = (stack == 0) != (stack_bytes == 0) || end.is_none();
        if unknown || flags & both == both || told_twice || bad_stack || exit_signal > 64 {
            return Err(Errno::EINVAL);
        }
        let args = Self {
            flags,
            exit_signal: Signal::new(exit_signal),
            stack: end.unwrap_or_default(),
            tls,
            pidfd,
            parent_tid,
            child_tid,
        };
        args.check()
    }

    /// Whether a bit is set.
    #[inline]
    #[must_use]
    pub fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn check(self) -> Result<Self, Errno> {
        // Threads share handlers, which are addresses.
        let handlers = self.has(flag::THREAD) && !self.has(flag::SIGHAND);
        let memory = self.has(flag::SIGHAND) && !self.has(flag::VM);
        let one_place = self.has(flag::PIDFD) && self.has(flag::PARENT_SETTID) && self.pidfd == self.parent_tid;
        // Differs from Linux since 6.9: there are no descriptors for threads.
        let of_thread = self.has(flag::PIDFD) && self.has(flag::THREAD);
        if handlers || memory || one_place || of_thread {
            return Err(Errno::EINVAL);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER_END: u64 = 1 << 47;

    fn clone(flags: u64) -> Result<CloneArgs, Errno> {
        CloneArgs::of_clone([flags, 1, 2, 3, 4])
    }

    fn clone3(set: &[(usize, u64)]) -> Result<CloneArgs, Errno> {
        let mut bytes = [0; 88];
        for (word, value) in set {
            bytes[8 * word..8 * word + 8].copy_from_slice(&value.to_le_bytes());
        }
        CloneArgs::of_clone3(&bytes, USER_END)
    }

    /// clone(2), ERRORS.
    #[test]
    fn what_goes_together() {
        use flag::*;
        assert_eq!(clone(THREAD), Err(Errno::EINVAL));
        assert_eq!(clone(THREAD | VM), Err(Errno::EINVAL));
        assert_eq!(clone(THREAD | SIGHAND), Err(Errno::EINVAL));
        assert_eq!(clone(SIGHAND), Err(Errno::EINVAL));
        assert!(clone(THREAD | SIGHAND | VM).is_ok());
        for absent in [0x2_0000, 0x1000_0000, 0x2000_0000, 0x200_0000] {
            assert_eq!(clone(absent), Err(Errno::EINVAL), "{absent:#x}");
            assert_eq!(clone3(&[(0, absent)]), Err(Errno::EINVAL), "{absent:#x}");
        }
        assert_eq!(
            clone(DETACHED | 17),
            clone(17),
            "without effect, but not in the newer call"
        );
        assert_eq!(clone3(&[(0, DETACHED)]), Err(Errno::EINVAL));
        assert_eq!(clone(PIDFD).expect("valid").pidfd, 2, "where the number would go");
        assert_eq!(clone(PIDFD | PARENT_SETTID), Err(Errno::EINVAL));
        assert_eq!(clone(PIDFD | DETACHED), Err(Errno::EINVAL));
        assert_eq!(clone(PIDFD | THREAD | SIGHAND | VM), Err(Errno::EINVAL));
        assert!(clone3(&[(0, PIDFD | PARENT_SETTID), (1, 7), (3, 8)]).is_ok());
        assert_eq!(
            clone3(&[(0, PIDFD | PARENT_SETTID), (1, 7), (3, 7)]),
            Err(Errno::EINVAL)
        );
    }

    #[test]
    fn arguments_of_clone() {
        let args = clone(1 << 40 | flag::VM | 17).expect("valid");
        let expected = CloneArgs {
            flags: flag::VM,
            exit_signal: Some(Signal::CHLD),
            stack: 1,
            pidfd: 2,
            parent_tid: 2,
            child_tid: 3,
            tls: 4,
        };
        assert_eq!(args, expected, "flags are 32 bits");
        assert_eq!(clone(200).expect("valid").exit_signal, None);
    }

    #[test]
    fn arguments_of_clone3() {
        use flag::*;
        let args = clone3(&[(0, VM), (2, 7), (3, 8), (4, 17), (5, 0x1000), (6, 0x100), (7, 9)]).expect("valid");
        let expected = CloneArgs {
            flags: VM,
            exit_signal: Some(Signal::CHLD),
            stack: 0x1100,
            pidfd: 0,
            tls: 9,
            parent_tid: 8,
            child_tid: 7,
        };
        assert_eq!(args, expected);
        let refused: [&[(usize, u64)]; 9] = [
            &[(5, 0x1000)],
            &[(6, 0x1000)],
            &[(5, USER_END - 1), (6, 2)],
            &[(5, u64::MAX), (6, 2)],
            &[(4, 65)],
            &[(0, 17)],
            &[(0, PARENT), (4, 17)],
            &[(0, VM | SIGHAND | CLEAR_SIGHAND)],
            &[(9, 1)],
        ];
        for set in refused {
            assert_eq!(clone3(set), Err(Errno::EINVAL), "{set:x?}");
        }
        assert!(clone3(&[(0, CLEAR_SIGHAND)]).is_ok());
    }
}
