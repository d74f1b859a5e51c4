//! Life stages of a device and the table of moves between them.
//!
//! Quarantine and recovery are not stages: they are decisions over posture.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};

/// Where a device is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Stage {
    /// It is known, and nobody has claimed it yet.
    #[n(0)]
    Manufactured,
    /// It holds its own credential, and has not been seen at work.
    #[n(1)]
    Claimed,
    /// It has connected with its own credential.
    #[n(2)]
    Active,
    /// It has left service for good.
    #[n(3)]
    Retired,
}

/// What can move a device from one stage to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A certificate was issued through a door.
    Enrolled,
    /// The device connected with its own credential.
    Connected,
    /// A person took it out of service.
    Retired,
}

/// A step does not lead anywhere from a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a `{from}` device cannot be {}; {}", .step.verb(), .from.advice())]
pub struct StepError {
    /// The stage the device is in.
    pub from: Stage,
    /// The step that was tried.
    pub step: Step,
}

/// Every move there is: what is not here cannot happen.
const MOVES: [(Stage, Step, Stage); 8] = [
    (Stage::Manufactured, Step::Enrolled, Stage::Claimed),
    (Stage::Claimed, Step::Enrolled, Stage::Claimed),
    (Stage::Active, Step::Enrolled, Stage::Active),
    (Stage::Claimed, Step::Connected, Stage::Active),
    (Stage::Active, Step::Connected, Stage::Active),
    (Stage::Manufactured, Step::Retired, Stage::Retired),
    (Stage::Claimed, Step::Retired, Stage::Retired),
    (Stage::Active, Step::Retired, Stage::Retired),
];

impl Stage {
    /// All stages, in the order of a life.
    pub const ALL: [Self; 4] = [Self::Manufactured, Self::Claimed, Self::Active, Self::Retired];

    /// Gives the stage that a step leads to.
    pub fn after(self, step: Step) -> Result<Self, StepError> {
        MOVES
            .iter()
            .find(|(from, by, _)| *from == self && *by == step)
            .map(|(_, _, to)| *to)
            .ok_or(StepError { from: self, step })
    }

    /// Names the stage.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manufactured => "manufactured",
            Self::Claimed => "claimed",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Manufactured => "enrol it first",
            Self::Claimed | Self::Active => "it has been already",
            Self::Retired => "add it anew under another name",
        }
    }
}

impl Step {
    fn verb(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Connected => "connected",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stage is `manufactured`, `claimed`, `active` or `retired`")]
pub struct StageError;

impl FromStr for Stage {
    type Err = StageError;

    fn from_str(text: &str) -> Result<Self, StageError> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or(StageError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_goes_forward() {
        let claimed = Stage::Manufactured.after(Step::Enrolled).unwrap();
        let active = claimed.after(Step::Connected).unwrap();
        assert_eq!(active.after(Step::Retired), Ok(Stage::Retired));
    }

    #[test]
    fn nothing_leaves_retirement_and_nothing_goes_back() {
        for step in [Step::Enrolled, Step::Connected, Step::Retired] {
            assert_eq!(Stage::Retired.after(step), Err(StepError { from: Stage::Retired, step }));
        }
        for (from, _, to) in MOVES {
            assert!(to >= from);
        }
    }

    #[test]
    fn an_unclaimed_device_cannot_connect() {
        let error = Stage::Manufactured.after(Step::Connected).unwrap_err();
        assert_eq!(
            alloc::format!("{error}"),
            "a `manufactured` device cannot be connected; enrol it first"
        );
    }
}
