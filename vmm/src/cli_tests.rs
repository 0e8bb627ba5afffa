//! What the command line accepts, and that every refusal is one line.

use std::os::unix::ffi::OsStringExt;

use clap::CommandFactory;

use super::*;

fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"faultlab").chain(arguments))
}

/// The line that answers a wrong command line.
fn refusal(arguments: &[&str]) -> String {
    let error = parse(arguments).expect_err("must be refused");
    assert_eq!(error.exit_code(), i32::from(faultlab::exit::USAGE), "{arguments:?}");
    let line = one_line(&error);
    assert!(!line.contains('\n') && line.starts_with("faultlab: "), "{line}");
    line
}

fn run_args(arguments: &[&str]) -> RunArgs {
    match parse(&[&["run"], arguments].concat()).unwrap().command {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clap_accepts_the_definition() {
    Cli::command().debug_assert();
}

#[test]
fn sizes() {
    let good = [
        ("0", 0),
        ("4096", 4096),
        ("4K", 4096),
        ("4k", 4096),
        ("64M", 64 << 20),
        ("3g", 3 << 30),
    ];
    for (text, bytes) in good {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for text in [
        "",
        "M",
        "-1",
        "+1",
        "1.5G",
        "64MB",
        "64 M",
        "0x10",
        "99999999999G",
        "18446744073709551616",
        "é",
    ] {
        assert!(parse_size(text).is_err(), "{text}");
    }
    for bytes in [0, 1, 4096, 3 << 20, 3 << 30, (1 << 30) + 1] {
        assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
    }
}

#[test]
fn memory_is_8m_to_3g_in_whole_pages() {
    assert_eq!(parse_memory("8M"), Ok(8 << 20));
    assert_eq!(parse_memory("3G"), Ok(3 << 30));
    for text in ["8191K", "4G", "0"] {
        assert_eq!(
            parse_memory(text),
            Err("out of range; give 8M to 3G".to_owned()),
            "{text}"
        );
    }
    assert!(parse_memory("16777217").unwrap_err().contains("multiple of 4K"));
}

#[test]
fn words_for_a_kernel_have_no_quotes() {
    assert_eq!(
        parse_kernel_words("hugepages=64 quiet"),
        Ok("hugepages=64 quiet".to_owned())
    );
    for text in ["a'b", "a\"b", "a\\b", "a\nb", "\u{e9}", &"a".repeat(1025)] {
        assert!(parse_kernel_words(text).is_err(), "{text}");
    }
}

#[test]
fn swap_areas_have_sizes_and_priorities() {
    let parse = super::swap::parse_area;
    assert_eq!(parse("32M"), Ok((32 << 20, None)));
    assert_eq!(parse("40K,prio=0"), Ok((40 << 10, Some(0))));
    assert_eq!(parse("40K,prio=32767"), Ok((40 << 10, Some(32767))));
    for wrong in [
        "0",
        "1M,prio=32768",
        "1M,prio=-1",
        "1M,5",
        "1M,",
        ",prio=1",
        "1M,prio=1,prio=2",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn swap_may_be_none() {
    assert_eq!(parse_swap("0"), Ok(0));
    assert_eq!(parse_swap("40K"), Ok(40 << 10));
    assert!(parse_swap("36K").unwrap_err().ends_with("or 0 for none"));
}

#[test]
fn run_has_defaults() {
    let args = run_args(&[]);
    assert_eq!((args.vm.memory, args.vm.swap), (64 << 20, 64 << 20));
    assert_eq!((args.pages, args.vm.trace_level), (Pages::Auto, TraceLevel::Off));
    assert!(args.vm.swap_file.is_none() && args.vm.timeout.is_none() && args.json.is_none());
    assert!(args.scenario.is_empty());
}

#[test]
fn run_takes_all_its_options() {
    let args = run_args(&[
        "--memory=16M",
        "--swap-file",
        "/tmp/swap",
        "--trace-level",
        "stages",
        "--json",
        "out.json",
        "--scenario",
        "minor,swap-in",
        "--pages",
        "512",
        "--timeout",
        "30",
    ]);
    assert_eq!(
        (args.vm.memory, args.vm.timeout, args.pages),
        (16 << 20, Some(30), Pages::Exactly(512))
    );
    assert_eq!(
        (args.scenario, args.vm.trace_level),
        (vec!["minor".into(), "swap-in".into()], TraceLevel::Stages)
    );
    assert_eq!(args.vm.swap_file, Some(PathBuf::from("/tmp/swap")));
}

#[test]
fn exec_keeps_the_programs_own_options() {
    for arguments in [
        &["exec", "--memory", "16M", "--", "prog", "-x", "--memory", "--"][..],
        &["exec", "--memory", "16M", "prog", "-x", "--memory", "--"],
    ] {
        let Command::Exec(args) = parse(arguments).unwrap().command else {
            panic!()
        };
        assert_eq!(args.command, ["prog", "-x", "--memory", "--"], "{arguments:?}");
        assert_eq!(args.vm.memory, 16 << 20);
    }
}

#[test]
fn compare_takes_what_is_noise_and_what_fails() {
    let args = |options: &[&str]| match parse(&[&["compare", "a", "b"], options].concat()).unwrap().command {
        Command::Compare(args) => (args.noise, args.fail_on),
        other => panic!("{other:?}"),
    };
    assert_eq!(args(&[]), (None, None));
    assert_eq!(args(&["--fail-on", "slower"]), (None, Some(0.0)));
    assert_eq!(args(&["--noise=0.5", "--fail-on=slower:2.5"]), (Some(0.5), Some(2.5)));
}

#[test]
fn refusals_name_the_value_and_the_remedy() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["run", "--memory", "4M"], &["4M", "--memory", "give 8M to 3G"]),
        (&["run", "--memory", "lots"], &["lots", "--memory", "such as 64M"]),
        (
            &["run", "--pages", "0"],
            &["'0'", "--pages", "give 1 to 65536, or auto"],
        ),
        (&["run", "--timeout", "0"], &["'0'", "--timeout", "1..=86400"]),
        (
            &["run", "--scenario", "minor,bogus"],
            &["bogus", "--scenario", "swap-in"],
        ),
        (&["run", "--scenario", ""], &["--scenario", "warm-touch"]),
        (&["run", "--trace-level", "all"], &["all", "--trace-level", "stages"]),
        (
            &["run", "--swap", "1M", "--swap-file", "x"],
            &["--swap", "--swap-file", "cannot be used with"],
        ),
        (&["run", "--memroy", "8M"], &["--memroy", "--memory"]),
        (&["run", "extra"], &["extra"]),
        (&["exec"], &["PROG"]),
        (&["exec", "--bogus", "prog"], &["--bogus"]),
        (&["report"], &["FILE"]),
        (&["report", "--schema", "r.json"], &["--schema"]),
        (&["compare", "a.json"], &["<B>"]),
        (&["compare", "a", "b", "--noise", "-1"], &["-1"]),
        (
            &["compare", "a", "b", "--noise", "NaN"],
            &["NaN", "--noise", "0 to 1000"],
        ),
        (
            &["compare", "a", "b", "--fail-on", "faster"],
            &["faster", "--fail-on", "slower:5"],
        ),
        (
            &["compare", "a", "b", "--fail-on", "slower:"],
            &["--fail-on", "0 to 1000"],
        ),
        (&["-v", "-q", "doctor"], &["--verbose", "--quiet"]),
        (&["fly"], &["fly"]),
        (&[], &["run", "exec", "programs", "doctor"]),
    ];
    for (arguments, named) in cases {
        let line = refusal(arguments);
        for part in *named {
            assert!(line.contains(part), "{arguments:?} must name {part}: {line}");
        }
    }
}

#[test]
fn long_help_documents_every_exit_status() {
    let help = parse(&["run", "--help"]).unwrap_err().render().to_string();
    for status in ["0", "1", "2", "69", "121", "124", "125", "126", "127", "128+n"] {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(&format!("{status} "))),
            "{status} in {help}"
        );
    }
}

/// Pseudo-random numbers; equal seeds give equal ones. Source: Steele, Lea and Flood, SplitMix64 (2014).
fn splitmix(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as usize
}

/// Words that mean something somewhere, and words that mean nothing anywhere.
fn vocabulary() -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let command = Cli::command();
    for sub in command.get_subcommands().chain([&command]) {
        words.push(sub.get_name().into());
        for option in sub.get_arguments().filter_map(|argument| argument.get_long()) {
            words.extend([
                format!("--{option}").into(),
                format!("--{option}=").into(),
                format!("--{option}=1").into(),
            ]);
        }
    }
    let values = [
        "",
        " ",
        "-",
        "--",
        "-v",
        "-q",
        "-vvvv",
        "-x",
        "0",
        "1",
        "-1",
        "64M",
        "3G",
        "99999999999999999999",
        "all",
        "auto",
        "anon",
        "memfd",
        "hugetlb-2m",
        "minor",
        "minor,minor",
        ",",
        "seq",
        "rand",
        "stride:0",
        "stride:7",
        "stride:",
        "stride:99999999999",
        "store",
        "load",
        "none",
        "/dev/null",
        "/nonexistent/x.json",
        "\n",
        "a\nb",
        "é",
        "\u{1b}[31m",
        "--scenario=all,all",
        "--pattern=seq,,rand",
    ];
    words.extend(values.map(OsString::from));
    words.push(OsStringExt::from_vec(vec![0xff, 0xfe]));
    words
}

#[test]
fn no_command_line_panics_and_every_refusal_is_one_line() {
    let words = vocabulary();
    let (mut state, mut accepted) = (1, 0);
    for round in 0..20_000 {
        let count = splitmix(&mut state) % 7;
        let mut line: Vec<OsString> = vec!["faultlab".into()];
        // Many of them begin as they should.
        if round % 2 == 0 {
            line.push(["run", "bench", "exec", "doctor"][splitmix(&mut state) % 4].into());
        }
        line.extend((0..count).map(|_| words[splitmix(&mut state) % words.len()].clone()));
        match Cli::try_parse_from(&line) {
            Ok(_) => accepted += 1,
            Err(answer) if answer.use_stderr() => {
                let text = one_line(&answer);
                assert!(
                    text.starts_with("faultlab: ") && !text.contains(['\n', '\r', '\x1b']),
                    "round {round}, {line:?}: {text:?}"
                );
            }
            // Help and version.
            Err(answer) => assert_eq!(answer.exit_code(), 0, "round {round}, {line:?}"),
        }
    }
    assert!(accepted > 50, "the vocabulary is not one: {accepted} accepted");
}

#[test]
fn patterns() {
    assert_eq!(parse_pattern("stride:65536"), Ok(Pattern::Stride(65_536)));
    for text in [
        "",
        "SEQ",
        "stride",
        "stride:",
        "stride:0",
        "stride:65537",
        "stride:-1",
        "rand:1",
        "none",
    ] {
        assert!(parse_pattern(text).is_err(), "{text}");
    }
}
