//! What is behind the swap disk, and what is to go wrong with it.

use clap::{Args, ValueEnum};
use faultlab::swap_faults::{ErrorRates, Latency};
use faultlab::{SwapFaults, SwapIo};

use super::values::parse_swap;
use super::{parse_size, show_size};

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

/// Further swap areas.
#[derive(Args, Debug)]
pub(crate) struct SwapAreaArgs {
    /// A further swap area of this size, kept as --swap is, with a priority of 0 to 32767: higher ones are filled first, without
    /// one after all before; up to three times
    #[arg(long, value_name = "SIZE[,prio=N]", value_parser = parse_area, conflicts_with = "swap_file")]
    pub(crate) swap_area: Vec<(u64, Option<u16>)>,
}

impl SwapAreaArgs {
    /// As they are written on the command line, separated by spaces.
    pub(crate) fn described(&self) -> String {
        let area = |&(bytes, prio): &(u64, Option<u16>)| {
            let prio = prio.map_or_else(String::new, |prio| format!(",prio={prio}"));
            format!("{}{prio}", show_size(bytes))
        };
        self.swap_area.iter().map(area).collect::<Vec<_>>().join(" ")
    }
}

/// `SIZE[,prio=N]`.
pub(crate) fn parse_area(text: &str) -> Result<(u64, Option<u16>), String> {
    let (size, prio) = match text.split_once(',') {
        None => (text, None),
        Some((size, rest)) => {
            let number = rest.strip_prefix("prio=").and_then(|number| number.parse().ok());
            let prio = number.filter(|prio| (0..=0x7fff).contains(prio));
            let refused = || format!("\"{rest}\" is not prio=N with N from 0 to 32767");
            (size, Some(prio.ok_or_else(refused)?))
        }
    };
    match parse_swap(size)? {
        0 => Err("an area of nothing is none; give a size, such as 32M".to_owned()),
        bytes => Ok((bytes, prio)),
    }
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
