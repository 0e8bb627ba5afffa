//! The first line of a script: which program is to read it, with which argument.
//!
//! Source: execve(2), "Interpreter scripts"; Linux, fs/binfmt_script.c.

/// What a script's first line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// The program's path; empty where a NUL is instead.
    pub interpreter: &'a [u8],
    /// All the rest of the line, as one argument.
    pub argument: Option<&'a [u8]>,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

impl<'a> Script<'a> {
    /// Reads a file's beginning, of which as much is given as counts; a NUL ends what a shorter file has.
    ///
    /// `None` for what does not begin with `#!`, a line that names nothing, and one so long that the name itself may be cut.
    #[must_use]
    pub fn parse(head: &'a [u8]) -> Option<Self> {
        let text = head.strip_prefix(b"#!")?;
        let (line, cut) = match text.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&text[..end], false),
            // The last byte of what is looked at is taken for the NUL.
            None => (&text[..text.len().checked_sub(1)?], true),
        };
        let start = line.iter().position(|byte| !is_blank(*byte))?;
        let ends_name = |byte: &u8| is_blank(*byte) || *byte == 0;
        let name_len = line[start..].iter().position(ends_name);
        if cut && name_len.is_none() && !text.last().is_some_and(ends_name) {
            return None;
        }
        let end = line.iter().rposition(|byte| !is_blank(*byte))? + 1;
        let (interpreter, rest) = line[start..end].split_at(name_len.unwrap_or(end).min(end - start));
        // What follows a NUL is no text of the script's.
        let rest = if rest.first() == Some(&0) { &[][..] } else { rest };
        let argument = rest.iter().position(|byte| !is_blank(*byte)).map(|at| &rest[at..]);
        let argument = argument.map(|text| text.split(|byte| *byte == 0).next().unwrap_or_default());
        Some(Self {
            interpreter,
            argument: argument.filter(|text| !text.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Option<String>)> {
        let mut head = [0; 256];
        let len = text.len().min(256);
        head[..len].copy_from_slice(&text.as_bytes()[..len]);
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Script::parse(&head).map(|script| (show(script.interpreter), script.argument.map(show)))
    }

    fn names(interpreter: &str, argument: Option<&str>) -> Option<(String, Option<String>)> {
        Some((interpreter.to_owned(), argument.map(str::to_owned)))
    }

    #[test]
    fn one_argument_at_most() {
        assert_eq!(parsed("#!/bin/sh\necho"), names("/bin/sh", None));
        assert_eq!(parsed("#! \t/bin/sh -e  -x \t\n"), names("/bin/sh", Some("-e  -x")));
        assert_eq!(parsed("#!/bin/sh"), names("/bin/sh", None), "a file without a newline");
        assert_eq!(parsed("#!/bin/sh -e"), names("/bin/sh", Some("-e")));
    }

    #[test]
    fn nothing_is_named() {
        for text in ["#!\n/bin/sh", "#!   \t \n", "/bin/sh\n", "#", ""] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
        // Behind a file's end are zeroes.
        for text in ["#!", "#! \t", "#!\0/bin/sh\n"] {
            assert_eq!(parsed(text), names("", None), "{text:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_but_a_name_is_not() {
        let name = format!("#!/{}", "x".repeat(300));
        assert_eq!(parsed(&name), None);
        let name = "x".repeat(253);
        assert_eq!(parsed(&format!("#!{name}")), names(&name, None), "a NUL follows it");
        let argument = format!("#!/bin/sh {}", "x".repeat(300));
        assert_eq!(parsed(&argument), names("/bin/sh", Some(&"x".repeat(245))));
    }
}
