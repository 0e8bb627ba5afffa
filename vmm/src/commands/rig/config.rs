//! What the command needs of the machine: huge pages, a disk, files.

use std::path::PathBuf;
use std::time::Duration;

use faultlab::memory::Backing;
use faultlab::rig::{Machine, RigConfig};

use super::arguments::{arguments_there, command_there};
use crate::cli::{Command, Pair, RigArgs};

/// What a lab window takes at most that is not asked for, if that is more than one huge page.
const WINDOW_BYTES: u64 = 64 << 20;

/// What is asked for, on this machine.
pub(super) fn config(args: &RigArgs, machine: Machine) -> RigConfig {
    let mut arguments = arguments_there(args);
    let program = (args.exec && !arguments.is_empty()).then(|| arguments.remove(0).into());
    let (taken, brought) = match command_there(args) {
        Some(Command::Exec(exec)) => (hosts(&exec.file), hosts(&exec.out)),
        _ => Default::default(),
    };
    RigConfig {
        machine,
        program,
        arguments,
        taken,
        brought,
        kernel: args.kernel.clone(),
        modules: args.modules.clone(),
        icount: !args.no_icount,
        mitigations: args.mitigations,
        append: append(args),
        disk: takes_disk(args),
        timeout: Duration::from_secs(args.timeout),
    }
}

/// The places on this host.
fn hosts(pairs: &[Pair]) -> Vec<PathBuf> {
    pairs.iter().map(|pair| pair.host.clone()).collect()
}

/// Words for the kernel of the machine: those given, and huge pages for a backing that is asked for by name and takes some.
fn append(args: &RigArgs) -> String {
    let given = args.append.join(" ");
    if given.contains("hugepages=") || args.exec {
        return given;
    }
    let Some(command) = command_there(args) else {
        return given;
    };
    let (vm, backings) = match &command {
        Command::Run(run) => (&run.vm, vec![run.backing]),
        Command::Exec(exec) => (&exec.vm, vec![exec.backing]),
        Command::Trace(trace) => (&trace.vm, vec![trace.backing]),
        Command::Bench(bench) => {
            let named = bench.backing.iter().filter_map(|name| Backing::named(name));
            (&bench.vm, named.collect())
        }
        _ => return given,
    };
    let pools = [(Backing::Hugetlb1g, "1G"), (Backing::Hugetlb2m, "2M")];
    let pool = |&(backing, size): &(Backing, &str)| {
        let granule = backing.granule_bytes();
        let pages = vm.memory.div_ceil(granule) + vm.window.max(WINDOW_BYTES).div_ceil(granule);
        backings
            .contains(&backing)
            .then(|| format!("hugepagesz={size} hugepages={pages}"))
    };
    let pools = pools.iter().filter_map(pool);
    std::iter::once(given)
        .filter(|words| !words.is_empty())
        .chain(pools)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a file may back memory there, or Linux itself is to swap: then there is to be a disk.
fn takes_disk(args: &RigArgs) -> bool {
    let command = command_there(args);
    let scenarios = match &command {
        Some(Command::Run(run)) if args.versus_linux || run.versus_linux => &run.scenario[..],
        Some(Command::Bench(bench)) if args.versus_linux || bench.versus_linux => &bench.scenario[..],
        _ => &[],
    };
    if scenarios.iter().any(|name| name.starts_with("swap-")) {
        return true;
    }
    match command {
        Some(Command::Run(run)) => run.backing.is_file(),
        Some(Command::Exec(exec)) => exec.backing.is_file(),
        Some(Command::Trace(trace)) => trace.backing.is_file(),
        Some(Command::Bench(bench)) => bench
            .backing
            .iter()
            .any(|name| name == "all" || Backing::named(name).is_some_and(Backing::is_file)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn huge_pages_are_set_aside_for_who_names_them() {
        let append = |options: &[&str], words: &[&str]| {
            let line = [&["faultlab", "rig"], options, &["--"], words].concat();
            let Command::Rig(args) = Cli::try_parse_from(line).unwrap().command else {
                panic!("not rig")
            };
            config(&args, Machine::Amd).append
        };
        let bench = |backing| ["bench", "--backing", backing];
        assert_eq!(append(&[], &bench("anon")), "");
        assert_eq!(append(&[], &bench("all")), "");
        assert_eq!(append(&[], &bench("hugetlb-2m")), "hugepagesz=2M hugepages=64");
        assert_eq!(
            append(&["--append", "quiet"], &bench("anon,hugetlb-1g")),
            "quiet hugepagesz=1G hugepages=2"
        );
        assert_eq!(
            append(&["--append", "hugepages=96"], &bench("hugetlb-2m")),
            "hugepages=96"
        );
    }

    #[test]
    fn a_file_has_a_disk_behind_it() {
        let disk = |words: &[&str]| {
            let line = [&["faultlab", "rig", "--"], words].concat();
            let Command::Rig(args) = Cli::try_parse_from(line).unwrap().command else {
                panic!("not rig")
            };
            config(&args, Machine::Amd).disk
        };
        assert!(
            disk(&["bench", "--backing", "anon,file-cold"]) && disk(&["bench"]) && disk(&["run", "--backing", "file"])
        );
        let swap = ["bench", "--backing", "anon", "--scenario", "minor,swap-in"];
        assert!(disk(&[&swap[..], &["--versus-linux"]].concat()) && !disk(&swap));
        assert!(!disk(&["bench", "--backing", "anon"]) && !disk(&["run"]) && !disk(&["doctor"]));
    }

    #[test]
    fn instructions_are_counted_unless_told_otherwise() {
        let counted = |options: &[&str]| {
            let line = [&["faultlab", "rig"], options, &["--", "run"]].concat();
            let Command::Rig(args) = Cli::try_parse_from(line).unwrap().command else {
                panic!("not rig")
            };
            config(&args, Machine::Amd).icount
        };
        assert!(counted(&[]) && counted(&["--icount"]) && counted(&["--no-icount", "--icount"]));
        assert!(!counted(&["--no-icount"]) && !counted(&["--icount", "--no-icount"]));
    }
}
