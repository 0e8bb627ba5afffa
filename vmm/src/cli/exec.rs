//! `faultlab exec`: what is run, and what it finds there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser, ValueParserFactory};
use faultlab::memory::Backing;

use super::{VmArgs, backing_parser};

/// `faultlab exec`.
#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) vm: VmArgs,
    /// Run the same program on this machine's own Linux first, and print on standard error what it cost on each, and the ratio
    #[arg(long, conflicts_with_all = ["file", "dir", "out", "env", "cwd", "uid", "trace_level"])]
    pub(crate) versus_linux: bool,
    /// What backs guest memory on the host; `faultlab doctor` says which of them it can
    #[arg(long, value_name = "BACKING", default_value = "anon", value_parser = backing_parser())]
    pub(crate) backing: Backing,
    /// Bring a file of this host to a place in the guest, with its rights and owner; may be given several times
    #[arg(long, value_name = "HOST:GUEST")]
    pub(crate) file: Vec<Pair>,
    /// Bring a directory of this host and all in it, rights, owners and symbolic links included; may be given several times
    #[arg(long, value_name = "HOST:GUEST")]
    pub(crate) dir: Vec<Pair>,
    /// When the program has ended, bring a file of the guest, or a directory and all in it, to a place on this host: a new one, a file, which is
    /// replaced, or an empty directory; whole or not at all; may be given several times
    #[arg(long, value_name = "GUEST:HOST", value_parser = OsStringValueParser::new().try_map(|text| Pair::guest_first(&text)))]
    pub(crate) out: Vec<Pair>,
    /// A variable of the program's environment, which is empty otherwise; without a value, that of this process; may be given several times
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<Variable>,
    /// Directory of the guest that the program begins in; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "/", value_parser = OsStringValueParser::new().try_map(absolute))]
    pub(crate) cwd: OsString,
    /// User that the program runs as, and group (otherwise of the same number)
    #[arg(long, value_name = "UID[:GID]", value_parser = parse_ids)]
    pub(crate) uid: Option<(u32, u32)>,
    /// When the program has ended, let the guest kernel verify its own structures; where they do not agree, say so in a line, and end with
    /// status 122
    #[arg(long, conflicts_with = "versus_linux")]
    pub(crate) check: bool,
    /// Print every system call with its arguments and result, as strace -f does, on standard error or to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-", conflicts_with = "versus_linux")]
    pub(crate) strace: Option<PathBuf>,
    /// A bundled program's name, the path (with a slash) of a file that --file or --dir brings or that is on this host, or a name to be looked
    /// for in PATH among what is brought; then its arguments
    #[arg(value_name = "PROG", required = true, trailing_var_arg = true, num_args = 1..)]
    pub(crate) command: Vec<OsString>,
}

/// A path on this host and one in the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Here.
    pub(crate) host: PathBuf,
    /// There; absolute.
    pub(crate) guest: OsString,
}

impl Pair {
    /// `HOST:GUEST`. The last colon divides: paths of this host may hold others.
    fn host_first(text: &OsStr) -> Result<Pair, &'static str> {
        const WANTED: &str = "give a path of this host, a colon, and an absolute path in the guest";
        let bytes = text.as_bytes();
        let colon = bytes.iter().rposition(|&byte| byte == b':').ok_or(WANTED)?;
        let (host, guest) = (&bytes[..colon], &bytes[colon + 1..]);
        if host.is_empty() || !guest.starts_with(b"/") {
            return Err(WANTED);
        }
        Ok(Pair {
            host: OsStr::from_bytes(host).into(),
            guest: OsStr::from_bytes(guest).into(),
        })
    }
}

impl Pair {
    /// `GUEST:HOST`. The first colon divides, for the same reason.
    pub(crate) fn guest_first(text: &OsStr) -> Result<Pair, &'static str> {
        const WANTED: &str = "give an absolute path in the guest, a colon, and a path of this host";
        let bytes = text.as_bytes();
        let colon = bytes.iter().position(|&byte| byte == b':').ok_or(WANTED)?;
        let (guest, host) = (&bytes[..colon], &bytes[colon + 1..]);
        if host.is_empty() || !guest.starts_with(b"/") {
            return Err(WANTED);
        }
        Ok(Pair {
            host: OsStr::from_bytes(host).into(),
            guest: OsStr::from_bytes(guest).into(),
        })
    }
}

impl ValueParserFactory for Pair {
    type Parser = clap::builder::ValueParser;

    fn value_parser() -> Self::Parser {
        OsStringValueParser::new()
            .try_map(|text| Pair::host_first(&text))
            .into()
    }
}

/// One of the program's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable(pub(crate) Vec<u8>);

impl Variable {
    fn parse(text: OsString) -> Result<Variable, String> {
        let bytes = text.as_bytes();
        match bytes.iter().position(|&byte| byte == b'=') {
            Some(0) => Err("the name is empty: give NAME=VALUE".to_owned()),
            Some(_) => Ok(Variable(text.into_vec())),
            None if bytes.is_empty() => Err("the name is empty: give NAME=VALUE".to_owned()),
            None => match std::env::var_os(&text) {
                Some(value) => Ok(Variable([bytes, b"=", value.as_bytes()].concat())),
                None => Err(format!("{} is not set here: give NAME=VALUE", text.display())),
            },
        }
    }
}

impl ValueParserFactory for Variable {
    type Parser = clap::builder::ValueParser;

    fn value_parser() -> Self::Parser {
        OsStringValueParser::new().try_map(Variable::parse).into()
    }
}

fn absolute(path: OsString) -> Result<OsString, &'static str> {
    if path.as_bytes().starts_with(b"/") {
        Ok(path)
    } else {
        Err("give an absolute path in the guest")
    }
}

/// `UID[:GID]`; 2^32 - 1 is no id.
fn parse_ids(text: &str) -> Result<(u32, u32), String> {
    let id = |text: &str| {
        let id = text.parse().ok().filter(|&id: &u32| id != u32::MAX);
        id.ok_or_else(|| format!("{text:?} is no id: give a number from 0 to {}", u32::MAX - 1))
    };
    match text.split_once(':') {
        Some((user, group)) => Ok((id(user)?, id(group)?)),
        None => id(text).map(|user| (user, user)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_divide_at_the_last_colon() {
        let pair = Pair::host_first(OsStr::new("a:b:/c")).unwrap();
        assert_eq!((pair.host, pair.guest), ("a:b".into(), "/c".into()));
        for wrong in ["a", "a:", ":/a", "a:b", "a:/b:"] {
            assert!(Pair::host_first(OsStr::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs_of_the_guest_divide_at_the_first_colon() {
        let pair = Pair::guest_first(OsStr::new("/a:b:c")).unwrap();
        assert_eq!((pair.guest, pair.host), ("/a".into(), "b:c".into()));
        for wrong in ["/a", "/a:", ":b", "a:b"] {
            assert!(Pair::guest_first(OsStr::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables_have_names() {
        assert_eq!(Variable::parse("A=b=c".into()), Ok(Variable(b"A=b=c".to_vec())));
        assert_eq!(Variable::parse("A=".into()), Ok(Variable(b"A=".to_vec())));
        assert!(Variable::parse("CARGO_MANIFEST_DIR".into()).is_ok(), "cargo sets it");
        for wrong in ["", "=b", "NOBODY_SETS_THIS"] {
            assert!(Variable::parse(wrong.into()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids() {
        assert_eq!(parse_ids("1000"), Ok((1000, 1000)));
        assert_eq!(parse_ids("1:0"), Ok((1, 0)));
        for wrong in ["", "4294967295", "-1", "1:", "root", "1:2:3"] {
            assert!(parse_ids(wrong).is_err(), "{wrong}");
        }
    }
}
