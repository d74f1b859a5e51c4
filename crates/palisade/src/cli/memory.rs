//! What a device remembers of the record: its key and the last checkpoint that it was shown.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ledger::witness::Witness;
use ledger::{Checkpoint, VerifierKey};
use serde_json::Value;

use super::ledger::hashes;
use crate::exit::{Exit, Failure, OrExit};
use crate::folder::replace;

/// The files of one device's memory, beside its key and certificates.
pub(super) struct Memory {
    key: PathBuf,
    checkpoint: PathBuf,
    refused: PathBuf,
}

impl Memory {
    /// Names the files; nothing is touched.
    pub(super) fn at(folder: &Path) -> Self {
        Self {
            key: folder.join("record.key"),
            checkpoint: folder.join("checkpoint"),
            refused: folder.join("checkpoint.refused"),
        }
    }

    /// Says how many events the remembered checkpoint has, if there is one.
    pub(super) fn size(&self) -> Result<Option<u64>, Failure> {
        let (Some(key), Some(note)) = (self.key()?, read(&self.checkpoint)?) else {
            return Ok(None);
        };
        Ok(Some(Checkpoint::open(&note, &key).or_exit(Exit::Unverified)?.size))
    }

    /// Remembers what the server shows now, if it continues what it showed before.
    pub(super) fn take(&self, shown: &Value) -> Result<(), Failure> {
        let field = |name: &str| shown.get(name).and_then(Value::as_str);
        let Some(note) = field("checkpoint") else {
            return match self.size()? {
                None | Some(0) => Ok(()),
                Some(size) => Err(self.refuse(
                    b"",
                    &format!("the record had {size} events, now shows no checkpoint at all"),
                )),
            };
        };
        let shown_key: VerifierKey =
            field("key").unwrap_or_default().parse().or_exit(Exit::Unverified)?;
        let mut witness = match (self.key()?, read(&self.checkpoint)?) {
            (Some(key), _) if key.to_string() != shown_key.to_string() => {
                let why = "the record is now signed with another key than before";
                return Err(self.refuse(note.as_bytes(), why));
            }
            (Some(key), Some(last)) => Witness::resume(key, &last).or_exit(Exit::Unverified)?,
            (Some(_) | None, _) => Witness::new(shown_key.clone()),
        };
        let proof = match shown.get("proof") {
            None => Vec::new(),
            proof => hashes(proof)?,
        };
        if let Err(refusal) = witness.handle_checkpoint(note.as_bytes(), &proof) {
            return Err(self.refuse(note.as_bytes(), &refusal.to_string()));
        }
        let key = format!("{shown_key}\n");
        write(&self.key, key.as_bytes())?;
        write(&self.checkpoint, note.as_bytes())
    }

    fn key(&self) -> Result<Option<VerifierKey>, Failure> {
        let Some(bytes) = read(&self.key)? else { return Ok(None) };
        String::from_utf8_lossy(&bytes).trim().parse().map(Some).or_exit(Exit::Unverified)
    }

    /// Keeps the evidence beside what is remembered, which stays.
    fn refuse(&self, note: &[u8], why: &str) -> Failure {
        let kept = match write(&self.refused, note) {
            Ok(()) => format!("what it showed is in `{}`", self.refused.display()),
            Err(failure) => failure.line(),
        };
        Failure::new(
            Exit::Unverified,
            format!("the device is enrolled, but do not trust the server's record: {why}; {kept}"),
        )
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => {
            Err(anyhow::anyhow!("cannot read `{}`: {e}", path.display())).or_exit(Exit::Failed)
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace(path, bytes, 0o644)
        .map_err(|e| anyhow::anyhow!("cannot write `{}`: {e}", path.display()))
        .or_exit(Exit::Unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::{Ed25519Key, Signer};
    use ledger::Hash;
    use serde_json::json;
    use zeroize::Zeroizing;

    fn signer(seed: u8) -> Ed25519Key {
        Ed25519Key::from_seed(&Zeroizing::new([seed; 32])).unwrap()
    }

    fn shown(size: u64, root: u8, key: &Ed25519Key) -> Value {
        let name = "palisade.record/test";
        let note = Checkpoint::new(name, size, Hash([root; 32])).sign(key).unwrap();
        let key = VerifierKey::new(name, key.public_key()).unwrap().to_string();
        json!({ "key": key, "checkpoint": note.to_string(), "proof": [] })
    }

    #[test]
    fn the_first_checkpoint_is_taken_and_the_same_again() {
        let place = tempfile::tempdir().unwrap();
        let memory = Memory::at(place.path());
        assert_eq!(memory.size().unwrap(), None);
        memory.take(&shown(7, 1, &signer(1))).unwrap();
        assert_eq!(memory.size().unwrap(), Some(7));
        memory.take(&shown(7, 1, &signer(1))).unwrap();
    }

    #[test]
    fn a_fork_a_rollback_another_key_and_silence_are_refused_with_evidence() {
        let others = [
            shown(7, 2, &signer(1)),
            shown(6, 1, &signer(1)),
            shown(8, 1, &signer(1)),
            shown(7, 1, &signer(2)),
            json!({ "key": "", "checkpoint": null, "proof": [] }),
        ];
        for other in others {
            let place = tempfile::tempdir().unwrap();
            let memory = Memory::at(place.path());
            memory.take(&shown(7, 1, &signer(1))).unwrap();
            let failure = memory.take(&other).unwrap_err();
            assert_eq!(failure.exit, Exit::Unverified, "{other}");
            assert!(memory.refused.exists(), "{other}");
            assert_eq!(memory.size().unwrap(), Some(7), "{other}");
        }
    }
}
