//! The other side: this program as the first process of the simulated machine.
//!
//! It makes the machine a usable Linux (file systems, KVM's modules), runs `faultlab` with the arguments of the
//! [`Plan`], passes on what that writes, and powers the machine off. Whatever fails is sent as
//! [`Frame::Failure`]; what cannot be sent goes to the console, which the other side shows.
//!
//! Locks: the port, held for one record.
//!
//! Source: Linux, Documentation/filesystems/ramfs-rootfs-initramfs.rst; finit_module(2); reboot(2); termios(3).

use std::env;
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process};
use rustix::system::{RebootCommand, finit_module, reboot};
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

use super::disk::{self, DISK_VARIABLE};
use super::frame::{Frame, GREETING, PAYLOAD_MAX};
use super::initramfs::INIT_PATH;
use super::plan::{PLAN_PATH, Plan};
use crate::error::exit;

/// The machine's second serial port.
const PORT: &str = "/dev/ttyS1";

/// Bits a second; the fastest that every 8250 has. The simulated one sends at once and only uses it to time its waits.
const PORT_SPEED: u32 = 115_200;

/// `MODULE_INIT_COMPRESSED_FILE` of linux/module.h: the kernel unpacks the module itself (Linux 5.17).
const COMPRESSED_MODULE: i32 = 4;

/// Bytes read at once from the program or from a file.
const CHUNK_BYTES: usize = 4096;
const _: () = assert!(CHUNK_BYTES + 4 <= PAYLOAD_MAX);

/// (type, directory): without these nothing works.
const FILE_SYSTEMS: [(&str, &str); 3] = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")];

/// The same for what some measurements use; a kernel may lack them.
const OPTIONAL_FILE_SYSTEMS: [(&str, &str); 2] = [("tmpfs", "/dev/shm"), ("tracefs", "/sys/kernel/tracing")];

/// Whether this process is the first one of a simulated machine. To be asked before anything else.
#[must_use]
pub fn is_first_process() -> bool {
    std::process::id() == 1 && env::args_os().next().is_some_and(|name| name == INIT_PATH)
}

/// Does the first process's work and powers the machine off. Only for a process of which [`is_first_process`] says so.
pub fn first_process() -> ! {
    if let Err(reason) = serve() {
        eprintln!("faultlab rig: {reason}");
    }
    let refused = reboot(RebootCommand::PowerOff);
    // The end of the first process is a kernel panic, and that ends the machine too.
    panic!("cannot power off: {refused:?}");
}

/// Everything but the end. An error could not be sent.
fn serve() -> Result<(), String> {
    FILE_SYSTEMS
        .iter()
        .try_for_each(|(kind, directory)| mount_at(kind, directory))?;
    let port = Mutex::new(open_port().map_err(|error| format!("cannot open {PORT}: {error}"))?);
    let last = match run(&port) {
        Ok(status) => Frame::Status(status),
        Err(reason) => Frame::Failure(reason.into_bytes()),
    };
    send(&port, &last)
        .and_then(|()| Ok(tcdrain(&*lock(&port))?))
        .map_err(|error| format!("cannot send: {error}"))
}

/// Sets up the rest, runs the program, and sends what it leaves.
fn run(port: &Mutex<File>) -> Result<u8, String> {
    let plan = fs::read(PLAN_PATH).map_err(|error| format!("cannot read {PLAN_PATH}: {error}"))?;
    let mut plan = Plan::decode(&plan).ok_or_else(|| format!("{PLAN_PATH} is malformed"))?;
    for (kind, directory) in OPTIONAL_FILE_SYSTEMS {
        if let Err(reason) = mount_at(kind, directory) {
            eprintln!("faultlab rig: {reason}");
        }
    }
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        let (link, target) = (Path::new("/dev").join(name), Path::new("/proc/self").join(target));
        symlink(target, &link).map_err(|error| format!("cannot create {}: {error}", link.display()))?;
    }
    plan.modules.iter().try_for_each(|path| load_module(path, c""))?;
    if !plan.formatter.as_os_str().is_empty() {
        match set_up_disk(&plan) {
            Ok(()) => plan
                .environment
                .push(format!("{DISK_VARIABLE}={}", disk::DIRECTORY).into()),
            // Whoever needs it will say so.
            Err(reason) => {
                let line = format!("faultlab rig: no disk: {reason}\n");
                send(port, &Frame::Stderr(line.into_bytes())).map_err(|error| format!("cannot send: {error}"))?;
            }
        }
    }
    let status = run_program(&plan, port).map_err(|error| format!("cannot run faultlab: {error}"))?;
    for (path, index) in plan.outputs.iter().zip(0..) {
        send_file(&plan.directory.join(path), index, port)
            .map_err(|error| format!("cannot send {}: {error}", path.display()))?;
    }
    Ok(exit_status(status))
}

fn mount_at(kind: &str, directory: &str) -> Result<(), String> {
    let mounted =
        fs::create_dir_all(directory).and_then(|()| Ok(mount(kind, directory, kind, MountFlags::NOSUID, None)?));
    match mounted {
        // CONFIG_DEVTMPFS_MOUNT does not apply to an initramfs, but another kernel's initramfs may have been first.
        Err(error) if error.raw_os_error() != Some(libc::EBUSY) => {
            Err(format!("cannot mount {kind} on {directory}: {error}"))
        }
        _ => Ok(()),
    }
}

/// The port for frames, greeted.
fn open_port() -> io::Result<File> {
    let mut port = open_raw(Path::new(PORT))?;
    port.write_all(GREETING)?;
    Ok(port)
}

/// A serial port, passing any byte unchanged.
fn open_raw(path: &Path) -> io::Result<File> {
    let port = OpenOptions::new().read(true).write(true).open(path)?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    settings.set_speed(PORT_SPEED)?;
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    Ok(port)
}

/// Each byte that arrives is the number of a signal for the program.
fn pass_signals(port: File, program: Pid) {
    // A buffer does not make a byte wait for others: the port gives what it has.
    for byte in BufReader::new(port).bytes() {
        let Ok(byte) = byte else { return };
        if let Some(signal) = Signal::from_named_raw(i32::from(byte)) {
            // It may have ended just now.
            let _ = kill_process(program, signal);
        }
    }
}

fn set_up_disk(plan: &Plan) -> Result<(), String> {
    let parameters = |path: &Path| match path
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b"brd."))
    {
        true => disk::PARAMETERS,
        false => c"",
    };
    plan.disk_modules
        .iter()
        .try_for_each(|path| load_module(path, parameters(path)))?;
    disk::set_up(&plan.formatter)
}

fn load_module(path: &Path, parameters: &CStr) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot load {}: {error}", path.display());
    let compressed = path.extension().is_some_and(|extension| extension != "ko");
    let flags = if compressed { COMPRESSED_MODULE } else { 0 };
    let file = File::open(path).map_err(failed)?;
    match finit_module(&file, parameters, flags) {
        // Built in as well, or loaded already.
        Err(rustix::io::Errno::EXIST) | Ok(()) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Runs `faultlab` and passes on its output.
fn run_program(plan: &Plan, port: &Mutex<File>) -> io::Result<ExitStatus> {
    let environment = plan.environment.iter().filter_map(|entry| {
        let at = entry.as_bytes().iter().position(|byte| *byte == b'=')?;
        let (name, value) = entry.as_bytes().split_at(at);
        Some((
            PathBuf::from(std::ffi::OsStr::from_bytes(name)),
            PathBuf::from(std::ffi::OsStr::from_bytes(&value[1..])),
        ))
    });
    let mut program = if plan.program.as_os_str().is_empty() {
        let mut program = Command::new(INIT_PATH);
        program.arg0("faultlab");
        program
    } else {
        Command::new(plan.directory.join(&plan.program))
    };
    program.args(&plan.arguments).current_dir(&plan.directory);
    program.env_clear().envs(environment);
    program
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let signals = open_raw(&plan.signals)?;
    let mut child = program.spawn()?;
    let id = Pid::from_child(&child);
    // Lives as long as the machine.
    thread::spawn(move || pass_signals(signals, id));
    send(port, &Frame::Started)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let passed = thread::scope(|scope| {
        let errors = scope.spawn(|| stderr.map_or(Ok(()), |pipe| pass_on(pipe, Frame::Stderr, port)));
        let output = stdout.map_or(Ok(()), |pipe| pass_on(pipe, Frame::Stdout, port));
        output.and(
            errors
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread for standard error panicked"))),
        )
    });
    let status = child.wait()?;
    passed.map(|()| status)
}

/// Sends what comes out of `pipe` until its end.
fn pass_on(mut pipe: impl Read, frame: impl Fn(Vec<u8>) -> Frame, port: &Mutex<File>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => send(port, &frame(chunk[..count].to_vec()))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends a regular file; nothing if there is none.
fn send_file(path: &Path, index: u32, port: &Mutex<File>) -> io::Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    pass_on(File::open(path)?, |bytes| Frame::File(index, bytes), port)?;
    send(port, &Frame::FileEnd(index))
}

fn send(port: &Mutex<File>, frame: &Frame) -> io::Result<()> {
    frame.write(&mut *lock(port))
}

/// A thread that panicked has at worst sent half a record, and the reader notices that.
fn lock(port: &Mutex<File>) -> std::sync::MutexGuard<'_, File> {
    port.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The status as a shell would give it.
fn exit_status(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => exit::signal(signal),
        (None, None) => exit::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_not_the_first_process() {
        assert!(!is_first_process());
    }

    #[test]
    fn statuses_are_the_shells() {
        for (raw, expected) in [(0, 0), (0x7d00, 125), (9, 137), (0x80 | 11, 139)] {
            assert_eq!(exit_status(ExitStatus::from_raw(raw)), expected, "{raw:#x}");
        }
    }
}
