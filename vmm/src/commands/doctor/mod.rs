//! `faultlab doctor`: what this host is, what it can do, what is missing, and how to get it.

mod probes;

use std::fmt::Write;

use faultlab::{Host, exit};
use serde::Serialize;

use super::{Failure, print};
use crate::cli::DoctorArgs;

/// How a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// There, or a fact without a better or worse.
    Ok,
    /// Guests run without it; something else does not.
    Limited,
    /// Guests cannot run without it.
    Missing,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    item: String,
    /// How it matters.
    verdict: Verdict,
    /// What was found.
    state: String,
    /// How to get what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(item: impl Into<String>, state: impl Into<String>) -> Self {
        Self {
            item: item.into(),
            verdict: Verdict::Ok,
            state: state.into(),
            remedy: None,
        }
    }

    fn limited(item: impl Into<String>, state: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            item: item.into(),
            verdict: Verdict::Limited,
            state: state.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// The whole report, as `--json` writes it.
#[derive(Debug, Serialize)]
struct Diagnosis {
    schema: &'static str,
    /// Whether guests can run.
    able: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<faultlab::HostIdentity>,
    findings: Vec<Finding>,
}

/// Prints the diagnosis; the exit status says whether guests can run.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<u8, Failure> {
    let diagnosis = diagnose();
    if args.json {
        let text = serde_json::to_string_pretty(&diagnosis).map_err(|error| Failure::Stdout(error.into()))?;
        print(&format!("{text}\n"))?;
    } else {
        print(&render(&diagnosis))?;
    }
    Ok(if diagnosis.able { exit::OK } else { exit::HOST })
}

fn diagnose() -> Diagnosis {
    let mut findings = Vec::new();
    let host = match Host::open() {
        Ok(host) => {
            findings.push(Finding::ok(faultlab::host::DEVICE, "can be opened, API version 12"));
            findings.extend(probes::of_kvm(host.identity()));
            Some(host.identity().clone())
        }
        Err(error) => {
            // The library's messages are "what is wrong: what to do".
            let text = error.to_string();
            let (state, remedy) = text.split_once(": ").unwrap_or((&text, "see dmesg"));
            let (item, verdict) = (faultlab::host::DEVICE.to_owned(), Verdict::Missing);
            findings.push(Finding {
                item,
                verdict,
                state: state.to_owned(),
                remedy: Some(remedy.to_owned()),
            });
            None
        }
    };
    findings.extend(probes::of_machine());
    let able = findings.iter().all(|finding| finding.verdict != Verdict::Missing);
    Diagnosis {
        schema: "faultlab.doctor/1",
        able,
        host,
        findings,
    }
}

fn render(diagnosis: &Diagnosis) -> String {
    let width = diagnosis
        .findings
        .iter()
        .map(|finding| finding.item.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for Finding {
        item,
        verdict,
        state,
        remedy,
    } in &diagnosis.findings
    {
        let mark = match verdict {
            Verdict::Ok => "ok",
            Verdict::Limited => "limited",
            Verdict::Missing => "MISSING",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{item:width$}  {mark:7}  {state}");
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "{:width$}           -> {remedy}", "");
        }
    }
    let able = if diagnosis.able {
        "This host can run guests."
    } else {
        "This host cannot run guests."
    };
    let _ = writeln!(text, "\n{able}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_an_item_and_one_a_remedy() {
        let findings = vec![
            Finding::ok("tsc", "2600 MHz"),
            Finding {
                verdict: Verdict::Missing,
                ..Finding::limited("/dev/kvm", "no permission", "join kvm")
            },
        ];
        let text = render(&Diagnosis {
            schema: "faultlab.doctor/1",
            able: false,
            host: None,
            findings,
        });
        let expected = "tsc       ok       2600 MHz\n\
                        /dev/kvm  MISSING  no permission\n                   -> join kvm\n\n\
                        This host cannot run guests.\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_problem_has_a_remedy() {
        for finding in diagnose().findings {
            assert_eq!(finding.remedy.is_some(), finding.verdict != Verdict::Ok, "{finding:?}");
            assert!(
                !finding.state.is_empty() && !finding.state.contains('\n'),
                "{finding:?}"
            );
        }
    }
}
