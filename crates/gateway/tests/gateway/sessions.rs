//! What devices may and may not do once they are in, and what is told of it.

use std::time::Instant;

use bytes::Bytes;
use messaging::mqtt::{Packet, QoS, Reason, Version, Will, WillProperties};
use messaging::text::Binary;
use policy::{Action, Cause, Delta, Ending, Fact, Observation, PolicySet, Protocol};

use crate::rig::client::connect_packet;
use crate::rig::{Client, device, start, within};

const OWN: &str = "plant-a/pump/pump-7/telemetry/flow";
const OTHERS: &str = "plant-a/pump/pump-8/telemetry/flow";
const ALL: &str = "plant-a/pump/+/telemetry/#";

#[tokio::test]
async fn an_allowed_message_reaches_whoever_may_have_it() {
    let rig = start().await;
    let mut panel = Client::connect(&rig, "panel", Version::V311).await;
    assert_eq!(panel.subscribe(ALL).await, Reason::GrantedQoS1);
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;

    assert_eq!(pump.publish_and_hear(OWN, b"12.5").await.reason, Reason::Success);

    let (topic, payload) = panel.message().await;
    assert_eq!((topic.as_str(), payload.as_ref()), (OWN, b"12.5".as_slice()));
    let opened = rig.control.wait_for(|observation| match observation {
        Observation::SessionOpened { device, fingerprint, protocol, client_id, .. }
            if device.as_str() == "pump-7" =>
        {
            Some((*fingerprint, *protocol, client_id.to_string()))
        }
        _ => None,
    });
    let expected = (rig.house.device("pump-7").fingerprint, Protocol::Mqtt5, "pump-7".to_owned());
    assert_eq!(opened.await, expected);
}

#[tokio::test]
async fn a_denied_publish_is_told_with_a_decision_that_is_reported() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;

    let ack = pump.publish_and_hear(OTHERS, b"12.5").await;

    assert_eq!(ack.reason, Reason::NotAuthorized);
    let told = ack.properties.reason_string.unwrap().to_string();
    let (id, topic, policies) = rig
        .control
        .wait_for(|observation| match observation {
            Observation::Denied {
                decision,
                action: Action::Publish,
                topic,
                cause,
                policies,
                ..
            } => {
                assert_eq!(*cause, Cause::NotGranted);
                Some((*decision, topic.clone(), policies.clone()))
            }
            _ => None,
        })
        .await;
    assert_eq!(told, format!("{} ({id})", Cause::NotGranted.text()));
    assert_eq!(topic.as_deref(), Some(OTHERS));
    assert!(policies.is_empty());
    // The session goes on, and the same denial has the same id.
    let again = pump.publish_and_hear(OTHERS, b"13").await;
    assert_eq!(again.properties.reason_string.as_deref(), Some(told.as_str()));
    assert_eq!(pump.publish_and_hear(OWN, b"13").await.reason, Reason::Success);
}

#[tokio::test]
async fn a_client_of_the_older_version_is_told_nothing_and_its_message_is_dropped_and_reported() {
    let rig = start().await;
    let mut panel = Client::connect(&rig, "panel", Version::V5).await;
    panel.subscribe(ALL).await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V311).await;

    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        pump.publish(OTHERS, b"forged", qos).await.unwrap();
    }
    let Packet::PubAck(_) = pump.receive().await.unwrap() else { panic!() };

    pump.publish_and_hear(OWN, b"real").await;
    assert_eq!(panel.message().await.1.as_ref(), b"real");
    let count = rig.control.wait_for(|observation| match observation {
        Observation::Denied { device, count, .. } if device.as_str() == "pump-7" => Some(*count),
        _ => None,
    });
    assert!(count.await >= 1);
}

#[tokio::test]
async fn a_flood_of_denials_is_a_few_observations_with_the_whole_count() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V311).await;
    for number in 0..10_000 {
        // In turn one topic, and one that is invented each time.
        let topic = if number % 2 == 0 { OTHERS.to_owned() } else { format!("invented/{number}") };
        pump.publish(&topic, b"x", QoS::AtMostOnce).await.unwrap();
    }
    pump.ping().await.unwrap();
    let record = rig.control.record();
    rig.stop().await.unwrap();

    let counts: Vec<u64> = record
        .observations()
        .iter()
        .filter_map(|observation| match observation {
            Observation::Denied { count, .. } => Some(*count),
            _ => None,
        })
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 10_000, "{counts:?}");
    assert!(counts.len() <= 12, "{counts:?}");
}

#[tokio::test]
async fn a_client_id_is_the_devices_own() {
    let rig = start().await;
    let credential = rig.house.device("pump-7");
    let open = |id| Client::open(&rig, &credential, connect_packet(Version::V5, id));
    let (_first, answer) = open("pump-7").await.unwrap();
    assert_eq!(answer.reason, Reason::Success);
    let (_second, answer) = open("pump-7/shell").await.unwrap();
    assert_eq!(answer.reason, Reason::Success);
    let (_third, answer) = open("").await.unwrap();
    let assigned = answer.properties.assigned_client_id.unwrap();
    assert!(assigned.starts_with("pump-7:"), "{assigned}");

    for id in ["pump-8", "pump-70", "panel"] {
        let (mut refused, answer) = open(id).await.unwrap();
        assert_eq!(answer.reason, Reason::NotAuthorized);
        let text = answer.properties.reason_string.unwrap();
        assert!(text.starts_with(Cause::ClientId.text()), "{text}");
        assert!(refused.receive().await.is_err());
    }
    let cause = rig.control.wait_for(|observation| match observation {
        Observation::Denied { action: Action::Connect, cause, .. } => Some(*cause),
        _ => None,
    });
    assert_eq!(cause.await, Cause::ClientId);
}

#[tokio::test]
async fn sessions_go_on_without_control() {
    let mut rig = start().await;
    let mut panel = Client::connect(&rig, "panel", Version::V5).await;
    panel.subscribe(ALL).await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;

    rig.control.die();

    for number in 0..1_000_u32 {
        assert_eq!(pump.publish_and_hear(OWN, &number.to_be_bytes()).await.reason, Reason::Success);
        assert_eq!(panel.message().await.1.as_ref(), number.to_be_bytes());
    }
    assert_eq!(pump.publish_and_hear(OTHERS, b"x").await.reason, Reason::NotAuthorized);
    Client::connect(&rig, "pump-8", Version::V311).await.ping().await.unwrap();
    // And it stops without waiting for what can't come.
    let started = Instant::now();
    rig.stop().await.unwrap();
    assert!(started.elapsed().as_secs() < 3);
}

#[tokio::test]
async fn quarantine_ends_the_session_and_recovery_lets_it_back_in() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let mut held = device(&rig.house, "pump-7", "pump", identity::Stage::Active);
    held.posture.hold(Fact::quarantine(true, "ada", identity::Time::EPOCH, Some("odd traffic")));

    let sequence = rig.control.change(vec![Delta::Device(Box::new(held.clone()))]);

    let words = pump.last_words().await.unwrap();
    assert_eq!(words.reason, Reason::NotAuthorized);
    let text = words.properties.reason_string.unwrap();
    assert!(text.starts_with(Cause::Quarantined.text()) && text.contains("(d-"), "{text}");
    let ended = rig.control.wait_for(|observation| match observation {
        Observation::Ended { device, sequence, count, cause, .. } => {
            Some((device.to_string(), *sequence, *count, *cause))
        }
        _ => None,
    });
    assert_eq!(ended.await, ("pump-7".to_owned(), sequence, 1, Cause::Quarantined));
    let credential = rig.house.device("pump-7");
    let again = || Client::open(&rig, &credential, connect_packet(Version::V5, "pump-7"));
    assert_eq!(again().await.unwrap().1.reason, Reason::NotAuthorized);

    held.posture.hold(Fact::quarantine(false, "ada", identity::Time::EPOCH, None));
    let sequence = rig.control.change(vec![Delta::Device(Box::new(held))]);
    rig.control.wait_reached(sequence).await;
    assert_eq!(again().await.unwrap().1.reason, Reason::Success);
}

#[tokio::test]
async fn a_revoked_devices_will_is_not_spoken_and_a_lost_ones_is() {
    let rig = start().await;
    let mut panel = Client::connect(&rig, "panel", Version::V5).await;
    panel.subscribe("plant-a/pump/+/status").await;
    let mut pumps = Vec::new();
    for name in ["pump-7", "pump-8"] {
        let mut connect = connect_packet(Version::V5, name);
        connect.will = Some(Will {
            topic: format!("plant-a/pump/{name}/status").parse().unwrap(),
            payload: Binary::parse(Bytes::from_static(b"lost")).unwrap(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: WillProperties::default(),
        });
        connect.properties.session_expiry = Some(600);
        pumps.push(Client::open(&rig, &rig.house.device(name), connect).await.unwrap().0);
    }

    let seven = rig.house.device("pump-7").fingerprint;
    let sequence = rig.control.change(vec![Delta::Revoked(vec![seven])]);
    rig.control.wait_reached(sequence).await;
    drop(pumps);

    assert_eq!(panel.message().await.0, "plant-a/pump/pump-8/status");
    panel.ping().await.unwrap();
}

#[tokio::test]
async fn another_policy_withdraws_what_it_does_not_grant() {
    let rig = start().await;
    let mut panel = Client::connect(&rig, "panel", Version::V5).await;
    panel.subscribe(ALL).await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    pump.publish_and_hear(OWN, b"before").await;
    assert_eq!(panel.message().await.1.as_ref(), b"before");

    let source = authority::starter::SOURCE.replace("applications-see", "nobody-sees");
    let source =
        source.replace("principal in Kind::\"application\"", "principal in Kind::\"nobody\"");
    let policy = PolicySet { version: 2, source, ..authority::starter::policy() };
    let sequence = rig.control.change(vec![Delta::Policy(Box::new(policy))]);
    rig.control.wait_reached(sequence).await;

    assert_eq!(pump.publish_and_hear(OWN, b"after").await.reason, Reason::Success);
    panel.ping().await.unwrap();
    assert_eq!(panel.subscribe(ALL).await, Reason::NotAuthorized);
}

#[tokio::test]
async fn a_policy_that_does_not_compile_denies_everything() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let policy =
        PolicySet { version: 2, source: "permit (".into(), ..authority::starter::policy() };
    rig.control.change(vec![Delta::Policy(Box::new(policy))]);
    let words = pump.last_words().await.unwrap();
    assert_eq!(words.reason, Reason::NotAuthorized);
}

#[tokio::test]
async fn stopping_tells_the_devices_and_loses_no_report() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let mut other = Client::connect(&rig, "pump-8", Version::V311).await;
    pump.publish_and_hear(OTHERS, b"x").await;
    let record = rig.control.record();

    let (words, nothing, stopped) = tokio::join!(pump.last_words(), other.last_words(), rig.stop());

    stopped.unwrap();
    assert_eq!(words.unwrap().reason, Reason::ServerShuttingDown);
    assert!(nothing.is_none());
    let observations = record.observations();
    let ended = observations.iter().filter(|observation| {
        matches!(observation, Observation::SessionClosed { why: Ending::Shutdown, .. })
    });
    assert_eq!(ended.count(), 2);
    let allowed =
        observations.iter().any(|observation| matches!(observation, Observation::Denied { .. }));
    assert!(allowed);
}

#[tokio::test]
async fn control_can_stop_the_gateway() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    rig.control.send(policy::Downlink::Shutdown);
    assert_eq!(pump.last_words().await.unwrap().reason, Reason::ServerShuttingDown);
    within(rig.ended()).await.unwrap();
}

#[tokio::test]
async fn who_may_hears_what_the_server_tells_of_itself() {
    let rig = start().await;
    let mut panel = Client::connect(&rig, "panel", Version::V5).await;
    assert_eq!(panel.subscribe("$SYS/broker/#").await, Reason::NotAuthorized);
    let mut set = authority::starter::policy();
    let declared = set.namespaces.iter().map(|n| (n.name(), n.template()));
    let namespaces = policy::Namespaces::parse(declared.chain([("sys", "$SYS/broker/#")])).unwrap();
    set.source += "permit (principal in Kind::\"application\", action in [Action::\"subscribe\", \
                   Action::\"receive\"], resource in Namespace::\"sys\");";
    set = policy::PolicySet { version: 2, namespaces, ..set };
    let sequence = rig.control.change(vec![Delta::Policy(Box::new(set))]);
    rig.control.wait_reached(sequence).await;
    assert_eq!(panel.subscribe("$SYS/broker/+").await, Reason::GrantedQoS1);
    let mut heard = std::collections::BTreeMap::new();
    while !heard.contains_key("$SYS/broker/version") || !heard.contains_key("$SYS/broker/uptime") {
        let (topic, payload) = panel.message().await;
        heard.insert(topic, String::from_utf8(payload.to_vec()).unwrap());
    }
    assert!(heard["$SYS/broker/version"].starts_with("palisade version "), "{heard:?}");
    assert!(heard["$SYS/broker/uptime"].ends_with(" seconds"), "{heard:?}");
    // A device hears none of it, and nobody speaks there.
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    assert_eq!(pump.subscribe("$SYS/broker/#").await, Reason::NotAuthorized);
    let ack = panel.publish_and_hear("$SYS/broker/uptime", b"0 seconds").await;
    assert_eq!(ack.reason, Reason::NotAuthorized);
}

#[tokio::test]
async fn a_device_that_says_goodbye_and_hangs_up_at_once_keeps_no_place() {
    let rig = start().await;
    // More often than a device may have connections.
    for _ in 0..40 {
        let mut pump = Client::connect(&rig, "pump-7", Version::V311).await;
        let goodbye = messaging::mqtt::Disconnect {
            reason: Reason::Success,
            properties: messaging::mqtt::DisconnectProperties::default(),
        };
        pump.send(&Packet::Disconnect(goodbye)).await.unwrap();
        drop(pump);
    }
    Client::connect(&rig, "pump-7", Version::V5).await.ping().await.unwrap();
}

#[tokio::test]
async fn what_a_group_member_held_that_is_cut_off_goes_to_another() {
    let rig = start().await;
    let bad = device(&rig.house, "panel-2", "application", identity::Stage::Active);
    let sequence = rig.control.change(vec![Delta::Device(Box::new(bad.clone()))]);
    rig.control.wait_reached(sequence).await;
    let shared = "$share/g/plant-a/pump/+/telemetry/#";
    let mut good = Client::connect(&rig, "panel", Version::V5).await;
    let mut hoarder = Client::connect(&rig, "panel-2", Version::V5).await;
    for client in [&mut good, &mut hoarder] {
        assert_eq!(client.subscribe(shared).await, Reason::GrantedQoS1);
    }
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    for number in 0..10 {
        let ack = pump.publish_and_hear(OWN, format!("{number}").as_bytes()).await;
        assert_eq!(ack.reason, Reason::Success);
    }
    let mut quarantined = bad;
    quarantined.posture.hold(Fact::quarantine(true, "ada", identity::Time::EPOCH, Some("hoards")));
    rig.control.change(vec![Delta::Device(Box::new(quarantined))]);
    let mut heard = std::collections::BTreeSet::new();
    while heard.len() < 10 {
        let (_, payload) = good.message().await;
        heard.insert(String::from_utf8(payload.to_vec()).unwrap());
    }
}
