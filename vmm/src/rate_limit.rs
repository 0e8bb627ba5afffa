//! A log that a guest cannot flood: the first few lines, then one line each time the count doubles.

/// Counts events and says which of them to log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateLimit {
    seen: u64,
}

/// Events that are logged one by one.
const BURST: u64 = 4;

impl RateLimit {
    /// Counts one event; true if it is to be logged. Of `n` events about `4 + log2(n)` are: no clock needed, and no
    /// guest can make the log longer than that.
    pub(crate) fn allows(&mut self) -> bool {
        self.seen = self.seen.saturating_add(1);
        self.seen <= BURST || self.seen.is_power_of_two()
    }

    /// Events counted, logged or not.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }
}

/// `log::warn!` to the target "faultlab::guest" as far as a [`RateLimit`] allows; the count is appended.
macro_rules! warn_limited {
    ($limit:expr, $($arg:tt)+) => {
        if $limit.allows() {
            log::warn!(target: "faultlab::guest", "{} (event {})", format_args!($($arg)+), $limit.seen());
        }
    };
}
pub(crate) use warn_limited;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_events_give_two_dozen_lines() {
        let mut limit = RateLimit::default();
        let lines = (0..1_000_000).filter(|_| limit.allows()).count();
        assert_eq!(lines, 4 + 17, "1 to 4, then 8, 16, ... 2^19");
        assert_eq!(limit.seen(), 1_000_000);
    }
}
