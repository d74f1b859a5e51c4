//! A copy of the store at one moment, made while it is used, and gone from the disk's names before
//! it is handed out.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::problem::Problem;
use crate::store::Store;

/// Where copies are made, one at a time.
pub(crate) struct Desk {
    folder: PathBuf,
    turn: Arc<Mutex<()>>,
}

/// A copy, open for reading.
pub(super) struct Copy {
    pub(super) file: File,
    pub(super) n_bytes: u64,
}

/// The file of a copy while it is made; it goes whatever happens.
struct Draft {
    path: PathBuf,
    _turn: OwnedMutexGuard<()>,
}

impl Desk {
    /// Takes control's folder, and removes what a copy that was cut off may have left there.
    pub(crate) fn in_folder(folder: PathBuf) -> io::Result<Self> {
        let desk = Self { folder, turn: Arc::default() };
        remove(&desk.folder.join(COPY))?;
        Ok(desk)
    }

    /// Copies the store as it is now; none where it is no file of ours.
    pub(super) async fn copy(&self, store: &Store) -> Result<Option<Copy>, Problem> {
        let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() else {
            return Err(Problem::conflict("another backup is being made; wait for it"));
        };
        let Store::Lite(file_store) = store else { return Ok(None) };
        let failed = |e: io::Error| Problem::internal(&e);
        self.check_space()?;
        let path = self.folder.join(COPY);
        remove(&path).map_err(failed)?;
        let draft = Draft { path, _turn: turn };
        file_store.copy_to(&draft.path).await?;
        let file = File::open(&draft.path).map_err(failed)?;
        let n_bytes = file.metadata().map_err(failed)?.len();
        Ok(Some(Copy { file, n_bytes }))
    }

    /// A full disk stops the record, so a copy that might fill it is not begun.
    fn check_space(&self) -> Result<(), Problem> {
        let length =
            |name: &str| fs::metadata(self.folder.join(name)).map_or(0, |metadata| metadata.len());
        let needed = length("store.sqlite").saturating_add(length("store.sqlite-wal"));
        let stat = rustix::fs::statvfs(&self.folder).map_err(|e| Problem::internal(&e))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= needed.saturating_add(SPARE) {
            return Ok(());
        }
        Err(Problem::unavailable(format!(
            "a copy of the store needs up to {} MiB beside it, and {} MiB are free; free some space",
            needed.saturating_add(SPARE) >> 20,
            free >> 20
        )))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Whoever holds it open reads on; what stays is removed before the next copy.
        let _ = remove(&self.path);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    for path in [path.to_owned(), path.with_extension("copy-journal")] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

const COPY: &str = "store.copy";
/// What is to stay free for all else.
const SPARE: u64 = 256 << 20;
