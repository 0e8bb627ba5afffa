//! How lean the VMM is: time from process start to the guest's first instruction, and its memory beyond the guest's.
//!
//! The promises are at most 50 ms and at most 8 MiB; they are printed, not enforced, because a busy machine may miss
//! the first. Each sample is a process of its own: this benchmark starts itself again.
//!
//! Run: `cargo bench -p faultlab --bench start`.

use std::process::Command;

use faultlab::{Error, Host, Vm, VmConfig};

/// Processes started.
const SAMPLES: usize = 20;

/// Set for the processes that this one starts.
const CHILD: &str = "FAULTLAB_BENCH_START_CHILD";

fn main() {
    if std::env::var_os(CHILD).is_some() {
        match sample() {
            Ok((start_us, build_us, resident_kib)) => println!("{start_us} {build_us} {resident_kib}"),
            Err(error) => eprintln!("{error}"),
        }
        return;
    }
    if let Err(error) = Host::open() {
        println!("SKIPPED: {error}");
        return;
    }
    let samples: Vec<[u64; 3]> = (0..SAMPLES).filter_map(|_| run_child()).collect();
    println!(
        "{} of {SAMPLES} processes measured, 64 MiB guest, program \"hello\"",
        samples.len()
    );
    print_row("process start to first KVM_RUN (us, +0 to 10,000)", &samples, 0);
    print_row("of this, building the VM (us)", &samples, 1);
    print_row("resident beyond the guest at the end (KiB)", &samples, 2);
}

/// One guest in this process: times in microseconds, memory in KiB.
fn sample() -> Result<(u128, u128, u64), Error> {
    let host = Host::open()?;
    let program = faultlab_images::program("hello").unwrap_or_default();
    let vm = Vm::new(VmConfig::new(program, vec![b"hello".to_vec()]), &host)?;
    let outcome = vm.run(&mut ())?;
    Ok((
        outcome.start_to_guest.as_micros(),
        outcome.build.as_micros(),
        outcome.vmm_resident_kib,
    ))
}

fn run_child() -> Option<[u64; 3]> {
    let output = Command::new(std::env::current_exe().ok()?)
        .env(CHILD, "1")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?])
}

fn print_row(name: &str, samples: &[[u64; 3]], column: usize) {
    let mut values: Vec<u64> = samples.iter().map(|sample| sample[column]).collect();
    values.sort_unstable();
    if let (Some(min), Some(max)) = (values.first(), values.last()) {
        println!(
            "{name:<52} min {min:>6}  median {:>6}  max {max:>6}",
            values[values.len() / 2]
        );
    }
}
