//! What a fuzz target calls, one function for each parser: any bytes give a value or an error.

use std::io::BufReader;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};

use crate::backup::Reader;
use crate::backup::header::Header;
use crate::backup::piece::{self, Piece};
use crate::frame::{self, HEADER_BYTES};
use crate::history::{Notes, last_note, numbered};
use crate::survey::{Ending, survey};
use crate::vault::file::Content;

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

/// Reads a backup's first lines, an open piece, and a backup of pieces that were sealed well.
pub fn backup(bytes: &[u8]) {
    let mut rest = bytes;
    if let Ok(header) = Header::read(&mut rest) {
        let text = header.to_text();
        assert_eq!(Some(text.as_bytes()), bytes.get(..bytes.len() - rest.len()));
    }
    if let Some(piece) = Piece::parse(bytes) {
        let mut again = Vec::new();
        piece.write(&mut again);
        assert_eq!(again, bytes);
    }
    backup_of_pieces(bytes);
}

/// Takes each byte for the length of a piece that follows it, seals those and reads them back.
fn backup_of_pieces(mut bytes: &[u8]) {
    let key = || UnboundKey::new(&AES_256_GCM, &[7; 32]).map(LessSafeKey::new);
    let (Ok(sealing), Ok(opening)) = (key(), key()) else { return };
    let mut file = Vec::new();
    for number in 0.. {
        let Some((length, rest)) = bytes.split_first() else { break };
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let mut piece = piece.to_vec();
        if piece::seal(&sealing, number, &mut piece).is_none() {
            return;
        }
        file.extend(u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes());
        file.extend(piece);
        bytes = rest;
    }
    let n_bytes = u64::try_from(file.len()).unwrap_or(u64::MAX);
    let mut reader = Reader::with_key(BufReader::new(file.as_slice()), opening, 0);
    while let Ok(Some(_)) = reader.next_part() {
        while let Ok(Some(data)) = reader.data() {
            assert!(!data.is_empty());
        }
    }
    assert!(reader.n_bytes() <= n_bytes);
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

/// Reads a master key's file, without unlocking it; what is written of it reads as the same again.
pub fn key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(content) = Content::parse(text) else { return };
    let written = content.to_text();
    let again = Content::parse(&written).expect("what we write, we read");
    assert_eq!(*again.to_text(), *written);
}
