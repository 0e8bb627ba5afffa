//! The progress bar of long work: on standard error, and only if that is a terminal.

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

/// A bar of scenarios.
pub(super) struct Progress {
    bar: ProgressBar,
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
        Self { bar }
    }

    /// So many scenarios follow.
    pub(super) fn plan(&self, scenarios: u64) {
        self.bar.set_length(scenarios);
        self.bar
            .set_style(style("{spinner} [{bar:30}] {pos}/{len} {msg} {elapsed}"));
    }

    /// This scenario is being measured.
    pub(super) fn begin(&self, scenario: &str) {
        self.bar.set_message(scenario.to_owned());
    }

    /// One scenario is done.
    pub(super) fn done(&self) {
        self.bar.inc(1);
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
