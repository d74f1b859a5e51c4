//! Looking into a backup, and bringing one back into a folder of its own.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use journal::backup::Reader;
use journal::vault::{SecureRandom, SystemRandom};
use ledger::Checkpoint;

use super::check::{self, Checked, check};
use super::create::{is_level, is_segment};
use super::manifest::Manifest;
use super::progress::Progress;
use super::unpack::{Unpacked, unpack};
use super::{HEADS, LEDGER, SEGMENTS, TILES};
use crate::cli::Context;
use crate::clock;
use crate::exit::{Exit, Failure, OrExit};
use crate::folder::{self, Folder, FolderError, State, make_private};
use crate::keeper::{self, Choice};

/// What a restore was asked for beside the backup itself.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// A newer record to go on with.
    pub(crate) ledger: Option<&'a Path>,
    /// Checkpoints that were kept elsewhere.
    pub(crate) witness: &'a [PathBuf],
    /// Whether the settings come back too.
    pub(crate) settings: bool,
}

/// What a backup was found to hold.
#[derive(Debug)]
pub(crate) struct Restored {
    /// What it says about itself.
    pub(crate) manifest: Manifest,
    /// What was checked.
    pub(crate) checked: Checked,
    /// How many parts it has.
    pub(crate) n_parts: u64,
    /// How many events were seen elsewhere that are not here.
    pub(crate) n_missing: u64,
}

/// Opens a backup and checks every part of it, in a folder that is gone afterwards.
pub(crate) fn verify(
    context: &Context,
    file: &Path,
    passphrase: &str,
) -> Result<Restored, Failure> {
    let (mut reader, progress) = open(context, file, passphrase)?;
    let scratch = Scratch::make()?;
    let folder = Folder::at(&scratch.0);
    let Unpacked { manifest, master, n_parts, .. } = unpack(&mut reader, &folder, &progress)?;
    progress.on("checking");
    let checked = check(&folder, &master, manifest.store)?;
    Ok(Restored { manifest, checked, n_parts, n_missing: 0 })
}

/// Brings a backup back into the data folder, which must be absent or empty.
pub(crate) fn restore(
    context: &Context,
    file: &Path,
    passphrase: &str,
    wanted: &Wanted<'_>,
) -> Result<Restored, Failure> {
    let folder = context.folder();
    let failed = |e: FolderError| Failure { exit: e.exit(), error: e.into() };
    if folder.inspect().map_err(failed)? != State::Empty {
        let text = format!(
            "`{}` holds a data folder already; name another with --data",
            folder.path().display()
        );
        return Err(Failure::new(Exit::Conflict, text));
    }
    let (mut reader, progress) = open(context, file, passphrase)?;
    let mut restored = None;
    folder.create(|new| -> Result<(), Failure> {
        let unpacked = unpack(&mut reader, new, &progress)?;
        progress.on("checking");
        let mut checked = check(new, &unpacked.master, unpacked.manifest.store)?;
        if let Some(newer) = wanted.ledger {
            progress.on("taking the newer record");
            take_newer(new, newer, &mut checked)?;
        }
        let seen = seen_elsewhere(new, &checked, wanted.witness)?;
        let choice = settle(context, new, &unpacked, wanted.settings)?;
        let text = unpacked.master.to_text(&choice.unlock(), &SystemRandom::new());
        let text = text.map_err(keeper::failure)?;
        folder::write_private(&new.master_key(), text.as_bytes()).or_exit(Exit::Unwritable)?;
        leave_note(new, &unpacked.manifest, &checked, seen)?;
        let n_missing = seen.unwrap_or(0).saturating_sub(checked.n_events);
        let Unpacked { manifest, n_parts, .. } = unpacked;
        restored = Some(Restored { manifest, checked, n_parts, n_missing });
        Ok(())
    })?;
    restored.ok_or_else(|| Failure::new(Exit::Failed, "the folder was made without its content"))
}

fn open(
    context: &Context,
    file: &Path,
    passphrase: &str,
) -> Result<(Reader<File>, Progress), Failure> {
    let unreadable = |e: std::io::Error| {
        let exit = if e.kind() == ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Failure::new(exit, format!("cannot read `{}`: {e}", file.display()))
    };
    let input = File::open(file).map_err(unreadable)?;
    let n_bytes = input.metadata().map_err(unreadable)?.len();
    let reader = Reader::open(input, passphrase).map_err(super::failure)?;
    Ok((reader, Progress::begin(&context.output, Some(n_bytes))))
}

/// Puts a newer copy of the record in the place of the backup's, if it continues that.
fn take_newer(new: &Folder, newer: &Path, checked: &mut Checked) -> Result<(), Failure> {
    let ledger = new.role("control").join(LEDGER);
    let beside = new.role("control").join("ledger.newer");
    copy_record(newer, &beside)?;
    let remembered = match fs::read(ledger.join("checkpoint")) {
        Ok(note) => vec![note],
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e.into()),
    };
    let summary = check::record(&beside, &checked.key, remembered)?;
    if summary.n_events < checked.n_events {
        let text = format!(
            "the record in `{}` has {} events, fewer than the backup's {}; leave --ledger out",
            newer.display(),
            summary.n_events,
            checked.n_events
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    checked.n_events = summary.n_events;
    checked.n_signed = summary.last.map_or(0, |last| last.size);
    fs::remove_dir_all(&ledger).or_exit(Exit::Unwritable)?;
    fs::rename(&beside, &ledger).or_exit(Exit::Unwritable)
}

/// Copies a record's files in the order in which a backup does.
fn copy_record(from: &Path, to: &Path) -> Result<(), Failure> {
    for folder in [to.to_owned(), to.join(TILES), to.join(SEGMENTS)] {
        make_private(&folder).or_exit(Exit::Unwritable)?;
    }
    for name in HEADS {
        match copy_file(&from.join(name), &to.join(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(unusable(&from.join(name), &e));
            }
            Ok(()) | Err(_) => {}
        }
    }
    copy_folder(&from.join(TILES), &to.join(TILES), is_level)?;
    copy_folder(&from.join(SEGMENTS), &to.join(SEGMENTS), is_segment)
}

fn copy_folder(from: &Path, to: &Path, is_wanted: fn(&str) -> bool) -> Result<(), Failure> {
    for entry in fs::read_dir(from).map_err(|e| unusable(from, &e))? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(is_wanted) {
            let path = from.join(&name);
            copy_file(&path, &to.join(&name)).map_err(|e| unusable(&path, &e))?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    let source = File::open(from)?;
    let n_bytes = source.metadata()?.len();
    let mut options = fs::OpenOptions::new();
    let mut target = options.write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut source.take(n_bytes), &mut target)?;
    Ok(())
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot copy `{}`: {error}", path.display()))
}

/// Holds the record against checkpoints that were kept elsewhere; answers how many events the
/// longest of them has. One that is longer than the record says what is missing.
fn seen_elsewhere(
    new: &Folder,
    checked: &Checked,
    witness: &[PathBuf],
) -> Result<Option<u64>, Failure> {
    let mut longest = None;
    for path in witness {
        let note = fs::read(path).map_err(|e| {
            Failure::new(Exit::Usage, format!("cannot read `{}`: {e}", path.display()))
        })?;
        let size = Checkpoint::open(&note, &checked.key).or_exit(Exit::Unverified)?.size;
        if size <= checked.n_events {
            let ledger = new.role("control").join(LEDGER);
            check::record(&ledger, &checked.key, vec![note])?;
        }
        longest = longest.max(Some(size));
    }
    Ok(longest)
}

/// Brings the settings back, unless the folder has its own, and says what then unlocks the key.
fn settle(
    context: &Context,
    new: &Folder,
    unpacked: &Unpacked,
    wanted: bool,
) -> Result<Choice, Failure> {
    let own = context.folder().configuration();
    let text = unpacked.settings.as_ref().filter(|_| wanted && !own.exists());
    let Some(text) = text else { return Choice::of(&context.configuration.unlocking) };
    let configuration = context.configured_with(text, &own).or_exit(Exit::Usage)?;
    let path = new.configuration();
    folder::write_private(&path, text.as_bytes()).or_exit(Exit::Unwritable)?;
    Choice::of(&configuration.unlocking)
}

/// Tells the server that starts on this folder what happened.
fn leave_note(
    new: &Folder,
    manifest: &Manifest,
    checked: &Checked,
    seen_elsewhere: Option<u64>,
) -> Result<(), Failure> {
    let note = control::backup::Restored {
        id: random_name()?,
        made: manifest.made.clone(),
        at: clock::now().to_string(),
        events: checked.n_events,
        seen_elsewhere,
    };
    note.write(&new.role("control")).or_exit(Exit::Unwritable)
}

/// A private folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("palisade-verify-{}", random_name()?));
        make_private(&path).map_err(|e| {
            let text = format!("cannot make `{}`: {e}; set TMPDIR", path.display());
            Failure::new(Exit::Unwritable, text)
        })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is private, and lies where such folders are swept away.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn random_name() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("no randomness"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
