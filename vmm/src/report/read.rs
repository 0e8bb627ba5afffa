//! Reads a file of reports: one report or a collection, of this version or of one that only adds fields.
//!
//! The file is not trusted: it may have been cut short, edited, or made to harm who looks at it.
//!
//! # Invariants
//! No text in what [`parse`] returns holds a control character, so that it can be shown on a terminal. Numbers are
//! finite, since JSON has no others; nothing else about them is promised: quantiles may fall, intervals may be reversed.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::model::{COLLECTION_SCHEMA, Collection, Report, SCHEMA};
use crate::paths;

/// Larger files are no reports: a row takes less than 8 KiB.
const FILE_MAX_BYTES: u64 = 256 << 20;

/// Why a file cannot be used. One line, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system's reason.
    #[error("{0}; name a file that `faultlab run --json FILE` wrote")]
    Io(#[from] io::Error),
    /// More than [`FILE_MAX_BYTES`].
    #[error("larger than 256M; name a file that `faultlab run --json FILE` wrote")]
    TooLarge,
    /// Not JSON at all, or cut short.
    #[error("not whole JSON: {0}; write it again with `faultlab run --json FILE`")]
    Json(serde_json::Error),
    /// Another kind of file, or another version.
    #[error("schema {found}, where {SCHEMA} and {COLLECTION_SCHEMA} are read; use the faultlab that wrote it")]
    Schema {
        /// As the file has it.
        found: String,
    },
    /// A field is missing or of another type.
    #[error("not in the shape of `faultlab report --schema`: {0}; write it again with `faultlab run --json FILE`")]
    Shape(serde_json::Error),
    /// A collection of nothing.
    #[error("a collection without reports; write one with `faultlab run --json FILE`")]
    Empty,
}

/// The reports in the file at `path`, at least one.
///
/// # Errors
/// It cannot be read, or holds something else.
pub fn file(path: &Path) -> Result<Vec<Report>, ReadError> {
    match paths::read(path, FILE_MAX_BYTES) {
        Ok(bytes) => parse(&bytes),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(ReadError::TooLarge),
        Err(error) => Err(error.into()),
    }
}

/// The reports in the contents of a file, at least one.
///
/// # Errors
/// As [`file()`].
pub fn parse(bytes: &[u8]) -> Result<Vec<Report>, ReadError> {
    let value: Value = serde_json::from_slice(bytes).map_err(ReadError::Json)?;
    let value = printable(value);
    match value.get("schema") {
        Some(Value::String(schema)) if schema == SCHEMA => Ok(vec![shaped(value, bytes)?]),
        Some(Value::String(schema)) if schema == COLLECTION_SCHEMA => {
            let Collection { reports, .. } = shaped(value, bytes)?;
            match reports.iter().find(|report| report.schema != SCHEMA) {
                Some(other) => Err(other_schema(&other.schema)),
                None if reports.is_empty() => Err(ReadError::Empty),
                None => Ok(reports),
            }
        }
        Some(Value::String(other)) => Err(other_schema(other)),
        _ => Err(other_schema("not named")),
    }
}

fn other_schema(found: &str) -> ReadError {
    let found = found.chars().take(80).collect();
    ReadError::Schema { found }
}

/// `value`, read from `bytes`, as a `T`. The error tells the place in the file.
fn shaped<T: DeserializeOwned>(value: Value, bytes: &[u8]) -> Result<T, ReadError> {
    serde_json::from_value(value).map_err(|error| {
        let placed = serde_json::from_slice::<T>(bytes).err();
        ReadError::Shape(placed.unwrap_or(error))
    })
}

/// `value` with every control character in its texts replaced.
fn printable(value: Value) -> Value {
    let clean = |text: String| text.replace(char::is_control, "\u{fffd}");
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(values) => values.into_iter().map(printable).collect(),
        Value::Object(map) => {
            let cleaned = map.into_iter().map(|(key, value)| (clean(key), printable(value)));
            Value::Object(cleaned.collect::<Map<_, _>>())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::measured::Regime;
    use super::super::testing::report;
    use super::*;

    fn error_of(text: &str) -> String {
        let line = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(!line.contains(char::is_control), "{line}");
        line
    }

    #[test]
    fn both_kinds_of_file() {
        let report = report(Regime::Shadow);
        let one = serde_json::to_vec(&report).unwrap();
        assert_eq!(parse(&one).unwrap(), std::slice::from_ref(&report));
        let two = serde_json::to_vec(&Collection::of(vec![report.clone(), report.clone()])).unwrap();
        assert_eq!(parse(&two).unwrap(), [report.clone(), report]);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let whole = serde_json::to_string(&report(Regime::Shadow)).unwrap();
        for end in (0..whole.len()).step_by(97) {
            assert!(error_of(&whole[..end]).contains("not whole JSON"), "{end}");
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        assert!(error_of("{}").starts_with("schema not named, where faultlab.report/1 and "));
        assert!(error_of("[]").starts_with("schema not named"));
        assert!(error_of(r#"{"schema": "faultlab.report/2"}"#).starts_with("schema faultlab.report/2, "));
        assert!(error_of(r#"{"schema": "a\u001b[31m"}"#).starts_with("schema a\u{fffd}[31m, "));
        let line = error_of("{\"schema\": \"faultlab.report/1\",\n\"host\": 7}");
        assert!(line.contains("line 2 column"), "{line}");
        assert!(error_of(r#"{"schema": "faultlab.collection/1", "reports": []}"#).contains("without reports"));
        let mut other = serde_json::to_value(report(Regime::Shadow)).unwrap();
        other["schema"] = json!("faultlab.report/9");
        let collection = json!({"schema": COLLECTION_SCHEMA, "reports": [other]});
        assert!(error_of(&collection.to_string()).starts_with("schema faultlab.report/9"));
        assert!(error_of(&"[".repeat(100_000)).contains("recursion limit"));
    }

    #[test]
    fn no_control_character_comes_through() {
        let mut value = serde_json::to_value(report(Regime::Shadow)).unwrap();
        value["scenarios"][0]["name"] = json!("\u{1b}]0;title\u{7}\u{9b}31m\n");
        value["host"]["evil\u{1b}key"] = json!(["\r"]);
        let read = parse(value.to_string().as_bytes()).unwrap();
        assert!(!serde_json::to_string(&read).unwrap().contains("\\u00"));
        assert!(!format!("{read:?}").contains("\\u{"), "{read:?}");
        assert_eq!(read[0].scenarios[0].name, "\u{fffd}]0;title\u{fffd}\u{fffd}31m\u{fffd}");
    }

    #[test]
    fn numbers_beyond_all_bounds_are_refused() {
        let text = serde_json::to_string(&report(Regime::Shadow)).unwrap();
        let huge = text.replacen("\"mean\":", "\"mean\":1e999, \"was\":", 1);
        assert_ne!(huge, text);
        assert!(error_of(&huge).contains("out of range"), "{}", error_of(&huge));
    }

    #[test]
    fn a_file_that_is_not_there_or_never_ends() {
        let missing = file(Path::new("/nonexistent/r.json")).unwrap_err().to_string();
        assert!(missing.contains("faultlab run --json FILE"), "{missing}");
        let endless = file(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(endless.starts_with("is a device, not a file; "), "{endless}");
        let sparse = tempfile::NamedTempFile::new().unwrap();
        sparse.as_file().set_len(FILE_MAX_BYTES + 1).unwrap();
        assert!(matches!(file(sparse.path()), Err(ReadError::TooLarge)));
    }
}
