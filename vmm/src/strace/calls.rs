//! Which arguments a call has. Calls that are not listed have six numbers.
//!
//! Source: the man page of each.

use std::collections::HashMap;
use std::sync::LazyLock;

use syscalls::Sysno;

use super::names::{self, Names};

/// What an argument is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg {
    /// A signed number of 32 bits.
    Int,
    /// A signed number of 64 bits.
    Long,
    /// An unsigned number.
    Size,
    /// An address, or bits.
    Hex,
    /// Rights of a file.
    Mode,
    /// The same, which counts only if flags before it make a file.
    ModeIfMade,
    /// A descriptor, or the working directory.
    At,
    /// A signal.
    Signal,
    /// One of several values.
    One(Names),
    /// Bits.
    Flags(Names),
    /// What `open` is to do.
    Open,
    /// What `futex` is to do.
    Futex,
    /// What `clone` is to copy, and the signal of its end.
    Clone,
    /// A user or group; -1 for as it is.
    Id,
    /// A string.
    Path,
    /// An array of strings.
    Strings,
    /// As many of them, for the environment.
    Environment,
    /// So many bytes as the argument of this number says, which go in.
    In(usize),
    /// As many as the call returned, which came out.
    Out,
    /// A string that came out.
    PathOut,
    /// `struct iovec`s, as many as the next argument says, which go in.
    VectorsIn,
    /// Seconds and nanoseconds that go in.
    Timespec,
    /// The same that came out.
    TimespecOut,
    /// Seconds and microseconds that came out.
    TimevalOut,
    /// Signals that go in.
    Set,
    /// The same that came out.
    SetOut,
    /// What to do at a signal, going in.
    Action,
    /// The same that came out.
    ActionOut,
    /// Two descriptors that came out.
    PairOut,
    /// A wait status that came out.
    StatusOut,
    /// `struct stat` that came out.
    StatOut,
    /// A limit that goes in.
    Limit,
    /// The same that came out.
    LimitOut,
    /// `struct pollfd`s, as many as the next argument says, with their events.
    PollFds,
    /// A 64-bit number that goes in and comes out.
    LongIn,
    /// A 32-bit number that came out.
    IntOut,
}

/// How a result is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returns {
    /// Decimal.
    Number,
    /// Hexadecimal.
    Address,
    /// As rights of files.
    Octal,
    /// It never returns.
    Nothing,
}

/// A call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) args: Vec<Arg>,
    pub(super) returns: Returns,
}

/// Names, their arguments' words, and what they return if that is no number.
const TABLE: &str = "
read int out size
write int in:2 size
pread64 int out size long
pwrite64 int in:2 size long
readv int hex int
writev int vectors int
open path open mode?
openat at path open mode?
creat path mode
close int
lseek int long seek
dup int
dup2 int int
dup3 int int open
fcntl int fcntl hex
ioctl int ioctl hex
pipe pair
pipe2 pair open
poll pollfds size int
ppoll pollfds size timespec set size
select int hex hex hex hex
pselect6 int hex hex hex timespec hex
eventfd2 size eventfd
memfd_create path memfd
ftruncate int long
truncate path long
fallocate int fallocate long long
fsync int
fdatasync int
sync
syncfs int
sendfile int int longin size
copy_file_range int longin int longin size hex
splice int longin int longin size hex
stat path stat
lstat path stat
fstat int stat
newfstatat at path stat at_flags
statx at path at_flags hex hex
statfs path hex
fstatfs int hex
access path access
faccessat at path access
faccessat2 at path access at_flags
chmod path mode
fchmod int mode
fchmodat at path mode
chown path id id
lchown path id id
fchown int id id
fchownat at path id id at_flags
utimensat at path timespec at_flags
umask mode > octal
mkdir path mode
mkdirat at path mode
rmdir path
unlink path
unlinkat at path at_flags
rename path path
renameat at path at path
renameat2 at path at path rename
link path path
linkat at path at path at_flags
symlink path path
symlinkat path at path
readlink path out size
readlinkat at path out size
mknod path mode hex
mknodat at path mode hex
getdents64 int hex size
chdir path
fchdir int
getcwd pathout size
mount path path path mount path
umount2 path umount
swapon path swapon
swapoff path
mmap hex size prot map int hex > hex
munmap hex size
mprotect hex size prot
mremap hex size size mremap hex > hex
madvise hex size madvise
mincore hex size hex
msync hex size msync
mlock hex size
mlock2 hex size size
munlock hex size
mlockall mlock
munlockall
brk hex > hex
shmget int size shmget
shmat int hex shmat > hex
shmctl int shm_cmd hex
shmdt hex
arch_prctl arch_prctl hex
set_tid_address hex
set_robust_list hex size
rseq hex size int hex
prctl prctl hex hex hex hex
futex hex futex int hex hex int
fork
vfork
clone clone hex hex hex hex
execve path strings env
exit int > nothing
exit_group int > nothing
wait4 int status wait hex
waitid wait_whom int hex wait hex
getpid
gettid
getppid
getpgrp
getpgid int
setpgid int int
getsid int
setsid
getuid
geteuid
getgid
getegid
setuid id
setgid id
setreuid id id
setregid id id
setresuid id id id
setresgid id id id
getresuid intout intout intout
getresgid intout intout intout
getgroups int hex
setgroups int hex
setfsuid id
setfsgid id
kill int signal
tkill int signal
tgkill int int signal
pause
alarm size
getitimer itimer hex
setitimer itimer hex hex
rt_sigaction signal action actionout size
rt_sigprocmask sigprocmask set setout size
rt_sigpending setout size
rt_sigsuspend set size
rt_sigtimedwait set hex timespec size
rt_sigreturn
sigaltstack hex hex
clock_gettime clock timespecout
clock_getres clock timespecout
clock_nanosleep clock timer timespec hex
nanosleep timespec hex
gettimeofday timevalout hex
time hex
times hex
getrusage rusage hex
getrlimit resource limitout
setrlimit resource limit
prlimit64 int resource limit limitout
uname hex
sysinfo hex
getrandom hex size grnd
sched_yield
sched_getaffinity int size hex
sched_setaffinity int size hex
";

fn word(word: &str) -> Option<Arg> {
    Some(match word {
        "int" => Arg::Int,
        "long" => Arg::Long,
        "size" => Arg::Size,
        "hex" => Arg::Hex,
        "mode" => Arg::Mode,
        "mode?" => Arg::ModeIfMade,
        "at" => Arg::At,
        "signal" => Arg::Signal,
        "open" => Arg::Open,
        "futex" => Arg::Futex,
        "clone" => Arg::Clone,
        "id" => Arg::Id,
        "path" => Arg::Path,
        "strings" => Arg::Strings,
        "env" => Arg::Environment,
        "out" => Arg::Out,
        "pathout" => Arg::PathOut,
        "vectors" => Arg::VectorsIn,
        "timespec" => Arg::Timespec,
        "timespecout" => Arg::TimespecOut,
        "timevalout" => Arg::TimevalOut,
        "set" => Arg::Set,
        "setout" => Arg::SetOut,
        "action" => Arg::Action,
        "actionout" => Arg::ActionOut,
        "pair" => Arg::PairOut,
        "status" => Arg::StatusOut,
        "stat" => Arg::StatOut,
        "limit" => Arg::Limit,
        "limitout" => Arg::LimitOut,
        "pollfds" => Arg::PollFds,
        "longin" => Arg::LongIn,
        "intout" => Arg::IntOut,
        "access" => Arg::Flags(names::ACCESS),
        "arch_prctl" => Arg::One(names::ARCH_PRCTL),
        "at_flags" => Arg::Flags(names::AT),
        "clock" => Arg::One(names::CLOCK),
        "eventfd" => Arg::Flags(names::EVENTFD),
        "fallocate" => Arg::Flags(names::FALLOCATE),
        "fcntl" => Arg::One(names::FCNTL),
        "grnd" => Arg::Flags(names::GRND),
        "ioctl" => Arg::One(names::IOCTL),
        "itimer" => Arg::One(names::ITIMER),
        "madvise" => Arg::One(names::MADVISE),
        "map" => Arg::Flags(names::MAP),
        "memfd" => Arg::Flags(names::MEMFD),
        "mlock" => Arg::Flags(names::MLOCK),
        "mount" => Arg::Flags(names::MOUNT),
        "mremap" => Arg::Flags(names::MREMAP),
        "msync" => Arg::Flags(names::MSYNC),
        "prctl" => Arg::One(names::PRCTL),
        "prot" => Arg::Flags(names::PROT),
        "rename" => Arg::Flags(names::RENAME),
        "resource" => Arg::One(names::RESOURCE),
        "rusage" => Arg::One(names::RUSAGE),
        "seek" => Arg::One(names::SEEK),
        "shm_cmd" => Arg::One(names::SHM_CMD),
        "shmat" => Arg::Flags(names::SHMAT),
        "shmget" => Arg::Flags(names::SHMGET),
        "sigprocmask" => Arg::One(names::SIGPROCMASK),
        "swapon" => Arg::Flags(names::SWAPON),
        "timer" => Arg::Flags(names::TIMER),
        "umount" => Arg::Flags(names::UMOUNT),
        "wait" => Arg::Flags(names::WAIT),
        "wait_whom" => Arg::One(names::WAIT_WHOM),
        other => Arg::In(other.strip_prefix("in:")?.parse().ok().filter(|&index| index < 6)?),
    })
}

/// One line of the table.
fn line(line: &str) -> Option<(Sysno, Call)> {
    let mut words = line.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut args = Vec::new();
    while let Some(next) = words.next() {
        if next == ">" {
            let returns = match words.next()? {
                "hex" => Returns::Address,
                "octal" => Returns::Octal,
                "nothing" => Returns::Nothing,
                _ => return None,
            };
            return Some((number, Call { args, returns }));
        }
        args.push(word(next)?);
    }
    let returns = Returns::Number;
    Some((number, Call { args, returns }))
}

static CALLS: LazyLock<HashMap<u64, Call>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter_map(line);
    lines.map(|(number, call)| (number as u64, call)).collect()
});

static UNKNOWN: Call = Call {
    args: Vec::new(),
    returns: Returns::Number,
};

impl Call {
    /// The call of a number; one without arguments if it is not known.
    pub(super) fn of(number: u64) -> &'static Call {
        CALLS.get(&number).unwrap_or(&UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let written: Vec<&str> = TABLE.lines().filter(|line| !line.is_empty()).collect();
        for text in &written {
            assert!(line(text).is_some_and(|(_, call)| call.args.len() <= 6), "{text}");
        }
        assert_eq!(CALLS.len(), written.len(), "a call is listed twice");
    }
}
