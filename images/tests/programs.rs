//! The bundled programs print on this Linux what they should: the reference for what they print in the guest.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::RwLock;

use faultlab_images::{CATALOG, PROGRAMS, program, summary};
use object::Endianness;
use object::elf::{ET_EXEC, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use tempfile::TempDir;

/// Held for writing while programs are written out, for reading while one is started. Otherwise a child forked by one
/// test would for a moment hold another test's half-written file open, which nobody can execute then (`ETXTBSY`).
static FILES: RwLock<()> = RwLock::new(());

/// The programs, written out.
struct Bundle(TempDir);

impl Bundle {
    fn extract() -> Bundle {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let _writing = FILES.write();
        for (name, elf) in PROGRAMS {
            let path = directory.path().join(name);
            fs::write(&path, elf).expect("a writable directory");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        Bundle(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.path(name));
        command
            .args(arguments)
            .env_clear()
            .env("LANG", "C")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let starting = FILES.read();
        let child = command.spawn().expect("the program starts");
        drop(starting);
        child.wait_with_output().expect("the program ends")
    }
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// The status as a shell shows it.
fn status(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| 128 + output.status.signal().expect("ended by a signal"))
}

#[test]
fn every_program_of_the_catalog_is_bundled() {
    let names: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, CATALOG.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for name in names {
        assert!(program(name).is_some_and(|elf| elf.starts_with(b"\x7fELF")), "{name}");
        assert!(summary(name).is_some_and(|summary| !summary.is_empty()), "{name}");
    }
}

#[test]
fn programs_are_static_and_at_fixed_addresses() {
    for (name, elf) in PROGRAMS {
        let elf: ElfFile64 = ElfFile64::parse(*elf).expect("an ELF file");
        assert_eq!(elf.elf_header().e_type(Endianness::Little), ET_EXEC, "{name}");
        for header in elf.elf_program_headers() {
            assert!(
                ![PT_INTERP, PT_DYNAMIC].contains(&header.p_type(Endianness::Little)),
                "{name}"
            );
        }
    }
}

#[test]
fn hello_shows_arguments_and_environment() {
    let bundle = Bundle::extract();
    let output = bundle.run("hello", &["0", "two words", ""]);
    let path = bundle.path("hello");
    let expected = format!(
        "argv[0] = {}\nargv[1] = 0\nargv[2] = two words\nargv[3] = \nenvp: LANG=C\n",
        path.display()
    );
    assert_eq!(stdout(&output), expected);
    assert_eq!(status(&bundle.run("hello", &["77"])), 77);
}

#[test]
fn shm_pair_verifies_both_ways() {
    let expected = "parent: 65536 bytes, pattern 1 written\n\
                    child 1: pattern 1 verified twice, pattern 2 written\n\
                    parent: pattern 2 verified, pattern 3 written\n\
                    child 2: pattern 3 verified, pattern 4 written after detaching\n\
                    parent: pattern 4 verified\n\
                    parent: segment removed\n\
                    shm-pair: ok\n";
    assert_eq!(stdout(&Bundle::extract().run("shm-pair", &[])), expected);
}

/// First output of SplitMix64 for this state: what `shm-press` writes to the word of this index.
fn split_mix_64(state: u64) -> u64 {
    let mut x = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[test]
fn split_mix_64_gives_the_published_first_output() {
    assert_eq!(split_mix_64(0), 0xe220_a839_7b1d_cdaf);
}

#[test]
fn shm_press_reads_back_what_it_wrote() {
    let bundle = Bundle::extract();
    let checksum = (0..131_072).fold(0u64, |checksum, index| checksum.rotate_left(5) ^ split_mix_64(index));
    let expected = format!(
        "write: 131072 words, checksum {checksum:#018x}\n\
         pass 1: 131072 words, checksum {checksum:#018x}, 0 mismatches\n\
         pass 2: 131072 words, checksum {checksum:#018x}, 0 mismatches\n\
         shm-press: ok, 2097152 bytes verified in 2 passes over 1048576 bytes\n"
    );
    assert_eq!(stdout(&bundle.run("shm-press", &["1M"])), expected);
    assert_eq!(
        stdout(&bundle.run("shm-press", &["1M", "--passes", "3"]))
            .lines()
            .count(),
        5
    );
}

#[test]
fn a_segment_that_cannot_be_is_reported_in_one_line() {
    // More than Linux's limit of address space.
    let output = Bundle::extract().run("shm-press", &["15000000000G"]);
    assert_eq!(status(&output), 1);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.starts_with("shm-press: shmget of 16106127360000000000 bytes: E"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn faults_times_what_needs_no_lab() {
    let output = Bundle::extract().run("faults", &["--pages", "64"]);
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), faultlab_abi::scenario::COUNT, "{text}");
    for name in ["warm-touch", "minor", "alloc-warm"] {
        let line = lines
            .iter()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name} in {text}"));
        assert!(line.contains(" 64 samples, p50 "), "{line}");
    }
    for name in ["alloc-cold", "second-level-only", "pio-exit", "mmio-exit"] {
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with(name) && line.contains("skipped: needs /dev/faultlab")),
            "{text}"
        );
    }
}

#[test]
fn faults_runs_the_chosen_scenarios_only() {
    let bundle = Bundle::extract();
    let text = stdout(&bundle.run("faults", &["--scenario", "minor,warm-touch", "--budget-ms", "1"]));
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["warm-touch", "minor"]);
}

#[test]
fn wrong_command_lines_name_the_value_and_end_with_status_2() {
    let bundle = Bundle::extract();
    let cases: &[(&str, &[&str], &str)] = &[
        ("faults", &["--scenario", "minor,nothing"], "\"nothing\""),
        ("faults", &["--pages", "0"], "--pages \"0\""),
        ("faults", &["--pages", "65537"], "--pages \"65537\""),
        ("faults", &["--budget-ms"], "--budget-ms \"\""),
        ("faults", &["--verbose"], "\"--verbose\""),
        ("shm-press", &[], "no size"),
        ("shm-press", &["24Q"], "\"24Q\""),
        ("shm-press", &["1M", "--passes", "0"], "--passes \"0\""),
        ("shm-pair", &["7"], "\"7\""),
        ("crash", &["sideways"], "\"sideways\""),
        ("crash", &["exit", "256"], "\"256\""),
    ];
    for (name, arguments, quoted) in cases {
        let output = bundle.run(name, arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(status(&output), 2, "{name} {arguments:?}: {message}");
        assert!(
            message.starts_with(&format!("{name}: ")) && message.contains(quoted),
            "{message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn crash_ends_as_its_table_says() {
    let bundle = Bundle::extract();
    let modes = [
        ("segv-null", 139),
        ("segv-kernel", 139),
        ("segv-readonly", 139),
        ("stack-overflow", 139),
        ("gp", 139),
        ("bus", 135),
        ("ud2", 132),
        ("divide", 136),
        ("panic", 101),
    ];
    for (mode, expected) in modes {
        assert_eq!(status(&bundle.run("crash", &[mode])), expected, "{mode}");
    }
    assert_eq!(status(&bundle.run("crash", &["exit", "9"])), 9);
}
