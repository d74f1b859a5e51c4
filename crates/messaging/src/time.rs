//! A moment as the caller counts it: this crate never reads a clock.

use core::time::Duration;

/// A moment, counted from a start that the caller chose once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// Makes the moment that lies `elapsed` after the caller's start.
    #[must_use]
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Returns how long after the caller's start this moment lies.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Returns the moment `duration` later, or the last one that can be counted.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// Returns how long after `earlier` this moment lies; zero if it lies before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
