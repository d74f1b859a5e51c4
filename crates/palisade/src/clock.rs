//! The clock, read here and nowhere else.

use identity::Time;

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "the edge at which time comes in")]
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time::EPOCH.plus(since.unwrap_or_default())
}
