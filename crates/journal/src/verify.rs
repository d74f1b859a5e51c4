//! Verifies a record's folder with only the public key, and names the first bad event.
//!
//! Checked are: every frame of every segment, every leaf against its stored hash, every stored
//! hash of every level, every signed checkpoint in order against the root of the events before it.
//! Segments are read and hashed on several threads; memory is bounded by a few segments.
//!
//! What one copy of a record can't show:
//! - events that came after the last checkpoint and are gone (nothing vouched for them yet, which
//!   lasts a second or 10,000 events as the record is run);
//! - the whole folder put back to an earlier state that was once signed. Hold a checkpoint against
//!   it that was kept elsewhere, by a witness or a browser (`Options::remembered`): then a rollback
//!   or a fork is named;
//! - that a checkpoint other than the last was taken out of the history by someone who numbered the
//!   rest anew: the events below it are vouched for by the next one;
//! - that the holder of the signing key wrote something untrue in the first place.
//!
//! Where the fault is placed: at the event itself for its frame or leaf; at the first event below
//! it for a stored hash; at the first event that only it vouches for, for a checkpoint.

mod faults;
mod levels;
mod segment;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

use ledger::verify::Verifier;
use ledger::{Checkpoint, NoteError, VerifierKey};

pub use faults::{Fault, Finding, VerifyError};

use self::levels::StoredLevels;
use self::segment::Checked;
use crate::history::{CURRENT, HISTORY, Notes, numbered, read_current};
use crate::record::{SEGMENTS, log_id};
use crate::writer;

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Checkpoints kept elsewhere, as notes signed by this log; the longest counts.
    pub remembered: Vec<Vec<u8>>,
    /// How many threads read and hash; as many as the machine has if nought.
    pub threads: usize,
}

/// What was found to be in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many events the record has.
    pub n_events: u64,
    /// How many checkpoints were checked.
    pub n_checkpoints: u64,
    /// The last checkpoint; events from its size on are not signed yet.
    pub last: Option<Checkpoint>,
    /// How many bytes at the end belong to a write that was under way or torn.
    pub n_torn_bytes: usize,
}

/// Verifies the record in a folder.
pub fn verify(dir: &Path, key: &VerifierKey, options: &Options) -> Result<Summary, VerifyError> {
    // The order in which files are looked at is the reverse of that in which they are written, so
    // that a record that is being written to is verified up to some moment.
    let current = read_current(dir).map_err(VerifyError::History)?;
    let notes = open_bounded(&dir.join(HISTORY))?;
    let signed = current.as_deref().and_then(|note| Checkpoint::open(note, key).ok());
    let mut levels = StoredLevels::open(dir)?;
    let folder = dir.join(SEGMENTS);
    let firsts =
        writer::list(&folder).map_err(|source| VerifyError::Io { path: folder.clone(), source })?;
    let short = levels.check_lengths(signed.as_ref().map_or(0, |signed| signed.size));
    let walk = Walk { folder, firsts, log_id: log_id(key) };
    let mut check = Check::new(key, current, Notes::new(notes), options)?;
    let checked = walk.run(n_threads(options.threads), &mut levels, &mut check);
    let found = checked
        .and_then(|n_torn_bytes| check.finish(&levels).map(|summary| (summary, n_torn_bytes)));
    let (summary, n_torn_bytes) = earlier(found, [levels.take_finding(), short])?;
    Ok(Summary { n_torn_bytes, ..summary })
}

/// Of what ended the walk and what was found beside it, gives the first; a stored hash yields to
/// what was found about the events below it.
fn earlier<T>(
    found: Result<T, VerifyError>,
    beside: [Option<Finding>; 2],
) -> Result<T, VerifyError> {
    let beside = beside.into_iter().flatten().min_by_key(|finding| finding.event);
    match (found, beside) {
        (Err(VerifyError::Bad(found)), Some(beside)) if beside.until <= found.event => {
            Err(VerifyError::bad(beside))
        }
        (Ok(_), Some(beside)) => Err(VerifyError::bad(beside)),
        (found, _) => found,
    }
}

fn n_threads(wanted: usize) -> usize {
    if wanted > 0 { wanted } else { thread::available_parallelism().map_or(1, usize::from) }
}

/// Opens a file up to the length that it has now.
fn open_bounded(path: &Path) -> Result<io::Take<File>, VerifyError> {
    let io = |source| VerifyError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    let n_bytes = file.metadata().map_err(io)?.len();
    Ok(file.take(n_bytes))
}

/// The segments, to be read in order.
struct Walk {
    folder: PathBuf,
    firsts: Vec<u64>,
    log_id: [u8; 32],
}

impl Walk {
    /// Reads ahead on several threads while what was read is checked in order.
    fn run<R: Read>(
        &self,
        n_threads: usize,
        levels: &mut StoredLevels,
        check: &mut Check<R>,
    ) -> Result<usize, VerifyError> {
        let leaves = levels.leaves()?;
        let leaves = &leaves;
        thread::scope(|scope| {
            let mut ahead = std::collections::VecDeque::new();
            let mut firsts = self.firsts.iter();
            let mut n_torn_bytes = 0;
            loop {
                while ahead.len() < n_threads
                    && let Some(first) = firsts.next()
                {
                    let is_last = self.firsts.last() == Some(first);
                    let read =
                        move || segment::check(&self.folder, *first, self.log_id, is_last, leaves);
                    ahead.push_back(scope.spawn(read));
                }
                let Some(next) = ahead.pop_front() else { return Ok(n_torn_bytes) };
                n_torn_bytes = check.segment(joined(next)?, levels)?;
            }
        })
    }
}

fn joined(
    reading: ScopedJoinHandle<'_, Result<Checked, VerifyError>>,
) -> Result<Checked, VerifyError> {
    reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What is known of the record so far.
struct Check<R> {
    verifier: Verifier,
    notes: Notes<R>,
    n_notes: u64,
    /// The file with the last checkpoint, and whether the history has it.
    current: Option<Vec<u8>>,
    has_current: bool,
    key: VerifierKey,
    /// The sizes of the last two checkpoints in the history.
    sizes: [u64; 2],
    /// Behind the end of the history there is part of a note.
    torn_note: bool,
}

impl<R: Read> Check<R> {
    fn new(
        key: &VerifierKey,
        current: Option<Vec<u8>>,
        notes: Notes<R>,
        options: &Options,
    ) -> Result<Self, VerifyError> {
        let mut verifier = Verifier::new(key.clone());
        let remembered: Result<Vec<_>, NoteError> = options
            .remembered
            .iter()
            .map(|note| Ok((Checkpoint::open(note, key)?.size, note)))
            .collect();
        let longest =
            remembered.map_err(VerifyError::Remembered)?.into_iter().max_by_key(|(size, _)| *size);
        if let Some((_, note)) = longest {
            verifier.remember(note).map_err(VerifyError::Remembered)?;
        }
        let has_current = current.is_none();
        let (key, sizes) = (key.clone(), [0, 0]);
        Ok(Self { verifier, notes, n_notes: 0, current, has_current, key, sizes, torn_note: false })
    }

    /// Checks the events of the next segment; answers the length of a torn end.
    fn segment(
        &mut self,
        checked: Checked,
        levels: &mut StoredLevels,
    ) -> Result<usize, VerifyError> {
        let expected = self.verifier.n_events();
        if checked.first != expected {
            return Err(self.broken(Finding::at(
                expected,
                &checked.path,
                Fault::Missing { next: checked.first },
            )));
        }
        let mut at = 0;
        while at < checked.leaves.len() {
            self.hand_in_checkpoints()?;
            at += self.step(&checked, at, levels)?;
        }
        match checked.fault {
            Some(finding) => Err(self.broken(finding)),
            None => Ok(checked.n_torn_bytes),
        }
    }

    /// Takes a whole tile where that can be, else one leaf; answers how many leaves.
    fn step(
        &mut self,
        checked: &Checked,
        at: usize,
        levels: &mut StoredLevels,
    ) -> Result<usize, VerifyError> {
        if let Some(root) = checked.tile_root(at)
            && self.verifier.handle_tile(root).map_err(|e| self.ledger(e))?
        {
            levels.push_tile(root)?;
            return Ok(256);
        }
        let (Some(leaf), recorded) = (checked.leaves.get(at), checked.recorded.get(at)) else {
            return Ok(1);
        };
        self.verifier.handle_leaf(*leaf, recorded.copied()).map_err(|e| self.ledger(e))?;
        if !self.verifier.suspects() {
            levels.push_leaf(*leaf)?;
        }
        Ok(1)
    }

    fn hand_in_checkpoints(&mut self) -> Result<(), VerifyError> {
        while self.verifier.wants_checkpoint() && !self.torn_note {
            let Some(note) = self.notes.next() else { break };
            let note = note.map_err(|source| VerifyError::Io { path: HISTORY.into(), source })?;
            self.checkpoint(&note)?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let (number, note) = match numbered(bytes) {
            Some(numbered) if is_whole(numbered.1) => numbered,
            // A write that a crash cut short is no fault if the last checkpoint is there without it.
            _ if self.notes.is_at_end() && self.has_current && !is_whole(bytes) => {
                self.torn_note = true;
                return Ok(());
            }
            _ => return Err(self.bad_history(Fault::NoNote)),
        };
        if number != self.n_notes {
            return Err(self.bad_history(Fault::Number { expected: self.n_notes, found: number }));
        }
        self.n_notes += 1;
        self.has_current |= self.current.as_deref() == Some(note);
        let size = self.verifier.handle_checkpoint(note).map_err(|e| self.ledger(e))?;
        self.sizes = [self.sizes[1], size];
        Ok(())
    }

    fn finish(mut self, levels: &StoredLevels) -> Result<Summary, VerifyError> {
        self.hand_in_checkpoints()?;
        let beside = [levels.check_ends(self.verifier.n_events()), self.bad_current()];
        let summary = self.verifier.finish().map_err(|e| VerifyError::bad(Finding::of_ledger(e)));
        let summary = earlier(summary, beside)?;
        let ledger::verify::Summary { n_events, n_checkpoints, last } = summary;
        Ok(Summary { n_events, n_checkpoints, last, n_torn_bytes: 0 })
    }

    /// If the last checkpoint is not in the history, one of the two was changed.
    fn bad_current(&self) -> Option<Finding> {
        if self.has_current {
            return None;
        }
        let [before, last] = self.sizes;
        let note = self.current.as_deref().unwrap_or_default();
        Some(match Checkpoint::open(note, &self.key) {
            Ok(current) if current.size > last => {
                Finding::at(last, Path::new(HISTORY), Fault::HistoryCut { signed: current.size })
            }
            Ok(_) => Finding::at(before, Path::new(CURRENT), Fault::OtherCurrent),
            Err(why) => Finding::at(before, Path::new(CURRENT), Fault::Current(why)),
        })
    }

    fn bad_history(&self, fault: Fault) -> VerifyError {
        self.broken(Finding::at(self.sizes[1], Path::new(HISTORY), fault))
    }

    fn ledger(&self, finding: ledger::verify::Finding) -> VerifyError {
        VerifyError::bad(Finding::of_ledger(finding))
    }

    /// Of a fault that ends the walk and one that was suspected before, gives the earlier.
    fn broken(&self, finding: Finding) -> VerifyError {
        match self.verifier.clone().finish() {
            Err(suspected) if suspected.event < finding.event => {
                VerifyError::bad(Finding::of_ledger(suspected))
            }
            _ => VerifyError::bad(finding),
        }
    }
}

/// A note ends with the line of its signature.
fn is_whole(note: &[u8]) -> bool {
    note.ends_with(b"\n") && note.windows(2).any(|pair| pair == b"\n\n") && !note.ends_with(b"\n\n")
}

#[cfg(test)]
mod tests;
