//! Backups: one file, sealed under a passphrase of its own, with everything that an installation
//! needs to come back on another machine.
//!
//! The order in which parts are copied is what makes a running server's copy one whole: custody
//! first, then the store, then the record from its last checkpoint back to its first event. So the
//! record has all that the other two refer to, and may have a little more, which the restored
//! server finds and works through when it starts (`control/src/record/reconcile.rs`).

mod check;
mod create;
mod manifest;
mod progress;
mod restore;
mod staging;
mod unpack;

use journal::backup::BackupError;

use crate::exit::{Exit, Failure};

pub(crate) use create::{Made, create};
pub(crate) use manifest::Kept;
pub(crate) use restore::{Restored, Wanted, restore, verify};

/// The part with the master key.
const MASTER_KEY: &str = "master.key";
/// The part with the settings' file.
const SETTINGS: &str = "palisade.toml";
/// The part that says what the backup is.
const MANIFEST: &str = "manifest";
/// The folder and files of the store and the record inside control's folder.
const STORE: &str = "store.sqlite";
const STORE_LOG: &str = "store.sqlite-wal";
const LEDGER: &str = "ledger";
/// The record's files that stand alone, in the order that they are copied in.
const HEADS: [&str; 3] = ["cosigned", "checkpoint", "checkpoints"];
const TILES: &str = "tiles";
const SEGMENTS: &str = "segments";

/// Gives an error of the sealed file its exit code.
fn failure(error: BackupError) -> Failure {
    let exit = match &error {
        BackupError::Passphrase => Exit::Passphrase,
        BackupError::ShortPassphrase(_) => Exit::Usage,
        BackupError::Newer(_) => Exit::Newer,
        BackupError::NoBackup
        | BackupError::Costs
        | BackupError::Changed { .. }
        | BackupError::Cut { .. }
        | BackupError::Behind(_)
        | BackupError::Unexpected(_) => Exit::Unverified,
        BackupError::Io(_) | BackupError::Name(_) | BackupError::Random => Exit::Failed,
    };
    Failure { exit, error: error.into() }
}
