//! What the machine's first process is to do: written into the initramfs here, read by [`super::init`] there.
//!
//! The kernel's command line cannot carry arbitrary bytes and has a limited length; this file can. It is a sequence of
//! records as on the wire: a tag, a length in four bytes (little-endian), and that many bytes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Where the plan is in the initramfs.
pub(super) const PLAN_PATH: &str = "/.faultlab-rig/plan";

/// The plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The program to run; empty for `faultlab`.
    pub(super) program: PathBuf,
    /// The program's arguments, its own name not included.
    pub(super) arguments: Vec<OsString>,
    /// Its environment, `NAME=value`.
    pub(super) environment: Vec<OsString>,
    /// Its working directory, absolute.
    pub(super) directory: PathBuf,
    /// Kernel modules to load, in order.
    pub(super) modules: Vec<PathBuf>,
    /// More of them, without which there is no disk.
    pub(super) disk_modules: Vec<PathBuf>,
    /// What formats the disk; empty if there is to be none.
    pub(super) formatter: PathBuf,
    /// Files to send back if they are there in the end, as the arguments name them.
    pub(super) outputs: Vec<PathBuf>,
    /// The serial port by which the other side says that the program is to end: each byte is a signal's number.
    pub(super) signals: PathBuf,
}

impl Plan {
    /// The plan as a file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |tag: u8, text: &OsStr| {
            bytes.push(tag);
            // An argument list is limited to 2 MiB (execve(2)).
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        put(b'p', self.program.as_os_str());
        self.arguments.iter().for_each(|text| put(b'a', text));
        self.environment.iter().for_each(|text| put(b'e', text));
        put(b'd', self.directory.as_os_str());
        self.modules.iter().for_each(|path| put(b'm', path.as_os_str()));
        self.disk_modules.iter().for_each(|path| put(b'k', path.as_os_str()));
        put(b'f', self.formatter.as_os_str());
        self.outputs.iter().for_each(|path| put(b'o', path.as_os_str()));
        put(b's', self.signals.as_os_str());
        bytes
    }

    /// The inverse of [`Plan::encode`]; `None` for anything else.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Plan> {
        let mut plan = Plan::default();
        while let Some(([tag, length @ ..], rest)) = bytes.split_first_chunk::<5>() {
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let text = OsString::from_vec(text.to_vec());
            match tag {
                b'p' => plan.program = text.into(),
                b'a' => plan.arguments.push(text),
                b'e' => plan.environment.push(text),
                b'd' => plan.directory = text.into(),
                b'm' => plan.modules.push(text.into()),
                b'k' => plan.disk_modules.push(text.into()),
                b'f' => plan.formatter = text.into(),
                b'o' => plan.outputs.push(text.into()),
                b's' => plan.signals = text.into(),
                _ => return None,
            }
            bytes = rest;
        }
        bytes.is_empty().then_some(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Plan {
        Plan {
            program: "./a program".into(),
            arguments: ["exec", "--", "./prog", "", "a b\n"].map(OsString::from).to_vec(),
            environment: vec![OsString::from_vec(b"X=\xff=\0".to_vec())],
            directory: "/somewhere/else".into(),
            modules: vec!["/m/a.ko".into(), "/m/b.ko".into()],
            disk_modules: vec!["/m/c.ko".into()],
            formatter: "/sbin/f".into(),
            outputs: vec!["out.json".into()],
            signals: "/dev/ttyS1".into(),
        }
    }

    #[test]
    fn a_plan_survives() {
        for plan in [example(), Plan::default()] {
            assert_eq!(Plan::decode(&plan.encode()), Some(plan));
        }
    }

    #[test]
    fn half_a_plan_is_none() {
        let bytes = example().encode();
        assert_eq!(Plan::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Plan::decode(b"?\0\0\0\0"), None);
    }
}
