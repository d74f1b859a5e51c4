//! What a fuzz target asks custody: control reads strangers' bytes and may be taken over by them,
//! so whatever it sends, custody answers, and certifies nothing that it must not.

use std::sync::{Mutex, PoisonError};

use identity::chain::{Anchor, Chain, Usage};
use identity::{Document, Signed, key::pure};
use journal::vault::SystemRandom;

use super::*;

/// The moment at which all is asked: 2027-01-15T08:00:00Z.
const NOW: i64 = 1_800_000_000;

/// Sends the bytes over the link, as one message and as a stream of them.
pub fn ask(bytes: &[u8]) {
    let mut stream = bytes;
    while let Ok(Some(asked)) = protocol::read::<Ask>(&mut stream) {
        let _ = asked;
    }
    let asked: Ask = match minicbor::decode(bytes) {
        Ok(ask) => ask,
        Err(error) => return told(&format!("the question is malformed: {error}")),
    };
    let written = minicbor::to_vec(&asked).expect("writing to memory does not fail");
    let again: Ask = minicbor::decode(&written).expect("what is written is read");
    let twice = minicbor::to_vec(&again).expect("writing to memory does not fail");
    assert_eq!(written, twice);
    with_custodian(|custodian| {
        let authorities = custodian.authorities().clone();
        match custodian.answer(again, Time::from_seconds(NOW)) {
            Answer::Refused(why) => told(&why),
            answer => check(&asked, &answer, &authorities),
        }
    });
}

/// What is answered is what was asked for, and nothing more.
fn check(ask: &Ask, answer: &Answer, authorities: &Authorities) {
    match (ask, answer) {
        (Ask::Issue(intent), Answer::Bytes(der)) => certified(intent, der, authorities),
        (Ask::Snapshot(_), Answer::Bytes(signed)) => verified::<Snapshot>(signed, authorities),
        (Ask::Changes(_), Answer::Bytes(signed)) => verified::<Changes>(signed, authorities),
        (Ask::Describe, Answer::Authorities(_)) | (Ask::Signed, Answer::Size(_)) => (),
        (ask, answer) => panic!("{answer:?} answers {ask:?}"),
    }
}

fn certified(intent: &Intent, der: &[u8], authorities: &Authorities) {
    let usage = match intent.holder {
        Holder::Device(_) => Usage::Client,
        Holder::Server(_) => Usage::Server,
        Holder::Authority { .. } | Holder::Stranger => panic!("{:?} certified", intent.holder),
    };
    let anchor = Anchor::trust(&authorities.issuing).expect("our own authority");
    let chain = Chain::parse([der]).expect("what we issue, we read");
    let leaf = chain.leaf();
    assert_eq!((leaf.holder(), leaf.serial()), (&intent.holder, intent.serial));
    assert_eq!(
        (leaf.key(), leaf.subject()),
        (&intent.key, format!("CN={}", intent.common_name).as_str())
    );
    assert_eq!(leaf.not_before(), intent.not_before.whole_seconds());
    assert_eq!(leaf.not_after(), intent.not_after.whole_seconds());
    let at = leaf.not_before();
    chain.verify(&[anchor], |_| false, usage, at, pure::ALL).expect("what we issue, we believe");
    if let Holder::Server(names) = leaf.holder() {
        let plain = |name: &identity::certificate::ServerName| {
            name.to_string().parse().as_ref() == Ok(name)
        };
        assert!(names.iter().all(plain), "{names:?}");
    }
}

fn verified<T: Document>(signed: &[u8], authorities: &Authorities) {
    let keys = std::slice::from_ref(&authorities.standing);
    let signed = Signed::<T>::parse(signed).expect("what we sign, we read");
    signed.verify(keys, 1, Time::from_seconds(NOW)).expect("what we sign, we believe");
}

fn told(why: &str) {
    assert!(why.len() <= 500 && !why.chars().any(char::is_control), "{why:?}");
}

/// Lends a custodian with keys of its own. It has no folder to keep a checkpoint in, so it never
/// gives one away, and every input meets the same one.
fn with_custodian(work: impl FnOnce(&mut Custodian)) {
    static CUSTODIAN: Mutex<Option<Custodian>> = Mutex::new(None);
    let mut place = CUSTODIAN.lock().unwrap_or_else(PoisonError::into_inner);
    let custodian = place.get_or_insert_with(|| made().expect("a folder to make keys in"));
    work(custodian);
    assert!(custodian.signed.is_none(), "a checkpoint was given away and not kept");
}

fn made() -> Result<Custodian, CustodyError> {
    let folder = std::env::temp_dir().join(format!("palisade-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let secret = Zeroizing::new([7; 32]);
    create(&folder, &secret, Time::from_seconds(NOW), &SystemRandom::new())?;
    let custodian = Custodian::open(&folder, &SealingKey::new(&secret))?;
    fs::remove_dir_all(&folder)?;
    Ok(custodian)
}
