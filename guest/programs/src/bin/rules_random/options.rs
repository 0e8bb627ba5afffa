//! The command line.

use faultlab_programs::parse::number;
use faultlab_programs::start::Args;

/// How to call it.
pub(crate) const USAGE_TEXT: &str = "usage: rules-random [--seed N] [--calls N] [--only N,N-N,…]";

/// What to run.
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Calls are numbered from 0 to this.
    pub(crate) calls: u32,
    /// The numbers to run; all, if not given.
    only: Option<&'static [u8]>,
}

impl Options {
    /// `None` if the command line is wrong.
    pub(crate) fn parse(args: &Args) -> Option<Self> {
        let mut options = Self {
            seed: 1,
            calls: 1000,
            only: None,
        };
        let mut words = args.iter();
        while let Some(flag) = words.next() {
            let value = words.next()?;
            match flag {
                b"--seed" => options.seed = number(value)?,
                b"--calls" => options.calls = u32::try_from(number(value)?).ok()?,
                b"--only" => {
                    ranges(value).try_for_each(|range| range.map(drop))?;
                    options.only = Some(value);
                }
                _ => return None,
            }
        }
        Some(options)
    }

    /// Whether call `number` is to be made.
    pub(crate) fn has(&self, number: u32) -> bool {
        let number = u64::from(number);
        self.only.is_none_or(|list| {
            ranges(list)
                .flatten()
                .any(|(first, last)| (first..=last).contains(&number))
        })
    }
}

/// The ranges of a list, `None` for what is no range.
fn ranges(list: &[u8]) -> impl Iterator<Item = Option<(u64, u64)>> + '_ {
    list.split(|&byte| byte == b',').map(|range| {
        let mut ends = range.splitn(2, |&byte| byte == b'-').map(number);
        let first = ends.next()??;
        let last = ends.next().unwrap_or(Some(first))?;
        Some((first, last))
    })
}
