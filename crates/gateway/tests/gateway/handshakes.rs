//! Who comes through the door, and who is turned away with which reason.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use gateway::Limits;
use identity::Fingerprint;
use messaging::mqtt::{Reason, Version};
use policy::{Cause, Delta, Observation, Refusal};
use rustls::{HandshakeKind, NamedGroup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::rig::client::{TLS13, connect_packet, handshake, tls};
use crate::rig::control::Manners;
use crate::rig::{Client, Credential, House, Rig, start, within};

#[tokio::test]
async fn strangers_are_turned_away_with_the_reason() {
    let rig = start().await;
    let house = &rig.house;
    let elsewhere = House::with_seed(101);
    let cases: [(&str, Option<Credential>, Refusal); 7] = [
        ("no certificate", None, Refusal::NoCertificate),
        // The same names under other keys: the signature does not match.
        ("another house", Some(elsewhere.device("pump-7")), Refusal::BadCertificate),
        ("expired", Some(house.expired("pump-7")), Refusal::Expired),
        ("a server's", Some(house.server_as_client()), Refusal::BadCertificate),
        ("unknown", Some(house.device("pump-99")), Refusal::UnknownDevice),
        ("retired", Some(house.device("pump-9")), Refusal::NotActive),
        (
            // Issued for a known device, and not one of those that are in force.
            "not in force",
            Some(
                house
                    .device_until("pump-7", crate::rig::house::now().plus(Duration::from_secs(60))),
            ),
            Refusal::UnknownDevice,
        ),
    ];
    for (name, credential, refusal) in cases {
        assert!(try_in(&rig, credential.as_ref()).await.is_err(), "{name} came in");
        let shown = credential.map(|credential| credential.fingerprint);
        let found = rig.control.wait_for(|observation| match observation {
            Observation::HandshakeRefused { why, fingerprint, .. } if *why == refusal => {
                (shown.is_none() || *fingerprint == shown).then_some(*why)
            }
            _ => None,
        });
        assert_eq!(found.await, refusal, "{name}");
    }
    Client::connect(&rig, "pump-7", Version::V5).await.ping().await.unwrap();
}

#[tokio::test]
async fn tls_1_2_and_no_tls_at_all_are_turned_away() {
    let rig = start().await;
    let credential = rig.house.device("pump-7");
    let older = tls(&rig.house, Some(&credential), &[&rustls::version::TLS12]);
    assert!(within(handshake(&older, rig.address)).await.is_err());
    let not_tls = rig.control.wait_for(|observation| match observation {
        Observation::HandshakeRefused { why, count, .. } if *why == Refusal::NotTls => Some(*count),
        _ => None,
    });
    assert_eq!(not_tls.await, 1);

    let mut plain = TcpStream::connect(rig.address).await.unwrap();
    plain.write_all(b"\x10\x12\x00\x04MQTT\x04\x02\x00\x1e\x00\x06pump-7").await.unwrap();
    let mut answer = Vec::new();
    within(plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"\x20"), "a plain CONNECT was answered");
}

#[tokio::test]
async fn where_it_is_asked_for_tls_1_2_is_spoken_with_sound_suites_and_the_same_checks() {
    let adjust = |setup: &mut gateway::Setup| setup.oldest_tls = gateway::OldestTls::Tls12;
    let mut rig = Rig::begin_with(House::new(), Limits::default(), Manners::default(), adjust);
    rig.ready().await;
    let older =
        |credential: &Credential| tls(&rig.house, Some(credential), &[&rustls::version::TLS12]);
    let credential = rig.house.device("pump-7");
    for _ in 0..2 {
        let stream = within(handshake(&older(&credential), rig.address)).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
        assert_eq!(
            session.handshake_kind(),
            Some(rustls::HandshakeKind::Full),
            "nothing is resumed"
        );
        let suite = session.negotiated_cipher_suite().unwrap().suite();
        assert!(format!("{suite:?}").starts_with("TLS_ECDHE_ECDSA_WITH_"), "{suite:?}");
        let (mut client, answer) =
            Client::over(stream, connect_packet(Version::V5, "pump-7")).await.unwrap();
        assert_eq!(answer.reason, Reason::Success);
        client.ping().await.unwrap();
    }
    // A key that is not the certificate's, no certificate, and one that was revoked.
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stolen = with_the_key_of(&rig, &credential, &rig.house.device("pump-8"), version);
        let shaken = within(handshake(&stolen, rig.address)).await;
        // In TLS 1.3 the client is done before it is judged.
        let judged = async { Client::over(shaken?, connect_packet(Version::V5, "pump-7")).await };
        assert!(judged.await.is_err(), "{version:?}");
    }
    let nobody = tls(&rig.house, None, &[&rustls::version::TLS12]);
    assert!(within(handshake(&nobody, rig.address)).await.is_err());
    let sequence = rig.control.change(vec![Delta::Revoked(vec![credential.fingerprint])]);
    rig.control.wait_reached(sequence).await;
    assert!(within(handshake(&older(&credential), rig.address)).await.is_err());
    // And who can do better still does.
    Client::connect(&rig, "pump-8", Version::V5).await.ping().await.unwrap();
}

/// Shows one credential's certificate and signs with another's key.
fn with_the_key_of(
    rig: &Rig,
    shown: &Credential,
    key: &Credential,
    version: &'static rustls::SupportedProtocolVersion,
) -> tokio_rustls::TlsConnector {
    let mut config = tls(&rig.house, Some(shown), &[version]).config().as_ref().clone();
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.key).unwrap();
    let mixed = rustls::sign::CertifiedKey::new(shown.chain.clone(), key);
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(mixed));
    Arc::new(config).into()
}

#[tokio::test]
async fn the_key_exchange_is_hybrid_and_nothing_is_resumed() {
    let rig = start().await;
    let credential = rig.house.device("pump-7");
    let connector = tls(&rig.house, Some(&credential), TLS13);
    for _ in 0..3 {
        let stream = within(handshake(&connector, rig.address)).await.unwrap();
        let (mut client, _) =
            Client::over(stream, connect_packet(Version::V5, "pump-7")).await.unwrap();
        client.ping().await.unwrap();
        let (_, session) = client.stream.get_ref();
        let group = session.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn a_revoked_device_is_out_within_a_second_and_does_not_come_back() {
    let rig = start().await;
    let credential = rig.house.device("pump-7");
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let mut older = {
        let connect = connect_packet(Version::V311, "pump-7/older");
        Client::open(&rig, &credential, connect).await.unwrap().0
    };
    let mut other = Client::connect(&rig, "pump-8", Version::V5).await;

    let started = std::time::Instant::now();
    let sequence = rig.control.change(vec![Delta::Revoked(vec![credential.fingerprint])]);
    let (words, nothing) = tokio::join!(pump.last_words(), older.last_words());
    let elapsed = started.elapsed();

    println!("revoked to closed: {elapsed:?}");
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
    assert!(nothing.is_none());
    let words = words.unwrap();
    assert_eq!(words.reason, Reason::AdministrativeAction);
    assert_eq!(words.properties.reason_string.as_deref(), Some(Cause::Revoked.text()));
    let ended = rig.control.wait_for(|observation| match observation {
        Observation::Ended { sequence, count, cause, .. } => Some((*sequence, *count, *cause)),
        _ => None,
    });
    assert_eq!(ended.await, (sequence, 2, Cause::Revoked));

    let error = try_in(&rig, Some(&credential)).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRevoked"), "{error}");
    let found = rig.control.wait_for(|observation| match observation {
        Observation::HandshakeRefused { why: Refusal::Revoked, fingerprint, .. } => *fingerprint,
        _ => None,
    });
    assert_eq!(found.await, credential.fingerprint);
    other.ping().await.unwrap();
}

#[tokio::test]
async fn who_is_revoked_between_handshake_and_connect_is_out_too() {
    let rig = start().await;
    let credential = rig.house.device("pump-7");
    let connector = tls(&rig.house, Some(&credential), TLS13);
    let stream = within(handshake(&connector, rig.address)).await.unwrap();
    let mut quiet = Client::raw(stream);
    rig.control.change(vec![Delta::Revoked(vec![credential.fingerprint])]);
    assert!(quiet.receive().await.is_err());
    let connect = connect_packet(Version::V5, "pump-7");
    let late = quiet.send(&messaging::mqtt::Packet::Connect(Box::new(connect))).await;
    assert!(late.is_err() || quiet.receive().await.is_err());
}

#[tokio::test]
async fn a_device_that_comes_again_and_again_is_slowed_down() {
    let limits = Limits { opens_burst: 3, opens_per_second: 1, ..Limits::default() };
    let mut rig = Rig::begin(House::new(), limits, Manners::default());
    rig.ready().await;
    for _ in 0..3 {
        Client::connect(&rig, "pump-7", Version::V5).await;
    }
    let credential = rig.house.device("pump-7");
    assert!(try_in(&rig, Some(&credential)).await.is_err());
    Client::connect(&rig, "pump-8", Version::V5).await;
    within(async { while try_in(&rig, Some(&credential)).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_device_that_is_retired_or_gone_is_out() {
    let rig = start().await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let mut other = Client::connect(&rig, "pump-8", Version::V5).await;
    let retired = crate::rig::device(&rig.house, "pump-7", "pump", identity::Stage::Retired);
    let gone = Delta::Gone("pump-8".parse().unwrap());
    rig.control.change(vec![Delta::Device(Box::new(retired)), gone]);
    for (client, cause) in [(&mut pump, Cause::NotActive), (&mut other, Cause::UnknownDevice)] {
        let words = client.last_words().await.unwrap();
        assert_eq!(words.properties.reason_string.as_deref(), Some(cause.text()));
    }
}

#[tokio::test]
async fn a_session_ends_with_its_certificate() {
    let rig = start().await;
    let soon =
        rig.house.device_until("pump-7", crate::rig::house::now().plus(Duration::from_secs(2)));
    let mut held = crate::rig::device(&rig.house, "pump-7", "pump", identity::Stage::Active);
    held.certificates = vec![soon.fingerprint];
    let sequence = rig.control.change(vec![Delta::Device(Box::new(held))]);
    rig.control.wait_reached(sequence).await;
    let (mut pump, _) =
        Client::open(&rig, &soon, connect_packet(Version::V5, "pump-7")).await.unwrap();
    let words = pump.last_words().await.unwrap();
    assert_eq!(words.properties.reason_string.as_deref(), Some(Cause::Expired.text()));
}

#[tokio::test]
async fn the_servers_certificate_is_renewed_before_it_ends() {
    let manners = Manners { certificate_life: Duration::from_secs(4), ..Manners::default() };
    let mut rig = Rig::begin(House::new(), Limits::default(), manners);
    rig.ready().await;
    let shown = |client: &Client| {
        Fingerprint::of_der(client.stream.get_ref().1.peer_certificates().unwrap()[0].as_ref())
    };
    let mut first = Client::connect(&rig, "pump-7", Version::V5).await;
    rig.control.wait_hellos(2).await;
    // The second answer is on its way; once it is there, the next handshake shows it.
    within(async {
        loop {
            let next = Client::connect(&rig, "pump-8", Version::V5).await;
            if shown(&next) != shown(&first) {
                return;
            }
        }
    })
    .await;
    first.ping().await.unwrap();
}

#[tokio::test]
async fn a_server_certificate_that_lacks_a_name_is_not_shown() {
    let manners = Manners { names: vec!["elsewhere"], ..Manners::default() };
    let rig = Rig::begin(House::new(), Limits::default(), manners);
    let error = within(rig.ended()).await.unwrap_err();
    assert!(format!("{error:#}").contains("lacks the name `localhost`"), "{error:#}");
}

#[tokio::test]
async fn the_silent_take_no_turn_and_are_bounded() {
    let limits = Limits { handshakes: 1, unproven_per_address: 20, ..Limits::default() };
    let mut rig = Rig::begin(House::new(), limits, Manners::default());
    rig.ready().await;
    let mut silent = Vec::new();
    for _ in 0..19 {
        silent.push(TcpStream::connect(rig.address).await.unwrap());
    }
    Client::connect(&rig, "pump-7", Version::V5).await.ping().await.unwrap();

    // The address is full with the twentieth; the next one is let go at once.
    silent.push(TcpStream::connect(rig.address).await.unwrap());
    let mut refused = TcpStream::connect(rig.address).await.unwrap();
    assert_eq!(within(refused.read(&mut [0])).await.unwrap_or(0), 0);
    let found = rig.control.wait_for(|observation| match observation {
        Observation::HandshakeRefused { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(found.await, Refusal::Overloaded);
    drop(silent);
}

#[tokio::test]
async fn who_stalls_in_a_handshake_stalls_its_own_address() {
    let limits = Limits { handshakes: 2, handshakes_per_address: 1, ..Limits::default() };
    let mut rig = Rig::begin(House::new(), limits, Manners::default());
    rig.ready().await;
    let mut stalling = Vec::new();
    for _ in 0..5 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(rig.address).await.unwrap();
        stream.write_all(&[22]).await.unwrap();
        stalling.push(stream);
    }
    let begun = std::time::Instant::now();
    Client::connect(&rig, "pump-7", Version::V5).await.ping().await.unwrap();
    assert!(begun.elapsed() < Limits::default().handshake_time / 2);
}

#[tokio::test]
async fn a_device_has_so_many_connections_and_no_more() {
    let limits = Limits { connections_per_device: 2, ..Limits::default() };
    let mut rig = Rig::begin(House::new(), limits, Manners::default());
    rig.ready().await;
    let credential = rig.house.device("pump-7");
    let open = |id| Client::open(&rig, &credential, connect_packet(Version::V5, id));
    let (mut first, _) = open("pump-7").await.unwrap();
    let _second = open("pump-7/2").await.unwrap();
    assert!(open("pump-7/3").await.is_err());
    first.send(&messaging::mqtt::Packet::PingReq).await.unwrap();
    drop(first);
    within(async { while open("pump-7/4").await.is_err() {} }).await;
}

#[tokio::test]
async fn a_device_that_is_here_before_the_word_of_its_enrolment_comes_in() {
    let rig = start().await;
    let early = rig.house.device("pump-99");
    let connector = tls(&rig.house, Some(&early), TLS13);
    let stream = within(handshake(&connector, rig.address)).await.unwrap();
    let coming = Client::over(stream, connect_packet(Version::V5, "pump-99"));
    let word = async {
        // Who comes after it is in already, so it stands there.
        Client::connect(&rig, "pump-7", Version::V5).await.ping().await.unwrap();
        let standing = crate::rig::device(&rig.house, "pump-99", "pump", identity::Stage::Claimed);
        rig.control.change(vec![policy::Delta::Device(Box::new(standing))]);
    };
    let (came, ()) = tokio::join!(coming, word);
    came.unwrap().0.ping().await.unwrap();
}

#[tokio::test]
async fn counts_can_be_scraped() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut rig = Rig::begin_with(House::new(), Limits::default(), Manners::default(), |setup| {
        setup.metrics = Some(listener);
    });
    rig.ready().await;
    Client::connect(&rig, "pump-7", Version::V5).await.ping().await.unwrap();
    let text = within(tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }))
    .await
    .unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(text.contains("\npalisade_gateway_sessions_opened_total 1\n"), "{text}");
}

/// Goes as far as a CONNACK.
async fn try_in(rig: &Rig, credential: Option<&Credential>) -> std::io::Result<()> {
    let connector = tls(&rig.house, credential, TLS13);
    let stream = within(handshake(&connector, rig.address)).await?;
    Client::over(stream, connect_packet(Version::V5, "pump-7")).await.map(|_| ())
}
