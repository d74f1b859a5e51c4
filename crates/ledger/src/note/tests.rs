//! Notes against vectors made with Python's hashlib and cryptography, and against changes.

use super::*;
use crate::Checkpoint;
use identity::Ed25519Key;
use proptest::prelude::*;
use zeroize::Zeroizing;

const NOTE: &str = include_str!("../../tests/vectors/checkpoint.note");
const LOG: &str = include_str!("../../tests/vectors/log.vkey");
const WITNESS: &str = include_str!("../../tests/vectors/witness.vkey");

fn signer(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([seed; 32])).unwrap()
}

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

#[test]
fn a_note_made_elsewhere_verifies() {
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(&key(LOG)), Ok(()));
    assert_eq!(note.cosigned_at(&key(WITNESS)), Ok(Time::from_seconds(1_795_257_000)));
    assert_eq!(Checkpoint::open(NOTE.as_bytes(), &key(LOG)).unwrap().size, 3);
    assert_eq!(note.to_string(), NOTE);
}

#[test]
fn our_notes_are_those_made_elsewhere() {
    let expected = Note::parse(NOTE.as_bytes()).unwrap();
    let mut note = Checkpoint::parse(&expected.text).unwrap().sign(&signer(1)).unwrap();
    note.signatures.push(
        note.cosign("example.com/w1", Time::from_seconds(1_795_257_000), &signer(2)).unwrap(),
    );
    assert_eq!(note.to_string(), NOTE);
}

#[test]
fn verifier_keys_are_those_made_elsewhere() {
    assert_eq!(
        VerifierKey::new("example.com/log", signer(1).public_key()).unwrap().to_string(),
        LOG
    );
    assert_eq!(
        VerifierKey::witness("example.com/w1", signer(2).public_key()).unwrap().to_string(),
        WITNESS
    );
    // The key of Go's checksum database, as every Go toolchain carries it.
    let go = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    assert_eq!(key(go).to_string(), go);
}

#[test]
fn the_specifications_note_is_read() {
    let text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n";
    let line = "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=";
    let note = Note::parse(format!("{text}\n{line}\n").as_bytes()).unwrap();
    assert_eq!(note.text, text);
    assert_eq!(note.signatures[0].key_id, [0x36, 0x7b, 0xa0, 0x4b]);
}

#[test]
fn a_witness_does_not_pass_for_the_log() {
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    let log_as_witness = VerifierKey::witness("example.com/log", signer(1).public_key()).unwrap();
    assert_eq!(
        note.cosigned_at(&log_as_witness),
        Err(NoteError::Unsigned("example.com/log".into()))
    );
    assert_eq!(note.verify(&key(WITNESS)), Err(NoteError::Purpose("example.com/w1".into())));
    assert_eq!(note.cosigned_at(&key(LOG)), Err(NoteError::Purpose("example.com/log".into())));
    let stranger = VerifierKey::new("example.com/log", signer(9).public_key()).unwrap();
    assert_eq!(note.verify(&stranger), Err(NoteError::Unsigned("example.com/log".into())));
}

#[test]
fn signatures_of_strangers_are_passed_over_but_a_bad_one_of_the_log_is_not() {
    let mut note = Note::parse(NOTE.as_bytes()).unwrap();
    note.signatures.insert(0, Signature { name: "x".into(), key_id: [0; 4], bytes: [1].into() });
    assert_eq!(note.verify(&key(LOG)), Ok(()));
    let mut second = note.signatures[1].clone();
    second.bytes[0] ^= 1;
    note.signatures.push(second);
    assert_eq!(note.verify(&key(LOG)), Err(NoteError::BadSignature("example.com/log".into())));
}

#[test]
fn every_changed_byte_is_noticed() {
    // The witness's line is no business of the log's key, and the other way round.
    for at in 0..NOTE.len() {
        for bit in [0, 3, 7] {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let Ok(note) = Note::parse(&bytes) else { continue };
            let both = note.verify(&key(LOG)).is_ok() && note.cosigned_at(&key(WITNESS)).is_ok();
            assert!(!both, "byte {at}, bit {bit}");
        }
    }
    for end in 0..NOTE.len() {
        let cut =
            Note::parse(&NOTE.as_bytes()[..end]).and_then(|note| note.cosigned_at(&key(WITNESS)));
        assert!(cut.is_err(), "cut at {end}");
    }
}

#[test]
fn other_keys_and_names_are_refused() {
    for text in [
        "",
        "a",
        "a+b",
        "a+00000000+AAAA",
        "example.com/log+00000000+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "a b+00000000+AQ==",
        "+00000000+AQ==",
    ] {
        assert!(text.parse::<VerifierKey>().is_err(), "{text}");
    }
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", "a\u{e}b", "a\u{7f}b", "a\u{9b}b"] {
        assert_eq!(
            VerifierKey::new(name, signer(1).public_key()),
            Err(NoteError::Name(name.into()))
        );
    }
    let told = NoteError::Name("a\u{1b}[2J".repeat(1000)).to_string();
    assert!(told.starts_with("`a\\u{1b}[2Ja") && told.len() < 1000, "{told}");
    assert!(Note::sign("no newline".into(), "a", &signer(1)).is_err());
    assert!(Note::sign("a\tb\n".into(), "a", &signer(1)).is_err());
    assert_eq!(Note::parse(&[b'a'; 65_537]), Err(NoteError::TooLong(65_537)));
}

proptest! {
    #[test]
    fn any_bytes_are_a_note_or_an_error(text in "[a—\\n b=]{0,60}") {
        if let Ok(note) = Note::parse(text.as_bytes()) {
            prop_assert_eq!(note.to_string(), text);
        }
    }
}
