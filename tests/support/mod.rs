//! The harness: what a test needs, running commands with a limit of time, the bundled programs on this host.

mod command;
mod host_programs;
mod machine;

use std::sync::Arc;

use libtest_mimic::{Completion, Failed, Trial};

pub(crate) use command::{Faultlab, Ran, faultlab, wait, within};
pub(crate) use host_programs::HostPrograms;
pub(crate) use machine::{BUSYBOX, Needs};

use machine::Machine;

/// The tests, collected from the modules.
#[derive(Default)]
pub(crate) struct Suite {
    machine: Arc<Machine>,
    /// The bundled programs, to be run on this host.
    pub(crate) host_programs: Arc<HostPrograms>,
    trials: Vec<Trial>,
}

impl Suite {
    /// Adds a test. It fails if `body` panics, and is skipped if this machine lacks what it `needs`.
    pub(crate) fn test(&mut self, name: impl Into<String>, needs: Needs, body: impl FnOnce() + Send + 'static) {
        let machine = Arc::clone(&self.machine);
        let run = move || match machine.lacks(needs) {
            None => {
                body();
                Ok(Completion::Completed)
            }
            Some(lack) if lack.is_failure => Err(Failed::from(lack.reason)),
            Some(lack) => Ok(Completion::ignored_with(lack.reason)),
        };
        self.trials.push(Trial::ignorable_test(name, run));
    }

    /// All of them, in the order added.
    pub(crate) fn into_trials(self) -> Vec<Trial> {
        self.trials
    }
}
