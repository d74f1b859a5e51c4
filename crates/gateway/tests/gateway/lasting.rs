//! What outlives the gateway: sessions, what waits for them, and retained messages.

use std::fs;

use messaging::mqtt::{Connect, Delivery, Packet, PacketId, Reason, Version};

use crate::rig::client::{connect_packet, publish};
use crate::rig::{Client, Rig, start};

const OWN: &str = "plant-a/pump/pump-7/telemetry/flow";
const ALL: &str = "plant-a/pump/+/telemetry/#";

/// Connects an application whose session waits for it.
async fn patient(rig: &Rig) -> (Client, bool) {
    let mut connect = Connect { clean_start: false, ..connect_packet(Version::V5, "panel") };
    connect.properties.session_expiry = Some(1_000);
    let (client, answer) = Client::open(rig, &rig.house.device("panel"), connect).await.unwrap();
    assert_eq!(answer.reason, Reason::Success);
    (client, answer.session_present)
}

#[tokio::test]
async fn a_session_and_what_waits_for_it_outlive_the_gateway() {
    let rig = start().await;
    let (mut panel, is_known) = patient(&rig).await;
    assert!(!is_known);
    assert_eq!(panel.subscribe(ALL).await, Reason::GrantedQoS1);
    drop(panel);
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    for payload in ["one", "two", "three"] {
        assert_eq!(pump.publish_and_hear(OWN, payload.as_bytes()).await.reason, Reason::Success);
    }

    let rig = rig.again().await;

    let (mut panel, is_known) = patient(&rig).await;
    assert!(is_known);
    for payload in ["one", "two", "three"] {
        assert_eq!(panel.message().await, (OWN.to_owned(), payload.into()));
    }
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    assert_eq!(pump.publish_and_hear(OWN, b"four").await.reason, Reason::Success);
    assert_eq!(panel.message().await, (OWN.to_owned(), "four".into()));
}

#[tokio::test]
async fn what_was_acknowledged_is_not_sent_again_after_a_restart() {
    let rig = start().await;
    let (mut panel, _) = patient(&rig).await;
    panel.subscribe(ALL).await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    pump.publish_and_hear(OWN, b"one").await;
    panel.message().await;
    panel.ping().await.unwrap();

    let rig = rig.again().await;

    let (mut panel, is_known) = patient(&rig).await;
    assert!(is_known);
    panel.ping().await.unwrap();
}

#[tokio::test]
async fn a_retained_message_outlives_the_gateway() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let mut kept = publish(OWN, b"12.5", messaging::mqtt::QoS::AtLeastOnce);
    (kept.retain, kept.delivery) =
        (true, Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false });
    pump.send(&Packet::Publish(kept)).await.unwrap();
    assert!(matches!(pump.receive().await.unwrap(), Packet::PubAck(_)));

    let rig = rig.again().await;

    let mut panel = Client::connect(&rig, "panel", Version::V311).await;
    panel.subscribe(ALL).await;
    assert_eq!(panel.message().await, (OWN.to_owned(), "12.5".into()));
}

#[tokio::test]
async fn what_is_kept_is_sealed_and_what_is_damaged_is_set_aside() {
    let rig = start().await;
    let (mut panel, _) = patient(&rig).await;
    panel.subscribe(ALL).await;
    drop(panel);
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let secret = b"the pressure is secret";
    assert_eq!(pump.publish_and_hear(OWN, secret).await.reason, Reason::Success);

    let files = || fs::read_dir(rig.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    assert!(files().count() > 0);
    for file in files() {
        let bytes = fs::read(&file).unwrap();
        let is_in = bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!is_in, "{} shows a payload", file.display());
    }

    let file = rig.folder.path().join("sessions.sqlite");
    let (folder, house) = (rig.folder.clone(), rig.house.again());
    rig.stop().await.unwrap();
    fs::write(&file, b"no database at all, but rather a lot of text that is none").unwrap();
    let mut rig =
        Rig::begin_in(folder, house, gateway::Limits::default(), Default::default(), |_| {});
    rig.ready().await;
    let (_, is_known) = patient(&rig).await;
    assert!(!is_known);
    assert!(rig.folder.path().join("sessions.sqlite.damaged").exists());
}
