//! Compares the stored hashes above the leaves with those of the events, as these come.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use ledger::hash::tile_hash;
use ledger::{Hash, Tile};

use super::faults::{Fault, Finding, VerifyError};
use crate::levels;
use crate::record::TILES;

/// The files of all levels.
pub(super) struct StoredLevels {
    dir: PathBuf,
    levels: Vec<Stored>,
    tile: Vec<Hash>,
    /// The first stored hash that differs: kept until it is known whether the events are good.
    finding: Option<Finding>,
}

struct Stored {
    path: PathBuf,
    n_bytes: u64,
    file: Option<BufReader<io::Take<File>>>,
    n_hashes: u64,
    tile: Vec<Hash>,
}

/// The file of the leaves, read by several threads.
pub(super) struct Leaves {
    path: PathBuf,
    file: Option<File>,
    n_hashes: u64,
}

impl StoredLevels {
    pub(super) fn open(dir: &Path) -> Result<Self, VerifyError> {
        let open = |level: u8| {
            let name = Path::new(TILES).join(level.to_string());
            let path = dir.join(&name);
            let io = |source| VerifyError::Io { path: path.clone(), source };
            let file = match File::open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                opened => Some(opened.map_err(io)?),
            };
            let n_bytes = file
                .as_ref()
                .map_or(Ok(0), |file| file.metadata().map(|it| it.len()))
                .map_err(io)?;
            let file = file.map(|file| BufReader::with_capacity(1 << 16, file.take(n_bytes)));
            Ok(Stored { path: name, n_bytes, file, n_hashes: 0, tile: Vec::new() })
        };
        let levels = (0..=levels::MAX_LEVEL).map(open).collect::<Result<_, VerifyError>>()?;
        Ok(Self { dir: dir.to_path_buf(), levels, tile: Vec::new(), finding: None })
    }

    pub(super) fn leaves(&self) -> Result<Leaves, VerifyError> {
        let (path, n_bytes) = self
            .levels
            .first()
            .map_or((PathBuf::new(), 0), |it| (self.dir.join(&it.path), it.n_bytes));
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            opened => {
                Some(opened.map_err(|source| VerifyError::Io { path: path.clone(), source })?)
            }
        };
        Ok(Leaves { path, file, n_hashes: n_bytes / HASH_BYTES })
    }

    /// Finds the first event whose stored hashes are missing below the signed size.
    pub(super) fn check_lengths(&self, signed: u64) -> Option<Finding> {
        let short = self.levels.iter().zip(0..).filter_map(|(stored, level)| {
            let (found, expected) = (stored.n_bytes / HASH_BYTES, Tile::n_hashes(level, signed));
            let fault = Fault::FewHashes { level, found, expected };
            (found < expected).then(|| Finding::at(first_event(level, found), &stored.path, fault))
        });
        short.min_by_key(|finding| finding.event)
    }

    /// Takes in a leaf.
    pub(super) fn push_leaf(&mut self, leaf: Hash) -> Result<(), VerifyError> {
        self.tile.push(leaf);
        let Some(root) = self.tile.as_array().map(tile_hash) else { return Ok(()) };
        self.tile.clear();
        self.push_tile(root)
    }

    /// Takes in the root of the next whole tile of leaves.
    pub(super) fn push_tile(&mut self, root: Hash) -> Result<(), VerifyError> {
        let mut hash = root;
        for (stored, level) in self.levels.iter_mut().zip(0..).skip(1) {
            let finding = stored.compare(&hash, level)?;
            self.finding = self.finding.take().or(finding);
            let Some(completed) = stored.tile.as_array().map(tile_hash) else { return Ok(()) };
            stored.tile.clear();
            hash = completed;
        }
        Ok(())
    }

    /// Gives the first stored hash that differs from that of the events below it.
    pub(super) fn take_finding(&mut self) -> Option<Finding> {
        self.finding.take()
    }

    /// Finds what is stored behind the last event.
    pub(super) fn check_ends(&self, n_events: u64) -> Option<Finding> {
        let long = self.levels.iter().zip(0..).filter_map(|(stored, level)| {
            let expected = Tile::n_hashes(level, n_events).saturating_mul(HASH_BYTES);
            let found = stored.n_bytes;
            let event = first_event(level, found / HASH_BYTES).min(n_events);
            let is_long = found > expected || !found.is_multiple_of(HASH_BYTES);
            is_long.then(|| {
                Finding::at(event, &stored.path, Fault::ManyHashes { level, found, expected })
            })
        });
        long.min_by_key(|finding| finding.event)
    }
}

impl Stored {
    /// Compares the next hash with the stored one, if it is stored already.
    fn compare(&mut self, hash: &Hash, level: u8) -> Result<Option<Finding>, VerifyError> {
        let index = self.n_hashes;
        self.n_hashes += 1;
        self.tile.push(*hash);
        let (Some(file), true) = (&mut self.file, (index + 1) * HASH_BYTES <= self.n_bytes) else {
            return Ok(None);
        };
        let mut stored = [0; 32];
        file.read_exact(&mut stored)
            .map_err(|source| VerifyError::Io { path: self.path.clone(), source })?;
        if stored == hash.0 {
            return Ok(None);
        }
        let finding =
            Finding::at(first_event(level, index), &self.path, Fault::Hash { level, index });
        Ok(Some(Finding { until: first_event(level, index + 1), ..finding }))
    }
}

impl Leaves {
    /// Reads the stored hashes of events, as far as there are any.
    pub(super) fn read(&self, first: u64, n_leaves: usize) -> Result<Vec<Hash>, VerifyError> {
        let left = usize::try_from(self.n_hashes.saturating_sub(first)).unwrap_or(usize::MAX);
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let hashes = levels::read(file, first, n_leaves.min(left));
        let hashes =
            hashes.map_err(|source| VerifyError::Io { path: self.path.clone(), source })?;
        Ok(hashes.unwrap_or_default())
    }
}

/// The first event below a hash.
fn first_event(level: u8, index: u64) -> u64 {
    index.checked_shl(u32::from(level) * 8).unwrap_or(u64::MAX)
}

const HASH_BYTES: u64 = 32;
