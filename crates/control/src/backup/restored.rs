//! The note that a restore leaves for control: that this data is of a backup, and of when.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a restore knows, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// Tells this restore from every other.
    pub id: String,
    /// When the backup was made.
    pub made: String,
    /// When it was restored.
    pub at: String,
    /// How many events the restored record has.
    pub events: u64,
    /// How many events the longest checkpoint has that was kept elsewhere, if one was named.
    pub seen_elsewhere: Option<u64>,
}

/// The note can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RestoredError {
    /// The file could not be used.
    #[error("cannot use `{}`: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file holds something else.
    #[error("`{}` is not what a restore wrote: {error}; restore the backup again", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: serde_json::Error,
    },
}

impl Restored {
    /// Reads the note in control's folder, if a restore left one.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, RestoredError> {
        let path = folder.join(NAME);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| RestoredError::Malformed { path, error }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RestoredError::File { path, error }),
        }
    }

    /// Leaves the note in control's folder.
    pub fn write(&self, folder: &Path) -> Result<(), RestoredError> {
        let path = folder.join(NAME);
        let bytes = serde_json::to_vec(self)
            .map_err(|error| RestoredError::Malformed { path: path.clone(), error })?;
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let written =
            file.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        written.map_err(|error| RestoredError::File { path, error })
    }

    /// Removes the note, once it stands in the record.
    pub(crate) fn remove(folder: &Path) -> Result<(), RestoredError> {
        let path = folder.join(NAME);
        fs::remove_file(&path).map_err(|error| RestoredError::File { path, error })
    }
}

const NAME: &str = "restored";
