//! What a fuzz target calls, one function for each parser: any bytes give a value or an error in one
//! short line, and a value that is written out and read again is the same.

use alloc::string::ToString;
use alloc::vec::Vec;

use identity::fuzz::told;

use crate::proof::{self, ProofError};
use crate::{Checkpoint, Event, Hash, Note, Tile, VerifierKey, tile};

/// Reads an event.
pub fn event(bytes: &[u8]) {
    let outbox = Event::outbox_of(bytes);
    let event = match Event::decode(bytes) {
        Ok(event) => event,
        Err(error) => return told(&error),
    };
    // Bytes of a newer version lose what we do not know, and may be written in fewer bytes.
    if let Ok(again) = event.encode() {
        assert_eq!(Event::decode(&again).as_ref(), Ok(&event));
        assert_eq!(Event::outbox_of(&again), event.outbox);
    }
    assert!(outbox.is_none() || event.outbox.is_some());
}

/// Reads a note, and a checkpoint in it.
pub fn note(bytes: &[u8]) {
    let note = match Note::parse(bytes) {
        Ok(note) => note,
        Err(error) => return told(&error),
    };
    assert_eq!(note.to_string().as_bytes(), bytes);
    match Checkpoint::parse(&note.text) {
        Ok(checkpoint) => assert_eq!(checkpoint.text(), note.text),
        Err(error) => told(&error),
    }
}

/// Reads a verifier key.
pub fn verifier_key(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match text.parse::<VerifierKey>() {
        Ok(key) => assert_eq!(key.to_string(), text),
        Err(error) => told(&error),
    }
}

/// Reads a tile's path, and a bundle of entries.
pub fn tile(bytes: &[u8]) {
    if let Some(tile) = str::from_utf8(bytes).ok().and_then(|text| text.parse::<Tile>().ok()) {
        assert_eq!(tile.to_string().as_bytes(), bytes);
    }
    let Some(entries) = tile::split_entries(bytes) else { return };
    let mut again = Vec::new();
    assert!(entries.iter().all(|entry| tile::append_entry(&mut again, entry).is_ok()));
    assert_eq!(again, bytes);
}

/// Reads two sizes and hashes as proofs, of a tree of any size; and makes proofs of a small one.
pub fn proof(bytes: &[u8]) {
    let (numbers, hashes) = bytes.split_at(bytes.len().min(16));
    let Ok(numbers) = <[u8; 16]>::try_from(numbers) else { return };
    let [from, to] = [&numbers[..8], &numbers[8..]]
        .map(|part| part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
    let hashes: Vec<Hash> = hashes.as_chunks().0.iter().map(|hash| Hash(*hash)).collect();
    let hash = |at: usize| hashes.get(at).copied().unwrap_or_else(Hash::of_nothing);
    let rest = hashes.get(2..).unwrap_or_default();
    let results = [
        proof::verify_consistency(from, to, &hash(0), &hash(1), rest),
        proof::verify_inclusion(&hash(0), from, to, &hash(1), rest),
    ];
    results.iter().filter_map(|result| result.as_ref().err()).for_each(|error| told(error));
    let leaves = proof::Leaves(&hashes);
    match proof::consistency(from, to, &leaves) {
        Ok(made) => continues(from, to, &leaves, &made),
        Err(error) => told(&error),
    }
    match proof::inclusion(from, to, &leaves) {
        Ok(made) => {
            let (Ok(root), Some(leaf)) = (proof::root(to, &leaves), usize::try_from(from).ok())
            else {
                return;
            };
            assert_eq!(proof::verify_inclusion(&hash(leaf), from, to, &root, &made), Ok(()));
        }
        Err(error) => told(&error),
    }
}

/// A proof that was made verifies between the roots that it was made of, and from no other root.
fn continues(from: u64, to: u64, leaves: &proof::Leaves<'_>, made: &[Hash]) {
    let (Ok(first), Ok(second)) = (proof::root(from, leaves), proof::root(to, leaves)) else {
        return;
    };
    assert_eq!(proof::verify_consistency(from, to, &first, &second, made), Ok(()));
    let mut other = first;
    other.0[0] ^= 1;
    let forged = proof::verify_consistency(from, to, &other, &second, made);
    assert_eq!(forged, Err(ProofError::Mismatch));
}
