//! What the view answers, what each document changes in it, and what it refuses.

use super::*;
use crate::decision::Cause;
use crate::posture::Fact;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use expect_test::{Expect, expect};
use identity::{Ed25519Key, Signed, Signer, Verified};
use proptest::prelude::*;
use zeroize::Zeroizing;

#[test]
fn a_certificate_leads_to_its_device() {
    let standing = standing(&["pump-7", "pump-8"]);
    let slot = standing.admit(&certificate("pump-8", 0)).unwrap();
    assert_eq!(standing.device(slot).unwrap().id, id("pump-8"));
    assert_eq!(standing.find(&id("pump-8")), Some(slot));
    assert_eq!(standing.admit(&certificate("stranger", 0)), Err(Cause::UnknownDevice));
}

#[test]
fn a_revoked_certificate_is_refused_and_its_session_is_affected() {
    let mut standing = standing(&["pump-7", "pump-8"]);
    let revoked = certificate("pump-7", 0);
    let slot = standing.admit(&revoked).unwrap();

    let affected = standing.apply(changes(1, 2, vec![Delta::Revoked(vec![revoked])])).unwrap();

    assert_eq!(affected.devices(), [slot]);
    assert_eq!(standing.admit(&revoked), Err(Cause::Revoked));
    assert_eq!(standing.check(slot, &revoked), Err(Cause::Revoked));
    assert!(standing.admit(&certificate("pump-8", 0)).is_ok());
}

#[test]
fn a_certificate_that_is_no_longer_in_force_is_refused() {
    let mut standing = standing(&["pump-7"]);
    let (old, new) = (certificate("pump-7", 0), certificate("pump-7", 1));
    let slot = standing.admit(&old).unwrap();
    let renewed = DeviceStanding { certificates: vec![new], ..device("pump-7") };

    standing.apply(changes(1, 2, vec![Delta::Device(Box::new(renewed))])).unwrap();

    assert_eq!(standing.check(slot, &old), Err(Cause::UnknownDevice));
    assert_eq!(standing.admit(&old), Err(Cause::UnknownDevice));
    assert_eq!(standing.admit(&new), Ok(slot));
}

#[test]
fn only_claimed_and_active_devices_come_in() {
    for (stage, expected) in [
        (Stage::Manufactured, Some(Cause::NotActive)),
        (Stage::Claimed, None),
        (Stage::Active, None),
        (Stage::Retired, Some(Cause::NotActive)),
    ] {
        let device = DeviceStanding { stage, ..device("pump-7") };
        let standing = Standing::from_snapshot(verified(&snapshot(1, vec![device])));
        assert_eq!(standing.admit(&certificate("pump-7", 0)).err(), expected, "{stage}");
    }
}

#[test]
fn a_slot_is_never_another_devices() {
    let mut standing = standing(&["pump-7"]);
    let slot = standing.find(&id("pump-7")).unwrap();
    let affected = standing.apply(changes(1, 2, vec![Delta::Gone(id("pump-7"))])).unwrap();
    assert!(affected.touches(slot));
    assert!(standing.is_empty() && standing.device(slot).is_none());

    standing.apply(changes(2, 3, vec![Delta::Device(Box::new(device("pump-9")))])).unwrap();

    assert!(standing.device(slot).is_none());
    assert_eq!(standing.check(slot, &certificate("pump-7", 0)), Err(Cause::UnknownDevice));
    assert_ne!(standing.find(&id("pump-9")), Some(slot));
}

#[test]
fn a_change_touches_its_device_only_and_a_policy_touches_all() {
    let mut standing = standing(&["pump-7", "pump-8"]);
    let slots = ["pump-7", "pump-8"].map(|name| standing.find(&id(name)).unwrap());
    let mut quarantined = device("pump-7");
    quarantined.posture.hold(Fact::quarantine(true, "ada", Time::EPOCH, None));

    let affected =
        standing.apply(changes(1, 2, vec![Delta::Device(Box::new(quarantined))])).unwrap();
    assert_eq!(
        (affected.touches(slots[0]), affected.touches(slots[1]), affected.policy()),
        (true, false, false)
    );

    let newer = PolicySet { version: 2, ..policy() };
    let affected = standing.apply(changes(2, 3, vec![Delta::Policy(Box::new(newer))])).unwrap();
    assert!(affected.policy() && affected.touches(slots[1]) && affected.devices().is_empty());
}

#[test]
fn gaps_replays_and_steps_back_are_refused() {
    let mut standing = standing(&["pump-7"]);
    standing.apply(changes(1, 5, vec![])).unwrap();
    assert_eq!(standing.apply(changes(6, 7, vec![])), Err(StandingError::Gap { have: 5, from: 6 }));
    assert_eq!(standing.apply(changes(1, 5, vec![])), Err(StandingError::Old { have: 5, to: 5 }));
    assert_eq!(standing.apply(changes(4, 6, vec![])), Err(StandingError::Old { have: 5, to: 6 }));
    assert_eq!(
        standing.apply(changes(5, 5, vec![])),
        Err(StandingError::Backwards { from: 5, to: 5 })
    );
    assert_eq!(
        standing.replace(verified(&snapshot(4, vec![]))),
        Err(StandingError::Old { have: 5, to: 4 })
    );
    assert_eq!(standing.sequence(), 5);
    assert_eq!(standing.len(), 1);
}

#[test]
fn a_newer_snapshot_keeps_slots_and_says_what_differs() {
    let mut standing = standing(&["same", "moved", "gone"]);
    let slots = ["same", "moved", "gone"].map(|name| standing.find(&id(name)).unwrap());
    let moved = DeviceStanding { zone: zone("hall-2"), ..device("moved") };

    let affected = standing
        .replace(verified(&snapshot(9, vec![device("new"), device("same"), moved])))
        .unwrap();

    assert_eq!(slots.map(|slot| affected.touches(slot)), [false, true, true]);
    assert!(!affected.policy());
    assert_eq!(standing.device(slots[1]).unwrap().zone.as_str(), "hall-2");
    assert!(standing.device(slots[2]).is_none());
    assert!(affected.touches(standing.find(&id("new")).unwrap()));
    assert_eq!(standing.len(), 3);
}

#[test]
fn what_a_newer_snapshot_no_longer_revokes_is_decided_again() {
    let mut standing = standing(&["pump-7"]);
    let fingerprint = certificate("pump-7", 0);
    let slot = standing.find(&id("pump-7")).unwrap();
    standing.apply(changes(1, 2, vec![Delta::Revoked(vec![fingerprint])])).unwrap();

    let affected = standing.replace(verified(&snapshot(2, vec![device("pump-7")]))).unwrap();

    assert!(affected.touches(slot));
    assert_eq!(standing.admit(&fingerprint), Ok(slot));
}

#[test]
fn a_certificate_claimed_by_two_devices_stays_with_the_first() {
    let mut standing = standing(&["pump-7"]);
    let thief = DeviceStanding { certificates: vec![certificate("pump-7", 0)], ..device("thief") };
    standing.apply(changes(1, 2, vec![Delta::Device(Box::new(thief))])).unwrap();
    let slot = standing.admit(&certificate("pump-7", 0)).unwrap();
    assert_eq!(standing.device(slot).unwrap().id, id("pump-7"));
}

#[test]
fn devices_of_one_kind_share_its_name() {
    let standing = standing(&["a", "b"]);
    let [a, b] = ["a", "b"].map(|name| standing.device(standing.find(&id(name)).unwrap()).unwrap());
    assert!(core::ptr::eq(&*a.kind, &*b.kind) && core::ptr::eq(&*a.site, &*b.site));
}

#[test]
fn errors_say_what_to_do() {
    let check = |error: StandingError, expect: Expect| expect.assert_eq(&error.to_string());
    check(
        StandingError::Gap { have: 5, from: 6 },
        expect!["the changes start at 6, and the standing is at 5; ask for a snapshot"],
    );
    check(
        StandingError::Old { have: 5, to: 4 },
        expect!["the document leads to 4, and the standing is at 5 already"],
    );
    check(
        StandingError::Backwards { from: 5, to: 5 },
        expect!["the changes lead from 5 to 5; they must go forward"],
    );
}

#[test]
fn the_documents_keep_their_bytes() {
    let mut device = device("p");
    device.posture.hold(Fact::quarantine(true, "ada", Time::from_millis(5), Some("odd")));
    device.labels = [("owner", "x")].into_iter().collect();
    let snapshot =
        Snapshot { revoked: vec![Fingerprint::from_bytes([1; 32])], ..snapshot(3, vec![device]) };
    let bytes = minicbor::to_vec(&snapshot).unwrap();
    check_hex(
        &bytes,
        expect![
            "850300830178247065726d6974287072696e636970616c2c20616374696f6e2c207265736f75726365293b8182667374617475736f7b6465766963657d2f737461747573818861706470756d706668616c6c2d3167706c616e742d6102a1656f776e65726178820181856a71756172616e74696e65637965736361646105636f6464815820909ef3d0cc91ac75f8a64c217ebd52602338ee08e2dfba047df58f659dc875d58158200101010101010101010101010101010101010101010101010101010101010101"
        ],
    );
    assert_eq!(minicbor::decode::<Snapshot>(&bytes).unwrap(), snapshot);

    let deltas = vec![Delta::Gone(id("p")), Delta::Revoked(vec![Fingerprint::from_bytes([2; 32])])];
    let changes = Changes { from: 3, to: 4, issued: Time::from_millis(9), deltas };
    let bytes = minicbor::to_vec(&changes).unwrap();
    check_hex(
        &bytes,
        expect![
            "840304098282018161708203818158200202020202020202020202020202020202020202020202020202020202020202"
        ],
    );
    assert_eq!(minicbor::decode::<Changes>(&bytes).unwrap(), changes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // The view kept by deltas equals the view made at once of what they lead to.
    #[test]
    fn deltas_lead_to_where_the_snapshot_is(steps in proptest::collection::vec((0_u8..6, 0_u8..4, any::<bool>()), 0..40)) {
        let mut model = alloc::collections::BTreeMap::new();
        let mut standing = standing(&[]);
        for (sequence, (name_idx, n_certificate, keep)) in (1..).zip(steps) {
            let name = format!("d{name_idx}");
            let delta = if keep {
                let device = DeviceStanding { certificates: vec![certificate(&name, n_certificate)], ..device(&name) };
                model.insert(id(&name), device.clone());
                Delta::Device(Box::new(device))
            } else {
                model.remove(&id(&name));
                Delta::Gone(id(&name))
            };
            standing.apply(changes(sequence, sequence + 1, vec![delta])).unwrap();
        }
        let held: alloc::collections::BTreeMap<_, _> =
            standing.devices().map(|(_, device)| (device.id.clone(), device.clone())).collect();
        prop_assert_eq!(&held, &model);
        for name_idx in 0_u8..6 {
            for n_certificate in 0_u8..4 {
                let name = format!("d{name_idx}");
                let fingerprint = certificate(&name, n_certificate);
                let expected = model.get(&id(&name)).filter(|d| d.certificates.contains(&fingerprint)).map(|d| &d.id);
                let found = standing.admit(&fingerprint).ok().and_then(|slot| standing.device(slot)).map(|d| &d.id);
                prop_assert_eq!(found, expected);
            }
        }
    }
}

fn standing(names: &[&str]) -> Standing {
    Standing::from_snapshot(verified(&snapshot(1, names.iter().map(|name| device(name)).collect())))
}

fn snapshot(sequence: u64, devices: Vec<DeviceStanding>) -> Snapshot {
    Snapshot { sequence, issued: Time::EPOCH, policy: policy(), devices, revoked: vec![] }
}

fn changes(from: u64, to: u64, deltas: Vec<Delta>) -> Verified<Changes> {
    verified(&Changes { from, to, issued: Time::EPOCH, deltas })
}

fn policy() -> PolicySet {
    let namespaces = Namespaces::parse([("status", "{device}/status")]).unwrap();
    PolicySet { version: 1, source: "permit(principal, action, resource);".into(), namespaces }
}

/// A pump in hall 1 of plant A, with one certificate.
pub(crate) fn device(name: &str) -> DeviceStanding {
    DeviceStanding {
        id: id(name),
        kind: "pump".parse::<KindId>().unwrap().into(),
        zone: zone("hall-1"),
        site: "plant-a".parse::<SiteId>().unwrap().into(),
        stage: Stage::Active,
        labels: Labels::default(),
        posture: Posture::default(),
        certificates: vec![certificate(name, 0)],
    }
}

fn zone(name: &str) -> Shared<ZoneId> {
    name.parse::<ZoneId>().unwrap().into()
}

fn id(name: &str) -> DeviceId {
    name.parse().unwrap()
}

fn certificate(name: &str, number: u8) -> Fingerprint {
    Fingerprint::of_der(format!("{name} {number}").as_bytes())
}

fn verified<T: Document>(document: &T) -> Verified<T> {
    let key = Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap();
    let bytes = Signed::sign(document, None, &[&key]).unwrap();
    Signed::parse(&bytes).unwrap().verify(&[key.public_key().clone()], 1, Time::EPOCH).unwrap()
}

fn check_hex(bytes: &[u8], expect: Expect) {
    expect.assert_eq(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}
