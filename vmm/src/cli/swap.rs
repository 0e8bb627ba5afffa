//! What is behind the swap disk, and what is to go wrong with it.

use clap::{Args, ValueEnum};
use faultlab::swap_faults::{ErrorRates, Latency};
use faultlab::{SwapFaults, SwapIo};

use super::parse_size;

/// What is to go wrong with the swap disk, on purpose.
#[derive(Args, Debug)]
pub(crate) struct SwapFaultArgs {
    /// Answer swap requests late: fixed:80us, normal:MEAN,SD, or file:TRACE with a delay a line, used in turn
    #[arg(long, value_name = "LATENCY", value_parser = str::parse::<Latency>)]
    pub(crate) swap_latency: Option<Latency>,
    /// Fail swap requests with these probabilities: read:P,write:P,torn:P,lost:P,seed=N; torn writes half and fails,
    /// lost writes half and claims all
    #[arg(long, value_name = "RATES", value_parser = str::parse::<ErrorRates>)]
    pub(crate) swap_errors: Option<ErrorRates>,
    /// Answer this many swap requests and then none any more; the watchdog ends the guest with status 124
    #[arg(long, value_name = "N")]
    pub(crate) swap_stall: Option<u64>,
    /// Let the swap file run out of disk after this much was written to it
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) swap_space: Option<u64>,
}

impl SwapFaultArgs {
    /// As the library has them.
    pub(crate) fn faults(&self) -> SwapFaults {
        SwapFaults {
            latency: self.swap_latency.clone().unwrap_or_default(),
            errors: self.swap_errors.unwrap_or_default(),
            stall_after: self.swap_stall,
            space_bytes: self.swap_space,
        }
    }
}

/// `--swap-backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SwapBackend {
    /// A temporary file in TMPDIR
    File,
    /// The host's memory
    Memory,
    /// Nothing: what is written is lost
    Null,
}

impl SwapBackend {
    /// Its name in reports and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SwapBackend::File => "file",
            SwapBackend::Memory => "memory",
            SwapBackend::Null => "null",
        }
    }
}

/// `--swap-io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SwapServer {
    /// The vCPU's thread: a request is done when its doorbell returns
    Inline,
    /// An I/O thread that reads and writes, one request at a time
    Thread,
    /// An I/O thread that lets io_uring do so, all requests at a time; where there is none, as thread
    Uring,
}

impl SwapServer {
    /// What serves on this host.
    pub(crate) fn here(self) -> SwapIo {
        let asked = match self {
            SwapServer::Inline => SwapIo::Inline,
            SwapServer::Thread => SwapIo::Thread,
            SwapServer::Uring => SwapIo::Uring,
        };
        asked.on_this_host()
    }
}
