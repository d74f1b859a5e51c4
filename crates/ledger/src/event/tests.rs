//! The wire form of events, byte for byte, and what is refused.

use super::*;
use crate::field::{KeyId, SubjectKey};
use proptest::prelude::*;
use std::format;
use zeroize::Zeroizing;

fn revoked() -> Event {
    let mut event = Event::new(
        Time::from_millis(1_795_257_000_042),
        Kind::known("device.revoked"),
        Actor { sort: ActorSort::Operator, name: Field::Plain("ada".into()) },
    );
    event.subject = Some(Subject { sort: Kind::known("device"), name: "pump-7".into() });
    event.decision = Some(std::vec![1, 2, 3, 4]);
    event.details.insert("reason".into(), "stolen".into());
    event.details.insert(
        "peer".into(),
        Field::Sealed { key: KeyId([5; 16]), nonce: [6; 24], ciphertext: std::vec![7; 17] },
    );
    event.outbox = Some(300);
    event
}

#[test]
fn wire_form_is_stable() {
    // Written out by hand from RFC 8949.
    let golden = [
        "a8",
        "00",
        "1b000001a1fda7e06a",
        "01",
        "6e",
        "6465766963652e7265766f6b6564",
        "02",
        "82",
        "00",
        "63616461",
        "03",
        "82",
        "66646576696365",
        "6670756d702d37",
        "04",
        "4401020304",
        "05",
        "01",
        "06",
        "a2",
        "6470656572",
        "83",
        "50",
        &"05".repeat(16),
        "5818",
        &"06".repeat(24),
        "51",
        &"07".repeat(17),
        "66726561736f6e",
        "6673746f6c656e",
        "07",
        "19012c",
    ]
    .concat();
    assert_eq!(hex(&revoked().encode().unwrap()), golden);
    assert_eq!(Event::decode(&unhex(&golden)).unwrap(), revoked());
}

#[test]
fn the_smallest_event_leaves_out_what_is_absent() {
    let event = Event::new(Time::EPOCH, Kind::known("system.started"), Actor::system("control"));
    let golden = "a50000016e73797374656d2e7374617274656402820267636f6e74726f6c050106a0";
    assert_eq!(hex(&event.encode().unwrap()), golden);
    assert_eq!(Event::decode(&unhex(golden)).unwrap(), event);
}

#[test]
fn the_outbox_number_is_read_alone() {
    assert_eq!(Event::outbox_of(&revoked().encode().unwrap()), Some(300));
    let event = Event::new(Time::EPOCH, Kind::known("system.started"), Actor::system("control"));
    assert_eq!(Event::outbox_of(&event.encode().unwrap()), None);
    assert_eq!(Event::outbox_of(b"\xbfnot an event"), None);
}

#[test]
fn keys_of_newer_versions_are_passed_over() {
    let newer = "a60000016e73797374656d2e7374617274656402820267636f6e74726f6c050106a01863f6";
    assert!(Event::decode(&unhex(newer)).is_ok());
}

#[test]
fn what_is_too_long_or_misnamed_is_refused() {
    let mut event = revoked();
    event.actor.name = Field::Plain("a".repeat(4097));
    assert_eq!(event.encode(), Err(EventError::LongText("actor".into())));

    let mut event = revoked();
    event.decision = Some(std::vec![0; 33]);
    assert_eq!(event.encode(), Err(EventError::LongDecision(33)));

    let mut event = revoked();
    event.details.insert("two words".into(), "x".into());
    assert_eq!(event.encode(), Err(EventError::DetailName("two words".into())));

    let mut event = revoked();
    event.details.extend((0..5).map(|i| (format!("d{i}"), Field::plain("x".repeat(4096)))));
    assert!(matches!(event.encode(), Err(EventError::LongEvent(_))));
}

#[test]
fn bytes_that_are_no_event_are_refused() {
    let bytes = revoked().encode().unwrap();
    for end in 0..bytes.len() {
        assert!(Event::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(Event::decode(&[&bytes[..], &[0]].concat()).is_err());
    // Details out of order, twice the same, or claimed to be very many.
    for details in
        ["a2616261786161617a", "a2616161786161617a", "bb00000000ffffffff6161617a", "bf6161617aff"]
    {
        let text =
            format!("a50000016e73797374656d2e7374617274656402820267636f6e74726f6c050106{details}");
        assert!(Event::decode(&unhex(&text)).is_err(), "{details}");
    }
}

proptest! {
    #[test]
    fn any_event_round_trips(
        at in 0..253_402_300_799_999_i64,
        name in ".{0,40}",
        count in any::<u64>(),
        details in proptest::collection::btree_map("[a-z]{1,8}", ".{0,40}", 0..8),
        is_sealed in any::<bool>(),
    ) {
        let key = SubjectKey::new(KeyId([1; 16]), Zeroizing::new([2; 32]));
        let field = |name: &str, text: &str| {
            if is_sealed { Field::seal(name, text, &key, [3; 24]) } else { Field::plain(text) }
        };
        let actor = Actor { sort: ActorSort::Token, name: field("actor", &name) };
        let mut event = Event::new(Time::from_millis(at), Kind::known("access.denied"), actor);
        event.count = count;
        event.details = details.iter().map(|(name, text)| (name.clone(), field(name, text))).collect();

        let read = Event::decode(&event.encode().unwrap()).unwrap();

        prop_assert_eq!(read.actor.name.open("actor", &key).unwrap(), name);
        prop_assert_eq!(read, event);
    }

    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::decode(&bytes);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}
