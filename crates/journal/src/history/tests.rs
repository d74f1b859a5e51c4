//! The history of checkpoints, cut at every byte and out of step with the last one.

use super::*;
use identity::{Ed25519Key, Signer};
use ledger::Hash;
use zeroize::Zeroizing;

fn signer() -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap()
}

fn key() -> VerifierKey {
    VerifierKey::new("example.com/log", signer().public_key()).unwrap()
}

fn checkpoint(size: u64) -> (Checkpoint, Note) {
    let checkpoint = Checkpoint::new("example.com/log", size, Hash([7; 32]));
    let note = checkpoint.sign(&signer()).unwrap();
    (checkpoint, note)
}

fn filled(dir: &Path, sizes: &[u64]) -> Vec<u8> {
    let mut history = History::open(dir, &key()).unwrap();
    for size in sizes {
        let (checkpoint, note) = checkpoint(*size);
        history.push(checkpoint, note).unwrap();
    }
    fs::read(dir.join(HISTORY)).unwrap()
}

#[test]
fn notes_are_read_back_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = filled(dir.path(), &[1, 2, 30]);
    let notes: Vec<Vec<u8>> = Notes::new(&bytes[..]).collect::<Result<_, _>>().unwrap();
    assert_eq!(notes.concat(), bytes);
    let numbered: Vec<(u64, &[u8])> = notes.iter().map(|note| numbered(note).unwrap()).collect();
    let sizes: Vec<(u64, u64)> = numbered
        .iter()
        .map(|(number, note)| (*number, Checkpoint::open(note, &key()).unwrap().size))
        .collect();
    assert_eq!(sizes, [(0, 1), (1, 2), (2, 30)]);
    assert_eq!(History::open(dir.path(), &key()).unwrap().last().unwrap().size, 30);
}

#[test]
fn a_crash_while_the_last_was_stored_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let two = filled(dir.path(), &[1, 2]);
    let current = fs::read(dir.path().join(CURRENT)).unwrap();
    let three = filled(dir.path(), &[3]);
    assert_eq!(History::open(dir.path(), &key()).unwrap().n_notes, 3);
    for end in two.len()..=three.len() {
        fs::write(dir.path().join(HISTORY), &three[..end]).unwrap();
        fs::write(dir.path().join(CURRENT), &current).unwrap();
        let history = History::open(dir.path(), &key()).unwrap();
        let expected = if end == three.len() { 3 } else { 2 };
        assert_eq!(history.last().unwrap().size, expected, "cut at {end}");
        let whole = if end == three.len() { &three } else { &two };
        assert_eq!(&fs::read(dir.path().join(HISTORY)).unwrap(), whole);
        assert!(whole.ends_with(&fs::read(dir.path().join(CURRENT)).unwrap()));
    }
}

#[test]
fn a_history_cut_before_the_last_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = filled(dir.path(), &[1, 2, 3]);
    for end in 0..bytes.len() {
        fs::write(dir.path().join(HISTORY), &bytes[..end]).unwrap();
        assert!(
            matches!(History::open(dir.path(), &key()), Err(HistoryError::Cut(_))),
            "cut at {end}"
        );
        assert_eq!(fs::read(dir.path().join(HISTORY)).unwrap().len(), end, "nothing is changed");
    }
}

#[test]
fn a_bad_last_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = filled(dir.path(), &[1, 2]);
    let at = bytes.len() - 30;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    fs::write(dir.path().join(HISTORY), &bytes).unwrap();
    assert!(matches!(History::open(dir.path(), &key()), Err(HistoryError::Note { .. })));
}

#[test]
fn overlong_notes_are_read_in_bounded_pieces() {
    let bytes = vec![b'x'; 200_000];
    let pieces: Vec<Vec<u8>> = Notes::new(&bytes[..]).collect::<Result<_, _>>().unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= Note::MAX_BYTES));
    assert_eq!(Notes::new(&b""[..]).count(), 0);
}

#[test]
fn other_numbers_are_none() {
    for text in
        ["", "#", "#\n", "1\n", "#01\n", "#+1\n", "#-1\n", "#x\n", "#99999999999999999999\n"]
    {
        assert_eq!(numbered(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(numbered(b"#10\nrest"), Some((10, b"rest".as_slice())));
}
