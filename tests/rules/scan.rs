//! Finds the numbers of rules that tests are named with.

use std::fs;
use std::path::Path;

/// Calls `found` with (rule, test) for all sources under a directory, in the order of their names.
pub(crate) fn directory(root: &Path, at: &Path, found: &mut dyn FnMut(&str, &str)) {
    let entries = fs::read_dir(root.join(at)).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("a directory entry").file_name())
        .collect();
    names.sort();
    for name in names {
        let path = at.join(name);
        if root.join(&path).is_dir() {
            directory(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&path)).expect("a source file");
            let path = path.to_str().expect("names are text");
            match path.strip_prefix("guest/programs/src/bin/") {
                Some(program) => lines_printed(program, &text, found),
                None => tests(&module(path), &text, found),
            }
        } else if path.extension().is_some_and(|extension| extension == "c") {
            let text = fs::read_to_string(root.join(&path)).expect("a source file");
            let program = path.file_stem().and_then(|stem| stem.to_str()).expect("names are text");
            c_program(program, &text, found);
        }
    }
}

/// `mm::zone::tests` of `guest/mm/src/zone/tests.rs`.
fn module(path: &str) -> String {
    let path = path.strip_prefix("guest/").unwrap_or(path).replace("/src/", "/");
    let path = path
        .trim_end_matches(".rs")
        .trim_end_matches("/mod")
        .trim_end_matches("/main");
    path.replace('/', "::")
}

/// An oracle program's cases: the first argument of what prints a line is the rule's number, alone in a string.
fn lines_printed(path: &str, text: &str, found: &mut dyn FnMut(&str, &str)) {
    let program = path.split(['/', '.']).next().unwrap_or_default().replace('_', "-");
    for word in text.split('"').skip(1).step_by(2) {
        if numbers(word) == [word] {
            found(word, &program);
        }
    }
}

/// A C program that is compared with Linux: what its first comment names, and what the lines that it prints begin with.
fn c_program(program: &str, text: &str, found: &mut dyn FnMut(&str, &str)) {
    let test = format!("c_programs::{program}");
    let heading = text
        .lines()
        .take_while(|line| line.trim_start().starts_with(['/', '*']));
    for rule in heading.flat_map(numbers) {
        found(&rule, &test);
    }
    for word in text.split('"').skip(1).step_by(2) {
        let first = word.split(' ').next().unwrap_or_default();
        if numbers(first) == [first] {
            found(first, &test);
        }
    }
}

/// The numbers in the documentation and in the name of each `#[test]`, and of the cases that a property is tried on.
fn tests(module: &str, text: &str, found: &mut dyn FnMut(&str, &str)) {
    let (mut doc, mut is_test) = (String::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            doc += words;
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| is_test) {
            let name = rest.split('(').next().unwrap_or_default();
            let test = format!("{module}::{name}");
            let first = name.split('_').next().unwrap_or_default().to_uppercase();
            numbers(&first)
                .iter()
                .chain(&numbers(&doc))
                .for_each(|rule| found(rule, &test));
            doc.clear();
            is_test = false;
        } else if !line.starts_with("#[") {
            doc.clear();
            is_test = false;
        }
    }
}

/// Words that are a letter from A to I and one or two digits; "A1 to A3" is three of them.
fn numbers(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some((section, first)) = number(word) else {
            continue;
        };
        let last = match (words.get(at + 1), words.get(at + 2).and_then(|word| number(word))) {
            (Some(&"to"), Some((end, last))) if end == section => last,
            _ => first,
        };
        found.extend((first..=last).map(|number| format!("{section}{number}")));
    }
    found
}

/// The section and the number that a word is.
fn number(word: &str) -> Option<(char, u32)> {
    let mut letters = word.chars();
    let section = letters.next().filter(|letter| ('A'..='I').contains(letter))?;
    let digits = letters.as_str();
    (matches!(digits.len(), 1..=2) && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
    Some((section, digits.parse().ok()?))
}
