//! Checkpoints in two steps, since the key is in another process; and what witnesses add.

use std::fs;
use std::io;

use ledger::{Checkpoint, Hash, Note, VerifierKey, proof};

use super::{Record, RecordError};
use crate::disk;

/// What is to be signed next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What the record is now.
    pub checkpoint: Checkpoint,
    /// The last signed checkpoint.
    pub since: Option<Checkpoint>,
    /// That the one is the beginning of the other.
    pub proof: Vec<Hash>,
}

impl Record {
    /// Says what is to be signed next; none if nothing is new.
    pub fn pending_checkpoint(&self) -> Result<Option<Pending>, RecordError> {
        let since = self.last_checkpoint();
        let state = self.state();
        let size = state.tree.size();
        let signed = since.as_ref().map_or(0, |since| since.size);
        if size == signed {
            return Ok(None);
        }
        let checkpoint = Checkpoint::new(self.key.name(), size, state.tree.root());
        let proof = proof::consistency(signed, size, &state.levels)
            .map_err(|e| RecordError::Hashes(e.to_string()))?;
        Ok(Some(Pending { checkpoint, since, proof }))
    }

    /// Stores a checkpoint that the log's key has signed, once the hashes below it are durable.
    pub fn store_checkpoint(&self, note: &[u8]) -> Result<Checkpoint, RecordError> {
        let mut note = Note::parse(note)?;
        let checkpoint = Checkpoint::of_note(&note, &self.key)?;
        self.check_root(&checkpoint)?;
        let mut history = self.history();
        if let Some(last) = history.last() {
            if last.size == checkpoint.size {
                return Ok(checkpoint);
            }
            if last.size > checkpoint.size {
                return Err(RecordError::Order { found: checkpoint.size, last: last.size });
            }
        }
        let unsynced = {
            let mut state = self.state();
            state.levels.store().map_err(|e| RecordError::Hashes(e.to_string()))?;
            state.levels.take_unsynced()
        };
        if let Err(e) = unsynced.iter().try_for_each(|file| file.sync_data()) {
            history.give_up();
            return Err(RecordError::Hashes(e.to_string()));
        }
        // One signature line each: what others added is no part of the history.
        let is_ours = |signature: &ledger::Signature| signature.key_id == self.key.id();
        note.signatures.retain(is_ours);
        note.signatures.truncate(1);
        history.push(checkpoint.clone(), note)?;
        Ok(checkpoint)
    }

    /// Gives the last signed checkpoint.
    pub fn last_checkpoint(&self) -> Option<Checkpoint> {
        self.history().last().cloned()
    }

    /// Gives the last signed checkpoint together with its note, without cosignatures.
    pub fn signed(&self) -> Option<(Checkpoint, String)> {
        let history = self.history();
        Some((history.last()?.clone(), history.last_note()?.to_string()))
    }

    /// Gives the last signed checkpoint as a note, with the cosignatures it has by now.
    pub fn checkpoint_note(&self) -> Option<String> {
        let note = self.history().last_note()?.clone();
        let cosigned = self.cosigned_note().filter(|cosigned| cosigned.text == note.text);
        Some(cosigned.unwrap_or(note).to_string())
    }

    /// Gives the last checkpoint that a witness has cosigned.
    pub fn cosigned_note(&self) -> Option<Note> {
        let bytes = fs::read(self.dir.join(COSIGNED)).ok()?;
        Note::parse(&bytes).ok()
    }

    /// Stores a witness's cosignature of one of our checkpoints, unless a newer one is cosigned.
    pub fn store_cosignature(
        &self,
        note: &[u8],
        witness: &VerifierKey,
    ) -> Result<Checkpoint, RecordError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::of_note(&note, &self.key)?;
        note.cosigned_at(witness)?;
        self.check_root(&checkpoint)?;
        // Held so that two cosignatures at once do not lose one another.
        let _history = self.history();
        let ours = |signature: &ledger::Signature| signature.key_id == self.key.id();
        let theirs = |signature: &ledger::Signature| {
            signature.key_id == witness.id() && signature.name == witness.name()
        };
        let mut kept = match self.cosigned_note() {
            Some(kept) if kept.text == note.text => kept,
            Some(kept)
                if Checkpoint::of_note(&kept, &self.key)
                    .is_ok_and(|kept| kept.size > checkpoint.size) =>
            {
                return Ok(checkpoint);
            }
            _ => Note {
                text: note.text.clone(),
                signatures: note.signatures.iter().filter(|s| ours(s)).cloned().collect(),
            },
        };
        kept.signatures.retain(|signature| !theirs(signature));
        kept.signatures.extend(note.signatures.into_iter().filter(theirs));
        let path = self.dir.join(COSIGNED);
        let replaced: io::Result<()> = disk::replace(&path, kept.to_string().as_bytes());
        replaced.map_err(|source| RecordError::Io { path, source })?;
        Ok(checkpoint)
    }

    /// Checks that a checkpoint is one of these events.
    fn check_root(&self, checkpoint: &Checkpoint) -> Result<(), RecordError> {
        let found = self.root(checkpoint.size)?;
        if found == checkpoint.root {
            return Ok(());
        }
        Err(RecordError::Rewritten { size: checkpoint.size, found, signed: checkpoint.root })
    }
}

const COSIGNED: &str = "cosigned";
