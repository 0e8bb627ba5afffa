//! Every way to back guest memory that this host has does what the lab's services say of it, in a real guest; the others are
//! refused in one line with the remedy.

use std::ffi::OsStr;

use faultlab::Host;
use faultlab::memory::Backing;

use crate::support::{Needs, Suite, faultlab};

/// Status of a host that cannot as asked.
const UNAVAILABLE: i32 = 69;

/// Capabilities of KVM that options need.
const PREFAULT: &str = "KVM_CAP_PRE_FAULT_MEMORY";
const DIRTY_RING: &str = "KVM_CAP_DIRTY_LOG_RING";

/// Ways to run a guest that every backing must bear.
const WAYS: &[&str] = &["", "--prepare populate --memory 8M", "--dirty ring"];

/// Options of one backing.
const DETAILS: &[&str] = &[
    "--backing uffd-missing --uffd-fill zeropage",
    "--backing uffd-missing --uffd-threads 64 --uffd-delay-us 50",
    "--backing uffd-minor --uffd-threads 3",
    "--backing file --backing-file FILE",
    "--backing file-cold --backing-file FILE --memory 8M",
];

/// Command lines that make no sense, and words of the answer.
const WRONG: &[(&str, &[&str])] = &[
    ("exec --backing swap -- hello", &["--backing", "swap", "hugetlb-2m"]),
    ("exec --window 1 -- hello", &["--window", "4K"]),
    ("exec --window 17G -- hello", &["--window", "16G"]),
    (
        "exec --window 4K --backing anon-thp -- hello",
        &["window", "4096", "2097152"],
    ),
    (
        "exec --uffd-threads 0 --backing uffd-minor -- hello",
        &["--uffd-threads", "64"],
    ),
    (
        "exec --uffd-threads 65 --backing uffd-minor -- hello",
        &["--uffd-threads", "64"],
    ),
    (
        "exec --uffd-delay-us 1000001 --backing uffd-minor -- hello",
        &["--uffd-delay-us", "1000000"],
    ),
    (
        "exec --uffd-fill ones --backing uffd-missing -- hello",
        &["--uffd-fill", "ones", "zeropage"],
    ),
    ("exec --uffd-fill copy -- hello", &["--uffd-fill", "uffd-missing"]),
    (
        "run --uffd-threads 2 --backing memfd",
        &["--uffd-threads", "uffd-minor"],
    ),
    ("run --backing-file x", &["--backing-file", "file-cold"]),
    ("exec --prepare all -- hello", &["--prepare", "all", "populate"]),
    ("exec --dirty bits -- hello", &["--dirty", "bits", "ring"]),
];

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    for backing in Backing::ALL {
        for way in WAYS {
            let name = format!("backings::{} {way}", backing.name());
            suite.test(name, Needs::Kvm, move || check(backing, way));
        }
    }
    for details in DETAILS {
        suite.test(format!("backings::{details}"), Needs::Kvm, move || {
            in_the_guest(details, "1M", "256");
        });
    }
    suite.test("backings::a guest without a window", Needs::Kvm, || {
        let ran = faultlab("exec -- lab-check").run().expect(0);
        assert!(ran.stdout().contains("window: none"), "{}", ran.stdout());
    });
    suite.test("backings::a full dirty ring loses nothing", Needs::Kvm, || {
        if kvm_has(DIRTY_RING) {
            // The ring has 65,536 entries.
            in_the_guest("--dirty ring", "264M", "67584");
        }
    });
    suite.test("backings::what KVM cannot is refused", Needs::Kvm, || {
        for (arguments, name) in [
            ("exec --prepare prefault -- hello", PREFAULT),
            (
                "bench --prepare prefault --backing anon --scenario getppid --pages 1",
                PREFAULT,
            ),
            ("exec --dirty ring -- hello", DIRTY_RING),
        ] {
            if kvm_has(name) {
                faultlab(arguments).run().expect(0);
            } else {
                faultlab(arguments).run().expect_refusal(UNAVAILABLE, &[name]);
            }
        }
    });
    suite.test("backings::a row on memfd", Needs::Kvm, || {
        let ran = faultlab("run --pages 16 --backing memfd --scenario second-level-only").run();
        let ran = ran.expect(0);
        assert!(ran.stdout().contains("second-level-only"), "{}", ran.stdout());
    });
    for (arguments, words) in WRONG {
        suite.test(format!("backings::faultlab {arguments}"), Needs::Kvm, || {
            faultlab(arguments).run().expect_refusal(2, words);
        });
    }
}

fn kvm_has(name: &str) -> bool {
    let host = Host::open().expect("the test needs KVM");
    let capabilities = &host.identity().capabilities;
    capabilities
        .iter()
        .any(|capability| capability.name == name && capability.present)
}

fn check(backing: Backing, way: &str) {
    if way.contains("ring") && !kvm_has(DIRTY_RING) {
        return;
    }

    // At least two granules; of the largest one is enough, and there is no more memory in a small machine.
    let window = (2 * backing.granule_bytes()).clamp(1 << 20, 1 << 30).to_string();
    let options = format!("--backing {} {way}", backing.name());
    match backing.probe() {
        Ok(()) => in_the_guest(&options, &window, "256"),
        Err(_) => faultlab("exec --window")
            .args([&window])
            .args(options.split_ascii_whitespace())
            .args(["--", "lab-check"])
            .run()
            .expect_refusal(UNAVAILABLE, &[backing.name(), "; "]),
    }
}

/// Everything that the lab does for a program, checked by the program with so many pages of the window.
fn in_the_guest(options: &str, window: &str, pages: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("memory");
    let populated = options.contains("--prepare populate");
    let options = options.split_ascii_whitespace().map(|word| match word {
        "FILE" => file.as_os_str(),
        word => OsStr::new(word),
    });
    let ran = faultlab("exec --quiet --window").args([window]);
    let mut ran = ran.args(options).args(["--", "lab-check", pages]);
    if populated {
        ran = ran.args(["populated"]);
    }
    let ran = ran.run().expect(0);
    assert!(ran.stdout().ends_with("\nlab-check: ok\n"), "{}", ran.stdout());
    assert_eq!(ran.stderr(), "");
}
