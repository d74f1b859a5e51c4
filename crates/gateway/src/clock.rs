//! The one place where this crate reads clocks.

use std::time::SystemTime;

use identity::Time;
use messaging::time::Instant;

/// Reads the time of day.
#[allow(clippy::disallowed_methods)] // The edge: everything further in is handed the time.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::EPOCH.plus(since)
}

/// Counts time from a start, for the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    /// Starts to count.
    pub(crate) fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// Says what moment it is.
    pub(crate) fn moment(self) -> Instant {
        Instant::from_start(self.start.elapsed())
    }

    /// Says when a moment is in the runtime's time.
    pub(crate) fn at(self, moment: Instant) -> tokio::time::Instant {
        let far = self.start + FAR;
        self.start.checked_add(moment.since_start()).unwrap_or(far)
    }
}

/// Later than any run ends.
const FAR: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 24 * 3600);
