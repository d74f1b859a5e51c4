//! What is reported to control: folded so that no flood is one there, and bounded while it waits.

mod allowed;
mod backlog;
mod denials;
mod refusals;

pub(crate) use allowed::Allowed;
pub(crate) use backlog::Backlog;
pub(crate) use denials::Denials;
pub(crate) use refusals::Refusals;

/// When a folded fact is reported: at once, then at growing intervals while it goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    next: messaging::time::Instant,
    interval: std::time::Duration,
}

impl Pace {
    pub(crate) fn start(now: messaging::time::Instant) -> Self {
        Self { next: now, interval: FIRST }
    }

    pub(crate) fn is_due(&self, now: messaging::time::Instant) -> bool {
        self.next <= now
    }

    /// Takes note of a report.
    pub(crate) fn step(&mut self, now: messaging::time::Instant) {
        self.next = now.plus(self.interval);
        self.interval = self.interval.saturating_mul(2).min(LONGEST);
    }
}

/// A fact is reported at most once per this time.
const FIRST: std::time::Duration = std::time::Duration::from_secs(1);
/// What goes on for long is reported each time that this has passed.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(8);
