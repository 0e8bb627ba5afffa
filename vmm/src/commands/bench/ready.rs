//! What must be in order before anything is measured, and where the report goes.

use faultlab::report::JsonFile;
use faultlab::{Host, VmConfig};
use serde::Serialize;

use super::plan::Plan;
use crate::commands::{Failure, vm_config};

/// A host and a configuration that were found to be in order, so that what is wrong is known before anything else happens.
pub(super) struct Ready {
    pub(super) host: Host,
    pub(super) budget_ms: u64,
    pub(super) config: VmConfig,
}

impl Ready {
    /// Looks at the host, and prepares the first guest.
    pub(super) fn check(plan: &Plan<'_>) -> Result<Self, Failure> {
        vm_config::check_backing(&plan.vm.backing, plan.backings())?;
        let host = Host::open()?;
        let budget_ms = plan.budget_ms(host.identity().ring0);
        let backing = plan.backings.first().copied().unwrap_or_default();
        let mut config = vm_config::of(plan.vm, backing, &plan.command(budget_ms))?;
        // Each guest would be refused the same.
        config.prepare.check(&host)?;
        config.dirty.check(&host)?;
        // A row of swap-ins is one page a fault; read-ahead would answer most of them from the swap cache.
        config.command_line.push("faultlab.page_cluster=0".to_owned());
        Ok(Self {
            host,
            budget_ms,
            config,
        })
    }
}

/// Writes `value` to the file that was claimed for it.
pub(super) fn write(plan: &Plan<'_>, file: Option<JsonFile>, value: &impl Serialize) -> Result<(), Failure> {
    match (file, plan.json) {
        (Some(file), Some(path)) => file.write(value).map_err(|source| Failure::cannot_write(path, source)),
        _ => Ok(()),
    }
}
