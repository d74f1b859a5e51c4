//! A log of thirty events with three checkpoints, and what can be done to it.

use super::*;
use crate::tree::tests::naive_root;
use alloc::string::{String, ToString};
use identity::{Ed25519Key, Signer};
use std::format;
use std::vec;
use zeroize::Zeroizing;

struct Log {
    entries: Vec<String>,
    recorded: Vec<Hash>,
    checkpoints: Vec<String>,
}

fn signer() -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap()
}

fn key() -> VerifierKey {
    VerifierKey::new("example.com/log", signer().public_key()).unwrap()
}

fn note(leaves: &[Hash]) -> String {
    let size = u64::try_from(leaves.len()).unwrap();
    Checkpoint::new("example.com/log", size, naive_root(leaves))
        .sign(&signer())
        .unwrap()
        .to_string()
}

fn log() -> Log {
    let entries: Vec<String> = (0..30).map(|i| format!("event {i}")).collect();
    let recorded: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect();
    let checkpoints = [10, 20, 28].map(|size| note(&recorded[..size])).to_vec();
    Log { entries, recorded, checkpoints }
}

impl Log {
    fn verify(&self) -> Result<Summary, Finding> {
        super::verify(&key(), &self.entries, self.recorded.iter().copied(), &self.checkpoints)
    }

    fn fault(&self) -> (u64, Fault) {
        let finding = self.verify().unwrap_err();
        (finding.event, finding.fault)
    }

    fn rehash(&mut self) {
        self.recorded = self.entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect();
    }
}

#[test]
fn an_untouched_log_is_in_order() {
    let summary = log().verify().unwrap();
    assert_eq!((summary.n_events, summary.n_checkpoints, summary.last.unwrap().size), (30, 3, 28));
}

#[test]
fn each_change_to_events_is_named_and_placed() {
    for at in 0..27 {
        let mut changed = log();
        changed.entries[at].push('!');
        let mut dropped = log();
        dropped.entries.drain(at..at + 1);
        let mut inserted = log();
        inserted.entries.insert(at, "false".into());
        let mut swapped = log();
        swapped.entries.swap(at, at + 1);
        let event = u64::try_from(at).unwrap();
        assert_eq!(changed.fault(), (event, Fault::Changed));
        let (place, fault) = dropped.fault();
        assert_eq!(place, event);
        // Just before a checkpoint the events after it are not seen, so that one is all that differs.
        assert!(matches!(fault, Fault::Dropped(1)) || [9, 19, 27].contains(&at), "{at}: {fault}");
        assert_eq!(inserted.fault().0, event);
        let is_at_edge = [9, 19].contains(&at);
        let (place, fault) = swapped.fault();
        assert_eq!(place, event);
        assert!(fault == Fault::Swapped(event + 1) || is_at_edge, "{at}: {fault}");
    }
}

#[test]
fn a_changed_hash_is_told_from_a_changed_event() {
    let mut log = log();
    log.recorded[13].0[5] ^= 1;
    assert_eq!(log.fault(), (13, Fault::HashChanged));
    assert_eq!(
        log.verify().unwrap_err().to_string(),
        "event `13`: the event is as it was signed, but its stored hash was changed"
    );
}

#[test]
fn rewritten_history_is_placed_between_two_checkpoints() {
    let mut log = log();
    log.entries[13] = "harmless".into();
    log.rehash();
    let finding = log.verify().unwrap_err();
    assert_eq!((finding.event, finding.until), (10, 20));
    assert!(matches!(finding.fault, Fault::Rewritten { size: 20, .. }));
}

#[test]
fn a_cut_log_is_named() {
    let mut log = log();
    log.entries.truncate(25);
    log.rehash();
    assert_eq!(log.fault(), (25, Fault::CutOff { signed: 28 }));
    log.entries.clear();
    assert_eq!(log.fault(), (0, Fault::CutOff { signed: 10 }));
}

#[test]
fn what_no_checkpoint_covers_is_compared_but_not_judged() {
    let mut log = log();
    log.entries[29].push('!');
    assert_eq!(log.fault(), (29, Fault::Unsigned));
    // Undetectable, as documented: unsigned events that are gone with their hashes.
    log.entries.truncate(28);
    assert!(log.verify().is_ok());
}

#[test]
fn bad_checkpoints_are_named() {
    let mut swapped = log();
    swapped.checkpoints.swap(0, 1);
    assert_eq!(swapped.fault(), (20, Fault::Order(10)));

    let mut changed = log();
    changed.checkpoints[1] = changed.checkpoints[1].replace("\n20\n", "\n21\n");
    assert_eq!(
        changed.fault(),
        (10, Fault::Checkpoint(NoteError::BadSignature("example.com/log".into())))
    );

    let mut forked = log();
    let other = note(&vec![Hash([0; 32]); 10]);
    forked.checkpoints.insert(1, other);
    assert!(matches!(forked.fault(), (10, Fault::Forked { size: 10, .. })));
}

#[test]
fn a_remembered_checkpoint_shows_fork_and_rollback() {
    let log = log();
    let check = |remembered: &str| {
        let mut verifier = Verifier::new(key());
        verifier.remember(remembered.as_bytes()).unwrap();
        let mut checkpoints = log.checkpoints.iter();
        for leaf in &log.recorded {
            hand_in_checkpoints(&mut verifier, &mut checkpoints)?;
            verifier.handle_leaf(*leaf, None)?;
        }
        verifier.finish()
    };
    assert!(check(&note(&log.recorded[..15])).is_ok());
    let longer = [&log.recorded[..], &[Hash([0; 32]); 5]].concat();
    assert_eq!(check(&note(&longer)).unwrap_err().fault, Fault::RolledBack(35));
    let mut other = log.recorded[..15].to_vec();
    other[3].0[0] ^= 1;
    assert!(matches!(
        check(&note(&other)).unwrap_err().fault,
        Fault::OtherHistory { size: 15, .. }
    ));
}

#[test]
fn whole_tiles_are_taken_only_where_no_checkpoint_lies_between() {
    let leaves = crate::tree::tests::leaves(768);
    let roots: Vec<Hash> = leaves.as_chunks::<256>().0.iter().map(crate::hash::tile_hash).collect();
    let mut verifier = Verifier::new(key());
    verifier.handle_checkpoint(note(&leaves[..300]).as_bytes()).unwrap();
    assert_eq!(verifier.handle_tile(roots[0]), Ok(true));
    assert_eq!(verifier.handle_tile(roots[1]), Ok(false));
    for leaf in &leaves[256..300] {
        verifier.handle_leaf(*leaf, None).unwrap();
    }
    assert!(verifier.wants_checkpoint());
    assert_eq!(verifier.handle_tile(roots[1]), Ok(false), "not at a tile's edge");
}
