//! `exec --versus-linux`: one program, once as a process of this machine's own Linux and once in the guest, side by side.
//!
//! What it writes is kept until both are done: passing it on would be part of what it costs.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;

use faultlab::on_linux::{self, Whole};
use faultlab::rig::counts_instructions;
use faultlab::{Host, Observer, Outcome, Stream, Vm};
use faultlab_abi::vmstat::Item;

use super::super::signals::StopOnSignals;
use super::super::{Failure, print_bytes, report_end, vm_config};
use crate::cli::ExecArgs;

/// Runs both; passes on what the guest's wrote, and its exit status. The comparison goes to standard error.
pub(super) fn exec(args: &ExecArgs) -> Result<u8, Failure> {
    vm_config::check_backing(&args.vm.backing, &[args.backing])?;
    let host = Host::open()?;
    let config = vm_config::of(&args.vm, args.backing, &args.command)?;
    let program = config.program.clone();
    let vm = Vm::new(config, &host)?;
    let linux = on_linux::run(&program, &args.command).map_err(Failure::OnLinux)?;
    let signals = StopOnSignals::listen(vm.stop_handle()).map_err(Failure::Signals)?;
    let mut written = Written::default();
    let outcome = vm.run(&mut written)?;
    drop(signals);
    let machine = host.identity().machine.as_deref();
    let unit = match machine.is_some_and(counts_instructions) {
        true => "instructions",
        false => "cycles",
    };
    print_bytes(&written.stdout)?;
    // If standard error is closed, the exit status still tells.
    let _ = io::stderr().write_all(&written.stderr);
    let _ = io::stderr().write_all(comparison(&linux, &outcome, &written, unit).as_bytes());
    report_end(&outcome);
    Ok(outcome.end.exit_status())
}

/// What the program wrote in the guest.
#[derive(Default)]
struct Written {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Observer for Written {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout | Stream::Terminal => self.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.stderr.extend_from_slice(bytes),
        }
    }
}

/// The table, and whether both wrote the same.
fn comparison(linux: &Whole, guest: &Outcome, written: &Written, unit: &str) -> String {
    let counter = |item: Item| guest.hello.map(|_| guest.guest_vmstat[item as usize]);
    let [minor, major] = linux.faults;
    let mut text = format!("{:<14} {:>14} {:>14} {:>12}\n", "", "Linux", "guest", "guest/Linux");
    for (name, linux, guest) in [
        (unit, linux.cycles, guest.program_cycles),
        ("page faults", minor + major, counter(Item::Pgfault)),
        ("major faults", major, counter(Item::Pgmajfault)),
    ] {
        let ratio = match guest {
            Some(guest) if linux > 0 => format!("{:.3}", guest as f64 / linux as f64),
            _ => "-".to_owned(),
        };
        let guest = guest.map_or_else(|| "-".to_owned(), |guest| guest.to_string());
        // A string never fails.
        let _ = writeln!(text, "{name:<14} {linux:>14} {guest:>14} {ratio:>12}");
    }
    let status = linux.status;
    let on_linux = status.code().unwrap_or(128 + status.signal().unwrap_or(0));
    let in_guest = guest.end.exit_status();
    let _ = writeln!(text, "{:<14} {on_linux:>14} {in_guest:>14}", "exit status");
    for (name, linux, guest) in [
        ("stdout", &linux.stdout, &written.stdout),
        ("stderr", &linux.stderr, &written.stderr),
    ] {
        let _ = writeln!(text, "{name:<14} {}", same(linux, guest));
    }
    text + "From the start of the process there, from loading the program here, to its end.\n"
}

/// Whether both wrote the same, or the first line in which they differ.
fn same(linux: &[u8], guest: &[u8]) -> String {
    if linux == guest {
        return format!("the same {} bytes", linux.len());
    }
    let lines = |bytes: &[u8]| {
        bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let (linux, guest) = (lines(linux), lines(guest));
    let at = linux.iter().zip(&guest).take_while(|(a, b)| a == b).count();
    let shown = |lines: &[Vec<u8>]| {
        let line = lines
            .get(at)
            .map_or_else(String::new, |line| String::from_utf8_lossy(line).into_owned());
        line.replace(char::is_control, "?").chars().take(60).collect::<String>()
    };
    format!(
        "DIFFERS in line {}: {:?} there, {:?} here",
        at + 1,
        shown(&linux),
        shown(&guest)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_compared_line_by_line() {
        assert_eq!(same(b"a\nb\n", b"a\nb\n"), "the same 4 bytes");
        assert_eq!(same(b"a\nb\n", b"a\nc\n"), "DIFFERS in line 2: \"b\" there, \"c\" here");
        assert_eq!(same(b"a\n", b"a\nmore"), "DIFFERS in line 2: \"\" there, \"more\" here");
        assert!(same(b"\x1b[31m", b"").contains("\"?[31m\" there"));
    }
}
