//! A second pair of eyes: cosigns a log's checkpoints only while each continues the one before.
//!
//! The keeper of the state stores the new checkpoint durably before it lets the cosignature out;
//! else a witness that crashes could cosign two histories. The log's own signer asks the same
//! question with `consistent` before it signs, since it lives apart from the log's files.

use crate::Hash;
use alloc::boxed::Box;

use crate::checkpoint::Checkpoint;
use crate::note::{NoteError, VerifierKey};
use crate::proof::{ProofError, verify_consistency};

/// The witness of one log.
#[derive(Debug, Clone)]
pub struct Witness {
    log: VerifierKey,
    last: Option<Checkpoint>,
}

/// A checkpoint is not cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no checkpoint signed by the log.
    #[error("the checkpoint was not taken: {0}")]
    Note(#[from] NoteError),
    /// It is of another log than the last one.
    #[error("a checkpoint of `{found}` can't follow one of `{expected}`")]
    OtherLog {
        /// Whose it is.
        found: alloc::string::String,
        /// Whose was expected.
        expected: alloc::string::String,
    },
    /// The log has fewer events than before.
    #[error("the log was rolled back: it had `{}` events with root `{}`, now shows `{}` with root `{}`; keep both notes as evidence", .0.last.size, .0.last.root, .0.offered.size, .0.offered.root)]
    Rollback(Box<Both>),
    /// The log has two histories of one length.
    #[error("the log has forked: at `{}` events it had root `{}`, now shows root `{}`; keep both notes as evidence", .0.last.size, .0.last.root, .0.offered.root)]
    Fork(Box<Both>),
    /// It was not shown that the last checkpoint is the beginning of this one.
    #[error("`{}` events with root `{}` are not shown to continue `{}` with root `{}`: {}", .0.offered.size, .0.offered.root, .0.last.size, .0.last.root, .1)]
    Unproven(Box<Both>, ProofError),
}

/// The two checkpoints that do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Both {
    /// The last that was taken.
    pub last: Checkpoint,
    /// The one that was offered.
    pub offered: Checkpoint,
}

impl Witness {
    /// Starts to watch a log of which nothing was seen yet; the first checkpoint is taken on trust.
    pub fn new(log: VerifierKey) -> Self {
        Self { log, last: None }
    }

    /// Takes up the watch from the last checkpoint that was taken, which must be signed too.
    pub fn resume(log: VerifierKey, last: &[u8]) -> Result<Self, NoteError> {
        let last = Checkpoint::open(last, &log)?;
        Ok(Self { log, last: Some(last) })
    }

    /// Lends the last checkpoint that was taken.
    pub fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref()
    }

    /// Takes a checkpoint that continues the last one, or says why not; only what was taken may be cosigned.
    pub fn handle_checkpoint(
        &mut self,
        note: &[u8],
        proof: &[Hash],
    ) -> Result<Checkpoint, Refusal> {
        let offered = Checkpoint::open(note, &self.log)?;
        consistent(self.last.as_ref(), &offered, proof)?;
        self.last = Some(offered.clone());
        Ok(offered)
    }
}

/// Decides whether a checkpoint may follow the last one.
pub fn consistent(
    last: Option<&Checkpoint>,
    offered: &Checkpoint,
    proof: &[Hash],
) -> Result<(), Refusal> {
    let Some(last) = last else { return Ok(()) };
    if last.origin != offered.origin {
        return Err(Refusal::OtherLog {
            found: offered.origin.clone(),
            expected: last.origin.clone(),
        });
    }
    let both = || Box::new(Both { last: last.clone(), offered: offered.clone() });
    if offered.size < last.size {
        return Err(Refusal::Rollback(both()));
    }
    if offered.size == last.size && offered.root != last.root {
        return Err(Refusal::Fork(both()));
    }
    verify_consistency(last.size, offered.size, &last.root, &offered.root, proof)
        .map_err(|why| Refusal::Unproven(both(), why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Leaves, consistency};
    use crate::tree::tests::{leaves, naive_root};
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use identity::{Ed25519Key, Signer};
    use zeroize::Zeroizing;

    fn log() -> Ed25519Key {
        Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap()
    }

    fn note(leaves: &[Hash]) -> Vec<u8> {
        let size = u64::try_from(leaves.len()).unwrap();
        let checkpoint = Checkpoint::new("example.com/log", size, naive_root(leaves));
        checkpoint.sign(&log()).unwrap().to_string().into_bytes()
    }

    fn witness() -> Witness {
        let key = VerifierKey::new("example.com/log", log().public_key()).unwrap();
        let mut witness = Witness::new(key.clone());
        witness.handle_checkpoint(&note(&leaves(5)), &[]).unwrap();
        Witness::resume(key, &note(&leaves(5))).unwrap()
    }

    #[test]
    fn a_log_that_grows_is_cosigned() {
        let mut witness = witness();
        let proof = consistency(5, 9, &Leaves(&leaves(9))).unwrap();
        assert_eq!(witness.handle_checkpoint(&note(&leaves(9)), &proof).unwrap().size, 9);
        assert_eq!(witness.last().unwrap().size, 9);
        assert!(witness.handle_checkpoint(&note(&leaves(9)), &[]).is_ok(), "the same again");
    }

    #[test]
    fn a_rollback_is_named_with_both() {
        let refusal = witness().handle_checkpoint(&note(&leaves(4)), &[]).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Rollback(both) if (both.last.size, both.offered.size) == (5, 4))
        );
    }

    #[test]
    fn a_fork_is_named_with_both() {
        let mut other = leaves(5);
        other.swap(0, 1);
        let mut witness = witness();
        let refusal = witness.handle_checkpoint(&note(&other), &[]).unwrap_err();
        assert!(matches!(refusal, Refusal::Fork(_)));
        assert!(refusal.to_string().contains(&naive_root(&other).to_string()));
        assert!(refusal.to_string().contains(&naive_root(&leaves(5)).to_string()));

        // A longer fork comes with the proof of its own history, which does not fit ours.
        let mut other = leaves(9);
        other.swap(0, 1);
        let proof = consistency(5, 9, &Leaves(&other)).unwrap();
        let refusal = witness.handle_checkpoint(&note(&other), &proof).unwrap_err();
        assert!(matches!(refusal, Refusal::Unproven(..)));
        assert_eq!(
            witness.last().unwrap().root,
            naive_root(&leaves(5)),
            "what was refused is not remembered"
        );
    }

    #[test]
    fn a_checkpoint_of_another_key_or_log_is_refused() {
        let stranger = Ed25519Key::from_seed(&Zeroizing::new([2; 32])).unwrap();
        let checkpoint = Checkpoint::new("example.com/log", 6, naive_root(&leaves(6)));
        let note = checkpoint.sign(&stranger).unwrap().to_string();
        let refusal = witness().handle_checkpoint(note.as_bytes(), &[]).unwrap_err();
        assert_eq!(refusal, Refusal::Note(NoteError::Unsigned("example.com/log".into())));

        let other = Checkpoint::new("example.com/other", 6, naive_root(&leaves(6)));
        assert!(matches!(consistent(witness().last(), &other, &[]), Err(Refusal::OtherLog { .. })));
    }
}
