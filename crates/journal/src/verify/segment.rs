//! Reads and hashes one segment; runs on a thread of its own.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ledger::hash::tile_hash;
use ledger::{Hash, leaf_hash};

use super::faults::{Fault, Finding, VerifyError};
use super::levels::Leaves;
use crate::frame::FrameError;
use crate::record::SEGMENTS;
use crate::survey::{self, Broken, Ending, Survey};
use crate::writer;

/// What a segment holds.
pub(super) struct Checked {
    pub(super) first: u64,
    /// From the record's folder on.
    pub(super) path: PathBuf,
    pub(super) leaves: Vec<Hash>,
    /// The stored hashes of the same events, as far as there are any.
    pub(super) recorded: Vec<Hash>,
    /// The roots of the whole tiles in it whose leaves are as they were recorded.
    roots: Vec<Option<Hash>>,
    /// How many leaves come before the first whole tile.
    n_before: usize,
    /// What is wrong behind the last leaf.
    pub(super) fault: Option<Finding>,
    pub(super) n_torn_bytes: usize,
}

/// Reads the segment that begins with event `first`.
pub(super) fn check(
    folder: &Path,
    first: u64,
    log_id: [u8; 32],
    is_last: bool,
    stored: &Leaves,
) -> Result<Checked, VerifyError> {
    let file = writer::path(folder, first);
    let path = Path::new(SEGMENTS).join(file.file_name().unwrap_or_default());
    let bytes = read(&file)?;
    let mut leaves = Vec::new();
    let found = survey::survey(&bytes, |_, _, event| leaves.push(leaf_hash(event)));
    let found = found.map_err(Fault::Header).and_then(|found| belongs(found, first, log_id));
    let (mut fault, mut n_torn_bytes) = (None, 0);
    match found {
        Ok(survey) => match ended(&survey, is_last) {
            Ok(n_bytes) => n_torn_bytes = n_bytes,
            Err(wrong) => fault = Some(Finding::at(survey.end, &path, wrong)),
        },
        Err(wrong) => {
            leaves.clear();
            fault = Some(Finding::at(first, &path, wrong));
        }
    }
    let recorded = stored.read(first, leaves.len())?;
    let n_before = usize::try_from(first.next_multiple_of(256) - first).unwrap_or(usize::MAX);
    let roots = roots(&leaves, &recorded, n_before);
    Ok(Checked { first, path, leaves, recorded, roots, n_before, fault, n_torn_bytes })
}

impl Checked {
    /// Gives the root of the whole tile that begins with the leaf at that place.
    pub(super) fn tile_root(&self, at: usize) -> Option<Hash> {
        let at = at.checked_sub(self.n_before).filter(|at| at.is_multiple_of(256))?;
        self.roots.get(at / 256).copied().flatten()
    }
}

fn roots(leaves: &[Hash], recorded: &[Hash], n_before: usize) -> Vec<Option<Hash>> {
    let leaves = leaves.get(n_before..).unwrap_or_default();
    let mut recorded = recorded.get(n_before..).unwrap_or_default().chunks(256);
    let mut root = |tile: &[Hash; 256]| {
        // Where nothing is stored there is nothing to differ from.
        let is_same = recorded.next().is_none_or(|recorded| tile.starts_with(recorded));
        is_same.then(|| tile_hash(tile))
    };
    leaves.as_chunks().0.iter().map(&mut root).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, VerifyError> {
    let io = |source| VerifyError::Io { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(io)?;
    let n_bytes = file.metadata().map_err(io)?.len();
    if n_bytes > MAX_BYTES {
        return Err(VerifyError::Huge { path: path.to_path_buf(), n_bytes });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(n_bytes).unwrap_or_default());
    file.by_ref().take(n_bytes).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn belongs(survey: Survey, first: u64, log_id: [u8; 32]) -> Result<Survey, Fault> {
    if survey.header.log_id != log_id {
        return Err(Fault::OtherLog);
    }
    if survey.header.first != first {
        return Err(Fault::Renamed(survey.header.first));
    }
    Ok(survey)
}

/// Judges how a segment ends; answers the length of a torn end.
fn ended(survey: &Survey, is_last: bool) -> Result<usize, Fault> {
    match &survey.ending {
        Ending::Sealed(_) => Ok(0),
        Ending::Open if is_last => Ok(0),
        Ending::Torn(n_bytes) if is_last => Ok(*n_bytes),
        Ending::Open => Err(Fault::NotSealed),
        Ending::Torn(_) => {
            Err(Fault::Frame { offset: survey.good_bytes, why: FrameError::Incomplete })
        }
        Ending::Broken(broken) => Err(of_broken(broken)),
    }
}

fn of_broken(broken: &Broken) -> Fault {
    let event = broken.event;
    match (broken.stands, broken.then) {
        (Some(other), _) if other < event => Fault::Repeated(other),
        (Some(other), then) if then.is_none() || then == Some(other + 1) => {
            Fault::Dropped(other - event)
        }
        (Some(other), _) => Fault::Swapped(other),
        (None, _) => Fault::Frame { offset: broken.offset, why: broken.why },
    }
}

/// The largest size at which a segment is sealed, and the largest write behind it.
const MAX_BYTES: u64 = (1 << 28) + (64 << 20);
