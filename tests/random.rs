//! `rules-random` does in the guest what it does on this host, whatever calls are drawn.
//!
//! `FAULTLAB_RANDOM=FIRST..LAST:CALLS` draws with other seeds, and more of them: `FAULTLAB_RANDOM=1..500:3000 cargo test --release --test e2e --
//! random::`. Where the two differ, calls are left out until none of those that remain can be spared, and the rest is shown.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::support::{HostPrograms, Needs, Suite, faultlab};

const PROGRAM: &str = "rules-random";
/// Names the seeds and the number of calls to draw.
const VARIABLE: &str = "FAULTLAB_RANDOM";
const USUAL: &str = "1..4:1000";

/// Adds one test a seed.
pub(crate) fn tests(suite: &mut Suite) {
    let wanted = std::env::var(VARIABLE).unwrap_or_else(|_| USUAL.to_owned());
    let (seeds, calls) = parse(&wanted).unwrap_or_else(|| panic!("{VARIABLE} is FIRST..LAST:CALLS, not {wanted}"));
    for seed in seeds {
        let host_programs = Arc::clone(&suite.host_programs);
        let needs = Needs::KvmAndRecentNamespaces;
        suite.test(format!("random::{seed}"), needs, move || {
            compare(&Drawn {
                seed,
                calls,
                host_programs,
            });
        });
    }
}

fn parse(text: &str) -> Option<(RangeInclusive<u64>, u32)> {
    let (seeds, calls) = text.split_once(':')?;
    let (first, last) = seeds.split_once("..")?;
    Some((first.parse().ok()?..=last.parse().ok()?, calls.parse().ok()?))
}

/// The calls of one seed.
struct Drawn {
    seed: u64,
    calls: u32,
    host_programs: Arc<HostPrograms>,
}

impl Drawn {
    fn arguments(&self, only: &[u32]) -> Vec<String> {
        let mut arguments = ["--seed", &self.seed.to_string(), "--calls", &self.calls.to_string()]
            .map(str::to_owned)
            .to_vec();
        if only.len() < self.calls as usize {
            arguments.extend(["--only".to_owned(), ranges(only)]);
        }
        arguments
    }

    /// What the host and the guest print.
    fn outputs(&self, only: &[u32]) -> (String, String) {
        let arguments = self.arguments(only);
        let host = self
            .host_programs
            .run_in_ipc_and_mount_namespaces(PROGRAM, &arguments)
            .expect(0);
        let guest = faultlab("exec --quiet --").args([PROGRAM]).args(&arguments).run();
        (host.stdout(), guest.stdout())
    }

    fn differ(&self, only: &[u32]) -> bool {
        let (host, guest) = self.outputs(only);
        host != guest
    }
}

fn compare(drawn: &Drawn) {
    let all: Vec<u32> = (0..drawn.calls).collect();
    let (host, guest) = drawn.outputs(&all);
    let Some(number) = first_difference(&host, &guest) else {
        return;
    };
    // What follows the first difference did not cause it.
    let until = all.into_iter().take_while(|&call| call <= number).collect();
    let few = shrink(until, |only| drawn.differ(only));
    let (host, guest) = drawn.outputs(&few);
    panic!(
        "{PROGRAM} {} differs.\nOn this host:\n{host}\nIn the guest:\n{guest}",
        drawn.arguments(&few).join(" ")
    );
}

/// The number of the call at which they begin to differ; the largest possible if that cannot be told.
fn first_difference(host: &str, guest: &str) -> Option<u32> {
    let mut pairs = host.lines().zip(guest.lines());
    let number = |line: &str| line.split(' ').next().and_then(|word| word.parse().ok());
    match pairs.find(|(host, guest)| host != guest) {
        Some((line, _)) => Some(number(line).unwrap_or(u32::MAX)),
        None if host == guest => None,
        None => Some(u32::MAX),
    }
}

/// Leaves out what can be left out while the rest still `fails`: halves first, single ones last. Source: Zeller and Hildebrandt,
/// "Simplifying and Isolating Failure-Inducing Input" (2002), without its tests of subsets.
fn shrink(mut calls: Vec<u32>, fails: impl Fn(&[u32]) -> bool) -> Vec<u32> {
    let mut part = calls.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at < calls.len() {
            let without: Vec<u32> = [&calls[..at], &calls[calls.len().min(at + part)..]].concat();
            if !without.is_empty() && fails(&without) {
                calls = without;
            } else {
                at += part;
            }
        }
        part /= 2;
    }
    calls
}

/// `1-3,7`.
fn ranges(numbers: &[u32]) -> String {
    let groups = numbers.chunk_by(|a, b| a + 1 == *b);
    let text = groups.map(|group| match *group {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    text.collect::<Vec<_>>().join(",")
}
