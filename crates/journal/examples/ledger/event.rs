//! The events that are written, and the key that signs checkpoints over them.

use std::path::Path;
use std::sync::Arc;

use identity::{Ed25519Key, Signer, Time};
use journal::{Options, Record};
use ledger::{Actor, ActorSort, Event, Kind, Subject, VerifierKey};
use zeroize::Zeroizing;

/// What a denied publish is.
pub(crate) fn numbered(number: u64) -> Event {
    let at = Time::from_millis(1_795_257_000_000 + i64::try_from(number).unwrap());
    let name = format!("pump-{}", number % 100_000);
    let actor = Actor { sort: ActorSort::Device, name: name.as_str().into() };
    let mut event = Event::new(at, Kind::known("access.denied"), actor);
    event.subject = Some(Subject { sort: Kind::known("device"), name: name.as_str().into() });
    event.decision = Some(number.to_be_bytes().repeat(2));
    event.details.insert("action".into(), "publish".into());
    event.details.insert("topic".into(), format!("plant-a/pump/{name}/telemetry").as_str().into());
    event
}

pub(crate) fn bytes(number: u64) -> Vec<u8> {
    numbered(number).encode().unwrap()
}

pub(crate) fn key() -> VerifierKey {
    VerifierKey::new("example.com/log", signer().public_key()).unwrap()
}

pub(crate) fn open(dir: &Path) -> Arc<Record> {
    Arc::new(Record::open(dir, key(), Options::default()).unwrap().0)
}

/// Has a checkpoint over what is new signed and stored.
pub(crate) fn sign(record: &Record) {
    if let Some(pending) = record.pending_checkpoint().unwrap() {
        let note = pending.checkpoint.sign(&signer()).unwrap().to_string();
        record.store_checkpoint(note.as_bytes()).unwrap();
    }
}

fn signer() -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap()
}
