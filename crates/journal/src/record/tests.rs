//! The record as a whole: appended, signed, read, closed, killed and opened again.

use super::*;
use std::fs;
use std::path::Path;

use identity::{Ed25519Key, Signer, Time};
use ledger::proof::{verify_consistency, verify_inclusion};
use ledger::{Actor, Checkpoint, Kind, Note, Tile, witness};
use zeroize::Zeroizing;

const SMALL: Options = Options { segment_bytes: 16_384, queue_events: 1000, tail_events: 50 };

fn signer(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([seed; 32])).unwrap()
}

fn key() -> VerifierKey {
    VerifierKey::new("example.com/log", signer(1).public_key()).unwrap()
}

fn open(dir: &Path) -> (Record, Recovery) {
    Record::open(dir, key(), SMALL).unwrap()
}

fn event(number: u64) -> Event {
    let at = Time::from_millis(i64::try_from(number).unwrap());
    let mut event = Event::new(at, Kind::known("device.added"), Actor::system("test"));
    event.outbox = if number.is_multiple_of(3) { Some(number) } else { None };
    event
}

fn fill(record: &Record, n_events: u64) {
    while record.n_events() < n_events {
        let from = record.n_events();
        let events = (from..n_events.min(from + 100)).map(event).collect();
        assert_eq!(record.append_and_wait(events).unwrap().start, from);
    }
}

fn sign(record: &Record) -> Checkpoint {
    let pending = record.pending_checkpoint().unwrap().unwrap();
    witness::consistent(pending.since.as_ref(), &pending.checkpoint, &pending.proof).unwrap();
    let note = pending.checkpoint.sign(&signer(1)).unwrap();
    record.store_checkpoint(note.to_string().as_bytes()).unwrap()
}

#[test]
fn events_are_read_by_number_and_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    fill(&record, 1000);
    for index in [0, 255, 256, 900, 949, 950, 999] {
        let entry = record.event(index).unwrap().unwrap();
        assert_eq!((entry.index, entry.event().unwrap()), (index, event(index)));
    }
    assert_eq!(record.event(1000).unwrap(), None);
    let numbers = |entries: Vec<Entry>| entries.iter().map(|entry| entry.index).collect::<Vec<_>>();
    assert_eq!(numbers(record.newest(None, 3).unwrap()), [999, 998, 997]);
    assert_eq!(numbers(record.newest(Some(952), 4).unwrap()), [951, 950, 949, 948]);
    assert_eq!(numbers(record.newest(Some(2), 10).unwrap()), [1, 0]);
    assert_eq!(numbers(record.newest(Some(0), 10).unwrap()), []);
    assert_eq!(numbers(record.range(940, 3).unwrap()), [940, 941, 942]);
    assert_eq!(numbers(record.range(2000, 3).unwrap()), []);
}

#[test]
fn checkpoints_continue_one_another_and_prove_events() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    assert!(record.pending_checkpoint().unwrap().is_none());
    fill(&record, 300);
    let first = sign(&record);
    assert!(record.pending_checkpoint().unwrap().is_none());
    fill(&record, 700);
    let second = sign(&record);
    let proof = record.consistency(300, 700).unwrap();
    assert_eq!(verify_consistency(300, 700, &first.root, &second.root, &proof), Ok(()));
    let (leaf, proof) = record.inclusion(123, 700).unwrap();
    assert_eq!(leaf, leaf_hash(&event(123).encode().unwrap()));
    assert_eq!(verify_inclusion(&leaf, 123, 700, &second.root, &proof), Ok(()));
    assert!(record.inclusion(123, 701).is_err());
    assert!(record.consistency(500, 300).is_err());
}

#[test]
fn checkpoints_that_are_not_of_this_record_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    fill(&record, 30);
    let store = |size, root, seed| {
        let note = Checkpoint::new("example.com/log", size, root).sign(&signer(seed)).unwrap();
        record.store_checkpoint(note.to_string().as_bytes())
    };
    let root = record.root(20).unwrap();
    assert!(matches!(store(20, root, 2), Err(RecordError::Note(_))));
    assert!(matches!(store(20, Hash([0; 32]), 1), Err(RecordError::Rewritten { .. })));
    assert!(matches!(store(31, root, 1), Err(RecordError::Outside(_))));
    assert!(store(20, root, 1).is_ok());
    assert!(store(20, root, 1).is_ok(), "the same again changes nothing");
    assert!(matches!(store(10, record.root(10).unwrap(), 1), Err(RecordError::Order { .. })));
}

#[test]
fn tiles_and_bundles_have_what_the_leaves_have() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    fill(&record, 600);
    sign(&record);
    let tile = |path: &str| record.tile(path.parse().unwrap()).unwrap();
    let leaf = |number| leaf_hash(&event(number).encode().unwrap());
    assert_eq!(tile("0/001").unwrap()[..32], leaf(256).0);
    assert_eq!(tile("0/002.p/88").unwrap()[87 * 32..], leaf(599).0);
    assert_eq!(tile("0/002.p/89"), None);
    assert_eq!(tile("0/002"), None);
    assert_eq!(tile("1/000.p/2").unwrap()[..32], record.root(256).unwrap().0);
    let bundle = record.entries(Tile::parse_entries("002.p/88").unwrap()).unwrap().unwrap();
    let entries = ledger::tile::split_entries(&bundle).unwrap();
    assert_eq!((entries.len(), entries[0]), (88, &event(512).encode().unwrap()[..]));
    assert_eq!(record.entries(Tile::parse_entries("002").unwrap()).unwrap(), None);
}

#[test]
fn a_reopened_record_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    fill(&record, 700);
    let signed = sign(&record);
    fill(&record, 1000);
    let root = record.root(1000).unwrap();
    record.close();

    let (record, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery { n_events: 1000, n_cut_bytes: 0, n_rehashed: 300 });
    assert_eq!(record.last_checkpoint(), Some(signed));
    assert_eq!(record.root(1000).unwrap(), root);
    assert_eq!(record.last_outbox(), Some(999));
    assert_eq!(record.newest(None, 1).unwrap()[0].event().unwrap(), event(999));
    fill(&record, 1300);
    sign(&record);
}

#[test]
fn the_outbox_number_survives_segments_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    assert_eq!(record.last_outbox(), None);
    fill(&record, 100);
    let mut plain = event(1);
    plain.details.insert("text".into(), "x".repeat(2000).as_str().into());
    for _ in 0..5 {
        record.append_and_wait(vec![plain.clone(); 20]).unwrap();
    }
    record.close();
    assert!(crate::writer::list(&dir.path().join("segments")).unwrap().len() > 3);
    assert_eq!(open(dir.path()).0.last_outbox(), Some(99));
}

#[test]
fn lost_hashes_are_made_again_but_only_to_the_signed_root() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    fill(&record, 600);
    sign(&record);
    record.close();
    fs::remove_file(dir.path().join("tiles/1")).unwrap();
    let (record, recovery) = open(dir.path());
    assert_eq!(recovery.n_rehashed, 600);
    record.close();

    // A root that was never that of these events: history or events were rewritten.
    let other = Checkpoint::new("example.com/log", 600, Hash([0; 32]))
        .sign(&signer(1))
        .unwrap()
        .to_string();
    fs::write(dir.path().join("checkpoints"), format!("#0\n{other}")).unwrap();
    fs::write(dir.path().join("checkpoint"), &other).unwrap();
    assert!(matches!(Record::open(dir.path(), key(), SMALL), Err(RecordError::Rewritten { .. })));
}

#[test]
fn signed_events_that_are_gone_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    fill(&record, 20);
    sign(&record);
    record.close();
    let segment = dir.path().join("segments/00000000000000000000.seg");
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, &bytes[..bytes.len() - 10]).unwrap();
    let Err(e) = Record::open(dir.path(), key(), SMALL) else { panic!() };
    assert!(e.to_string().starts_with("`20` events were signed, but only `19` are there"), "{e}");
}

#[test]
fn a_crash_at_any_moment_leaves_a_record_that_opens() {
    // What a crash may leave of the files written after the events: any of them older or cut.
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    fill(&record, 300);
    sign(&record);
    let old = fs::read(dir.path().join("checkpoint")).unwrap();
    let old_history = fs::read(dir.path().join("checkpoints")).unwrap();
    fill(&record, 530);
    sign(&record);
    record.close();
    let leaves = fs::read(dir.path().join("tiles/0")).unwrap();
    for n_leaves in [300, 301, 511, 512, 529, 530] {
        fs::write(dir.path().join("tiles/0"), &leaves[..n_leaves * 32]).unwrap();
        fs::write(dir.path().join("checkpoint"), &old).unwrap();
        fs::write(dir.path().join("checkpoints"), &old_history).unwrap();
        let (record, recovery) = open(dir.path());
        assert_eq!((recovery.n_events, recovery.n_rehashed), (530, 230));
        sign(&record);
    }
}

#[test]
fn a_second_process_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    assert!(matches!(Record::open(dir.path(), key(), SMALL), Err(RecordError::InUse(_))));
    record.close();
    open(dir.path());
}

#[test]
fn an_event_that_can_not_be_written_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    let mut bad = event(0);
    bad.decision = Some(vec![0; 33]);
    assert!(matches!(record.append_and_wait(vec![bad]), Err(AppendError::Event(_))));
    assert_eq!(record.append_and_wait(vec![event(0)]), Ok(0..1));
}

#[test]
fn cosignatures_are_kept_beside_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (record, _) = open(dir.path());
    fill(&record, 5);
    sign(&record);
    let witnesses = [2, 3].map(|seed| (signer(seed), format!("example.com/w{seed}")));
    for (witness, name) in &witnesses {
        let mut note = Note::parse(record.checkpoint_note().unwrap().as_bytes()).unwrap();
        note.signatures.push(note.cosign(name, Time::from_seconds(9), witness).unwrap());
        let key = VerifierKey::witness(name, witness.public_key()).unwrap();
        record.store_cosignature(note.to_string().as_bytes(), &key).unwrap();
        // A stranger's signature line is not taken along.
        assert!(
            record
                .store_cosignature(
                    note.to_string().as_bytes(),
                    &VerifierKey::witness("x", witness.public_key()).unwrap()
                )
                .is_err()
        );
    }
    let note = Note::parse(record.checkpoint_note().unwrap().as_bytes()).unwrap();
    assert_eq!(note.signatures.len(), 3);
    fill(&record, 6);
    sign(&record);
    assert_eq!(
        Note::parse(record.checkpoint_note().unwrap().as_bytes()).unwrap().signatures.len(),
        1
    );
    assert_eq!(record.cosigned_note().unwrap(), note);
}
