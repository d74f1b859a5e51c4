//! Nothing that control did not sign, or that does not follow, is acted on.

use gateway::Limits;
use identity::{Ed25519Key, Fingerprint};
use messaging::mqtt::Version;
use policy::{Changes, Delta, Downlink, PolicySet, Snapshot};
use zeroize::Zeroizing;

use crate::rig::control::{Manners, sign};
use crate::rig::{Client, House, Rig, device, start};

#[tokio::test]
async fn what_is_unsigned_or_signed_by_another_is_not_acted_on() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let revoked = || vec![Delta::Revoked(vec![rig.house.device("pump-7").fingerprint])];
    let foreign = Ed25519Key::from_seed(&Zeroizing::new([99; 32])).unwrap();

    rig.control.send_changes(1, 2, revoked(), &foreign);
    rig.control.wait_snapshots_wanted(1).await;
    let unsigned = Changes { from: 1, to: 2, issued: identity::Time::EPOCH, deltas: revoked() };
    rig.control.send(Downlink::Changes(minicbor_of(&unsigned)));
    // A document of one kind is none of the other.
    let changes = Changes { from: 1, to: 2, issued: identity::Time::EPOCH, deltas: revoked() };
    rig.control.send(Downlink::Snapshot(sign(&changes, &rig.control.key)));
    rig.control.wait_snapshots_wanted(2).await;

    let sequence = rig.control.change(Vec::new());
    rig.control.wait_reached(sequence).await;
    pump.ping().await.unwrap();
}

#[tokio::test]
async fn a_gap_is_not_jumped_and_a_replay_changes_nothing() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let seven = rig.house.device("pump-7").fingerprint;
    rig.control.change(vec![Delta::Revoked(vec![Fingerprint::of_der(b"someone")])]);
    rig.control.wait_reached(2).await;

    // What lies between 2 and 7 is missing.
    rig.control.send_changes(7, 8, vec![Delta::Revoked(vec![seven])], &rig.control.key);
    rig.control.wait_snapshots_wanted(1).await;
    // These, and the snapshot that comes as an answer, are older than what is held.
    rig.control.send_changes(1, 2, vec![Delta::Revoked(vec![seven])], &rig.control.key);
    rig.control.send_changes(2, 2, vec![Delta::Revoked(vec![seven])], &rig.control.key);
    let sequence = rig.control.change(Vec::new());
    rig.control.wait_reached(sequence).await;
    pump.ping().await.unwrap();
}

#[tokio::test]
async fn a_newer_snapshot_closes_the_gap_and_ends_who_is_not_in_it() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let mut panel = Client::connect(&rig, "panel", Version::V5).await;
    let seven = rig.house.device("pump-7").fingerprint;
    let snapshot = Snapshot {
        sequence: 9,
        issued: identity::Time::EPOCH,
        policy: authority::starter::policy(),
        devices: vec![
            device(&rig.house, "pump-7", "pump", identity::Stage::Active),
            device(&rig.house, "panel", "application", identity::Stage::Active),
        ],
        revoked: vec![seven],
    };
    rig.control.send(Downlink::Snapshot(sign(&snapshot, &rig.control.key)));
    assert!(pump.last_words().await.is_some());
    rig.control.wait_reached(9).await;
    panel.ping().await.unwrap();
}

#[tokio::test]
async fn nobody_is_let_in_before_there_is_a_standing() {
    let manners = Manners { gives_snapshot: false, ..Manners::default() };
    let mut rig = Rig::begin(House::new(), Limits::default(), manners);
    let snapshot = Snapshot {
        sequence: 1,
        issued: identity::Time::EPOCH,
        policy: PolicySet { ..authority::starter::policy() },
        devices: vec![device(&rig.house, "pump-7", "pump", identity::Stage::Active)],
        revoked: Vec::new(),
    };
    let foreign = Ed25519Key::from_seed(&Zeroizing::new([99; 32])).unwrap();
    rig.control.wait_hellos(1).await;
    rig.control.send(Downlink::Snapshot(sign(&snapshot, &foreign)));
    rig.control.wait_snapshots_wanted(1).await;
    rig.control.send_changes(0, 1, Vec::new(), &rig.control.key);
    rig.control.wait_snapshots_wanted(2).await;
    assert!(!rig.is_ready());

    rig.control.send(Downlink::Snapshot(sign(&snapshot, &rig.control.key)));
    rig.ready().await;
    Client::connect(&rig, "pump-7", Version::V5).await.ping().await.unwrap();
}

#[tokio::test]
async fn a_gateway_whose_control_never_answers_says_so() {
    let manners = Manners { gives_snapshot: false, ..Manners::default() };
    let mut rig = Rig::begin(House::new(), Limits::default(), manners);
    rig.control.wait_hellos(1).await;
    rig.control.die();
    let error = rig.ended().await.unwrap_err();
    assert!(format!("{error:#}").contains("control closed the link"), "{error:#}");
}

fn minicbor_of(changes: &Changes) -> Vec<u8> {
    // The payload as it would be signed, without a signature.
    let signed = sign(changes, &Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap());
    signed[..signed.len() / 2].to_vec()
}
