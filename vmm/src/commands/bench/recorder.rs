//! Turns what a guest says into rows and progress.

use faultlab::report::{Builder, Measured};
use faultlab::{Observer, PhaseRecord, Stream};
use faultlab_abi::dev::{EMPTY_PHASE, PhaseArgs, SkipArgs};

use crate::commands::progress::Progress;

/// The observer of every guest of a matrix.
pub(super) struct Recorder {
    pub(super) builder: Builder,
    pub(super) progress: Progress,
    /// Of the guest that runs.
    pub(super) backing: &'static str,
}

impl Observer for Recorder {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        // The table replaces the program's own lines; its complaints are wanted.
        let level = match stream {
            Stream::Stdout | Stream::Terminal => log::Level::Info,
            Stream::Stderr => log::Level::Warn,
        };
        for line in String::from_utf8_lossy(bytes).lines() {
            log::log!(level, "{line}");
        }
    }

    fn phase_begin(&mut self, args: &PhaseArgs) {
        let name = Measured::name_of(args);
        if args.half == 0 && name != EMPTY_PHASE {
            self.progress.begin(&format!("{} {name}", self.backing));
        }
    }

    fn skipped(&mut self, args: &SkipArgs) {
        self.progress.begin(self.backing);
        self.builder.skip(args);
    }

    fn phase(&mut self, record: PhaseRecord) {
        self.builder.add(&Measured::from(record));
    }
}
