//! The command line.

use core::fmt;

use faultlab_abi::dev::access;
use faultlab_abi::pattern::Pattern;
use faultlab_abi::scenario::{self, Scenario, Touches};
use faultlab_programs::parse;
use faultlab_programs::print::Bytes;
use faultlab_programs::start::Args;

use crate::phase::Row;

/// Time for all scenarios together, if none is given: what `faultlab run` may take where ring 0 is emulated, less
/// what booting and reporting need.
const DEFAULT_BUDGET_MS: u64 = 10_000;
/// Most samples that one hand-over to the lab takes. Source: `faultlab_abi::dev::Samples`.
const MAX_PAGES: u64 = 65_536;
/// Most patterns in one run.
const MAX_PATTERNS: usize = 16;
/// Seed of random orders, if none is given.
const DEFAULT_SEED: u64 = 1;

/// What is asked for.
pub(crate) struct Options {
    /// Bit i: `scenario::ALL[i]` is to be run.
    scenarios: u64,
    patterns: [Pattern; MAX_PATTERNS],
    pattern_count: usize,
    /// Access where a scenario leaves it open.
    access: u64,
    /// Of random orders.
    pub seed: u64,
    /// Samples of every row; `None`: as the budget allows.
    pub pages: Option<usize>,
    /// Time for everything, in nanoseconds.
    pub budget_ns: u64,
    /// Where there is no lab: the descriptor that phases are recorded to.
    pub record: Option<i32>,
}

/// A command line that is not understood.
pub(crate) enum Usage {
    /// The value of this option is missing or out of range.
    Value(&'static str, &'static [u8], &'static str),
    /// No such scenario.
    Scenario(&'static [u8]),
    /// No such option.
    Option(&'static [u8]),
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Usage::Value(option, value, remedy) => write!(f, "{option} \"{}\": give {remedy}", Bytes(value)),
            Usage::Scenario(name) => {
                write!(
                    f,
                    "--scenario \"{}\": give `all`, or some of these separated by commas:",
                    Bytes(name)
                )?;
                scenario::ALL
                    .iter()
                    .try_for_each(|scenario| write!(f, " {}", scenario.name()))
            }
            Usage::Option(option) => {
                let known = "--scenario, --pattern, --access, --seed, --pages, --budget-ms, --record and --list";
                write!(f, "\"{}\" is not understood; options are {known}", Bytes(option))
            }
        }
    }
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(args: &Args) -> Result<Options, Usage> {
        let mut options = Options {
            scenarios: (1 << scenario::COUNT) - 1,
            patterns: [Pattern::Seq; MAX_PATTERNS],
            pattern_count: 1,
            access: access::STORE,
            seed: DEFAULT_SEED,
            pages: None,
            budget_ns: DEFAULT_BUDGET_MS * 1_000_000,
            record: None,
        };
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            let mut value = || rest.next().unwrap_or_default();
            match option {
                b"--scenario" => options.scenarios = scenarios(value())?,
                b"--pattern" => options.set_patterns(value())?,
                b"--access" => options.access = touch(value())?,
                b"--seed" => options.seed = number("--seed", value(), 0, u64::MAX, "a number of 64 bits")?,
                b"--pages" => options.pages = pages(value())?,
                b"--record" => {
                    let descriptor = number("--record", value(), 0, i32::MAX as u64, "an open descriptor")?;
                    options.record = Some(descriptor as i32);
                }
                b"--budget-ms" => {
                    let budget_ms = number("--budget-ms", value(), 1, 3_600_000, "milliseconds from 1 to 3600000")?;
                    options.budget_ns = budget_ms * 1_000_000;
                }
                _ => return Err(Usage::Option(option)),
            }
        }
        Ok(options)
    }

    /// The rows that are asked for, in the order of the catalogue. What has no order is measured once.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        let chosen = scenario::ALL
            .iter()
            .enumerate()
            .filter(|(index, _)| self.scenarios & (1 << index) != 0);
        chosen.flat_map(|(_, scenario)| {
            let patterns = if scenario.has_pattern() {
                &self.patterns[..self.pattern_count]
            } else {
                &[Pattern::None]
            };
            patterns.iter().map(|pattern| self.row(*scenario, *pattern))
        })
    }

    fn row(&self, scenario: Scenario, pattern: Pattern) -> Row {
        let access = match scenario.touches() {
            Touches::Pages => self.access,
            Touches::Stores => access::STORE,
            Touches::Loads => access::LOAD,
            Touches::Nothing => access::NONE,
        };
        Row {
            scenario,
            pattern,
            access,
        }
    }

    fn set_patterns(&mut self, list: &'static [u8]) -> Result<(), Usage> {
        self.pattern_count = 0;
        for text in list.split(|byte| *byte == b',') {
            let refused = Usage::Value(
                "--pattern",
                list,
                "up to 16 of seq, rand and stride:N, N from 1 to 65536",
            );
            let pattern = match (text, text.strip_prefix(b"stride:")) {
                (b"seq", _) => Some(Pattern::Seq),
                (b"rand", _) => Some(Pattern::Rand),
                (_, Some(step)) => parse::number(step)
                    .filter(|step| (1..=MAX_PAGES).contains(step))
                    .map(|step| Pattern::Stride(step as u32)),
                _ => None,
            };
            let (Some(pattern), Some(place)) = (pattern, self.patterns.get_mut(self.pattern_count)) else {
                return Err(refused);
            };
            *place = pattern;
            self.pattern_count += 1;
        }
        Ok(())
    }
}

fn scenarios(list: &'static [u8]) -> Result<u64, Usage> {
    if list == b"all" {
        return Ok((1 << scenario::COUNT) - 1);
    }
    list.split(|byte| *byte == b',').try_fold(0, |chosen, name| {
        let scenario = Scenario::named(name).ok_or(Usage::Scenario(name))?;
        Ok(chosen | 1 << scenario as usize)
    })
}

fn touch(text: &'static [u8]) -> Result<u64, Usage> {
    match text {
        b"store" => Ok(access::STORE),
        b"load" => Ok(access::LOAD),
        _ => Err(Usage::Value("--access", text, "store or load")),
    }
}

fn pages(text: &'static [u8]) -> Result<Option<usize>, Usage> {
    if text == b"auto" {
        return Ok(None);
    }
    number("--pages", text, 1, MAX_PAGES, "`auto` or a number from 1 to 65536").map(|pages| Some(pages as usize))
}

fn number(option: &'static str, text: &'static [u8], min: u64, max: u64, remedy: &'static str) -> Result<u64, Usage> {
    let value = parse::number(text).filter(|value| (min..=max).contains(value));
    value.ok_or(Usage::Value(option, text, remedy))
}
