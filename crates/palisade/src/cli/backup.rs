//! `backup`: making, checking and bringing back copies of the whole installation.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use super::output::counted;
use super::{Context, key, secret_line};
use crate::backup::{self, Kept, Made, Restored, Wanted};
use crate::exit::{Exit, Failure};
use crate::sandbox;

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a backup of the data folder into a new file, while the server runs or is stopped
    Create(Box<Create>),
    /// Open a backup and check every part of it; nothing is brought back
    Verify(Verify),
    /// Bring a backup back into a data folder that is absent or empty
    Restore(Box<Restore>),
}

/// What opens a backup.
#[derive(Debug, Args)]
pub(crate) struct Seal {
    /// The file that holds the backup's own passphrase; with it the backup opens anywhere, without
    /// it nowhere
    #[arg(long, value_name = "FILE")]
    backup_passphrase_file: PathBuf,
}

/// What to write.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The file to make
    out: PathBuf,
    #[command(flatten)]
    seal: Seal,
    #[command(flatten)]
    unlock: key::Unlock,
}

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    seal: Seal,
}

/// What to bring back.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    seal: Seal,
    /// A copy of the record that is newer than the backup, such as one of the old disk; it takes
    /// the place of the backup's if it continues that
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere, to say what the backup lacks; may be repeated
    #[arg(long, value_name = "FILE")]
    witness: Vec<PathBuf>,
    /// Leave the backup's `palisade.toml` out
    #[arg(long)]
    without_settings: bool,
    #[command(flatten)]
    unlock: key::Unlock,
}

impl Command {
    /// Lends the flags that say what unlocks the master key.
    pub(crate) fn unlock(&self) -> Option<&key::Unlock> {
        match self {
            Self::Create(create) => Some(&create.unlock),
            Self::Restore(restore) => Some(&restore.unlock),
            Self::Verify(_) => None,
        }
    }
}

impl Seal {
    fn passphrase(&self) -> Result<Zeroizing<String>, Failure> {
        secret_line(&self.backup_passphrase_file)
    }
}

/// Does it.
pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit, Failure> {
    // The master key is in this process for a while.
    sandbox::no_dumps()?;
    match command {
        Command::Create(what) => {
            let passphrase = what.seal.passphrase()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let made = backup::create(context, &what.out, &passphrase);
            told_made(context, &what.out, &runtime.block_on(Box::pin(made))?)?;
        }
        Command::Verify(what) => {
            let found = backup::verify(context, &what.file, &what.seal.passphrase()?)?;
            told_verified(context, &what.file, &found)?;
        }
        Command::Restore(what) => {
            let wanted = Wanted {
                ledger: what.ledger.as_deref(),
                witness: &what.witness,
                settings: !what.without_settings,
            };
            let passphrase = what.seal.passphrase()?;
            let restored = backup::restore(context, &what.file, &passphrase, &wanted)?;
            told_restored(context, &what.file, &restored)?;
        }
    }
    Ok(Exit::Ok)
}

fn told_made(context: &Context, file: &Path, made: &Made) -> Result<(), Failure> {
    let out = &context.output;
    let Made { manifest, n_parts, n_bytes, online } = made;
    let file = file.display().to_string();
    if out.is_json() {
        return out.json(&json!({
            "file": file, "bytes": n_bytes, "parts": n_parts, "made": manifest.made,
            "store": manifest.store.word(), "online": online,
        }));
    }
    let parts = counted(*n_parts, "part");
    out.line(&format!("{file}: {parts}, {}", sized(*n_bytes)))?;
    if manifest.store == Kept::Elsewhere {
        out.note(
            "the store is on a PostgreSQL server and not in this backup: keep a dump of it that \
             was begun before this backup was",
        );
    }
    Ok(())
}

fn told_verified(context: &Context, file: &Path, found: &Restored) -> Result<(), Failure> {
    let out = &context.output;
    let file = file.display().to_string();
    if out.is_json() {
        return out.json(&found_json(&file, found));
    }
    out.line(&format!("{file}: {}", summary(found)))?;
    out.note(&format!("root authority {}", found.checked.root));
    Ok(())
}

fn told_restored(context: &Context, file: &Path, restored: &Restored) -> Result<(), Failure> {
    let out = &context.output;
    let data = context.folder().path().display().to_string();
    if out.is_json() {
        let mut value = found_json(&file.display().to_string(), restored);
        if let Some(value) = value.as_object_mut() {
            value.insert("data".into(), data.into());
            value.insert("missing".into(), restored.n_missing.into());
        }
        return out.json(&value);
    }
    out.line(&format!("{data}: {}", summary(restored)))?;
    if restored.n_missing > 0 {
        let events = counted(restored.n_missing, "event");
        out.note(&format!("{events} that were seen elsewhere are lost with what they told of"));
    }
    if restored.manifest.store == Kept::Elsewhere {
        out.note("restore the dump of its PostgreSQL database before you start, and name it with --store");
    }
    out.note("start it with");
    out.note(&format!("  palisade up --data {data}"));
    out.note("and then look at what was done since the backup and is to be done again:");
    out.note(&format!("  palisade events --kind data.restored --data {data}"));
    Ok(())
}

fn found_json(file: &str, found: &Restored) -> serde_json::Value {
    let Restored { manifest, checked, n_parts, .. } = found;
    json!({
        "file": file, "ok": true, "parts": n_parts, "made": manifest.made,
        "program": manifest.program, "store": manifest.store.word(),
        "devices": checked.n_devices, "events": checked.n_events, "signed": checked.n_signed,
        "root": checked.root.to_string(), "record": checked.key.to_string(),
    })
}

fn summary(found: &Restored) -> String {
    let Restored { manifest, checked, n_parts, .. } = found;
    let store = match checked.n_devices {
        Some(n_devices) => format!("a sound store with {}", counted(n_devices, "device")),
        None => "no store".into(),
    };
    format!(
        "{} of {}, {store}, {} that verify, {} of them signed",
        counted(*n_parts, "part"),
        manifest.made,
        counted(checked.n_events, "event"),
        checked.n_signed
    )
}

/// Writes a number of bytes for people.
fn sized(n_bytes: u64) -> String {
    let (mut whole, mut unit) = (n_bytes, "bytes");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if whole < 10 * 1024 {
            break;
        }
        (whole, unit) = (whole / 1024, larger);
    }
    format!("{whole} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_at_least_two_digits() {
        assert_eq!(sized(10_239), "10239 bytes");
        assert_eq!(sized(10_240), "10 KiB");
        assert_eq!(sized(123 << 30), "123 GiB");
    }
}
