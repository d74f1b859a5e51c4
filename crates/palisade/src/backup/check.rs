//! Whether what a backup laid out is whole and goes together.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use control::backup::{Soundness, check_store};
use control::custody::{self, Authorities};
use identity::Fingerprint;
use journal::vault::MasterKey;
use journal::verify::{Options, Summary};
use ledger::VerifierKey;

use super::manifest::Kept;
use super::{LEDGER, STORE};
use crate::exit::{Exit, Failure, OrExit};
use crate::folder::Folder;

/// What was found to be in order.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The fingerprint of the root authority.
    pub(crate) root: Fingerprint,
    /// The key that the record is signed with.
    pub(crate) key: VerifierKey,
    /// How many events the record has.
    pub(crate) n_events: u64,
    /// How many of them stand under the last checkpoint.
    pub(crate) n_signed: u64,
    /// How many devices the store has, if it is in the backup.
    pub(crate) n_devices: Option<u64>,
}

/// Checks that every key opens, that the record verifies, that the store is sound, and that none
/// of them is of a later moment than the record.
pub(super) fn check(folder: &Folder, master: &MasterKey, store: Kept) -> Result<Checked, Failure> {
    // The keys are opened and closed again before anything is read that came from devices.
    let (authorities, signed) = keys(folder, master)?;
    let key: VerifierKey = authorities.record.parse().or_exit(Exit::Unverified)?;
    let summary = record(&folder.role("control").join(LEDGER), &key, Vec::new())?;
    if signed > summary.n_events {
        return Err(apart("custody has signed", signed, summary.n_events));
    }
    let n_devices = match store {
        Kept::Here => {
            let path = folder.role("control").join(STORE);
            let sound = looked_through(&path)?;
            if let Some(fault) = sound.faults.first() {
                let text = format!("the backup's store is damaged: {fault}");
                return Err(Failure::new(Exit::Unverified, text));
            }
            if let Some(known) = sound.recorded.filter(|known| *known > summary.n_events) {
                return Err(apart("its store has recorded", known, summary.n_events));
            }
            Some(sound.devices)
        }
        Kept::Elsewhere => None,
    };
    Ok(Checked {
        root: Fingerprint::of_der(&authorities.root),
        key,
        n_events: summary.n_events,
        n_signed: summary.last.map_or(0, |last| last.size),
        n_devices,
    })
}

/// Verifies a record, and that it continues the checkpoints that were kept elsewhere.
pub(super) fn record(
    ledger: &Path,
    key: &VerifierKey,
    remembered: Vec<Vec<u8>>,
) -> Result<Summary, Failure> {
    let options = Options { remembered, threads: 0 };
    journal::verify::verify(ledger, key, &options).or_exit(Exit::Unverified)
}

fn looked_through(store: &Path) -> Result<Soundness, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(check_store(store)).or_exit(Exit::Unverified)
}

/// Opens every key once, and closes it again; tells what is public of them, and how many events custody signed.
fn keys(folder: &Folder, master: &MasterKey) -> Result<(Authorities, u64), Failure> {
    let custody = folder.role("custody");
    let sealing = master.derive("custody");
    for entry in fs::read_dir(&custody)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if name.ends_with(".key") {
            let opened = sealing.open(&name, &fs::read(entry.path())?);
            opened.map_err(|e| {
                let text = format!("the backup's part `custody/{name}` does not open: {e}");
                Failure::new(Exit::Unverified, text)
            })?;
        }
    }
    let (link, _peer) = UnixStream::pair()?;
    let setup = custody::Setup { folder: custody, secret: master.derive_secret("custody"), link };
    let custodian = custody::load(&setup).or_exit(Exit::Unverified)?;
    Ok((custodian.authorities().clone(), custodian.n_signed()))
}

fn apart(who: &str, n: u64, n_events: u64) -> Failure {
    let text = format!(
        "the backup's parts are of different moments: {who} `{n}` events, and its record holds `{n_events}`"
    );
    Failure::new(Exit::Unverified, text)
}
