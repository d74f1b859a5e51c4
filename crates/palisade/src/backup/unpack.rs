//! Laying the parts of a backup into a folder, each where it belongs and nowhere else.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use journal::backup::{PartName, Reader};
use journal::vault::{MasterKey, Unlock};
use zeroize::Zeroizing;

use super::create::{is_level, is_segment};
use super::manifest::Manifest;
use super::progress::Progress;
use super::{HEADS, LEDGER, MANIFEST, MASTER_KEY, SEGMENTS, SETTINGS, STORE, STORE_LOG, TILES};
use crate::exit::{Exit, Failure, OrExit};
use crate::folder::{Folder, make_private};
use crate::keeper;

/// What a backup holds that is not laid out as it is.
pub(super) struct Unpacked {
    /// What it says about itself.
    pub(super) manifest: Manifest,
    /// What everything is sealed under.
    pub(super) master: MasterKey,
    /// The settings' file.
    pub(super) settings: Option<String>,
    /// How many parts there were.
    pub(super) n_parts: u64,
}

/// The longest of the parts that are held in memory.
const MAX_HELD_BYTES: usize = 1 << 20;

/// Reads a backup to its end and lays its files into a folder.
pub(super) fn unpack(
    reader: &mut Reader<impl Read>,
    into: &Folder,
    progress: &Progress,
) -> Result<Unpacked, Failure> {
    let first = reader.next_part().map_err(super::failure)?;
    if first.as_ref().map(PartName::as_str) != Some(MANIFEST) {
        let text = "the backup does not begin with its manifest";
        return Err(Failure::new(Exit::Unverified, text));
    }
    let manifest = Manifest::parse(&held(reader)?)?;
    for name in ["custody", "control", "gateway"] {
        make_private(&into.role(name)).or_exit(Exit::Unwritable)?;
    }
    let ledger = into.role("control").join(LEDGER);
    for folder in [ledger.clone(), ledger.join(TILES), ledger.join(SEGMENTS)] {
        make_private(&folder).or_exit(Exit::Unwritable)?;
    }
    let (mut master, mut settings, mut n_parts) = (None, None, 1);
    while let Some(name) = reader.next_part().map_err(super::failure)? {
        progress.on(name.as_str());
        n_parts += 1;
        match name.as_str() {
            MASTER_KEY => {
                let text = String::from_utf8(held(reader)?.to_vec()).map(Zeroizing::new);
                let text = text.map_err(|_| unknown(&name))?;
                let key = MasterKey::parse(&text, &into.master_key(), &Unlock::KeyFile);
                master = Some(key.map_err(keeper::failure)?);
            }
            SETTINGS => {
                let text = String::from_utf8(held(reader)?.to_vec());
                settings = Some(text.map_err(|_| unknown(&name))?);
            }
            _ => lay(reader, place(into, &name)?, progress)?,
        }
    }
    let master = master
        .ok_or_else(|| Failure::new(Exit::Unverified, "the backup lacks its part `master.key`"))?;
    Ok(Unpacked { manifest, master, settings, n_parts })
}

/// Says where a part belongs; a part that belongs nowhere is refused.
fn place(into: &Folder, name: &PartName) -> Result<PathBuf, Failure> {
    let words: Vec<_> = name.as_str().split('/').collect();
    let is_known = match words.as_slice() {
        ["custody", _] => true,
        ["control", file] => [STORE, STORE_LOG].contains(file),
        ["control", LEDGER, file] => HEADS.contains(file),
        ["control", LEDGER, TILES, level] => is_level(level),
        ["control", LEDGER, SEGMENTS, segment] => is_segment(segment),
        _ => false,
    };
    match is_known {
        true => Ok(into.path().join(name.as_str())),
        false => Err(unknown(name)),
    }
}

fn unknown(name: &PartName) -> Failure {
    let text = format!(
        "the backup's part `{name}` is not known to this version; use the program that made it"
    );
    Failure::new(Exit::Unverified, text)
}

fn lay(reader: &mut Reader<impl Read>, path: PathBuf, progress: &Progress) -> Result<(), Failure> {
    let unwritable =
        |e| Failure::new(Exit::Unwritable, format!("cannot write `{}`: {e}", path.display()));
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    let mut file = file.map_err(unwritable)?;
    while let Some(data) = reader.data().map_err(super::failure)? {
        file.write_all(data).map_err(unwritable)?;
        progress.add(u64::try_from(data.len()).unwrap_or(0));
    }
    Ok(())
}

/// Reads a short part.
fn held(reader: &mut Reader<impl Read>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(data) = reader.data().map_err(super::failure)? {
        if bytes.len().saturating_add(data.len()) > MAX_HELD_BYTES {
            let text = "one of the backup's first parts is longer than it may be";
            return Err(Failure::new(Exit::Unverified, text));
        }
        bytes.extend(data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_their_places_and_no_other() {
        let folder = Folder::at("/data");
        let of = |name: &str| place(&folder, &name.parse().unwrap()).ok();
        for good in [
            "custody/root.key",
            "control/store.sqlite",
            "control/store.sqlite-wal",
            "control/ledger/checkpoint",
            "control/ledger/tiles/0",
            "control/ledger/segments/00000000000000000000.seg",
        ] {
            assert_eq!(of(good), Some(PathBuf::from("/data").join(good)));
        }
        for bad in [
            "version",
            "run/lock",
            "custody",
            "custody/a/b",
            "control/restored",
            "control/ledger/lock",
            "control/ledger/tiles/10",
            "control/ledger/segments/0.seg",
            "gateway/x",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
