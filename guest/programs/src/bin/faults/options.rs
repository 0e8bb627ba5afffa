//! The command line.

use core::fmt;

use faultlab_programs::parse;
use faultlab_programs::print::Bytes;
use faultlab_programs::start::Args;

use crate::scenarios::SCENARIOS;

/// Time for all scenarios together, if none is given: what `faultlab run` may take where ring 0 is emulated, less
/// what booting and reporting need.
const DEFAULT_BUDGET_MS: u64 = 10_000;
/// Most samples that one hand-over to the lab takes. Source: `faultlab_abi::dev::Samples`.
const MAX_PAGES: u64 = 65_536;

/// What is asked for.
pub(crate) struct Options {
    /// Bit i: `SCENARIOS[i]` is to be run.
    pub scenarios: u32,
    /// Samples of every scenario; `None`: as the budget allows.
    pub pages: Option<usize>,
    /// Time for everything, in nanoseconds.
    pub budget_ns: u64,
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
                SCENARIOS
                    .iter()
                    .try_for_each(|scenario| write!(f, " {}", scenario.name))
            }
            Usage::Option(option) => {
                let known = "--scenario NAME,...|all, --pages N|auto and --budget-ms N";
                write!(f, "\"{}\" is not understood; options are {known}", Bytes(option))
            }
        }
    }
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(args: &Args) -> Result<Options, Usage> {
        let all = (1 << SCENARIOS.len()) - 1;
        let mut options = Options {
            scenarios: all,
            pages: None,
            budget_ns: DEFAULT_BUDGET_MS * 1_000_000,
        };
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            let mut value = || rest.next().unwrap_or_default();
            match option {
                b"--scenario" => options.scenarios = scenarios(value(), all)?,
                b"--pages" => options.pages = pages(value())?,
                b"--budget-ms" => {
                    let text = value();
                    let remedy = "milliseconds from 1 to 3600000";
                    let budget_ms = parse::number(text).filter(|budget_ms| (1..=3_600_000).contains(budget_ms));
                    options.budget_ns = budget_ms.ok_or(Usage::Value("--budget-ms", text, remedy))? * 1_000_000;
                }
                _ => return Err(Usage::Option(option)),
            }
        }
        Ok(options)
    }
}

fn scenarios(list: &'static [u8], all: u32) -> Result<u32, Usage> {
    if list == b"all" {
        return Ok(all);
    }
    list.split(|byte| *byte == b',').try_fold(0, |chosen, name| {
        let index = SCENARIOS.iter().position(|scenario| scenario.name.as_bytes() == name);
        index.map(|index| chosen | 1 << index).ok_or(Usage::Scenario(name))
    })
}

fn pages(text: &'static [u8]) -> Result<Option<usize>, Usage> {
    if text == b"auto" {
        return Ok(None);
    }
    let pages = parse::number(text).filter(|pages| (1..=MAX_PAGES).contains(pages));
    let pages = pages.ok_or(Usage::Value("--pages", text, "`auto` or a number from 1 to 65536"))?;
    Ok(Some(pages as usize))
}
