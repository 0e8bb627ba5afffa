//! One simulated machine while it runs: the simulator's process, what arrives from it, and what is done with that.
//!
//! Nothing is left behind, however this process ends: the simulator dies with it, and the initramfs and the console's
//! text are files without a name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::error::RigError;
use super::files::write_output;
use super::frame::{Decoder, Frame};
use super::interrupt::{Event, Interrupts};
use super::launch::{Launch, nameless_file};

/// Lines of the console, and of the simulator's own messages, that a report shows.
const REPORTED_LINES: usize = 12;

/// How Linux begins to say that it cannot go on.
const GIVING_UP: [&str; 3] = ["Kernel panic - ", "BUG: ", "Oops: "];

/// Bytes read at once from the simulator; the capacity of a pipe.
const CHUNK_BYTES: usize = 64 << 10;

/// How long a program that was sent a signal may take to end: it writes a file, which comes back at some 10 kB/s.
const PATIENCE: Duration = Duration::from_secs(60);

/// The simulator writes byte by byte. Letting them collect for this long, instead of waking up for each, makes the
/// transfer of a file several times as fast.
const COLLECT: Duration = Duration::from_millis(2);

/// The simulator's process; ends with this value.
struct Simulator {
    child: Child,
    signals: File,
    _kept: Vec<File>,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Simulator {
    /// Starts it; what it sends arrives at `interrupts`.
    fn start(launch: Launch, messages: &File, interrupts: &Interrupts) -> io::Result<Simulator> {
        let Launch {
            mut command,
            mut frames,
            screen,
            signals,
            kept,
            ..
        } = launch;
        command.stderr(Stdio::from(messages.try_clone()?));
        // A terminal's Ctrl-C is for this process, which then ends the simulator.
        command.process_group(0);
        // SAFETY: between fork and exec only one system call is made, no memory is allocated and no lock taken.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        let simulator = Simulator {
            child: command.spawn()?,
            signals,
            _kept: kept,
        };
        // With it go this process's copies of the simulator's ends of pipe and terminal.
        drop(command);
        if let Some(mut screen) = screen {
            // Ends with an error when the simulator's end is closed.
            let read = move || io::copy(&mut screen, &mut io::sink());
            thread::Builder::new().name("rig-screen".into()).spawn(read)?;
        }
        let events = interrupts.sender();
        thread::Builder::new().name("rig".into()).spawn(move || {
            let mut chunk = vec![0; CHUNK_BYTES];
            // A receiver that is gone has ended the simulator.
            while let Ok(count @ 1..) = frames.read(&mut chunk) {
                if events.send(Event::Bytes(chunk[..count].to_vec())).is_err() {
                    return;
                }
                thread::sleep(COLLECT);
            }
            let _ = events.send(Event::Ended);
        })?;
        Ok(simulator)
    }

    /// Sends this signal to the program in the machine.
    fn signal(&mut self, number: i32) -> io::Result<()> {
        // Signal numbers are below 65.
        self.signals.write_all(&[number as u8])
    }
}

/// What came out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// Exit status of the program.
    pub(super) status: u8,
    /// From the simulator's start to the program's.
    pub(super) boot: Duration,
    /// The signal that it was ended by from here.
    pub(super) interrupted: Option<i32>,
}

/// Where the program's output goes.
pub(super) struct Sink<'a> {
    /// Its standard output.
    pub(super) stdout: &'a mut dyn Write,
    /// Its standard error.
    pub(super) stderr: &'a mut dyn Write,
    /// Files that it may leave, by index.
    pub(super) outputs: &'a [PathBuf],
}

/// Boots the machine and passes on what its program writes, until that ends.
pub(super) fn run(
    launch: Launch,
    timeout: Duration,
    interrupts: &Interrupts,
    sink: Sink,
    console: &File,
) -> Result<Ended, RigError> {
    let messages = nameless_file()?;
    let simulator = launch.simulator;
    let start = Instant::now();
    let mut simulator = Simulator::start(launch, &messages, interrupts).map_err(|source| {
        let remedy = "check the simulator's installation";
        RigError::Prepare {
            what: format!("start {simulator}"),
            source,
            remedy,
        }
    })?;
    let mut session = Session {
        sink,
        decoder: Decoder::default(),
        files: BTreeMap::new(),
        started: None,
        start,
    };
    let mut end = start + timeout;
    let mut interrupted = None;
    let ended = loop {
        let left = end.saturating_duration_since(Instant::now());
        match interrupts.wait(left) {
            Ok(Event::Bytes(bytes)) => match session.take(&bytes) {
                Ok(None) => {}
                Ok(Some(status)) => {
                    break Ok(Ended {
                        status,
                        boot: session.boot(),
                        interrupted,
                    });
                }
                Err(Stop::Damaged(how)) => {
                    break Err(RigError::Broken {
                        how,
                        console: String::new(),
                    });
                }
                Err(Stop::Failed(error)) => break Err(error),
            },
            // A program that runs may have something to save. Asked twice, nothing is waited for.
            Ok(Event::Interrupt(signal)) => {
                let asked = session.started.is_some() && interrupted.is_none() && simulator.signal(signal).is_ok();
                if !asked {
                    break Err(RigError::Interrupted(signal));
                }
                interrupted = Some(signal);
                end = end.min(Instant::now() + PATIENCE);
            }
            Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => {
                let how = format!("ended while it was {}", session.phase());
                break Err(RigError::Broken {
                    how,
                    console: String::new(),
                });
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(signal) = interrupted {
                    break Err(RigError::Interrupted(signal));
                }
                break Err(RigError::TimedOut {
                    phase: session.phase(),
                    limit: timeout,
                    console: String::new(),
                });
            }
        }
    };
    // Ended first, so that its last words are in the files.
    drop(simulator);
    ended.map_err(|mut error| {
        if let RigError::Broken { console: text, .. } | RigError::TimedOut { console: text, .. } = &mut error {
            *text = last_words(console, &messages);
        }
        error
    })
}

/// Why a session cannot go on.
enum Stop {
    /// What arrived makes no sense.
    Damaged(String),
    /// Something else failed.
    Failed(RigError),
}

/// What has arrived so far.
struct Session<'a> {
    sink: Sink<'a>,
    decoder: Decoder,
    /// Files of which the end is still to come.
    files: BTreeMap<u32, Vec<u8>>,
    start: Instant,
    started: Option<Instant>,
}

impl Session<'_> {
    /// Takes the next bytes; the program's exit status if they hold it.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<u8>, Stop> {
        self.decoder.push(bytes);
        loop {
            match self.decoder.next() {
                Ok(None) => return Ok(None),
                Ok(Some(Frame::Status(status))) => return Ok(Some(status)),
                Ok(Some(frame)) => self.act(frame)?,
                Err(damaged) => {
                    return Err(Stop::Damaged(format!(
                        "sent tag {:#04x} of {} bytes",
                        damaged.tag, damaged.length
                    )));
                }
            }
        }
    }

    fn act(&mut self, frame: Frame) -> Result<(), Stop> {
        match frame {
            Frame::Started => self.started = Some(Instant::now()),
            Frame::Stdout(bytes) => pass_on(self.sink.stdout, &bytes)?,
            Frame::Stderr(bytes) => pass_on(self.sink.stderr, &bytes)?,
            Frame::File(index, bytes) => self.files.entry(index).or_default().extend_from_slice(&bytes),
            Frame::FileEnd(index) => {
                let contents = self.files.remove(&index).unwrap_or_default();
                let path = self.sink.outputs.get(index as usize);
                let path =
                    path.ok_or_else(|| Stop::Damaged(format!("sent file {index}, which is not one of its own")))?;
                write_output(path, &contents).map_err(Stop::Failed)?;
            }
            Frame::Failure(reason) => {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                return Err(Stop::Failed(RigError::Setup { reason }));
            }
            Frame::Status(_) => {}
        }
        Ok(())
    }

    fn boot(&self) -> Duration {
        self.started.unwrap_or_else(Instant::now) - self.start
    }

    /// What the machine is doing, as a participle.
    fn phase(&self) -> &'static str {
        if self.started.is_some() {
            "running the program"
        } else {
            "booting"
        }
    }
}

/// A reader that has gone away (`| head`) is no failure: it has what it wanted, and files may still come.
fn pass_on(stream: &mut dyn Write, bytes: &[u8]) -> Result<(), Stop> {
    match stream.write_all(bytes).and_then(|()| stream.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Stop::Failed(RigError::Passthrough(error))),
        _ => Ok(()),
    }
}

/// The last lines of the console and of the simulator's messages.
fn last_words(console: &File, messages: &File) -> String {
    let mut text = String::new();
    for (name, file) in [("console", console), ("simulator", messages)] {
        let lines = last_lines(file).unwrap_or_else(|error| vec![format!("(unreadable: {error})")]);
        if !lines.is_empty() {
            text.push_str(&format!("\n  {name}: {}", lines.join(&format!("\n  {name}: "))));
        }
    }
    if text.is_empty() {
        "its console is empty".into()
    } else {
        format!("its last words:{text}")
    }
}

/// The last lines that are not blank, without control characters; or the first of a kernel that gave up, because there
/// the reason stands.
fn last_lines(mut file: &File) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let clean = text
        .lines()
        .map(|line| line.replace(|c: char| c.is_control(), "").trim_end().to_owned());
    let lines: Vec<String> = clean.filter(|line| !line.is_empty()).collect();
    let gave_up = lines
        .iter()
        .position(|line| GIVING_UP.iter().any(|words| line.contains(words)));
    let from = gave_up.unwrap_or(lines.len().saturating_sub(REPORTED_LINES));
    Ok(lines.into_iter().skip(from).take(REPORTED_LINES).collect())
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
