//! The command line in the machine, looked at before it boots.

use std::ffi::{OsStr, OsString};

use clap::Parser;

use crate::cli::{Cli, Command, RigArgs, one_line};
use crate::commands::Failure;

/// Answers a command line that the machine would only refuse, before booting it.
pub(in crate::commands) fn check(args: &RigArgs) -> Result<(), Failure> {
    if args.exec {
        return Ok(());
    }
    let arguments = arguments_there(args);
    let words = std::iter::once(OsStr::new("faultlab")).chain(arguments.iter().map(AsRef::as_ref));
    match Cli::try_parse_from(words) {
        Ok(Cli {
            command: Command::Rig(_) | Command::Gate(_),
            ..
        }) => Err(Failure::Usage(
            "a rig inside a rig: give another command after `--`".to_owned(),
        )),
        Ok(Cli {
            command: Command::Exec(exec),
            ..
        }) if !exec.dir.is_empty() || exec.out.iter().any(|pair| pair.host.is_dir()) => Err(Failure::Usage(
            "only files go into a simulated machine and come back: give --file, and --out to a file, instead"
                .to_owned(),
        )),
        Err(answer) if answer.use_stderr() => {
            let line = one_line(&answer);
            Err(Failure::Usage(
                line.strip_prefix("faultlab: ").unwrap_or(&line).to_owned(),
            ))
        }
        // Help is as good from there.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The arguments of the command in the machine.
pub(super) fn arguments_there(args: &RigArgs) -> Vec<OsString> {
    let mut arguments = args.arguments.clone();
    if args.versus_linux {
        // Before what may be a program's.
        arguments.insert(1.min(arguments.len()), "--versus-linux".into());
    }
    arguments
}

/// The command in the machine, if it is faultlab's.
pub(super) fn command_there(args: &RigArgs) -> Option<Command> {
    let words = std::iter::once(OsStr::new("faultlab")).chain(args.arguments.iter().map(AsRef::as_ref));
    let parsed = (!args.exec).then(|| Cli::try_parse_from(words))?;
    Some(parsed.ok()?.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(words: &[&str]) -> Result<(), String> {
        let line = [&["faultlab", "rig", "--"], words].concat();
        let Command::Rig(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("not rig")
        };
        check(&args).map_err(|failure| {
            assert_eq!(failure.exit_status(), faultlab::exit::USAGE);
            failure.to_string()
        })
    }

    #[test]
    fn a_wrong_command_is_refused_before_the_machine_boots() {
        let line = checked(&["run", "--memory", "1"]).unwrap_err();
        assert!(
            line.contains("--memory") && !line.starts_with("faultlab: ") && !line.contains('\n'),
            "{line}"
        );
        assert!(
            checked(&["rig", "--", "run"])
                .unwrap_err()
                .starts_with("a rig inside a rig: ")
        );
    }

    #[test]
    fn right_commands_and_help_pass() {
        for words in [
            ["run", "--scenario=minor"].as_slice(),
            &["--help"],
            &["exec", "--", "prog", "--memory", "1"],
        ] {
            assert_eq!(checked(words), Ok(()), "{words:?}");
        }
    }
}
