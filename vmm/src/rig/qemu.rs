//! The AMD machine: QEMU's software CPU, which implements SVM with nested paging.
//!
//! With instruction counting the whole machine is a function of its inputs: the time-stamp counter and every timer
//! advance by one nanosecond an instruction, the clock starts at a fixed date, and `rdrand` is seeded, so that two runs
//! see the same interrupts at the same instructions.
//!
//! Source: qemu(1) `-icount`, `-rtc`, `-seed`, `-chardev`; QEMU, docs/devel/tcg-icount.rst; Linux,
//! Documentation/admin-guide/kernel-parameters.txt.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use super::error::RigError;
use super::launch::{Boot, Launch, memory_mib};

/// The command.
pub(super) const SIMULATOR: &str = "qemu-system-x86_64";

/// A machine ready to start.
pub(super) fn launch(boot: Boot) -> Result<Launch, RigError> {
    let pipe = || {
        io::pipe().map_err(|source| RigError::Prepare {
            what: "create a pipe".into(),
            source,
            remedy: "raise the limit on open files, `ulimit -n`",
        })
    };
    let ((frames, end), (input, signals)) = (pipe()?, pipe()?);
    let mut command = Command::new(SIMULATOR);
    command.args(arguments(boot)).stdin(input).stdout(end);
    Ok(Launch {
        simulator: SIMULATOR,
        command,
        frames,
        signals: OwnedFd::from(signals).into(),
        screen: None,
        kept: Vec::new(),
    })
}

/// Where what is written to [`Launch::signals`] arrives: the same port, in the other direction.
pub(super) const SIGNALS_PORT: &str = "/dev/ttyS1";

/// QEMU's arguments. The second serial port is its standard input and output.
fn arguments(boot: Boot) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "-nodefaults -no-user-config -no-reboot -display none",
        "-machine pc -accel tcg,thread=single -cpu max,+svm,+npt -smp 1 -m",
    ]
    .iter()
    .flat_map(|part| part.split(' '))
    .map(OsString::from)
    .collect();
    arguments.push(memory_mib(boot.append).to_string().into());
    let mut console = OsString::from("file,id=console,path=");
    console.push(boot.console);
    arguments.extend(["-chardev".into(), console, "-serial".into(), "chardev:console".into()]);
    arguments.extend(["-chardev", "stdio,id=frames,signal=off", "-serial", "chardev:frames"].map(OsString::from));
    if boot.icount {
        let clock = "-icount shift=0,sleep=off -rtc base=2000-01-01T00:00:00,clock=vm -seed 0";
        arguments.extend(clock.split(' ').map(OsString::from));
    }
    arguments.extend([
        "-kernel".into(),
        boot.kernel.into(),
        "-initrd".into(),
        boot.initramfs.into(),
    ]);
    arguments.extend(["-append".into(), command_line(boot).into()]);
    arguments
}

/// The kernel's command line. A panic reboots at once, which `-no-reboot` turns into QEMU's end.
fn command_line(boot: Boot) -> String {
    let mut line = String::from("console=ttyS0 panic=-1 quiet");
    if !boot.mitigations {
        line.push_str(" mitigations=off");
    }
    if boot.icount {
        // No randomness in addresses, so that caches and page tables come out alike. The HPET as the timer, because
        // calibrating the local APIC's is a wait of 25 million `pause`, half of the boot.
        line.push_str(" nokaslr norandmaps nolapic_timer");
    }
    for word in boot.append.split_ascii_whitespace() {
        line.push(' ');
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::testing::boot;
    use super::*;

    fn line(boot: Boot) -> String {
        let arguments = arguments(boot);
        arguments
            .iter()
            .map(|argument| argument.to_str().unwrap())
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn the_machine_counts_instructions() {
        assert_eq!(
            line(boot()),
            "-nodefaults|-no-user-config|-no-reboot|-display|none|-machine|pc|-accel|tcg,thread=single|\
             -cpu|max,+svm,+npt|-smp|1|-m|2048|-chardev|file,id=console,path=/c|-serial|chardev:console|\
             -chardev|stdio,id=frames,signal=off|-serial|chardev:frames|-icount|shift=0,sleep=off|\
             -rtc|base=2000-01-01T00:00:00,clock=vm|-seed|0|-kernel|/k, with a comma|-initrd|/i|\
             -append|console=ttyS0 panic=-1 quiet mitigations=off nokaslr norandmaps nolapic_timer"
        );
    }

    #[test]
    fn without_counting_time_is_real() {
        let line = line(Boot {
            icount: false,
            ..boot()
        });
        assert!(
            !line.contains("-icount") && !line.contains("-rtc") && !line.contains("nokaslr"),
            "{line}"
        );
    }

    #[test]
    fn further_words_come_last() {
        let line = line(Boot {
            append: " hugepages=64  quiet",
            ..boot()
        });
        assert!(line.ends_with(" nolapic_timer hugepages=64 quiet"), "{line}");
    }

    #[test]
    fn mitigations_are_off_unless_asked_for() {
        assert!(
            !line(Boot {
                mitigations: true,
                ..boot()
            })
            .contains("mitigations")
        );
    }
}
