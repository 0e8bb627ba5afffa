//! What `exec` makes of its program: arguments and environment arrive intact, and what cannot run is refused by name.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use faultlab::{Host, Observer, Stream, Vm, VmConfig};

use crate::support::{HostPrograms, Needs, Suite, faultlab};

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    for (name, status, words, contents) in NO_PROGRAMS {
        suite.test(format!("loading::{name} is refused"), Needs::Kvm, || {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let path = directory.path().join("program");
            fs::write(&path, contents()).expect("a file can be written");
            let shown = path.to_str().expect("a path of ASCII");
            let words = [&[shown], *words].concat();
            faultlab("exec --").args([&path]).run().expect_refusal(*status, &words);
        });
    }
    for (path, status, words) in NO_FILES {
        suite.test(format!("loading::{path:?} is refused"), Needs::Kvm, move || {
            faultlab("exec --").args([path]).run().expect_refusal(*status, words);
        });
    }
    let host_programs = Arc::clone(&suite.host_programs);
    suite.test("loading::a file of this host runs", Needs::Kvm, move || {
        let path = host_programs.path("hello");
        let ran = faultlab("exec --")
            .args([path.as_os_str(), OsStr::new("5")])
            .run()
            .expect(5);
        assert_eq!(ran.stdout(), format!("argv[0] = {}\nargv[1] = 5\n", path.display()));
    });
    let host_programs = Arc::clone(&suite.host_programs);
    suite.test("loading::arguments arrive intact", Needs::Kvm, move || {
        arguments(&host_programs);
    });
    let host_programs = Arc::clone(&suite.host_programs);
    suite.test("loading::the environment arrives intact", Needs::Kvm, move || {
        environment(&host_programs);
    });
    suite.test(
        "loading::the environment of faultlab is kept from the program",
        Needs::Kvm,
        || {
            let ran = faultlab("exec -- hello").env("FAULTLAB_SECRET", "x").run().expect(0);
            assert_eq!(ran.stdout(), "argv[0] = hello\n");
        },
    );
}

/// Files that are no program for the guest: a name, the status, words of the answer beside the path, the contents.
type NoProgram = (&'static str, i32, &'static [&'static str], fn() -> Vec<u8>);

const NO_PROGRAMS: &[NoProgram] = &[
    ("an empty file", 126, &["not an ELF"], Vec::new),
    ("a text", 126, &["not an ELF"], || b"int main;\n".to_vec()),
    ("a script", 126, &["script"], || b"#!/bin/sh\nexit 0\n".to_vec()),
    ("an ELF cut in its header", 126, &["truncated"], || {
        hello(|elf| elf.truncate(60))
    }),
    ("an ELF cut in its program headers", 126, &["truncated"], || {
        hello(|elf| elf.truncate(100))
    }),
    ("an ELF cut in its code", 126, &["truncated"], || {
        hello(|elf| elf.truncate(elf.len() / 4))
    }),
    ("an ELF for AArch64", 126, &["AArch64"], || {
        hello(|elf| put(elf, E_MACHINE, &183_u16.to_le_bytes()))
    }),
    ("an ELF for RISC-V", 126, &["machine 243"], || {
        hello(|elf| put(elf, E_MACHINE, &243_u16.to_le_bytes()))
    }),
    ("an ELF of 32 bits", 126, &["64-bit"], || {
        hello(|elf| put(elf, EI_CLASS, &[1]))
    }),
    ("an object file", 126, &["object file"], || {
        hello(|elf| put(elf, E_TYPE, &1_u16.to_le_bytes()))
    }),
    // This test itself is linked dynamically.
    ("a dynamic ELF", 126, &["dynamically linked", "-static"], || {
        fs::read("/proc/self/exe").expect("this test can be read")
    }),
    ("an ELF with no segment", 126, &["no segment"], || {
        hello(|elf| put(elf, E_PHNUM, &0_u16.to_le_bytes()))
    }),
    ("an ELF entered at address 0", 126, &["entry"], || {
        hello(|elf| put(elf, E_ENTRY, &0_u64.to_le_bytes()))
    }),
    ("an ELF entered in the kernel", 126, &["entry"], || {
        hello(|elf| put(elf, E_ENTRY, &KERNEL))
    }),
    ("an ELF loaded over the kernel", 126, &["segment"], || {
        hello(|elf| {
            let at = first_load(elf) + P_VADDR;
            put(elf, at, &KERNEL);
        })
    }),
    (
        "an ELF with a segment larger in the file than in memory",
        126,
        &["segment"],
        || {
            hello(|elf| {
                let at = first_load(elf) + P_MEMSZ;
                put(elf, at, &1_u64.to_le_bytes());
            })
        },
    ),
];

/// Names, the status, words of the answer.
const NO_FILES: &[(&str, i32, &[&str])] = &[
    ("no-such-program", 127, &["no-such-program", "faultlab programs"]),
    ("Cargo.toml", 127, &["Cargo.toml"]),
    ("./no/such/program", 127, &["./no/such/program", "no such file"]),
    ("/dev/null/program", 127, &["/dev/null/program"]),
    ("", 127, &["no such file"]),
    ("/", 126, &["/", "cannot read"]),
];

/// Offsets in an ELF64 file. Source: System V ABI, chapter 4.
const EI_CLASS: usize = 4;
const E_TYPE: usize = 16;
const E_MACHINE: usize = 18;
const E_ENTRY: usize = 24;
const E_PHOFF: usize = 32;
const E_PHENTSIZE: usize = 54;
const E_PHNUM: usize = 56;
/// Offsets in a program header.
const P_VADDR: usize = 16;
const P_MEMSZ: usize = 40;
const PT_LOAD: [u8; 4] = 1_u32.to_le_bytes();

/// Where Linux, and faultlab's guest, have the kernel.
const KERNEL: [u8; 8] = 0xffff_ffff_8010_0000_u64.to_le_bytes();

/// The bundled program, damaged.
fn hello(damage: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut elf = faultlab_images::program("hello").expect("a bundled program").to_vec();
    damage(&mut elf);
    elf
}

fn put(elf: &mut [u8], at: usize, bytes: &[u8]) {
    elf[at..][..bytes.len()].copy_from_slice(bytes);
}

/// Offset of the program header of the first segment that is loaded.
fn first_load(elf: &[u8]) -> usize {
    let half = |at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
    let headers =
        usize::try_from(u64::from_le_bytes(std::array::from_fn(|byte| elf[E_PHOFF + byte]))).expect("64 bits");
    (0..half(E_PHNUM))
        .map(|number| headers + number * half(E_PHENTSIZE))
        .find(|at| elf[*at..][..4] == PT_LOAD)
        .expect("a segment")
}

/// What a loader is likely to get wrong.
fn difficult_strings() -> Vec<Vec<u8>> {
    let mut strings: Vec<Vec<u8>> = [
        &b""[..],
        b" ",
        b"a b",
        b"--",
        b"--memory",
        b"new\nline",
        b"\x01\x7f\xff\xfe",
        "é€𝄞".as_bytes(),
    ]
    .iter()
    .map(|string| string.to_vec())
    .collect();
    // Longer than a page, and many.
    strings.push((0..5000).map(|index| b'a' + (index % 26) as u8).collect());
    strings.extend((0..200).map(|index| format!("{index}").into_bytes()));
    strings
}

fn arguments(host_programs: &HostPrograms) {
    let strings = difficult_strings();
    let arguments: Vec<&OsStr> = strings.iter().map(|string| OsStr::from_bytes(string)).collect();
    let host = host_programs.run("hello", &arguments, &[]).expect(0);
    let guest = faultlab("exec -- hello").args(&arguments).run().expect(0);
    assert_eq!(guest.stdout(), host.stdout());
    assert!(guest.stdout().contains("\nargv[4] = --\n"), "{}", guest.stdout());
}

/// Keeps standard output.
#[derive(Default)]
struct Output(Vec<u8>);

impl Observer for Output {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        assert_eq!(stream, Stream::Stdout);
        self.0.extend_from_slice(bytes);
    }
}

fn environment(host_programs: &HostPrograms) {
    let strings = difficult_strings();
    // In the order of their names, which is that in which the host's get passed.
    let names: Vec<String> = (0..strings.len()).map(|index| format!("V{index:03}")).collect();
    let variables: Vec<(&str, &OsStr)> = names
        .iter()
        .zip(&strings)
        .map(|(name, value)| (name.as_str(), OsStr::from_bytes(value)))
        .collect();
    let host = host_programs.run::<&OsStr>("hello", &[], &variables).expect(0);
    let program = fs::read(host_programs.path("hello")).expect("the program can be read");
    let assign = |(name, value): &(&str, &OsStr)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    let config = VmConfig {
        envp: variables.iter().map(assign).collect(),
        ..VmConfig::new(program, vec![Path::new("hello").as_os_str().to_owned().into_vec()])
    };
    let vm = Vm::new(config, &Host::open().expect("the test needs KVM")).expect("a guest can be built");
    let mut output = Output::default();
    let outcome = vm.run(&mut output).expect("KVM works");
    assert_eq!(outcome.end.exit_status(), 0, "{:?}", outcome.end);
    assert_eq!(String::from_utf8_lossy(&output.0), host.stdout());
}
