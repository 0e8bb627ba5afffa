//! `--check`: the guest kernel verifies its own structures when the program has ended, and what it finds ends the run in one line.

use faultlab::{End, Host, Observer, Stream, Vm, VmConfig};
use faultlab_abi::layout::CMDLINE_CHECK_SPOILT;

use crate::support::{Needs, Suite, faultlab};

/// Adds the tests.
pub(crate) fn tests(suite: &mut Suite) {
    let mut test = |name: &str, body: fn()| suite.test(format!("check::{name}"), Needs::Kvm, body);
    test("nothing is wrong, and the status is the program's", clean);
    test("what is spoilt is told in a line", spoilt);
}

fn clean() {
    let ran = faultlab("exec -q --check -- crash exit 7").run().expect(7);
    assert_eq!(ran.stderr(), "");
}

/// Hears nothing.
struct Deaf;

impl Observer for Deaf {
    fn output(&mut self, _stream: Stream, _bytes: &[u8]) {}
}

/// The kernel loses a frame before it looks.
fn spoilt() {
    let program = faultlab_images::program("hello").expect("a bundled program");
    let config = VmConfig {
        command_line: vec![CMDLINE_CHECK_SPOILT.to_owned()],
        ..VmConfig::new(program, vec![b"hello".to_vec()])
    };
    let host = Host::open().expect("the test needs KVM");
    let vm = Vm::new(config, &host).expect("a guest can be built");
    let end = vm.run(&mut Deaf).expect("KVM works").end;
    assert_eq!(end.exit_status(), faultlab::error::exit::INVARIANT);
    let End::Panicked(report) = end else { panic!("{end:?}") };
    let line = report.to_string();
    assert!(
        line.starts_with("guest kernel: invariant violated: frames of nobody"),
        "{line}"
    );
    assert!(!line.contains('\n') && line.contains(", expected "), "{line}");
}
