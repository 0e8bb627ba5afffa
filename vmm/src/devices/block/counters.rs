//! What the swap disk counts.

use super::backend::FileAccount;
use super::faults::Injected;

/// What the swap disk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounters {
    /// Requests taken from the queue, refused ones included.
    pub requests: u64,
    /// Read requests done.
    pub reads: u64,
    /// Write requests done.
    pub writes: u64,
    /// Flush requests done.
    pub flushes: u64,
    /// Discard requests done.
    pub discards: u64,
    /// Write-zeroes requests done.
    pub zeroes: u64,
    /// Sectors of 512 bytes read.
    pub sectors_read: u64,
    /// Sectors of 512 bytes written.
    pub sectors_written: u64,
    /// Requests that the file failed, or that lie outside it.
    pub io_errors: u64,
    /// Requests of a type that is not implemented.
    pub unsupported: u64,
    /// Chains refused as malformed.
    pub refused_chains: u64,
    /// Register accesses refused by the transport.
    pub refused_accesses: u64,
    /// The host kernel's account of the bytes moved; `None` unless [`crate::VmConfig::account_file_io`].
    pub file: Option<FileAccount>,
    /// What went wrong on purpose; `None` unless [`crate::VmConfig::swap_faults`] asks for something.
    pub injected: Option<Injected>,
}
