//! A bundled program as an ordinary process of this machine's own Linux, measured like a guest: what the guest is compared
//! with.
//!
//! The program is the same file, run from memory. It writes its phases to a pipe ([`faultlab_abi::record`]); what it writes
//! is checked like what a guest says, for it may be cut short.
//!
//! Source: memfd_create(2); prctl(2), `PR_SET_PDEATHSIG`.

mod swap;
mod whole;

pub use swap::Swap;
pub use whole::{Whole, run};

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use faultlab_abi::dev::SkipArgs;
use faultlab_abi::record::{Header, PHASE, Phase, SKIP};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::process::inherit;
use crate::report::{Builder, Counters, Measured, host_fault};

/// Most bytes of one record: the samples of the largest phase, and what comes with them.
const RECORD_MAX_BYTES: u64 = 65_536 * 8 + 4096;

/// The program at work. Ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Arc<Mutex<Child>>,
    records: io::PipeReader,
}

/// Ends a [`Process`] from another thread.
#[derive(Clone, Debug)]
pub struct Ender(Arc<Mutex<Child>>);

impl Ender {
    /// Kills the program, unless it has ended; what it wrote until then can still be read.
    pub fn end(&self) {
        let child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Not waited for before its records have ended, so the ID is still its own.
        let _ = kill_process(Pid::from_child(&child), Signal::KILL);
    }
}

impl Process {
    /// Starts `program`, an ELF file, with these arguments, its name first, and `--record FD` behind them. Its standard output is dropped.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(program: &[u8], arguments: &[OsString]) -> io::Result<Process> {
        let file = in_memory(program)?;
        let (records, end) = io::pipe()?;
        let mut command = command(&file, arguments);
        command.arg("--record").arg(end.as_raw_fd().to_string());
        command.stdout(Stdio::null());
        inherit(&mut command, end);
        let child = command.spawn()?;
        Ok(Process {
            child: Arc::new(Mutex::new(child)),
            records,
        })
    }

    /// What ends it.
    #[must_use]
    pub fn ender(&self) -> Ender {
        Ender(Arc::clone(&self.child))
    }

    /// Gives what it measures to `builder`, until it ends; how it ended.
    ///
    /// # Errors
    /// What it wrote is no sequence of records, or the operating system's.
    pub fn record(mut self, builder: &mut Builder) -> io::Result<ExitStatus> {
        while let Some(record) = next(&mut self.records)? {
            match record {
                Record::Phase(measured) => builder.add(&measured),
                Record::Skip(args) => builder.skip(&args),
            }
        }
        self.child.lock().unwrap_or_else(PoisonError::into_inner).wait()
    }
}

/// A file in memory with these contents, at its beginning if there are none.
fn in_memory(contents: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("faultlab-program", MemfdFlags::CLOEXEC)?);
    file.write_all(contents)?;
    Ok(file)
}

/// What starts the program in `file` with these arguments, its name first, and nothing on standard input. It ends with this thread at
/// the latest.
fn command(file: &File, arguments: &[OsString]) -> Command {
    let mut command = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if let Some((name, arguments)) = arguments.split_first() {
        command.arg0(name).args(arguments);
    }
    command.stdin(Stdio::null());
    // SAFETY: between fork and exec only one system call is made, no memory is allocated and no lock taken.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
    command
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // Both fail only if it has ended and been waited for.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// One record.
#[derive(Debug)]
enum Record {
    Phase(Box<Measured>),
    Skip(Box<SkipArgs>),
}

/// The next record; `None` at the stream's end. Half a record is none: the program was ended while it wrote.
fn next(stream: &mut impl Read) -> io::Result<Option<Record>> {
    let mut header = [0; size_of::<Header>()];
    if !filled(stream, &mut header)? {
        return Ok(None);
    }
    let [kind, bytes] = words(&header);
    if bytes > RECORD_MAX_BYTES {
        return Err(damaged(kind, bytes));
    }
    let mut payload = vec![0; bytes as usize];
    if !filled(stream, &mut payload)? {
        return Ok(None);
    }
    match (kind, payload.split_at_checked(size_of::<Phase>())) {
        (PHASE, Some((phase, samples))) if samples.len() % 8 == 0 => {
            Ok(Some(Record::Phase(Box::new(measured(phase, samples)))))
        }
        (SKIP, _) if payload.len() == size_of::<SkipArgs>() => {
            // SAFETY: numbers and bytes of which any value is valid, as many as the record has; no alignment is asked for.
            let args = unsafe { payload.as_ptr().cast::<SkipArgs>().read_unaligned() };
            Ok(Some(Record::Skip(Box::new(args))))
        }
        _ => Err(damaged(kind, bytes)),
    }
}

fn measured(phase: &[u8], samples: &[u8]) -> Measured {
    // SAFETY: the caller split off exactly as many bytes; numbers and bytes of which any value is valid.
    let phase = unsafe { phase.as_ptr().cast::<Phase>().read_unaligned() };
    let mut moved = Counters::default();
    moved.host.insert(host_fault::MINFLT.to_owned(), phase.minflt as i64);
    moved.host.insert(host_fault::MAJFLT.to_owned(), phase.majflt as i64);
    let (samples, _) = samples.as_chunks();
    Measured {
        args: phase.args,
        cycles: samples.iter().map(|sample| u64::from_le_bytes(*sample)).collect(),
        moved,
        ..Measured::default()
    }
}

/// Whether all of `buffer` could be read, before the stream's end.
fn filled(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match stream.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn words(bytes: &[u8; 16]) -> [u64; 2] {
    let (words, _) = bytes.as_chunks();
    [words[0], words[1]].map(u64::from_le_bytes)
}

fn damaged(kind: u64, bytes: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the program recorded kind {kind} of {bytes} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use faultlab_abi::dev::PhaseArgs;

    use super::*;

    fn record(kind: u64, payload: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes(), &(payload.len() as u64).to_le_bytes(), payload].concat()
    }

    fn phase(samples: &[u64]) -> Vec<u8> {
        let mut payload = vec![0; size_of::<Phase>()];
        let at = size_of::<PhaseArgs>();
        payload[at..at + 8].copy_from_slice(&7u64.to_le_bytes());
        payload.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        record(PHASE, &payload)
    }

    #[test]
    fn a_phase_and_its_samples_arrive() {
        let Some(Record::Phase(measured)) = next(&mut phase(&[3, 9]).as_slice()).unwrap() else {
            panic!("no phase")
        };
        assert_eq!(measured.cycles, [3, 9]);
        assert_eq!(measured.moved.host[host_fault::MINFLT], 7);
        assert_eq!(measured.moved.host[host_fault::MAJFLT], 0);
    }

    #[test]
    fn a_program_is_measured_on_this_linux() {
        let words = ["faults", "--scenario", "anon,getppid,pio-exit", "--pages", "16"].map(OsString::from);
        let program = faultlab_images::program("faults").unwrap();
        let mut builder = Builder::new(
            serde_json::Map::new(),
            1_000_000,
            crate::report::Regime::Linux,
            Vec::new(),
        );
        builder.boot("linux");
        let ended = Process::start(program, &words).unwrap().record(&mut builder).unwrap();
        assert!(ended.success(), "{ended}");
        let report = builder.finish(serde_json::Map::new(), None);
        let names: Vec<&str> = report.scenarios.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["anon", "getppid"]);
        assert!(report.adds_up(), "{:?}", report.scenarios);
        assert_eq!(report.scenarios[0].totals.host[host_fault::MINFLT], 16);
        assert_eq!(
            (report.skipped[0].name.as_str(), report.skipped[0].failed),
            ("pio-exit", false)
        );
    }

    #[test]
    fn a_program_can_be_ended() {
        let words = ["faults", "--scenario", "fork", "--pages", "65536"].map(OsString::from);
        let process = Process::start(faultlab_images::program("faults").unwrap(), &words).unwrap();
        process.ender().end();
        let mut builder = Builder::new(
            serde_json::Map::new(),
            1_000_000,
            crate::report::Regime::Linux,
            Vec::new(),
        );
        let ended = process.record(&mut builder).unwrap();
        assert_eq!(ended.code(), None, "{ended}");
    }

    #[test]
    fn half_a_record_is_none_and_nonsense_is_an_error() {
        let whole = phase(&[1]);
        for length in 0..whole.len() {
            assert!(next(&mut &whole[..length]).unwrap().is_none(), "{length}");
        }
        for wrong in [
            record(9, &[]),
            record(SKIP, &[0; 8]),
            record(PHASE, &[0; 8]),
            [PHASE.to_le_bytes(), u64::MAX.to_le_bytes()].concat(),
        ] {
            let error = next(&mut wrong.as_slice()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
