//! What a fuzz target calls, one function for each parser: any bytes give a value or an error, and
//! a value that is written out and read again is the same.

use alloc::string::ToString;

use crate::{Checkpoint, Event, Note, Tile, VerifierKey, tile};

/// Reads an event.
pub fn event(bytes: &[u8]) {
    let outbox = Event::outbox_of(bytes);
    let Ok(event) = Event::decode(bytes) else { return };
    // Bytes of a newer version lose what we do not know, and may be written in fewer bytes.
    if let Ok(again) = event.encode() {
        assert_eq!(Event::decode(&again).as_ref(), Ok(&event));
        assert_eq!(Event::outbox_of(&again), event.outbox);
    }
    assert!(outbox.is_none() || event.outbox.is_some());
}

/// Reads a note, and a checkpoint in it.
pub fn note(bytes: &[u8]) {
    let Ok(note) = Note::parse(bytes) else { return };
    assert_eq!(note.to_string().as_bytes(), bytes);
    if let Ok(checkpoint) = Checkpoint::parse(&note.text) {
        assert_eq!(checkpoint.text(), note.text);
    }
}

/// Reads a verifier key.
pub fn verifier_key(bytes: &[u8]) {
    let Some(key) = str::from_utf8(bytes).ok().and_then(|text| text.parse::<VerifierKey>().ok())
    else {
        return;
    };
    assert_eq!(key.to_string().as_bytes(), bytes);
}

/// Reads a tile's path, and a bundle of entries.
pub fn tile(bytes: &[u8]) {
    if let Some(tile) = str::from_utf8(bytes).ok().and_then(|text| text.parse::<Tile>().ok()) {
        assert_eq!(tile.to_string().as_bytes(), bytes);
    }
    let Some(entries) = tile::split_entries(bytes) else { return };
    let mut again = alloc::vec::Vec::new();
    assert!(entries.iter().all(|entry| tile::append_entry(&mut again, entry).is_ok()));
    assert_eq!(again, bytes);
}
