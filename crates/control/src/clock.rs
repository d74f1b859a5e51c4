//! The one place where control reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use identity::Time;

/// Gives the time of day.
#[expect(clippy::disallowed_methods, reason = "this is the edge where the clock is read")]
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::EPOCH.plus(since)
}
