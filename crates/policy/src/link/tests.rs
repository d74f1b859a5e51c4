//! The messages keep their bytes, and other bytes are refused.

use super::*;
use crate::decision::{Action, Cause, DecisionId, Epoch};
use crate::observation::{Ending, Excerpt, Protocol, Refusal};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use expect_test::{Expect, expect};
use identity::{DeviceId, Fingerprint, Time};
use proptest::prelude::*;

#[test]
fn messages_down_keep_their_bytes() {
    let check = |message: Downlink, expect: Expect| {
        check_hex(&message.encode(), &expect);
        assert_eq!(Downlink::decode(&message.encode()), Ok(message));
    };
    check(Downlink::Snapshot(vec![1, 2]), expect!["820081420102"]);
    check(Downlink::Changes(vec![3]), expect!["8201814103"]);
    check(
        Downlink::ServerCertificate { chain: vec![vec![4], vec![5]] },
        expect!["8202818241044105"],
    );
    check(Downlink::Recorded { number: 6 }, expect!["82038106"]);
    check(Downlink::Shutdown, expect!["820480"]);
}

#[test]
fn messages_up_keep_their_bytes() {
    let check = |message: Uplink, expect: Expect| {
        check_hex(&message.encode(), &expect);
        assert_eq!(Uplink::decode(&message.encode()), Ok(message));
    };
    check(
        Uplink::Hello { versions: vec![1], csr: vec![9], sequence: 7 },
        expect!["8200838101410907"],
    );
    check(Uplink::NeedSnapshot, expect!["820280"]);
    check(Uplink::Observations { number: 3, items: vec![] }, expect!["8201820380"]);
}

#[test]
fn observations_keep_their_bytes() {
    let check = |observation: Observation, expect: Expect| {
        check_hex(&minicbor::to_vec(&observation).unwrap(), &expect);
        let message = Uplink::Observations { number: 1, items: vec![observation] };
        assert_eq!(Uplink::decode(&message.encode()), Ok(message));
    };
    let (device, fingerprint, at) =
        (device(), Fingerprint::from_bytes([7; 32]), Time::from_millis(5));
    let client_id = Excerpt::of("c");
    let peer = "192.0.2.1:99".parse().unwrap();
    check(
        Observation::SessionOpened {
            device: device.clone(),
            fingerprint,
            peer,
            protocol: Protocol::Mqtt5,
            client_id: client_id.clone(),
            at,
        },
        expect![
            "82008661705820070707070707070707070707070707070707070707070707070707070707070782008244c0000201186301616305"
        ],
    );
    check(
        Observation::SessionClosed {
            device: device.clone(),
            fingerprint,
            client_id: client_id.clone(),
            why: Ending::Cut,
            at,
        },
        expect![
            "82018561705820070707070707070707070707070707070707070707070707070707070707070761630805"
        ],
    );
    check(
        denied(vec![Box::from("r")]),
        expect!["82028a4a0303030303030303030361700163612f6202816172820102080506"],
    );
    let peer = "[2001:db8::1]:99".parse().unwrap();
    check(
        Observation::HandshakeRefused {
            why: Refusal::Revoked,
            peer,
            fingerprint: Some(fingerprint),
            count: 2,
            at,
        },
        expect![
            "820385048201825020010db80000000000000000000000011863582007070707070707070707070707070707070707070707070707070707070707070205"
        ],
    );
    check(
        Observation::Allowed {
            device: device.clone(),
            action: Action::Publish,
            namespace: "telemetry".into(),
            hour: at,
            count: 9,
        },
        expect!["8204856170016974656c656d657472790509"],
    );
    check(
        Observation::SlowConsumer { device: device.clone(), client_id, queued: 3, at },
        expect!["820584617061630305"],
    );
    check(Observation::Reached { sequence: 4, at }, expect!["8206820405"]);
    check(
        Observation::Ended { device, sequence: 4, count: 1, cause: Cause::Revoked, at },
        expect!["820785617004010605"],
    );
}

#[test]
fn another_encoding_of_a_message_is_refused() {
    let bytes = Downlink::Recorded { number: 6 }.encode();
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Downlink::decode(&longer), Err(LinkError::NotCanonical));
    // The same number, written with a needless byte.
    let mut wide = bytes[..bytes.len() - 1].to_vec();
    wide.extend([0x18, 6]);
    assert_eq!(Downlink::decode(&wide), Err(LinkError::NotCanonical));
    // A field that is not known here.
    let field = Downlink::decode(&[0x82, 3, 0x82, 6, 7]);
    assert_eq!(field, Err(LinkError::NotCanonical));
    assert!(matches!(Downlink::decode(&[0x82, 9, 0x80]), Err(LinkError::Malformed(_))));
}

#[test]
fn what_is_too_long_or_too_many_is_refused() {
    let chain = vec![vec![1]; MAX_CHAIN + 1];
    assert!(matches!(
        Downlink::decode(&Downlink::ServerCertificate { chain }.encode()),
        Err(LinkError::TooMany { .. })
    ));
    let items = vec![Observation::Reached { sequence: 1, at: Time::EPOCH }; MAX_OBSERVATIONS + 1];
    let error = Uplink::decode(&Uplink::Observations { number: 1, items }.encode()).unwrap_err();
    assert_eq!(format!("{error}"), "the message lists 1025 observations; at most 1024 are taken");
    let items = vec![denied(vec!["r".repeat(257).into()])];
    assert!(matches!(
        Uplink::decode(&Uplink::Observations { number: 1, items }.encode()),
        Err(LinkError::TooMany { .. })
    ));
    assert_eq!(
        Uplink::decode(&vec![0; MAX_UPLINK + 1]),
        Err(LinkError::TooLong { found: MAX_UPLINK + 1, most: MAX_UPLINK })
    );
}

#[test]
fn a_list_that_claims_to_be_endless_is_refused_at_once() {
    // Observations with 2^63 items, of which none follows.
    let bytes = [0x82, 1, 0x82, 1, 0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert!(matches!(Uplink::decode(&bytes), Err(LinkError::Malformed(_))));
}

#[test]
fn every_file_of_the_corpus_is_read_without_a_panic() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/link");
    let mut n_read = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        n_read += usize::from(Uplink::decode(&bytes).is_ok())
            + usize::from(Downlink::decode(&bytes).is_ok());
    }
    assert!(n_read >= 5, "the corpus holds messages that are read");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let _ = (Uplink::decode(&bytes), Downlink::decode(&bytes));
    }

    #[test]
    fn a_changed_byte_is_refused_or_is_another_message(place in 0_usize..200, value: u8) {
        let message = Uplink::Observations { number: 1, items: vec![denied(vec!["r".into()])] };
        let mut bytes = message.encode();
        let place = place % bytes.len();
        prop_assume!(bytes[place] != value);
        bytes[place] = value;
        if let Ok(other) = Uplink::decode(&bytes) {
            prop_assert_ne!(&other, &message);
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}

fn denied(policies: Vec<Box<str>>) -> Observation {
    Observation::Denied {
        decision: DecisionId::from_random([3; 10]),
        device: device(),
        action: Action::Publish,
        topic: Some(Excerpt::of("a/b")),
        cause: Cause::NotGranted,
        policies,
        epoch: Epoch { posture: 1, policy: 2 },
        count: 8,
        first: Time::from_millis(5),
        last: Time::from_millis(6),
    }
}

fn device() -> DeviceId {
    "p".parse().unwrap()
}

fn check_hex(bytes: &[u8], expect: &Expect) {
    expect.assert_eq(
        &bytes.iter().map(|byte| format!("{byte:02x}")).collect::<alloc::string::String>(),
    );
}
