//! What a fuzz target calls, one function for each parser: any bytes give a value or an error.

use crate::frame::{self, HEADER_BYTES};
use crate::history::{Notes, last_note, numbered};
use crate::survey::{Ending, survey};

/// Walks a segment from its header on; what is called good must be good again when cut there.
pub fn segment(bytes: &[u8]) {
    let end = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let _ = frame::parse_tail(bytes, end);
    let mut n_events = 0;
    let Ok(found) = survey(bytes, |_, _, _| n_events += 1) else { return };
    assert!(found.good_bytes >= HEADER_BYTES && found.good_bytes <= bytes.len());
    assert_eq!(found.end - found.header.first, n_events);
    let Some(good) = bytes.get(..found.good_bytes) else { return };
    if let (Ok(again), Ending::Torn(_)) = (survey(good, |_, _, _| {}), &found.ending) {
        assert_eq!((again.end, again.ending), (found.end, Ending::Open));
    }
}

/// Reads frames after the first byte, which says what stands before them.
pub fn frames(bytes: &[u8]) {
    let Some((index, bytes)) = bytes.split_first() else { return };
    let _ = frame::parse(bytes, u64::from(*index), u64::from(*index));
}

/// Reads a history of checkpoints from both ends.
pub fn history(bytes: &[u8]) {
    let (last, n_behind) = last_note(bytes, true);
    assert!(n_behind <= bytes.len());
    assert!(last.is_none_or(|(_, note)| note.len() <= bytes.len()));
    let pieces: Vec<Vec<u8>> = Notes::new(bytes).map_while(Result::ok).collect();
    assert_eq!(pieces.concat(), bytes);
    for piece in &pieces {
        let _ = numbered(piece);
    }
}
