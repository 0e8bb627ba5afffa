//! How a wrong command line is answered.

/// clap's report of a wrong command line as one line.
///
/// clap renders the sentence, indented tips and lists, the usage and a hint to `--help`, each a paragraph; here the
/// sentence and the tips are joined, and the usage is left to `--help`.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let mut sentence = String::new();
    let kept = rendered
        .lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty());
    for line in kept {
        let separator = match line.as_bytes()[0] {
            _ if sentence.is_empty() => "",
            b't' | b'[' => "; ",
            _ => " ",
        };
        sentence.push_str(separator);
        sentence.push_str(line);
    }
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    format!("faultlab: {sentence} (see `faultlab --help`)")
}
