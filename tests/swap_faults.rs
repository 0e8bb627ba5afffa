//! A swap disk with faults on purpose: whatever it does, no program reads a wrong byte. Who needs a page that cannot be
//! read gets SIGBUS; a page that cannot be written stays; a disk that stalls is named when the run ends.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Faultlab, Needs, Ran, Suite, faultlab};

/// A program that swaps about 2 MiB out and in again.
const PRESS: &str = "-- shm-press 8M --passes 1";

/// Who may serve the disk; where there is no io_uring, the last is as the one before.
const SERVERS: [&str; 3] = ["inline", "thread", "uring"];

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    type Body = fn(&'static str);
    let tests: [(&str, Body); 10] = [
        ("a read error is SIGBUS", read_error),
        ("write errors lose nothing", write_errors),
        ("torn writes lose nothing", torn_writes),
        ("lost writes are noticed", lost_writes),
        ("a disk that forgets is noticed", null_backend),
        ("a late disk is only late", late),
        ("swap in memory, and past the page cache", backends),
        ("a disk that stalls is named, and ends the run", stalls),
        ("a disk that is full from the start loses nothing", full_by_option),
        ("SIGKILL leaves nothing and locks nothing", killed),
    ];
    for server in SERVERS {
        for (name, body) in tests {
            suite.test(format!("swap-faults::{server}: {name}"), Needs::Kvm, move || {
                body(server);
            });
        }
    }
    suite.test(
        "swap-faults::a file system that fills up",
        Needs::KvmAndNamespaces,
        full_file_system,
    );
}

fn press(server: &str, options: &str) -> Ran {
    faultlab(&format!(
        "exec --memory 8M --swap 16M --swap-io {server} {options} {PRESS}"
    ))
    .run()
}

#[track_caller]
fn verified(ran: Ran) {
    let ran = ran.expect(0);
    assert!(ran.stdout().contains("shm-press: ok"), "{}", ran.stdout());
}

fn read_error(server: &'static str) {
    press(server, "--swap-errors read:1").expect(128 + Signal::BUS.as_raw());
}

fn write_errors(server: &'static str) {
    verified(press(server, "--swap-errors write:0.1,seed=3"));
}

fn torn_writes(server: &'static str) {
    verified(press(server, "--swap-errors torn:0.1,seed=3"));
}

/// Words of the segment come back wrong, and are told. Which pages are lost depends on the order of writes; the program's own stack may be among
/// them, too: then it ends by a signal after that.
fn lost_writes(server: &'static str) {
    let ran = press(server, "--swap-errors lost:0.1,seed=1");
    assert_ne!(ran.status, 0);
    assert!(ran.stderr().contains(", expected 0x"), "{}", ran.stderr());
    assert!(!ran.stdout().contains("shm-press: ok"), "{}", ran.stdout());
}

/// The program's own pages may be among those that are lost: then it ends by a signal.
fn null_backend(server: &'static str) {
    let ran = press(server, "--swap-backend null");
    assert_ne!(ran.status, 0);
    assert!(!ran.stdout().contains("shm-press: ok"), "{}", ran.stdout());
}

fn late(server: &'static str) {
    let ran = press(server, "--swap-latency normal:200us,50us");
    // It is only late: no fewer bytes, no error.
    verified(ran);
}

fn backends(server: &'static str) {
    verified(press(server, "--swap-backend memory"));
    verified(press(server, "--swap-direct"));
}

/// The watchdog waits for ten seconds.
fn stalls(server: &'static str) {
    let ran = press(server, "--swap-stall 20").expect(124);
    let report = ran.stderr();
    for words in ["no progress", "waits for the swap disk", "not answered request 22"] {
        assert!(report.contains(words), "{words:?} is not in:\n{report}");
    }
}

/// Nothing can be written: what does not fit is killed for want of memory, what fits runs.
fn full_by_option(server: &'static str) {
    let ran = press(server, "--swap-space 0").expect(128 + Signal::KILL.as_raw());
    assert!(!ran.stdout().contains("ok"), "{}", ran.stdout());
    verified(press(server, "--swap-space 8M"));
}

/// A sparse swap file of 16 MiB on a file system of less: as much is swapped as fits.
fn full_file_system() {
    for (mib, status) in [(1, 128 + Signal::KILL.as_raw()), (8, 0)] {
        let mut launcher = Command::new("unshare");
        let commands = format!("set -e; mount -t tmpfs -o size={mib}m none /mnt; TMPDIR=/mnt exec \"$@\"");
        launcher
            .args(["-Urm", "sh", "-c", &commands, "sh"])
            .arg(env!("CARGO_BIN_EXE_faultlab"))
            .args(["exec", "--memory", "8M", "--swap", "16M"])
            .args(PRESS.split_ascii_whitespace());
        let ran = Faultlab::started_by(launcher).run().expect(status);
        assert_eq!(ran.stdout().contains("shm-press: ok"), status == 0, "{}", ran.stdout());
    }
}

/// Names another seed, and another number of kills: `FAULTLAB_KILLS=7:1000`.
const KILLS_VARIABLE: &str = "FAULTLAB_KILLS";

/// At any moment of a process, drawn from a seed, the ones before its guest and after it included: no temporary file stays (the harness looks),
/// nobody holds the named file, and the next run swaps to it.
fn killed(server: &'static str) {
    let wanted = std::env::var(KILLS_VARIABLE).ok();
    let wanted = wanted.as_deref().map(|text| {
        let (seed, kills) = text.split_once(':').expect("SEED:KILLS");
        let numbers = (seed.parse::<u64>(), kills.parse::<u32>());
        (numbers.0.expect("a seed"), numbers.1.expect("a number of kills"))
    });
    let (seed, kills) = wanted.unwrap_or((1, 6));
    println!("again: {KILLS_VARIABLE}={seed}:{kills}");
    let mut state = seed;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("swap");
    let options = format!("exec --memory 8M --swap-io {server}");
    let named = || faultlab(&options).args(["--swap-file"]).args([&path]);
    for kill in 0..kills {
        let drawn = random(&mut state);
        let temporary = kill % 2 == 0;
        let command = if temporary {
            faultlab(&options).args(["--swap", "16M"])
        } else {
            named()
        };
        let mut running = command.args(PRESS.split_ascii_whitespace()).start();
        // Most while the guest runs, some while all is being made.
        if drawn & 3 != 0 {
            running.wait_for_guest();
        }
        std::thread::sleep(Duration::from_micros((drawn >> 8) % 300_000));
        // It may have ended by itself.
        let _ = running.child.kill();
        let ran = running.end();
        assert!(
            [0, 128 + Signal::KILL.as_raw()].contains(&ran.status),
            "{}",
            ran.stderr()
        );
        if !temporary && path.exists() {
            let file = File::open(&path).expect("the named file is kept");
            file.try_lock().expect("nobody locks it");
        }
    }
    verified(named().args(PRESS.split_ascii_whitespace()).run());
}

/// splitmix64. Source: Steele, Lea and Flood 2014.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
