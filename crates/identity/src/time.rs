//! Points in time, as milliseconds since the Unix epoch.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use der::DateTime;
use minicbor::{Decode, Encode};

/// A point in time (UTC); it is always an argument, never read from a clock here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Time(#[n(0)] i64);

/// A text is not a UTC time of RFC 3339, or lies outside the years 1970 to 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a time looks like `2026-11-21T09:30:00Z`")]
pub struct TimeError;

/// 9999-12-31T23:59:59.999Z, the last point in time that X.509 and RFC 3339 can write.
const MAX_MILLIS: i64 = 253_402_300_799_999;

impl Time {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// Takes milliseconds since the Unix epoch; what lies outside 1970 to 9999 is moved to its edge.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, MAX_MILLIS))
    }

    /// Takes seconds since the Unix epoch.
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Gives milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Gives whole seconds since the Unix epoch.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Adds a span, ending at the year 9999.
    pub fn plus(self, span: Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Subtracts a span, ending at the epoch.
    pub fn minus(self, span: Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_sub(millis))
    }

    /// Gives the span since an earlier time, or none if that one is later.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let millis = u64::try_from(self.0.checked_sub(earlier.0)?).ok()?;
        Some(Duration::from_millis(millis))
    }

    /// Cuts to whole seconds, as a certificate's validity needs.
    pub fn whole_seconds(self) -> Self {
        Self::from_seconds(self.seconds())
    }

    pub(crate) fn unix(self) -> Duration {
        Duration::from_secs(u64::try_from(self.seconds()).unwrap_or_default())
    }

    pub(crate) fn from_unix(duration: Duration) -> Self {
        Self::EPOCH.plus(duration)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = DateTime::from_unix_duration(self.unix()).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            date.month(),
            date.day(),
            date.hour(),
            date.minutes(),
            date.seconds(),
            self.0.rem_euclid(1000)
        )
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let text = text.strip_suffix('Z').ok_or(TimeError)?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if whole.len() != 19 || fraction.is_empty() || fraction.len() > 9 {
            return Err(TimeError);
        }
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TimeError);
        }
        let date: DateTime = alloc::format!("{whole}Z").parse().map_err(|_| TimeError)?;
        let millis = alloc::format!("{:0<3.3}", fraction).parse::<u64>().map_err(|_| TimeError)?;
        Ok(Self::from_unix(date.unix_duration()).plus(Duration::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn text_round_trips_with_milliseconds() {
        let time = Time::from_millis(1_795_257_000_042);
        let text = format!("{time}");
        assert_eq!(text, "2026-11-21T10:30:00.042Z");
        assert_eq!(text.parse(), Ok(time));
        assert_eq!("2026-11-21T10:30:00Z".parse(), Ok(Time::from_seconds(1_795_257_000)));
        assert_eq!("2026-11-21T10:30:00.5Z".parse(), Ok(Time::from_millis(1_795_257_000_500)));
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "",
            "Z",
            "2026-11-21",
            "2026-11-21T10:30:00",
            "2026-11-21T10:30:00+01:00",
            "2026-13-21T10:30:00Z",
            "2026-11-21T10:30:00.Z",
            "2026-11-21T10:30:00.+5Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn arithmetic_ends_at_the_edges() {
        let last = Time::from_millis(i64::MAX);
        assert_eq!(last.plus(Duration::from_secs(u64::MAX)), last);
        assert_eq!(Time::EPOCH.minus(Duration::from_secs(5)), Time::EPOCH);
        assert_eq!(Time::EPOCH.since(last), None);
    }
}
