//! What a fuzz target calls, one function for each parser: any bytes give a value or an error in
//! one short line, and nothing that no trusted key signed is ever acted on.

use alloc::string::String;
use alloc::vec::Vec;

use identity::fuzz::told;
use identity::{Document, Ed25519Key, Signed, Signer as _, Time, Verified};
use minicbor::{Decode, Encode};

use crate::{Changes, Downlink, Namespace, Namespaces, PolicySet, Snapshot, Standing, Uplink};

/// Reads a message between control and a gateway, which has one encoding.
pub fn link(bytes: &[u8]) {
    match Uplink::decode(bytes) {
        Ok(message) => assert_eq!(message.encode(), bytes),
        Err(error) => told(&error),
    }
    match Downlink::decode(bytes) {
        Ok(message) => assert_eq!(message.encode(), bytes),
        Err(error) => told(&error),
    }
}

/// Reads lines as templates of namespaces, and the last one as a topic and a filter of them.
pub fn namespace(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (templates, topic) = text.rsplit_once('\n').unwrap_or((text, text));
    let names = ["first", "second", "third"];
    for template in templates.split('\n') {
        match Namespace::parse("fuzzed", template) {
            Ok(namespace) => bind(&namespace, topic),
            Err(error) => told(&error),
        }
    }
    let namespaces = match Namespaces::parse(names.into_iter().zip(templates.split('\n'))) {
        Ok(namespaces) => namespaces,
        Err(error) => return told(&error),
    };
    let n_owners = namespaces.iter().filter(|namespace| namespace.bind(topic).is_some()).count();
    assert!(n_owners <= 1, "two namespaces take one topic");
    assert_eq!(namespaces.resolve(topic).is_some(), n_owners == 1);
    if namespaces.resolve_filter(topic).is_some() {
        assert!(namespaces.is_reached_by(topic), "a filter of a namespace does not reach it");
    }
    let written = minicbor::to_vec(&namespaces).expect("writing to memory does not fail");
    assert_eq!(minicbor::decode::<Namespaces>(&written).ok(), Some(namespaces));
}

fn bind(namespace: &Namespace, topic: &str) {
    if let Some(binding) = namespace.bind(topic) {
        for (_, value) in binding.values() {
            assert!(!value.contains(['+', '#', '/', '\0']));
        }
        assert!(namespace.bind_filter(topic).is_some(), "a topic is no filter of its namespace");
    }
    let _ = namespace.bind_filter(topic);
}

/// Reads a signed document, and what stands in one.
pub fn document(bytes: &[u8]) {
    let key = Ed25519Key::from_seed(&[42; 32].into()).expect("any seed makes a key");
    unsigned::<Snapshot>(bytes, &key);
    unsigned::<Changes>(bytes, &key);
    if let Some(snapshot) = signed::<Snapshot>(bytes, &key) {
        let fingerprints: Vec<_> =
            snapshot.devices.iter().flat_map(|device| device.certificates.clone()).collect();
        let revoked = snapshot.revoked.clone();
        let standing = Standing::from_snapshot(snapshot);
        for fingerprint in fingerprints {
            let admitted = standing.admit(&fingerprint);
            assert!(admitted.is_err() || !revoked.contains(&fingerprint));
        }
    }
    if let Some(changes) = signed::<Changes>(bytes, &key) {
        let empty = Snapshot {
            sequence: changes.from,
            issued: Time::EPOCH,
            policy: PolicySet {
                version: 0,
                source: String::new(),
                namespaces: Namespaces::default(),
            },
            devices: Vec::new(),
            revoked: Vec::new(),
        };
        let Some(empty) = verified(&empty, &key) else { return };
        let to = changes.to;
        let mut standing = Standing::from_snapshot(empty);
        match standing.apply(changes) {
            Ok(_) => assert_eq!(standing.sequence(), to),
            Err(error) => told(&error),
        }
    }
}

/// What a stranger signed is not verified with a key that has signed nothing.
fn unsigned<T: Document>(bytes: &[u8], key: &Ed25519Key) {
    match Signed::<T>::parse(bytes) {
        Ok(signed) => {
            let keys = core::slice::from_ref(key.public_key());
            match signed.verify(keys, 1, Time::EPOCH) {
                Ok(_) => panic!("no key of ours signed it"),
                Err(error) => told(&error),
            }
        }
        Err(error) => told(&error),
    }
}

/// Reads a document as its signer does, and signs it.
fn signed<T>(bytes: &[u8], key: &Ed25519Key) -> Option<Verified<T>>
where
    T: Document + Encode<()> + for<'b> Decode<'b, ()> + PartialEq + core::fmt::Debug,
{
    let document: T = match minicbor::decode(bytes) {
        Ok(document) => document,
        Err(error) => {
            told(&error);
            return None;
        }
    };
    let verified = verified(&document, key)?;
    assert_eq!(*verified, document);
    Some(verified)
}

fn verified<T: Document>(document: &T, key: &Ed25519Key) -> Option<Verified<T>> {
    let bytes = Signed::sign(document, None, &[key]).expect("what was read can be written");
    let signed = Signed::<T>::parse(&bytes).expect("what we sign, we read");
    let keys = core::slice::from_ref(key.public_key());
    Some(signed.verify(keys, 1, Time::EPOCH).expect("what we sign, we believe"))
}
