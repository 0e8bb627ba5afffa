//! `faultlab rig`: any other command inside a simulated machine; its output, files and exit status are the command's.
//!
//! | file | what it does |
//! |---|---|
//! | `arguments.rs` | the command line in the machine, looked at before it boots |
//! | `config.rs` | what that command needs of the machine: huge pages, a disk, files |
//! | `machine.rs` | one machine, until it ends or a signal comes |
//! | `all.rs` | `--machine all`: here, on NPT and on EPT, side by side |

mod all;
mod arguments;
mod config;
mod machine;

#[cfg(test)]
pub(super) use all::without_json;
#[cfg(test)]
pub(super) use arguments::check as check_arguments;
pub(super) use machine::{Passed, run_in_machine};

use faultlab::rig::Machine;

use super::Failure;
use crate::cli::{RigArgs, RigMachines};

/// Runs the command in the machine, or in each of them; its exit status.
pub(crate) fn rig(args: &RigArgs, quiet: bool) -> Result<u8, Failure> {
    arguments::check(args)?;
    match args.machine {
        RigMachines::Amd => machine::one(args, Machine::Amd, quiet),
        RigMachines::Intel => machine::one(args, Machine::Intel, quiet),
        RigMachines::All => all::all(args, quiet),
    }
}
