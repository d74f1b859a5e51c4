//! What has just changed, for whoever is watching.

use std::ops::Range;

use identity::DeviceId;

/// A change that watchers are told of; what it is now they read from the store.
#[derive(Debug, Clone)]
pub(crate) enum Live {
    /// Events were written, by number.
    Events(Range<u64>),
    /// Devices changed.
    Devices(Vec<DeviceId>),
    /// A checkpoint was signed: the note.
    Checkpoint(String),
}

/// How many changes a slow watcher may be behind before it is told to read everything anew.
pub(crate) const BACKLOG: usize = 1024;
