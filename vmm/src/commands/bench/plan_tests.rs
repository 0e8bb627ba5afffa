//! What a command line comes to.

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn bench(options: &str) -> BenchArgs {
    let words = ["faultlab", "bench"]
        .into_iter()
        .chain(options.split_ascii_whitespace());
    match Cli::try_parse_from(words).unwrap().command {
        Command::Bench(args) => args,
        other => panic!("{other:?}"),
    }
}

/// The rows of a plan, as `scenario backing pattern`.
fn rows(options: &str) -> Vec<String> {
    let args = bench(options);
    let wanted = Plan::of_bench(&args)
        .map_err(|error| error.to_string())
        .unwrap()
        .wanted();
    let row = |row: Wanted| format!("{} {} {}", row.name, row.backing, row.pattern);
    wanted.into_iter().map(row).collect()
}

#[test]
fn a_matrix_has_every_combination_that_means_something_once() {
    let found = rows("--backing anon,memfd,anon --scenario getppid,minor --pattern rand,seq,rand");
    let of = |backing: &str| {
        [
            format!("minor {backing} rand"),
            format!("minor {backing} seq"),
            format!("getppid {backing} none"),
        ]
    };
    assert_eq!(found, [of("anon"), of("memfd")].concat());
}

#[test]
fn all_scenarios_are_those_that_the_guest_can_do() {
    let all = rows("--backing anon").len();
    let special = scenario::ALL.iter().filter(|each| each.is_special()).count();
    assert_eq!(all, scenario::COUNT - special);
    for group in Group::ALL {
        let of_group = scenario::ALL.iter().filter(|each| group.has(**each)).count();
        let name = group.name();
        assert_eq!(
            rows(&format!("--backing anon --scenario {name}")).len(),
            of_group,
            "{name}"
        );
    }
    let grouped = |each: &&Scenario| Group::ALL.iter().any(|group| group.has(**each));
    assert_eq!(
        scenario::ALL
            .iter()
            .filter(|each| each.is_special())
            .find(|each| !grouped(each)),
        None
    );
    assert_eq!(rows("--backing anon --swap 0").len(), all - 2);
    let args = bench("--backing anon --scenario swap-in --swap 0");
    assert!(Plan::of_bench(&args).is_err_and(|error| error.to_string().contains("give --swap")));
}

#[test]
fn the_program_is_told_what_is_asked_for() {
    let args = bench("--backing anon --scenario minor --pattern stride:7 --access load --seed 9 --pages 5");
    let words = Plan::of_bench(&args)
        .map_err(|error| error.to_string())
        .unwrap()
        .command(77);
    let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
    assert_eq!(
        words.join(" "),
        "faults --budget-ms 77 --pages 5 --scenario minor --pattern stride:7 --access load --seed 9"
    );
}

#[test]
fn a_native_matrix_takes_its_time_and_no_more() {
    let args = bench(
        "--backing anon,memfd --pattern seq,rand,stride:2,stride:3,stride:4,stride:5,stride:6,stride:7,stride:8,stride:9,stride:10,stride:11,stride:12,stride:13",
    );
    let plan = Plan::of_bench(&args).map_err(|error| error.to_string()).unwrap();
    assert!(plan.wanted().len() as u64 * NATIVE_ROW_MS > NATIVE_MATRIX_MS);
    assert_eq!(plan.budget_ms(Ring0::Native) * 2, NATIVE_MATRIX_MS);
    let args = bench("--backing anon --scenario minor");
    let plan = Plan::of_bench(&args).map_err(|error| error.to_string()).unwrap();
    assert_eq!(plan.budget_ms(Ring0::Native), NATIVE_ROW_MS);
    assert_eq!(plan.budget_ms(Ring0::Emulated), EMULATED_ROW_MS);
}

#[test]
fn a_window_is_whole_granules_and_beyond_the_tlb() {
    let args = bench("--backing anon");
    let plan = Plan::of_bench(&args).map_err(|error| error.to_string()).unwrap();
    for backing in Backing::ALL {
        let bytes = plan.window_bytes(backing);
        assert!(
            bytes.is_multiple_of(backing.granule_bytes()) && bytes >= WINDOW_MIN_BYTES,
            "{backing:?}: {bytes}"
        );
    }
    let args = bench("--backing anon --window 4M");
    let plan = Plan::of_bench(&args).map_err(|error| error.to_string()).unwrap();
    assert_eq!(plan.window_bytes(Backing::Anonymous), 4 << 20);
}

#[test]
fn the_catalogue_fits_a_wide_terminal_and_names_everything() {
    let text = catalogue();
    assert_eq!(text.lines().count(), scenario::COUNT + 1);
    assert!(text.lines().all(|line| line.len() <= 130), "{text}");
}
