//! The sealed file of a backup: named parts under a passphrase, written and read as one stream.
//!
//! Two lines of text say how the key is made from the passphrase (`header`). Pieces follow
//! (`piece`), each sealed with AES-256-GCM under that key and the number of its place, so that a
//! piece that was changed, dropped, moved or taken from another backup does not open. The last
//! piece says that it is the last. Neither side holds more than one piece in memory.

pub(crate) mod header;
pub(crate) mod piece;
mod reader;
mod writer;

use std::fmt;
use std::io;
use std::str::FromStr;

pub use reader::Reader;
pub use writer::Writer;

/// The name of a part: words of `a-z A-Z 0-9 . _ -` with slashes between, none of them hidden.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartName(String);

/// A backup can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file could not be used.
    #[error("the backup could not be read or written: {0}")]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("this is no backup of Palisade; its first line is another")]
    NoBackup,
    /// A newer program wrote it.
    #[error("the backup has format `{0}`, this program reads `1`; use the program that wrote it")]
    Newer(String),
    /// Its first lines ask for more than opening may take.
    #[error("the backup's second line is malformed or asks for too much; it was changed")]
    Costs,
    /// The passphrase is wrong.
    #[error("the passphrase does not open the backup; name the file with the right one")]
    Passphrase,
    /// The passphrase is too short to make a key from.
    #[error("the passphrase has `{0}` characters; use at least 12")]
    ShortPassphrase(usize),
    /// A piece does not open.
    #[error("the backup is damaged in {place} at byte `{at}`; use another copy of it")]
    Changed {
        /// Where.
        place: Place,
        /// Where in the file the piece begins that does not open.
        at: u64,
    },
    /// The file ends too early.
    #[error("the backup is cut off in {place} at byte `{at}`; use another copy of it")]
    Cut {
        /// Where.
        place: Place,
        /// Where in the file the piece begins that is cut.
        at: u64,
    },
    /// The file goes on behind the last piece.
    #[error("something follows the backup's end at byte `{0}`; use another copy of it")]
    Behind(u64),
    /// A piece opens but can't stand where it stands.
    #[error(
        "the backup holds something unexpected in {0}; a newer program may have written it, use that one"
    )]
    Unexpected(Place),
    /// A name is not one of a part.
    #[error(
        "`{0}` can't name a part of a backup; use words of `a-z A-Z 0-9 . _ -` with `/` between"
    )]
    Name(String),
    /// Random numbers can't be had.
    #[error("the system gives no random numbers")]
    Random,
}

/// Where in a backup something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Before the first part.
    Beginning,
    /// In a part, or in the head of the one behind it.
    Part(PartName),
}

impl PartName {
    /// The longest name in bytes.
    pub const MAX_BYTES: usize = 200;

    /// Lends the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PartName {
    type Err = BackupError;

    fn from_str(text: &str) -> Result<Self, BackupError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_word =
            |word: &str| !word.is_empty() && !word.starts_with('.') && word.bytes().all(is_plain);
        if text.len() <= Self::MAX_BYTES && text.split('/').all(is_word) {
            return Ok(Self(text.to_owned()));
        }
        Err(BackupError::Name(text.chars().take(Self::MAX_BYTES).collect()))
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("its beginning"),
            Self::Part(name) => write!(f, "or right behind part `{name}`"),
        }
    }
}

/// The shortest passphrase that is taken for a new backup.
const MIN_CHARS: usize = 12;

#[cfg(test)]
mod tests;
