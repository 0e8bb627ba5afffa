//! Pages per second through the swap disk's virtio queue, beside direct reads and writes of the same file by a thread of
//! this process, in one run. The goal is at least 80 % at 16 requests in flight for transfers that bypass the page cache: each such row says whether it keeps
//! to that, the last line how many do, and the exit status is 1 if one does not. From the page cache a transfer is a copy,
//! and there is no disk to be compared with: those rows are shown, and not judged. A busy machine moves both sides: run it on an idle one.
//!
//! | module | what is in it |
//! |---|---|
//! | `device` | the path that is measured: a driver, the transport, the device, its I/O thread |
//! | `direct` | what it is compared with: the same transfers without any of these |
//! | this one | rounds, medians, the table |
//!
//! The driver stands for a guest: it fills descriptors, rings the doorbell as an exit to the VMM would, and polls the used
//! ring. It costs no virtualisation, so the table shows the host's side alone.
//!
//! Run: `cargo bench -p faultlab --bench swap_device`, with words of rows to measure only those (`uring`, `direct`, `rand`).
//! The file is in `TMPDIR`.

mod device;
mod direct;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use faultlab::memory::{Backing, GuestRam};
use faultlab::swap_file::SwapFile;
use faultlab::{SwapConfig, SwapIo};

/// Bytes of a transfer.
pub(crate) const PAGE: u64 = 4096;
/// Transfers in flight.
pub(crate) const DEPTH: u16 = 16;
/// Pages of the file.
const FILE_PAGES: u64 = 16384;
/// Transfers in a measurement.
const TRANSFERS: u64 = 8192;
/// Measurements of each side of a row, in turn.
const ROUNDS: usize = 7;

/// What the device must at least reach of the direct transfers' rate.
const GOAL: f64 = 0.8;

/// What is transferred.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// To the disk.
    pub(crate) write: bool,
    /// In random order.
    random: bool,
}

impl Work {
    /// The pages of the file to transfer, in order; never the first, which is the header.
    pub(crate) fn pages(self) -> impl Iterator<Item = u64> {
        let mut state = 1_u64;
        (0..TRANSFERS).map(move |count| {
            if self.random {
                // Knuth's MMIX generator; the high bits are the good ones.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                1 + (state >> 33) % (FILE_PAGES - 1)
            } else {
                1 + count % (FILE_PAGES - 1)
            }
        })
    }

    fn name(self) -> &'static str {
        match (self.write, self.random) {
            (false, false) => "read seq",
            (false, true) => "read rand",
            (true, false) => "write seq",
            (true, true) => "write rand",
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    // Cargo itself adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!(
        "{TRANSFERS} transfers of 4 KiB, {DEPTH} in flight, {} MiB file in {}; pages/s, medians of {ROUNDS} rounds in turn",
        (FILE_PAGES * PAGE) >> 20,
        std::env::temp_dir().display()
    );
    println!(
        "\n{:<8}{:<13}{:<11}{:>12}{:>12}{:>9}  {:<6} rounds' ratios",
        "engine", "page cache", "transfers", "direct", "device", "ratio", "goal"
    );
    let (mut kept, mut rows) = (0, 0);
    for how in SwapIo::ALL {
        if how.on_this_host() != how {
            println!("{:<8}SKIPPED: this host has no io_uring", how.name());
            continue;
        }
        for bypass in [false, true] {
            for (write, random) in [(false, false), (false, true), (true, false), (true, true)] {
                let work = Work { write, random };
                let row = format!(
                    "{} {} {}",
                    how.name(),
                    if bypass { "bypassed" } else { "used" },
                    work.name()
                );
                if words.iter().all(|word| row.contains(word.as_str())) {
                    let ratio = measure(how, bypass, work)?.filter(|_| bypass);
                    rows += usize::from(ratio.is_some());
                    kept += usize::from(ratio.is_some_and(|ratio| ratio >= GOAL));
                }
            }
        }
    }
    println!(
        "\n{kept} of {rows} rows past the page cache reach {:.0} % of the direct transfers",
        GOAL * 100.0
    );
    Ok(ExitCode::from(u8::from(kept < rows)))
}

/// A new file of whole pages that are all written, so that reads come from somewhere.
fn file() -> Result<SwapFile, Box<dyn std::error::Error>> {
    use std::os::unix::fs::FileExt;
    let bytes = FILE_PAGES * PAGE;
    let file = SwapFile::open(&SwapConfig::Temporary { bytes })?.ok_or("no file")?;
    let piece = vec![0x5a; 1 << 20];
    for at in (PAGE..bytes).step_by(piece.len()) {
        let len = (bytes - at).min(piece.len() as u64);
        file.file().write_all_at(&piece[..len as usize], at)?;
    }
    file.file().sync_data()?;
    Ok(file)
}

/// Prints a row. Returns its ratio; `None` if it cannot be had here.
fn measure(how: SwapIo, bypass: bool, work: Work) -> Result<Option<f64>, Box<dyn std::error::Error>> {
    let file = file()?;
    if bypass && file.bypass_page_cache().is_err() {
        println!(
            "{:<8}{:<13}SKIPPED: the file system knows no O_DIRECT",
            how.name(),
            "bypassed"
        );
        return Ok(None);
    }
    let same = file.file().try_clone()?;
    let ram = Arc::new(GuestRam::new(16 << 20, Backing::Anonymous)?);
    ram.populate(&[faultlab_abi::lab::PageRange {
        start: 0,
        pages: ram.bytes() / PAGE,
    }])?;
    let mut driver = device::Driver::new(file, how, &ram)?;
    let (mut directs, mut devices, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let direct = rate(|| match how {
            SwapIo::Uring => direct::through_uring(&same, &ram, work),
            SwapIo::Inline | SwapIo::Thread => direct::one_by_one(&same, &ram, work),
        })?;
        let device = rate(|| driver.transfer(work))?;
        directs.push(direct);
        devices.push(device);
        ratios.push(device / direct);
    }
    let all: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let ratio = median(&mut ratios);
    println!(
        "{:<8}{:<13}{:<11}{:>12.0}{:>12.0}{:>8.0}%  {:<6} {}",
        how.name(),
        if bypass { "bypassed" } else { "used" },
        work.name(),
        median(&mut directs),
        median(&mut devices),
        ratio * 100.0,
        match bypass {
            false => "-",
            true if ratio >= GOAL => "ok",
            true => "BELOW",
        },
        all.join(" ")
    );
    Ok(Some(ratio))
}

/// Pages per second of `transfers`.
fn rate(transfers: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let since = Instant::now();
    transfers()?;
    Ok(TRANSFERS as f64 / since.elapsed().as_secs_f64())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
