//! Whole folders: in order, growing, torn, forked and rolled back. Damage is in `tests/mutations.rs`.

use super::*;
use std::fs;

use identity::{Ed25519Key, Signer, Time};
use ledger::{Actor, Event, Hash, Kind};
use zeroize::Zeroizing;

use crate::record::{Options as RecordOptions, Record};

fn signer() -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap()
}

fn key() -> VerifierKey {
    VerifierKey::new("example.com/log", signer().public_key()).unwrap()
}

fn open(dir: &Path) -> Record {
    let options = RecordOptions { segment_bytes: 16_384, ..RecordOptions::default() };
    Record::open(dir, key(), options).unwrap().0
}

fn event(number: u64) -> Event {
    let at = Time::from_millis(i64::try_from(number).unwrap());
    Event::new(at, Kind::known("device.added"), Actor::system("test"))
}

fn fill(record: &Record, n_events: u64) {
    record.append_and_wait((record.n_events()..n_events).map(event).collect()).unwrap();
}

fn sign(record: &Record) -> String {
    let pending = record.pending_checkpoint().unwrap().unwrap();
    let note = pending.checkpoint.sign(&signer()).unwrap().to_string();
    record.store_checkpoint(note.as_bytes()).unwrap();
    note
}

fn note(size: u64, root: Hash) -> Vec<u8> {
    Checkpoint::new("example.com/log", size, root).sign(&signer()).unwrap().to_string().into_bytes()
}

fn check(dir: &Path, remembered: &[Vec<u8>]) -> Result<Summary, VerifyError> {
    verify(dir, &key(), &Options { remembered: remembered.to_vec(), threads: 2 })
}

fn fault(dir: &Path, remembered: &[Vec<u8>]) -> (u64, Fault) {
    let Err(VerifyError::Bad(finding)) = check(dir, remembered) else { panic!() };
    (finding.event, finding.fault)
}

#[test]
fn a_record_is_in_order_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let record = open(dir.path());
    assert_eq!(check(dir.path(), &[]).unwrap().n_events, 0);
    for n_events in [5, 255, 256, 300, 513, 2000] {
        fill(&record, n_events);
        let unsigned = check(dir.path(), &[]).unwrap();
        assert_eq!(unsigned.n_events, n_events);
        sign(&record);
        let summary = check(dir.path(), &[]).unwrap();
        assert_eq!(summary.last.unwrap().size, n_events);
        assert_eq!(summary.n_checkpoints, unsigned.n_checkpoints + 1);
    }
}

#[test]
fn a_record_of_another_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let record = open(dir.path());
    fill(&record, 5);
    sign(&record);
    let stranger = Ed25519Key::from_seed(&Zeroizing::new([2; 32])).unwrap();
    let stranger = VerifierKey::new("example.com/log", stranger.public_key()).unwrap();
    let Err(e) = verify(dir.path(), &stranger, &Options::default()) else { panic!() };
    assert_eq!(
        e.to_string(),
        "event `0` in `checkpoints`: the checkpoint that should follow is bad: `example.com/log` has not signed this note"
    );
}

#[test]
fn a_torn_write_behind_the_last_checkpoint_is_told_but_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let record = open(dir.path());
    fill(&record, 5);
    sign(&record);
    fill(&record, 7);
    record.close();
    let path = dir.path().join("segments/00000000000000000000.seg");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let summary = check(dir.path(), &[]).unwrap();
    assert_eq!(summary.n_events, 6);
    assert!(summary.n_torn_bytes > 0);

    // The same of a checkpoint that was being stored.
    let mut history = fs::read(dir.path().join("checkpoints")).unwrap();
    history.extend(b"#1\nexample.com/l");
    fs::write(dir.path().join("checkpoints"), &history).unwrap();
    assert_eq!(check(dir.path(), &[]).unwrap().n_checkpoints, 1);
}

#[test]
fn a_remembered_checkpoint_names_a_rollback_which_nothing_else_shows() {
    let dir = tempfile::tempdir().unwrap();
    let record = open(dir.path());
    fill(&record, 300);
    sign(&record);
    let names =
        ["checkpoint", "checkpoints", "tiles/0", "tiles/1", "segments/00000000000000000000.seg"];
    let saved: Vec<_> = names.map(|name| (name, fs::read(dir.path().join(name)).unwrap())).to_vec();
    fill(&record, 350);
    let remembered = sign(&record).into_bytes();
    record.close();
    assert!(check(dir.path(), std::slice::from_ref(&remembered)).is_ok());

    for entry in fs::read_dir(dir.path().join("segments")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    saved.iter().for_each(|(name, bytes)| fs::write(dir.path().join(name), bytes).unwrap());
    assert!(check(dir.path(), &[]).is_ok(), "undetectable from this copy alone, as documented");
    let (place, fault) = fault(dir.path(), &[remembered]);
    assert_eq!((place, fault), (300, Fault::Ledger(ledger::verify::Fault::RolledBack(350))));
}

#[test]
fn a_remembered_checkpoint_names_a_fork() {
    let dir = tempfile::tempdir().unwrap();
    let record = open(dir.path());
    fill(&record, 300);
    sign(&record);
    let same = note(200, record.root(200).unwrap());
    assert!(check(dir.path(), std::slice::from_ref(&same)).is_ok());
    let (_, fault) =
        fault(dir.path(), &[note(200, Hash([0; 32])), note(100, record.root(100).unwrap())]);
    assert!(matches!(fault, Fault::Ledger(ledger::verify::Fault::OtherHistory { size: 200, .. })));
    let foreign = check(dir.path(), &[b"no note".to_vec()]);
    assert!(matches!(foreign, Err(VerifyError::Remembered(_))));
}

#[test]
fn a_folder_without_a_record_is_an_error_and_no_finding() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(check(dir.path(), &[]), Err(VerifyError::Io { .. })));
}
