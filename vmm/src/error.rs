//! What the host, the configuration or the VMM itself failed at: one enum a layer, each message with the value and
//! the remedy, and the exit status that reports it.
//!
//! What the *guest* does wrong is no error here: it is counted, refused and logged by the device it wrote to, or ends
//! the run with an [`crate::End`].

use std::io;
use std::path::PathBuf;

use thiserror::Error as ThisError;

/// Exit statuses of the `faultlab` command.
///
/// Source: 69 is `EX_UNAVAILABLE` of sysexits.h; 124 to 127 are those of timeout(1) and env(1); 128 + n is the shell's.
pub mod exit {
    /// Everything went as asked.
    pub const OK: u8 = 0;
    /// The checks of at least one row failed.
    pub const CHECKS_FAILED: u8 = 1;
    /// Wrong command line, bad values included.
    pub const USAGE: u8 = 2;
    /// This host cannot run guests.
    pub const HOST: u8 = 69;
    /// The guest kernel panicked, took an unexpected exception, or crashed its vCPU.
    pub const GUEST_PANIC: u8 = 121;
    /// The guest kernel's own structures do not agree with each other (`--check`).
    pub const INVARIANT: u8 = 122;
    /// The watchdog or the timeout ended the guest.
    pub const TIMEOUT: u8 = 124;
    /// The program ended well, but not everything that `--out` names could be brought back.
    pub const NOT_BROUGHT: u8 = 123;
    /// Any other failure of faultlab itself.
    pub const FAILURE: u8 = 125;
    /// The program cannot be read, or is not a static x86-64 ELF.
    pub const NOT_A_PROGRAM: u8 = 126;
    /// There is no such program file.
    pub const NOT_FOUND: u8 = 127;

    /// Ended by a signal, 1 to 64.
    #[must_use]
    pub fn signal(number: i32) -> u8 {
        128 + (number & 0x7f) as u8
    }
}

/// Any failure of the library.
#[derive(Debug, ThisError)]
pub enum Error {
    /// This host cannot run guests.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The program cannot run in the guest.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Guest memory cannot be had.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The guest cannot be loaded.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The swap area cannot be used.
    #[error(transparent)]
    Swap(#[from] SwapError),
    /// KVM refused something that it should not.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// Files cannot come back to where they are wanted.
    #[error(transparent)]
    Out(#[from] OutError),
}

impl Error {
    /// The status that the `faultlab` command ends with (see [`exit`]).
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::Host(_) | Error::Memory(MemoryError::Unavailable { .. }) => exit::HOST,
            Error::Program(ProgramError::NotFound { .. }) => exit::NOT_FOUND,
            Error::Program(ProgramError::NotStaticElf { .. } | ProgramError::Unreadable { .. }) => exit::NOT_A_PROGRAM,
            Error::Memory(MemoryError::Size { .. } | MemoryError::WindowSize { .. } | MemoryError::File { .. })
            | Error::Swap(
                SwapError::Size { .. }
                | SwapError::Kind { .. }
                | SwapError::NoSignature { .. }
                | SwapError::Header { .. },
            )
            | Error::Out(OutError::Unusable { .. }) => exit::USAGE,
            _ => exit::FAILURE,
        }
    }
}

/// Why this host cannot run guests.
#[derive(Debug, ThisError)]
pub enum HostError {
    /// No device file.
    #[error("{path} does not exist: load kvm_intel, kvm_amd or kvm_pvm, or enable virtualization in the firmware")]
    Missing {
        /// The device file.
        path: PathBuf,
    },
    /// No permission.
    #[error(
        "no permission to open {path}: join the group that owns it (`sudo usermod -aG kvm $USER`) and log in again"
    )]
    NoPermission {
        /// The device file.
        path: PathBuf,
    },
    /// Another failure to open it.
    #[error("cannot open {path}: {source}; check that it is the KVM device (char 10:232)")]
    Open {
        /// The device file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is something else.
    #[error("KVM on this host has API version {found}, not 12: use a Linux kernel of 2.6.22 or later")]
    ApiVersion {
        /// What `KVM_GET_API_VERSION` answered.
        found: i32,
    },
    /// A capability is missing that was asked for.
    #[error("KVM on this host lacks {name}: {remedy}")]
    MissingOption {
        /// Its name in the KVM API documentation.
        name: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A capability is missing.
    #[error("KVM on this host lacks {name}: use a newer Linux kernel")]
    MissingCapability {
        /// Its name in the KVM API documentation.
        name: &'static str,
    },
}

/// Why a program cannot run in the guest.
#[derive(Debug, ThisError)]
pub enum ProgramError {
    /// No file of that name.
    #[error("{path}: no such file: give a path with a slash, or a bundled program (`faultlab programs` lists them)")]
    NotFound {
        /// As it was given.
        path: String,
    },
    /// It cannot be read.
    #[error("{path}: cannot read: {source}")]
    Unreadable {
        /// As it was given.
        path: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is no static x86-64 ELF.
    #[error("{path} {reason}: give a static x86-64 Linux ELF (for C, link with -static)")]
    NotStaticElf {
        /// As it was given.
        path: String,
        /// What it is instead.
        reason: String,
    },
}

/// Why guest memory cannot be had.
#[derive(Debug, ThisError)]
pub enum MemoryError {
    /// A size out of range.
    #[error("guest memory of {bytes} bytes: give 8M to 3G in whole pages of 4096")]
    Size {
        /// As it was asked.
        bytes: u64,
    },
    /// The host has not enough.
    #[error("cannot reserve {bytes} bytes of guest memory: {reason}; give a smaller --memory")]
    Reserve {
        /// As it was asked.
        bytes: u64,
        /// The operating system's reason.
        reason: String,
    },
    /// A window that is too large, or not whole granules.
    #[error(
        "lab window of {bytes} bytes: give at most 16G in multiples of {granule} bytes, the page size of its backing"
    )]
    WindowSize {
        /// As it was asked.
        bytes: u64,
        /// Page size of the backing, in bytes.
        granule: u64,
    },
    /// This host, as it is set up, cannot back memory so.
    #[error("backing {backing} cannot be had here: {why}; {remedy}")]
    Unavailable {
        /// Its name.
        backing: &'static str,
        /// What is missing.
        why: String,
        /// How to get it.
        remedy: String,
    },
    /// The file that was to back it is none.
    #[error("--backing-file {path} {what}; name a regular file")]
    File {
        /// As it was given.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// Somebody else holds the lock of the file that was to back it.
    #[error("backing file {path} is in use by another process: end that one or name another file")]
    Busy {
        /// As it was given.
        path: PathBuf,
    },
    /// A range that is no whole pages.
    #[error("pages {start:#x}+{pages} are not whole pages")]
    Range {
        /// Guest-physical address.
        start: u64,
        /// Pages.
        pages: u64,
    },
    /// A range outside guest memory.
    #[error("pages {start:#x}+{pages} are neither in guest RAM nor in the lab window")]
    Outside {
        /// Guest-physical address.
        start: u64,
        /// Pages.
        pages: u64,
    },
    /// A range that the host cannot drop, because it backs larger pages.
    #[error("pages {start:#x}+{pages} are not whole pages of {granule} bytes, in which the host backs them")]
    Granule {
        /// Guest-physical address.
        start: u64,
        /// Pages.
        pages: u64,
        /// Page size of the backing, in bytes.
        granule: u64,
    },
    /// The host refused to drop a backing.
    #[error("cannot drop the backing of guest pages: {0}")]
    Advise(io::Error),
    /// The host refused to back pages.
    #[error("cannot back guest pages: {0}")]
    Populate(io::Error),
    /// The host does not tell what is backed.
    #[error("cannot read /proc/self/pagemap: {0}")]
    Present(io::Error),
}

/// Why files cannot come back to a place.
#[derive(Debug, ThisError)]
pub enum OutError {
    /// Nothing can be put there.
    #[error("--out: {path} {what}")]
    Unusable {
        /// As it was given.
        path: PathBuf,
        /// Why not, and what to do.
        what: &'static str,
    },
    /// Its directory cannot be written.
    #[error("--out: cannot write beside {path}: {source}; name a place that can be written")]
    Create {
        /// As it was given.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl OutError {
    pub(crate) fn unusable(path: &std::path::Path, what: &'static str) -> OutError {
        OutError::Unusable {
            path: path.to_owned(),
            what,
        }
    }
}

/// Why the guest cannot be loaded.
#[derive(Debug, ThisError)]
pub enum BootError {
    /// The kernel is no ELF that can be loaded.
    #[error("the guest kernel cannot be loaded: {0}; rebuild faultlab")]
    Kernel(String),
    /// RAM is too small for kernel and program.
    #[error("the program and the kernel need {needed} bytes of {available}: give --memory {suggestion}M")]
    TooSmall {
        /// Bytes of kernel image and initrd.
        needed: u64,
        /// Bytes of RAM.
        available: u64,
        /// A size that is enough, in MiB.
        suggestion: u64,
    },
    /// The first argument cannot name a file in the initrd.
    #[error(
        "argument 0 has {bytes} bytes or is reserved: give a program path of 1 to 1024 bytes, not below .faultlab/"
    )]
    ProgramName {
        /// Its length.
        bytes: usize,
    },
    /// A string of the program's arguments or environment contains a NUL.
    #[error("argument or environment string {index} contains a NUL byte: remove it")]
    Nul {
        /// Its place in the list.
        index: usize,
    },
    /// The command line does not fit.
    #[error("the kernel command line of {bytes} bytes is longer than 2047: drop some parameters")]
    CommandLine {
        /// Its length.
        bytes: usize,
    },
    /// A file that was to be brought in cannot be read whole.
    #[error("cannot bring in {path}: {reason}")]
    Bring {
        /// On this host.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Guest memory could not be written.
    #[error("cannot write {what} into guest memory: {reason}")]
    Write {
        /// What was written.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

/// Why a swap area cannot be used.
#[derive(Debug, ThisError)]
pub enum SwapError {
    /// A size out of range.
    #[error("a swap area of {bytes} bytes: give at least 40960 bytes (10 pages) in whole pages of 4096, or 0 for none")]
    Size {
        /// As it was asked or found.
        bytes: u64,
    },
    /// A temporary file cannot be made.
    #[error("cannot create a temporary swap file in {dir}: {source}; set TMPDIR to a writable directory")]
    Temporary {
        /// The directory.
        dir: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file cannot be opened for reading and writing.
    #[error("cannot open swap file {path} for reading and writing: {source}; check its permissions or name another")]
    Open {
        /// As it was given.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is neither a regular file nor a block device.
    #[error("swap file {path} is neither a regular file nor a block device: name another")]
    Kind {
        /// As it was given.
        path: PathBuf,
    },
    /// It has no swap header.
    #[error("{path} has no swap signature: to overwrite its contents, run `mkswap {path}` first")]
    NoSignature {
        /// As it was given.
        path: PathBuf,
    },
    /// Its header does not fit the file.
    #[error("{path}: {reason}: run `mkswap {path}` first")]
    Header {
        /// As it was given.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Somebody else holds its lock.
    #[error("swap file {path} is in use by another process: end that one or name another file")]
    Busy {
        /// As it was given.
        path: PathBuf,
    },
    /// There is no memory for it.
    #[error("cannot keep a swap area in memory: {0}; use --swap-backend file")]
    Memory(rustix::io::Errno),
    /// The file system does not know `O_DIRECT`.
    #[error(
        "the swap file cannot bypass the page cache: {0}; put it on another file system, or leave out --swap-direct"
    )]
    Direct(rustix::io::Errno),
    /// What its I/O thread needs cannot be had.
    #[error("cannot serve the swap disk by a thread of its own: {0}; use --swap-io inline")]
    Serve(io::Error),
    /// Reading or writing it failed.
    #[error("cannot use swap file {path}: {source}; name another file, or one on another file system")]
    Io {
        /// As it was given.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// A KVM call that failed although the host was found able.
#[derive(Debug, ThisError)]
#[error("{operation} failed: {source}; `faultlab doctor` tells what this host can do")]
pub struct KvmError {
    /// The call.
    pub operation: &'static str,
    /// The operating system's reason.
    pub source: io::Error,
}

impl KvmError {
    /// For `map_err`: `fd.call().map_err(KvmError::of("KVM_CALL"))`.
    pub(crate) fn of(operation: &'static str) -> impl Fn(kvm_ioctls::Error) -> KvmError {
        move |source| KvmError {
            operation,
            source: io::Error::from_raw_os_error(source.errno()),
        }
    }

    /// The same for what fails with an [`io::Error`].
    pub(crate) fn of_io(operation: &'static str) -> impl Fn(io::Error) -> KvmError {
        move |source| KvmError { operation, source }
    }
}
