//! What is to go wrong with the swap disk, and how it is written on the command line.
//!
//! | option | value |
//! |---|---|
//! | `--swap-latency` | `fixed:80us`, `normal:MEAN,SD`, `file:TRACE` (a delay a line, used in turn) |
//! | `--swap-errors` | `read:P,write:P,torn:P,lost:P,seed=N`: probabilities a request, any of them |
//! | `--swap-stall` | requests after which the disk answers no more |
//! | `--swap-space` | bytes that the file system under the swap file has room for |
//!
//! Equal seeds and equal requests give equal faults.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::paths;

/// The longest delay of a request: longer ones are a disk that stalls.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// Larger files are no traces of delays.
const TRACE_MAX_BYTES: u64 = 64 << 20;

/// Everything that is to go wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SwapFaults {
    /// How late requests are answered.
    pub latency: Latency,
    /// How often requests fail.
    pub errors: ErrorRates,
    /// Reads and writes that are answered before none is any more.
    pub stall_after: Option<u64>,
    /// Bytes that can be written to different pages; further pages fail with `ENOSPC`.
    pub space_bytes: Option<u64>,
}

impl SwapFaults {
    /// Whether nothing is to go wrong.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == SwapFaults::default()
    }
}

/// How late the disk answers, on top of what its backend takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Latency {
    /// At once.
    #[default]
    None,
    /// Always so late.
    Fixed(Duration),
    /// Normally distributed; what would be negative is 0.
    Normal {
        /// The mean.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// These in turn, again and again; at least one.
    Trace(Vec<Duration>),
}

/// How often requests fail: probabilities, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ErrorRates {
    /// A read fails.
    pub read: f64,
    /// A write fails, nothing is written.
    pub write: f64,
    /// A write fails, half of it is written.
    pub torn: f64,
    /// A write is reported as done, half of it is written. No driver can know.
    pub lost: f64,
    /// Names the sequence of faults.
    pub seed: u64,
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Latency, String> {
        const REMEDY: &str = "give fixed:80us, normal:MEAN,SD such as normal:80us,10us, or file:TRACE";
        match text.split_once(':') {
            Some(("fixed", delay)) => Ok(Latency::Fixed(parse_delay(delay)?)),
            Some(("normal", both)) => {
                let (mean, deviation) = both.split_once(',').ok_or(REMEDY)?;
                Ok(Latency::Normal {
                    mean: parse_delay(mean)?,
                    deviation: parse_delay(deviation)?,
                })
            }
            Some(("file", path)) => {
                let lines = paths::read_text(Path::new(path), TRACE_MAX_BYTES)
                    .map_err(|error| format!("cannot read {path}: {error}"))?;
                parse_trace(&lines).map_err(|why| format!("{path}: {why}"))
            }
            _ => Err(REMEDY.to_owned()),
        }
    }
}

/// A delay a line; empty lines and those that begin with `#` are skipped.
fn parse_trace(lines: &str) -> Result<Latency, String> {
    let mut delays = Vec::new();
    for (number, line) in lines.lines().map(str::trim).enumerate() {
        if !line.is_empty() && !line.starts_with('#') {
            delays.push(parse_delay(line).map_err(|why| format!("line {}: {why}", number + 1))?);
        }
    }
    if delays.is_empty() {
        return Err("no delays; write one such as 80us a line".to_owned());
    }
    Ok(Latency::Trace(delays))
}

/// A whole number with a unit of ns, us, ms or s.
fn parse_delay(text: &str) -> Result<Duration, String> {
    let remedy = || format!("\"{text}\" is no delay; give a number with ns, us, ms or s, up to 60s, such as 80us");
    let digits = text.find(|byte: char| !byte.is_ascii_digit()).ok_or_else(remedy)?;
    let number: u64 = text[..digits].parse().map_err(|_| remedy())?;
    let unit_ns: u64 = match &text[digits..] {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return Err(remedy()),
    };
    number
        .checked_mul(unit_ns)
        .map(Duration::from_nanos)
        .filter(|delay| *delay <= DELAY_MAX)
        .ok_or_else(remedy)
}

impl FromStr for ErrorRates {
    type Err = String;

    fn from_str(text: &str) -> Result<ErrorRates, String> {
        let mut rates = ErrorRates::default();
        for part in text.split(',') {
            let remedy = || {
                format!("\"{part}\" is not understood; give read:P, write:P, torn:P, lost:P (P from 0 to 1), seed=N")
            };
            if let Some(seed) = part.strip_prefix("seed=") {
                rates.seed = seed.parse().map_err(|_| remedy())?;
                continue;
            }
            let (name, probability) = part.split_once(':').ok_or_else(remedy)?;
            let rate = match name {
                "read" => &mut rates.read,
                "write" => &mut rates.write,
                "torn" => &mut rates.torn,
                "lost" => &mut rates.lost,
                _ => return Err(remedy()),
            };
            *rate = probability
                .parse()
                .ok()
                .filter(|rate| (0.0..=1.0).contains(rate))
                .ok_or_else(remedy)?;
        }
        Ok(rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies() {
        let us = Duration::from_micros;
        assert_eq!("fixed:80us".parse(), Ok(Latency::Fixed(us(80))));
        let normal = Latency::Normal {
            mean: us(2000),
            deviation: Duration::from_nanos(5),
        };
        assert_eq!("normal:2ms,5ns".parse(), Ok(normal));
        assert_eq!(
            parse_trace("# two\n80us\n\n 1s\n"),
            Ok(Latency::Trace(vec![us(80), us(1_000_000)]))
        );
        for text in [
            "",
            "80us",
            "fixed:",
            "fixed:80",
            "fixed:-1us",
            "fixed:1.5us",
            "fixed:61s",
            "fixed:99999999999999999999s",
            "normal:1us",
            "file:/no/such/file",
            "other:1us",
        ] {
            assert!(text.parse::<Latency>().is_err(), "{text}");
        }
        assert!(parse_trace("# none\n").is_err());
        assert!(parse_trace("80us\nx\n").unwrap_err().contains("line 2"));
    }

    #[test]
    fn error_rates() {
        let rates = ErrorRates {
            read: 1e-4,
            write: 0.5,
            torn: 1.0,
            lost: 0.25,
            seed: 7,
        };
        assert_eq!("read:1e-4,write:.5,torn:1,lost:0.25,seed=7".parse(), Ok(rates));
        for text in [
            "", "read", "read:", "read:2", "read:-1", "read:NaN", "seed=x", "sparks:1", "read:1,",
        ] {
            assert!(text.parse::<ErrorRates>().is_err(), "{text}");
        }
    }
}
