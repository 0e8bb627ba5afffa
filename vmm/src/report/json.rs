//! The report as a JSON file, claimed before the guest boots.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::file::WholeFile;

/// A place for a report that can be written.
#[derive(Debug)]
pub struct JsonFile(WholeFile);

impl JsonFile {
    /// Claims `path`.
    ///
    /// # Errors
    /// As [`WholeFile::create`].
    pub fn create(path: &Path) -> io::Result<Self> {
        WholeFile::create(path).map(Self)
    }

    /// Writes `value` and makes it visible under the claimed path.
    ///
    /// # Errors
    /// As [`WholeFile::write`].
    pub fn write(self, value: &impl Serialize) -> io::Result<()> {
        self.0.write(&text(value)?)
    }
}

/// `value` as indented JSON, ended by a newline.
///
/// # Errors
/// It has keys that are no strings.
pub fn text(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}
