//! What is asked for: scenarios × backings × patterns, and what of it this host cannot do.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

use faultlab::host::Ring0;
use faultlab::memory::Backing;
use faultlab::report::{Wanted, header};
use faultlab_abi::scenario::{self, Group, Scenario, Touches};

use crate::cli::{Access, BenchArgs, Pages, Pattern, RunArgs, VmArgs};
use crate::commands::Failure;

/// Patterns that the program takes.
const PATTERNS_MAX: usize = 16;

/// Time for one row of a matrix, in milliseconds, where ring 0 is native.
const NATIVE_ROW_MS: u64 = 300;
/// The same where it is emulated.
const EMULATED_ROW_MS: u64 = 800;
/// Time for all rows of a matrix, in milliseconds, where ring 0 is native: the whole command may take two minutes.
const NATIVE_MATRIX_MS: u64 = 100_000;

/// Time for the standard set, in milliseconds, where ring 0 is native: the whole command may take 3 s.
const NATIVE_STANDARD_MS: u64 = 2_000;
/// The same where it is emulated: the whole command may take 15 s.
const EMULATED_STANDARD_MS: u64 = 11_000;

/// Smallest lab window: more pages than a TLB has entries.
const WINDOW_MIN_BYTES: u64 = 32 << 20;
/// Largest that is chosen without being asked for, if one granule is no more than that.
const WINDOW_MAX_BYTES: u64 = 64 << 20;

/// A matrix of rows.
pub(crate) struct Plan<'a> {
    pub(super) vm: &'a VmArgs,
    pub(super) json: Option<&'a PathBuf>,
    pub(super) scenarios: Vec<Scenario>,
    pub(super) patterns: Vec<Pattern>,
    access: Access,
    /// Those that can be had; a guest is booted on each.
    pub(super) backings: Vec<Backing>,
    /// All that this host can do were asked for, not these by name.
    pub(super) backings_are_optional: bool,
    /// Those that cannot, and why.
    pub(super) unavailable: Vec<(Backing, String)>,
    pages: Pages,
    pub(super) seed: u64,
    /// The standard set has a limit of time of its own.
    is_standard: bool,
    /// The same on this machine's own Linux as well.
    pub(super) versus_linux: bool,
    /// The host kernel's events of each row as well.
    pub(super) host_events: bool,
}

impl<'a> Plan<'a> {
    /// `faultlab run`.
    pub(crate) fn of_run(args: &'a RunArgs) -> Result<Self, Failure> {
        let scenarios = if args.scenario.is_empty() {
            scenarios(&args.vm, Scenario::is_standard)
        } else {
            named_scenarios(&args.vm, &args.scenario)?
        };
        Ok(Self {
            vm: &args.vm,
            json: args.json.as_ref(),
            scenarios,
            patterns: vec![Pattern::Seq],
            access: Access::Store,
            backings: vec![args.backing],
            backings_are_optional: false,
            unavailable: Vec::new(),
            pages: args.pages,
            seed: 0,
            is_standard: true,
            versus_linux: args.versus_linux,
            host_events: args.also.host_events,
        })
    }

    /// `faultlab bench`.
    pub(crate) fn of_bench(args: &'a BenchArgs) -> Result<Self, Failure> {
        if args.vcpus != 1 {
            return Err(Failure::Usage(format!(
                "--vcpus {}: the guest kernel runs on one vCPU so far; give --vcpus 1",
                args.vcpus
            )));
        }
        let all = |list: &[String]| list.iter().any(|name| name == "all");
        let group = |name: &str| args.scenario.iter().any(|asked| asked == name);
        let mut chosen = named_scenarios(&args.vm, &args.scenario)?;
        chosen.extend(scenarios(&args.vm, |scenario| {
            let of_group = |each: &Group| group(each.name()) && each.has(scenario);
            group("all") && !scenario.is_special() || Group::ALL.iter().any(of_group)
        }));
        let scenarios = scenario::ALL.iter().filter(|scenario| chosen.contains(scenario));
        let scenarios = scenarios.copied().collect();
        let mut patterns = Vec::new();
        for pattern in &args.pattern {
            if !patterns.contains(pattern) {
                patterns.push(*pattern);
            }
        }
        if patterns.len() > PATTERNS_MAX {
            return Err(Failure::Usage(format!(
                "--pattern with {} patterns: give at most {PATTERNS_MAX}",
                patterns.len()
            )));
        }
        let (backings, unavailable) = backings(&args.backing, all(&args.backing))?;
        Ok(Self {
            vm: &args.vm,
            json: args.json.as_ref(),
            scenarios,
            patterns,
            access: args.access,
            backings,
            backings_are_optional: all(&args.backing),
            unavailable,
            pages: args.pages,
            seed: args.seed,
            is_standard: false,
            versus_linux: args.versus_linux,
            host_events: args.also.host_events,
        })
    }

    /// The backings that can be had; a guest is booted on each.
    pub(crate) fn backings(&self) -> &[Backing] {
        &self.backings
    }

    /// Every row that is to come, in order.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for backing in &self.backings {
            for scenario in &self.scenarios {
                let patterns = if scenario.has_pattern() {
                    &self.patterns[..]
                } else {
                    &[Pattern::None]
                };
                wanted.extend(patterns.iter().map(|pattern| Wanted {
                    name: scenario.name().to_owned(),
                    backing: backing.name().to_owned(),
                    pattern: pattern.to_string(),
                }));
            }
        }
        wanted
    }

    /// Whether a scenario swaps.
    pub(super) fn needs_swap(&self) -> bool {
        self.scenarios.iter().any(|scenario| scenario.needs_swap())
    }

    /// Every row that is to come of a process on Linux itself.
    pub(super) fn wanted_on_linux(&self) -> Vec<Wanted> {
        let mut wanted = self.wanted();
        wanted.retain(|row| {
            self.backings
                .first()
                .is_some_and(|backing| row.backing == backing.name())
        });
        for row in &mut wanted {
            header::LINUX.clone_into(&mut row.backing);
        }
        wanted
    }

    /// Time for one guest, in milliseconds.
    pub(crate) fn budget_ms(&self, ring0: Ring0) -> u64 {
        let guests = self.backings.len().max(1) as u64;
        let rows = self.wanted().len() as u64;
        match (self.is_standard, ring0 == Ring0::Native) {
            (true, true) => NATIVE_STANDARD_MS,
            (true, false) => EMULATED_STANDARD_MS,
            (false, true) => (rows * NATIVE_ROW_MS).min(NATIVE_MATRIX_MS) / guests,
            (false, false) => rows * EMULATED_ROW_MS / guests,
        }
        .max(1)
    }

    /// Bytes of the lab window of a guest on `backing`: as asked for, or enough for the scenarios.
    pub(super) fn window_bytes(&self, backing: Backing) -> u64 {
        let granule = backing.granule_bytes();
        if self.vm.window != 0 {
            return self.vm.window;
        }
        WINDOW_MAX_BYTES.min(WINDOW_MIN_BYTES.max(32 * granule)).max(granule)
    }

    /// Whether an order is random, so that the seed matters.
    pub(super) fn is_seeded(&self) -> bool {
        self.patterns.contains(&Pattern::Rand)
    }

    /// The bundled program and its arguments, for one guest.
    pub(crate) fn command(&self, budget_ms: u64) -> Vec<OsString> {
        let list = |words: Vec<String>| words.join(",");
        let scenarios = self.scenarios.iter().map(|scenario| scenario.name().to_owned());
        let words = [
            ("--budget-ms", budget_ms.to_string()),
            ("--pages", self.pages.to_string()),
            ("--scenario", list(scenarios.collect())),
            (
                "--pattern",
                list(self.patterns.iter().map(Pattern::to_string).collect()),
            ),
            ("--access", self.access.name().to_owned()),
            ("--seed", self.seed.to_string()),
        ];
        let words = words
            .into_iter()
            .flat_map(|(option, value)| [option.into(), value.into()]);
        std::iter::once("faults".into()).chain(words).collect()
    }
}

/// Scenarios that pass, as far as this guest allows them.
fn scenarios(vm: &VmArgs, passes: impl Fn(Scenario) -> bool) -> Vec<Scenario> {
    let possible = |scenario: &Scenario| passes(*scenario) && !(scenario.needs_swap() && has_no_swap(vm));
    scenario::ALL.iter().copied().filter(possible).collect()
}

/// Scenarios by name, in the order of the catalogue, each once.
fn named_scenarios(vm: &VmArgs, names: &[String]) -> Result<Vec<Scenario>, Failure> {
    let named = |scenario: &&Scenario| names.iter().any(|name| name == scenario.name());
    let chosen: Vec<Scenario> = scenario::ALL.iter().filter(named).copied().collect();
    match chosen.iter().find(|scenario| scenario.needs_swap() && has_no_swap(vm)) {
        Some(scenario) => Err(Failure::Usage(format!(
            "--scenario {} with --swap 0: give --swap a size, such as 64M",
            scenario.name()
        ))),
        None => Ok(chosen),
    }
}

fn has_no_swap(vm: &VmArgs) -> bool {
    vm.swap == 0 && vm.swap_file.is_none()
}

/// Backings that this host cannot do, and why.
type Unavailable = Vec<(Backing, String)>;

/// The backings that this host can do, and those that it cannot with the reason; one that was named must be possible.
fn backings(names: &[String], all: bool) -> Result<(Vec<Backing>, Unavailable), Failure> {
    let (mut possible, mut unavailable) = (Vec::new(), Vec::new());
    for backing in Backing::ALL {
        let named = names.iter().any(|name| name == backing.name());
        if !named && !all {
            continue;
        }
        match backing.probe() {
            Ok(()) => possible.push(backing),
            Err(error) if named => return Err(Failure::Vmm(error.into())),
            Err(error) => unavailable.push((backing, error.to_string())),
        }
    }
    Ok((possible, unavailable))
}

/// The catalogue for people.
pub(super) fn catalogue() -> String {
    let mut text = format!(
        "{:<18} {:<7} {:<66} counted as\n",
        "scenario", "touches", "what one operation is"
    );
    for scenario in scenario::ALL {
        let touches = match scenario.touches() {
            Touches::Pages => "any",
            Touches::Stores => "stores",
            Touches::Loads => "loads",
            Touches::Nothing => "-",
        };
        // A string never fails.
        let _ = writeln!(
            text,
            "{:<18} {touches:<7} {:<66} {}",
            scenario.name(),
            scenario.meaning(),
            scenario.counted()
        );
    }
    text
}

impl Access {
    /// As the program takes it.
    fn name(self) -> &'static str {
        match self {
            Access::Store => "store",
            Access::Load => "load",
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
