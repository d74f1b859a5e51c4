//! Making a backup: of a running server through its socket and its folder, of a stopped one from
//! its folder alone.
//!
//! Control makes the copy of the store, since it alone may read what it holds. Everything else is
//! copied here as bytes: nothing of it is parsed in the process that holds the master key.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use journal::backup::{PartName, Writer};
use journal::vault::{SystemRandom, Unlock};

use super::manifest::{Kept, Manifest};
use super::progress::Progress;
use super::staging::Staging;
use super::{HEADS, LEDGER, MANIFEST, MASTER_KEY, SEGMENTS, SETTINGS, STORE, STORE_LOG, TILES};
use crate::cli::Context;
use crate::client::{Client, Download};
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::folder::{Folder, FolderError, Lock, State};
use crate::keeper::{self, Choice};

/// What was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// When, and of what.
    pub(crate) manifest: Manifest,
    /// How many parts it has.
    pub(crate) n_parts: u64,
    /// How long it is.
    pub(crate) n_bytes: u64,
    /// Whether the server ran meanwhile.
    pub(crate) online: bool,
}

/// Where the store comes from.
enum Source {
    /// From control, as it reads a copy.
    Control(Box<Download>),
    /// From files that nobody writes to while we hold the folder's lock.
    Files,
    /// From nowhere: it is on a database server.
    Elsewhere,
}

/// Writes a backup of the data folder into a new file.
pub(crate) async fn create(
    context: &Context,
    out: &Path,
    passphrase: &str,
) -> Result<Made, Failure> {
    let folder = context.folder();
    let failed = |e: FolderError| Failure { exit: e.exit(), error: e.into() };
    if folder.inspect().map_err(failed)? == State::Empty {
        let text = format!("there is no data folder at `{}` yet", folder.path().display());
        return Err(Failure::new(Exit::NotFound, text));
    }
    let master = Choice::of(&context.configuration.unlocking)?.load(&folder.master_key())?;
    let master = master.to_text(&Unlock::KeyFile, &SystemRandom::new()).map_err(keeper::failure)?;
    let staging = Staging::begin(out)?;
    let writer = Writer::begin(BufWriter::new(staging.file()), passphrase, &SystemRandom::new());
    let writer = writer.map_err(super::failure)?;
    // Held to the end where no server runs: none is to start meanwhile.
    let (source, lock) = source(context, &folder).await?;
    let manifest = Manifest {
        made: clock::now().to_string(),
        program: env!("CARGO_PKG_VERSION").into(),
        store: if matches!(source, Source::Elsewhere) { Kept::Elsewhere } else { Kept::Here },
    };
    let progress = Progress::begin(&context.output, Some(estimate(&folder, &source)));
    let mut copying = Copying { writer, folder: &folder, progress };
    copying.bytes(MANIFEST, &manifest.to_bytes())?;
    copying.bytes(MASTER_KEY, master.as_bytes())?;
    drop(master);
    copying.file_if_there(SETTINGS, &folder.configuration())?;
    copying.custody()?;
    copying.store(source).await?;
    copying.record()?;
    let (n_parts, n_bytes) = copying.finish()?;
    staging.finish()?;
    Ok(Made { manifest, n_parts, n_bytes, online: lock.is_none() })
}

/// Takes the store from the running server, or the folder for ourselves if none runs.
async fn source(context: &Context, folder: &Folder) -> Result<(Source, Option<Lock>), Failure> {
    match folder.lock() {
        Ok(lock) if folder.role("control").join(STORE).exists() => Ok((Source::Files, Some(lock))),
        Ok(lock) => Ok((Source::Elsewhere, Some(lock))),
        Err(FolderError::Running { .. }) => {
            let progress = Progress::begin(&context.output, None);
            progress.on("the server copies its store");
            let client = Client::local(folder.socket());
            let download = client.download(control::backup::STORE).await?;
            let source = download.map_or(Source::Elsewhere, |d| Source::Control(Box::new(d)));
            Ok((source, None))
        }
        Err(e) => Err(Failure { exit: e.exit(), error: e.into() }),
    }
}

/// Says about how many bytes there are to copy.
fn estimate(folder: &Folder, source: &Source) -> u64 {
    let control = folder.role("control");
    let length = |path: PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let ledger = control.join(LEDGER);
    let inside = |name| {
        let entries = fs::read_dir(ledger.join(name)).into_iter().flatten().flatten();
        entries.map(|entry| length(entry.path())).sum::<u64>()
    };
    let store = match source {
        Source::Control(download) => download.n_bytes.unwrap_or(0),
        Source::Files => length(control.join(STORE)) + length(control.join(STORE_LOG)),
        Source::Elsewhere => 0,
    };
    store + inside(TILES) + inside(SEGMENTS) + length(ledger.join("checkpoints"))
}

/// A backup that is being written.
struct Copying<'a> {
    writer: Writer<BufWriter<&'a File>>,
    folder: &'a Folder,
    progress: Progress,
}

impl Copying<'_> {
    /// Custody's files: certificates, sealed keys, and the last checkpoint that it signed.
    fn custody(&mut self) -> Result<(), Failure> {
        let custody = self.folder.role("custody");
        for name in names(&custody, |name| !name.starts_with('.') && !name.ends_with(".new"))? {
            self.file(&format!("custody/{name}"), &custody.join(&name))?;
        }
        Ok(())
    }

    async fn store(&mut self, source: Source) -> Result<(), Failure> {
        let control = self.folder.role("control");
        match source {
            Source::Control(mut download) => {
                let name = part(&format!("control/{STORE}"))?;
                self.progress.on(name.as_str());
                self.writer.begin_part(&name).map_err(super::failure)?;
                while let Some(chunk) = download.chunk().await? {
                    self.writer.data(&chunk).map_err(super::failure)?;
                    self.progress.add(u64::try_from(chunk.len()).unwrap_or(0));
                }
            }
            Source::Files => {
                // Nobody else has them open: the file and its log are of one moment.
                for name in [STORE, STORE_LOG] {
                    self.file_if_there(&format!("control/{name}"), &control.join(name))?;
                }
            }
            Source::Elsewhere => {}
        }
        Ok(())
    }

    /// The record, in the reverse of the order that it is written in, as `journal::verify` reads
    /// it: what was copied before never refers to what was not there yet.
    fn record(&mut self) -> Result<(), Failure> {
        let ledger = self.folder.role("control").join(LEDGER);
        for name in HEADS {
            self.file_if_there(&format!("control/{LEDGER}/{name}"), &ledger.join(name))?;
        }
        let tiles = ledger.join(TILES);
        for name in names(&tiles, is_level)? {
            self.file(&format!("control/{LEDGER}/{TILES}/{name}"), &tiles.join(&name))?;
        }
        let segments = ledger.join(SEGMENTS);
        for name in names(&segments, is_segment)? {
            self.file(&format!("control/{LEDGER}/{SEGMENTS}/{name}"), &segments.join(&name))?;
        }
        Ok(())
    }

    /// Writes the end; answers how many parts and bytes there are.
    fn finish(self) -> Result<(u64, u64), Failure> {
        let n_parts = self.writer.n_parts();
        let (mut file, n_bytes) = self.writer.finish().map_err(super::failure)?;
        file.flush()?;
        Ok((n_parts, n_bytes))
    }

    fn file_if_there(&mut self, name: &str, path: &Path) -> Result<(), Failure> {
        match path.symlink_metadata() {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            _ => self.file(name, path),
        }
    }

    /// Copies a file up to the length that it has now: some grow meanwhile.
    fn file(&mut self, name: &str, path: &Path) -> Result<(), Failure> {
        let unreadable =
            |e| Failure::new(Exit::Failed, format!("cannot read `{}`: {e}", path.display()));
        let file = File::open(path).map_err(unreadable)?;
        let n_bytes = file.metadata().map_err(unreadable)?.len();
        self.progress.on(name);
        let progress = &self.progress;
        let mut done = 0;
        let told = |now| {
            progress.add(now - done);
            done = now;
        };
        let copied = self.writer.part(&part(name)?, file.take(n_bytes), told);
        copied.map_err(super::failure)?;
        Ok(())
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.part(&part(name)?, bytes, |_| {}).map_err(super::failure)?;
        Ok(())
    }
}

/// Lists the names in a folder that are wanted, in order.
fn names(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Failure> {
    let unreadable =
        |e| Failure::new(Exit::Failed, format!("cannot read `{}`: {e}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if entry.file_type().map_err(unreadable)?.is_file() && is_wanted(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Says whether a name is that of a level of the tree's hashes.
pub(super) fn is_level(name: &str) -> bool {
    matches!(name.as_bytes(), [b'0'..=b'9'])
}

/// Says whether a name is that of a segment of events.
pub(super) fn is_segment(name: &str) -> bool {
    let number = name.strip_suffix(".seg").unwrap_or_default();
    number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn part(name: &str) -> Result<PartName, Failure> {
    name.parse().map_err(super::failure)
}
