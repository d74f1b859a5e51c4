//! The tree's hashes on disk, level by level, in the geometry of tlog-tiles.
//!
//! `tiles/<L>` holds the hashes of level L one after the other, so that the tile with index N and
//! width W is W·32 bytes at N·8192: one file for each level instead of one for each 256 events,
//! since a tile that is only ever appended to needs one sync for each checkpoint and no rename.
//! Hashes are derived from events: what is behind the last stored checkpoint is dropped when the
//! record is opened, and hashed again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::hash::tile_hash;
use ledger::proof::Hashes;
use ledger::tree::EdgeError;
use ledger::{Hash, Tile, Tree};

use crate::disk;

/// All levels, the leaves first.
pub(crate) struct Levels {
    dir: PathBuf,
    levels: Vec<Level>,
}

struct Level {
    path: PathBuf,
    /// None until something is stored.
    file: Option<Arc<File>>,
    n_hashes: u64,
    n_stored: u64,
    /// From `recent_first`, which is at a tile's edge, to the end; the rest is in the file alone.
    recent: Vec<Hash>,
    recent_first: u64,
    needs_sync: bool,
}

impl Levels {
    /// Opens the levels of a tree of that size, dropping what is behind; none if any is missing.
    pub(crate) fn open(dir: &Path, size: u64) -> io::Result<Option<Self>> {
        disk::make_dir(dir)?;
        let mut levels = Vec::new();
        for level in 0..=MAX_LEVEL {
            let path = dir.join(level.to_string());
            let n_hashes = Tile::n_hashes(level, size);
            if n_hashes == 0 && !path.exists() {
                break;
            }
            let Some(level) = Level::open(path, n_hashes)? else { return Ok(None) };
            levels.push(level);
        }
        disk::sync_dir(dir)?;
        Ok(Some(Self { dir: dir.to_path_buf(), levels }))
    }

    /// Appends a leaf, and what it completes above.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0..=MAX_LEVEL {
            let idx = usize::from(level);
            if self.levels.len() == idx {
                self.levels.push(Level::new(self.dir.join(level.to_string())));
            }
            let Some(completed) = self.levels.get_mut(idx).and_then(|level| level.push(hash))
            else {
                break;
            };
            hash = completed;
        }
    }

    /// Writes what waits in memory once it is much.
    pub(crate) fn store_if_long(&mut self) -> io::Result<()> {
        let is_long =
            self.levels.first().is_some_and(|leaves| leaves.recent.len() >= RECENT_HASHES);
        if is_long { self.store() } else { Ok(()) }
    }

    /// Writes what is not in the files yet.
    pub(crate) fn store(&mut self) -> io::Result<()> {
        self.levels.iter_mut().try_for_each(Level::store)
    }

    /// Gives the files that were written since this was asked last.
    pub(crate) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        let unsynced = |level: &mut Level| {
            std::mem::take(&mut level.needs_sync).then(|| level.file.clone()).flatten()
        };
        self.levels.iter_mut().filter_map(unsynced).collect()
    }

    /// Takes up the tree of that size.
    pub(crate) fn tree(&self, size: u64) -> Result<Tree, LevelsError> {
        let bits = (0..64_u32).rev().filter(|bit| size >> bit & 1 == 1);
        // Above the bit, the size has the leaves before that subtree.
        let edge = bits.map(|bit| self.hash(bit, (size >> bit) - 1)).collect::<Result<_, _>>()?;
        Ok(Tree::from_edge(size, edge)?)
    }

    /// Gives neighbouring hashes of a level; none if one of them is not there.
    pub(crate) fn range(
        &self,
        level: u8,
        first: u64,
        n_hashes: usize,
    ) -> io::Result<Option<Vec<Hash>>> {
        match self.levels.get(usize::from(level)) {
            Some(level) => level.range(first, n_hashes),
            None => Ok(None),
        }
    }
}

/// A hash can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LevelsError {
    /// A file of hashes could not be read.
    #[error("a file of hashes could not be read: {0}")]
    Io(#[from] io::Error),
    /// The tree is not that large.
    #[error("hash `{1}` of level `{0}` is not there")]
    Absent(u32, u64),
    /// The hashes do not make a tree.
    #[error(transparent)]
    Edge(#[from] EdgeError),
}

impl Hashes for Levels {
    type Error = LevelsError;

    fn hash(&self, level: u32, index: u64) -> Result<Hash, LevelsError> {
        let absent = || LevelsError::Absent(level, index);
        let stored = u8::try_from(level / 8).map_err(|_| absent())?;
        let below = level % 8;
        let first = index.checked_shl(below).ok_or_else(absent)?;
        let hashes = self.range(stored, first, 1 << below)?.ok_or_else(absent)?;
        let mut tree = Tree::new();
        hashes.into_iter().for_each(|hash| tree.push(hash));
        Ok(tree.root())
    }
}

impl Level {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            n_hashes: 0,
            n_stored: 0,
            recent: Vec::new(),
            recent_first: 0,
            needs_sync: false,
        }
    }

    fn open(path: PathBuf, n_hashes: u64) -> io::Result<Option<Self>> {
        let file = disk::open(&path)?;
        let n_bytes = n_hashes.saturating_mul(HASH_BYTES);
        if file.metadata()?.len() < n_bytes {
            return Ok(None);
        }
        file.set_len(n_bytes)?;
        let recent_first = n_hashes - n_hashes % 256;
        let n_recent = usize::try_from(n_hashes % 256).unwrap_or_default();
        let recent = read(&file, recent_first, n_recent)?.unwrap_or_default();
        let file = Some(Arc::new(file));
        Ok(Some(Self {
            path,
            file,
            n_hashes,
            n_stored: n_hashes,
            recent,
            recent_first,
            needs_sync: true,
        }))
    }

    fn opened(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = Arc::new(disk::open(&self.path)?);
        self.path.parent().map_or(Ok(()), disk::sync_dir)?;
        self.file = Some(file.clone());
        Ok(file)
    }

    /// Appends a hash, and gives the root of its tile when it was the last of one.
    fn push(&mut self, hash: Hash) -> Option<Hash> {
        self.recent.push(hash);
        self.n_hashes += 1;
        self.n_hashes.is_multiple_of(256).then(|| self.recent.last_chunk().map(tile_hash)).flatten()
    }

    fn store(&mut self) -> io::Result<()> {
        let n_unstored = usize::try_from(self.n_hashes - self.n_stored).unwrap_or(usize::MAX);
        if n_unstored == 0 {
            return Ok(());
        }
        let first = self.recent.len().saturating_sub(n_unstored);
        let bytes: Vec<u8> = self.recent.iter().skip(first).flat_map(|hash| hash.0).collect();
        self.opened()?.write_all_at(&bytes, self.n_stored * HASH_BYTES)?;
        self.n_stored = self.n_hashes;
        self.needs_sync = true;
        let edge = self.n_hashes - self.n_hashes % 256;
        let n_done = usize::try_from(edge - self.recent_first).unwrap_or(usize::MAX);
        self.recent.drain(..n_done.min(self.recent.len()));
        self.recent.shrink_to(512);
        self.recent_first = edge;
        Ok(())
    }

    fn range(&self, first: u64, n_hashes: usize) -> io::Result<Option<Vec<Hash>>> {
        let Some(end) =
            u64::try_from(n_hashes).ok().and_then(|n_hashes| first.checked_add(n_hashes))
        else {
            return Ok(None);
        };
        if end > self.n_hashes {
            return Ok(None);
        }
        let Some(skip) = first.checked_sub(self.recent_first) else {
            // Invariant: before `recent` all is in the file.
            let n_before =
                usize::try_from(self.recent_first - first).unwrap_or(usize::MAX).min(n_hashes);
            let Some(file) = &self.file else { return Ok(None) };
            let Some(mut hashes) = read(file, first, n_before)? else { return Ok(None) };
            hashes.extend(self.recent.iter().take(n_hashes - n_before));
            return Ok(Some(hashes));
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        Ok(self.recent.get(skip..).and_then(|recent| recent.get(..n_hashes)).map(<[Hash]>::to_vec))
    }
}

/// Reads hashes from a file; none if it ends before.
pub(crate) fn read(file: &File, first: u64, n_hashes: usize) -> io::Result<Option<Vec<Hash>>> {
    let bytes = disk::read_at(
        file,
        first.saturating_mul(HASH_BYTES),
        n_hashes.saturating_mul(Hash::BYTES),
    )?;
    let hashes: Vec<Hash> = bytes.as_chunks().0.iter().map(|bytes| Hash(*bytes)).collect();
    Ok(if hashes.len() == n_hashes { Some(hashes) } else { None })
}

/// 256^8 events are more than have numbers.
pub(crate) const MAX_LEVEL: u8 = 7;
const HASH_BYTES: u64 = 32;
/// How many leaves may wait in memory for a checkpoint that does not come.
const RECENT_HASHES: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{leaf_hash, proof};

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    fn filled(dir: &Path, n: u64) -> Levels {
        let mut levels = Levels::open(dir, 0).unwrap().unwrap();
        for (idx, leaf) in leaves(n).into_iter().enumerate() {
            levels.push(leaf);
            if idx % 1000 == 7 {
                levels.store().unwrap();
            }
        }
        levels
    }

    #[test]
    fn proofs_from_levels_are_those_from_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let levels = filled(dir.path(), 70_000);
        let leaves = leaves(70_000);
        let of_leaves = proof::Leaves(&leaves);
        for size in [1, 2, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 70_000] {
            assert_eq!(
                proof::root(size, &levels).unwrap(),
                proof::root(size, &of_leaves).unwrap(),
                "{size}"
            );
            let index = size / 3;
            let path = proof::inclusion(index, size, &levels).map_err(|e| e.to_string());
            assert_eq!(path, proof::inclusion(index, size, &of_leaves).map_err(|e| e.to_string()));
            assert_eq!(levels.tree(size).unwrap().root(), proof::root(size, &of_leaves).unwrap());
        }
        assert!(levels.hash(0, 70_000).is_err());
    }

    #[test]
    fn files_have_the_geometry_of_tiles() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 70_000).store().unwrap();
        let n_bytes = |level: &str| std::fs::metadata(dir.path().join(level)).unwrap().len();
        // The example of the specification: 273 tiles and 112, one and 17, and one.
        assert_eq!([n_bytes("0"), n_bytes("1"), n_bytes("2")], [70_000 * 32, 273 * 32, 32]);
        assert!(!dir.path().join("3").exists());
    }

    #[test]
    fn what_lies_behind_the_size_is_dropped_and_what_is_missing_is_told() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 1000).store().unwrap();
        let levels = Levels::open(dir.path(), 600).unwrap().unwrap();
        assert_eq!(
            levels.tree(600).unwrap().root(),
            proof::root(600, &proof::Leaves(&leaves(600))).unwrap()
        );
        drop(levels);
        assert_eq!(std::fs::metadata(dir.path().join("0")).unwrap().len(), 600 * 32);
        assert!(Levels::open(dir.path(), 601).unwrap().is_none());
    }
}
