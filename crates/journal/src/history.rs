//! Signed checkpoints on disk: every one that was stored, in order, and the last beside them.
//!
//! `checkpoints` is only ever appended to: a line `#N` and the N-th note, counted from nought, so
//! that one that is missing is noticed. `checkpoint` holds the last one alone and is replaced. A crash between the two leaves
//! the history one ahead, which is mended when it is opened.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ledger::{Checkpoint, Note, NoteError, VerifierKey};

use crate::disk;

/// The stored checkpoints of one log.
pub(crate) struct History {
    dir: PathBuf,
    file: File,
    n_bytes: u64,
    n_notes: u64,
    last: Option<(Checkpoint, Note)>,
    is_stuck: bool,
}

/// Stored checkpoints can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file could not be used.
    #[error("`{}` could not be used: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A checkpoint is not one of the log's key.
    #[error("the last checkpoint in `{}` is bad: {why}; verify the record and restore it from a backup", .path.display())]
    Note {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: NoteError,
    },
    /// The history does not reach the last checkpoint.
    #[error("`{}` was cut: its last checkpoint is not the one in `checkpoint`; verify the record and restore it from a backup", .0.display())]
    Cut(PathBuf),
    /// An earlier write failed.
    #[error("checkpoints can't be stored after a failed sync; restart to see what is on the disk")]
    Stuck,
}

impl History {
    /// Opens the checkpoints in a record's folder and mends what a crash left.
    pub(crate) fn open(dir: &Path, key: &VerifierKey) -> Result<Self, HistoryError> {
        let path = dir.join(HISTORY);
        let io = |source| HistoryError::Io { path: path.clone(), source };
        let file = disk::open(&path).map_err(io)?;
        let n_bytes = file.metadata().map_err(io)?.len();
        let start = n_bytes.saturating_sub(TAIL_BYTES);
        let tail = disk::read_at(&file, start, TAIL).map_err(io)?;
        let (numbered, n_torn) = last_note(&tail, start == 0);
        let n_notes = numbered.map_or(0, |(number, _)| number.saturating_add(1));
        let last = numbered.map(|(_, bytes)| parse(&path, bytes, key)).transpose()?;
        let current = read_current(dir)?;
        let is_current = match (&last, &current) {
            (None, None) => true,
            (Some((_, note)), Some(current)) => note.to_string().as_bytes() == current,
            (Some(_), None) => false,
            (None, Some(_)) => return Err(HistoryError::Cut(path)),
        };
        if let (false, Some(current), Some((last, _))) = (is_current, &current, &last) {
            let (current, _) = parse(&dir.join(CURRENT), current, key)?;
            if current.size >= last.size {
                return Err(HistoryError::Cut(path));
            }
        }
        let n_bytes = n_bytes - u64::try_from(n_torn).unwrap_or_default();
        file.set_len(n_bytes).and_then(|()| file.sync_all()).map_err(io)?;
        disk::sync_dir(dir).map_err(io)?;
        let history =
            Self { dir: dir.to_path_buf(), file, n_bytes, n_notes, last, is_stuck: false };
        if !is_current {
            history.replace_current().map_err(io)?;
        }
        Ok(history)
    }

    /// Lends the last checkpoint.
    pub(crate) fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref().map(|(checkpoint, _)| checkpoint)
    }

    /// Lends the last checkpoint's note.
    pub(crate) fn last_note(&self) -> Option<&Note> {
        self.last.as_ref().map(|(_, note)| note)
    }

    /// Appends a checkpoint durably and makes it the last.
    pub(crate) fn push(&mut self, checkpoint: Checkpoint, note: Note) -> Result<(), HistoryError> {
        if self.is_stuck {
            return Err(HistoryError::Stuck);
        }
        let path = self.dir.join(HISTORY);
        let io = |source| HistoryError::Io { path: path.clone(), source };
        let bytes = format!("#{}\n{note}", self.n_notes).into_bytes();
        if let Err(source) = self.file.write_all_at(&bytes, self.n_bytes) {
            self.is_stuck = self.file.set_len(self.n_bytes).is_err();
            return Err(io(source));
        }
        if let Err(source) = self.file.sync_data() {
            self.is_stuck = true;
            return Err(io(source));
        }
        self.n_bytes += u64::try_from(bytes.len()).unwrap_or_default();
        self.n_notes += 1;
        self.last = Some((checkpoint, note));
        self.replace_current().map_err(io)
    }

    /// Refuses all that follows: what was to be stored before could not be made durable.
    pub(crate) fn give_up(&mut self) {
        self.is_stuck = true;
    }

    fn replace_current(&self) -> io::Result<()> {
        let Some((_, note)) = &self.last else { return Ok(()) };
        disk::replace(&self.dir.join(CURRENT), note.to_string().as_bytes())
    }
}

/// Reads the last checkpoint's file, if there is one.
pub(crate) fn read_current(dir: &Path) -> Result<Option<Vec<u8>>, HistoryError> {
    let path = dir.join(CURRENT);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HistoryError::Io { path, source }),
    }
}

fn parse(path: &Path, bytes: &[u8], key: &VerifierKey) -> Result<(Checkpoint, Note), HistoryError> {
    let parsed = Note::parse(bytes).and_then(|note| Ok((Checkpoint::of_note(&note, key)?, note)));
    parsed.map_err(|why| HistoryError::Note { path: path.to_path_buf(), why })
}

/// Finds the last whole note in the end of a history, with its number, and how many bytes follow.
///
/// Each note has one signature line, behind its only empty line.
pub(crate) fn last_note(tail: &[u8], is_all: bool) -> (Option<(u64, &[u8])>, usize) {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(line) = find(&tail[at..], b"\n\n") {
        let line = at + line + 2;
        let Some(end) = find(&tail[line..], b"\n") else { break };
        at = line + end + 1;
        ends.push(at);
    }
    let (start, end) = match ends.as_slice() {
        [end] if is_all => (0, *end),
        [.., start, end] => (*start, *end),
        [] | [_] => return (None, tail.len()),
    };
    (tail.get(start..end).and_then(numbered), tail.len() - end)
}

/// Splits a note from the line with its number.
pub(crate) fn numbered(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let at = find(bytes, b"\n")?;
    let number = str::from_utf8(bytes.get(1..at)?).ok()?;
    let is_plain = bytes.first() == Some(&b'#') && number.bytes().all(|byte| byte.is_ascii_digit());
    let number =
        number.parse().ok().filter(|_| is_plain && (number == "0" || !number.starts_with('0')))?;
    Some((number, bytes.get(at + 1..)?))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Reads the numbered notes of a history one by one.
pub(crate) struct Notes<R> {
    lines: BufReader<R>,
    is_over: bool,
}

impl<R: io::Read> Notes<R> {
    /// Reads from a file or any bytes.
    pub(crate) fn new(read: R) -> Self {
        Self { lines: BufReader::with_capacity(1 << 16, read), is_over: false }
    }

    /// Says whether nothing follows what was read.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.is_over || self.lines.fill_buf().is_ok_and(<[u8]>::is_empty)
    }

    /// Gives the bytes of the next note; the last may be cut, and what is too long is cut too.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut note = Vec::new();
        let mut is_last_line = false;
        loop {
            let start = note.len();
            let limit = u64::try_from(Note::MAX_BYTES.saturating_sub(start)).unwrap_or_default();
            let n_read = io::Read::take(&mut self.lines, limit).read_until(b'\n', &mut note)?;
            if n_read == 0 || is_last_line {
                self.is_over = n_read == 0;
                return Ok(Some(note).filter(|note| !note.is_empty()));
            }
            is_last_line = note.get(start..) == Some(b"\n");
        }
    }
}

impl<R: io::Read> Iterator for Notes<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let note = self.read();
        self.is_over |= note.is_err();
        note.transpose()
    }
}

pub(crate) const HISTORY: &str = "checkpoints";
pub(crate) const CURRENT: &str = "checkpoint";
/// Holds two notes of the greatest length.
const TAIL_BYTES: u64 = 1 << 17;
const TAIL: usize = 1 << 17;

#[cfg(test)]
mod tests;
