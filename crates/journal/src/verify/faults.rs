//! What can be wrong with a record's folder, each in one plain sentence.

use std::io;
use std::path::{Path, PathBuf};

use ledger::NoteError;

use crate::frame::FrameError;
use crate::history::{CURRENT, HISTORY, HistoryError};

/// The first bad event, the file that is bad there, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {fault}", Place(*event, *until), InFile(path))]
pub struct Finding {
    /// The first event that can't be trusted.
    pub event: u64,
    /// The event before which the fault lies; one more than `event` where it is known exactly.
    pub until: u64,
    /// The file, from the record's folder on; empty if it can't be told.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Events, hashes or checkpoints do not agree.
    #[error(transparent)]
    Ledger(ledger::verify::Fault),
    /// The segment has no good header.
    #[error("the segment has no good header: {0}")]
    Header(FrameError),
    /// The segment belongs to another log.
    #[error("the segment belongs to another log")]
    OtherLog,
    /// The segment was renamed.
    #[error("the segment's header says that it begins with event `{0}`; it was renamed")]
    Renamed(u64),
    /// A segment is missing.
    #[error("the segment with it is missing; the next one begins with event `{next}`")]
    Missing {
        /// The first event of the next segment.
        next: u64,
    },
    /// A segment that is not the last has no seal.
    #[error("the segment ends here without a seal, though another follows; it was cut off")]
    NotSealed,
    /// The bytes are no frame of the event.
    #[error("the frame at byte `{offset}` is damaged: {why}")]
    Frame {
        /// Where in the segment.
        offset: usize,
        /// What is wrong.
        why: FrameError,
    },
    /// Events are missing from the segment.
    #[error("`{0}` event(s) were dropped here")]
    Dropped(u64),
    /// Another event stands in its place.
    #[error("event `{0}` stands in its place; they were swapped")]
    Swapped(u64),
    /// An earlier event stands here again.
    #[error("event `{0}` stands here again")]
    Repeated(u64),
    /// The file of a level ends too early.
    #[error(
        "the file of level `{level}` has `{found}` hashes, but `{expected}` were signed; it was cut off"
    )]
    FewHashes {
        /// The level.
        level: u8,
        /// How many it has.
        found: u64,
        /// How many it should have.
        expected: u64,
    },
    /// The file of a level is too long or ends inside a hash.
    #[error(
        "the file of level `{level}` has `{found}` bytes, but there are events for at most `{expected}`"
    )]
    ManyHashes {
        /// The level.
        level: u8,
        /// How many bytes it has.
        found: u64,
        /// How many bytes it may have.
        expected: u64,
    },
    /// A stored hash above the leaves is not that of the events below.
    #[error("the stored hash `{index}` of level `{level}` is not that of the events below it")]
    Hash {
        /// The level.
        level: u8,
        /// The hash's number in it.
        index: u64,
    },
    /// The history of checkpoints has something else in it.
    #[error("the history of checkpoints has no whole note here")]
    NoNote,
    /// A checkpoint is missing from the history.
    #[error(
        "checkpoint number `{found}` follows where `{expected}` should; checkpoints were dropped or swapped"
    )]
    Number {
        /// The number that should follow.
        expected: u64,
        /// The number that does.
        found: u64,
    },
    /// The history ends before the last checkpoint.
    #[error("the history of checkpoints was cut off: `checkpoint` has `{signed}` events")]
    HistoryCut {
        /// The last checkpoint's size.
        signed: u64,
    },
    /// The last checkpoint's file is not one of the log's key.
    #[error("the last checkpoint is bad: {0}")]
    Current(NoteError),
    /// The last checkpoint's file is not in the history.
    #[error("the last checkpoint is not in the history of checkpoints")]
    OtherCurrent,
}

/// A record is bad, or could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The record is bad.
    #[error("{0}")]
    Bad(Box<Finding>),
    /// A file could not be read.
    #[error("`{}` could not be read: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The checkpoints could not be read.
    #[error(transparent)]
    History(HistoryError),
    /// A segment is larger than this program writes.
    #[error("`{}` has `{n_bytes}` bytes, more than any segment", .path.display())]
    Huge {
        /// Which.
        path: PathBuf,
        /// How many.
        n_bytes: u64,
    },
    /// A checkpoint kept elsewhere is not one of this log's key.
    #[error("the checkpoint kept elsewhere can't be compared: {0}")]
    Remembered(NoteError),
}

impl Finding {
    pub(super) fn at(event: u64, path: &Path, fault: Fault) -> Self {
        Self { event, until: event.saturating_add(1), path: path.to_path_buf(), fault }
    }

    pub(super) fn of_ledger(finding: ledger::verify::Finding) -> Self {
        use ledger::verify::Fault as Ledger;
        let ledger::verify::Finding { event, until, fault } = finding;
        let path = match fault {
            Ledger::HashChanged => "tiles/0",
            Ledger::Checkpoint(_) | Ledger::Order(_) | Ledger::Forked { .. } => HISTORY,
            Ledger::OtherHistory { .. } | Ledger::RolledBack(_) => CURRENT,
            Ledger::Changed
            | Ledger::Dropped(_)
            | Ledger::Inserted(_)
            | Ledger::Swapped(_)
            | Ledger::Unsigned
            | Ledger::Rewritten { .. }
            | Ledger::CutOff { .. } => "",
        };
        Self { event, until, path: path.into(), fault: Fault::Ledger(fault) }
    }
}

impl VerifyError {
    pub(super) fn bad(finding: Finding) -> Self {
        Self::Bad(Box::new(finding))
    }
}

struct Place(u64, u64);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(event, until) = *self;
        if until <= event.saturating_add(1) {
            write!(f, "event `{event}`")
        } else {
            write!(f, "events `{event}` to `{}`", until - 1)
        }
    }
}

struct InFile<'a>(&'a Path);

impl std::fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.as_os_str().is_empty() { Ok(()) } else { write!(f, " in `{}`", self.0.display()) }
    }
}
