//! The progress bar of long work: on standard error, and only if that is a terminal.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// All bars of the process (there is one at most), so that the log can move them out of its way.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Standard error for the log: a line never lands in the middle of a bar.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A bar of rows.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Rows that were begun.
    begun: Cell<u64>,
}

impl Progress {
    /// A bar that shows the elapsed time until [`Progress::plan`] tells how much there is to do. `quiet` hides it.
    pub(super) fn start(quiet: bool) -> Self {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            BARS.add(ProgressBar::no_length())
        };
        bar.set_style(style("{spinner} {msg} {elapsed}"));
        bar.set_message("booting");
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            bar,
            begun: Cell::new(0),
        }
    }

    /// So many rows follow. From the second on the bar tells how much time the rest will take.
    pub(super) fn plan(&self, rows: u64) {
        self.bar.set_length(rows);
        self.bar
            .set_style(style("{spinner} [{bar:30}] {pos}/{len} {msg} {elapsed}, {eta} left"));
    }

    /// The next row is being measured: `name`.
    pub(super) fn begin(&self, name: &str) {
        self.bar.set_message(name.to_owned());
        self.bar.set_position(self.begun.replace(self.begun.get() + 1));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // Only a malformed template fails, and both are constants above.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
