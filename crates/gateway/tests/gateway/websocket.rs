//! MQTT over WebSocket, with real TLS around it.

use futures_util::{SinkExt, StreamExt};
use messaging::mqtt::{self, Decoder, Packet, QoS, Reason, Version};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::rig::client::{TLS13, connect_packet, handshake, publish, tls};
use crate::rig::{self, Client, Rig, within};

const OWN: &str = "plant-a/pump/pump-7/telemetry/level";
const URL: &str = "wss://localhost/mqtt";

async fn stream(rig: &Rig) -> TlsStream<TcpStream> {
    let connector = tls(&rig.house, Some(&rig.house.device("pump-7")), TLS13);
    within(handshake(&connector, rig.address)).await.unwrap()
}

fn request(url: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

const MQTT: (&str, &str) = ("sec-websocket-protocol", "mqtt");

type Frames = WebSocketStream<TlsStream<TcpStream>>;

async fn open(rig: &Rig, request: Request<()>) -> Result<Frames, Error> {
    let opened = Box::pin(within(client_async(request, stream(rig).await))).await;
    opened.map(|(frames, response)| {
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
        frames
    })
}

async fn frames(rig: &Rig) -> Frames {
    Box::pin(open(rig, request(URL, &[MQTT]))).await.unwrap()
}

fn bytes(packet: &Packet) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    mqtt::encode(packet, Version::V5, &mut bytes).unwrap();
    bytes.to_vec()
}

fn connect() -> Vec<u8> {
    bytes(&Packet::Connect(Box::new(connect_packet(Version::V5, "pump-7"))))
}

/// Reads binary frames until a packet is whole.
async fn receive(
    frames: &mut Frames,
    decoder: &mut Decoder,
    received: &mut bytes::BytesMut,
) -> Option<Packet> {
    loop {
        if let Some(packet) = decoder.decode(received).unwrap() {
            return Some(packet);
        }
        match within(frames.next()).await? {
            Ok(Message::Binary(more)) => received.extend_from_slice(&more),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

#[tokio::test]
async fn packets_travel_in_frames_that_end_where_they_like() {
    let rig = rig::start().await;
    let mut panel = Client::connect(&rig, "panel", Version::V5).await;
    assert_eq!(panel.subscribe("plant-a/+/+/telemetry/#").await, Reason::GrantedQoS1);
    let mut frames = frames(&rig).await;
    let (mut decoder, mut received) =
        (Decoder::for_client(Version::V5, 1 << 20), bytes::BytesMut::new());
    // One packet in many frames, then many in one.
    for byte in connect() {
        frames.send(Message::binary(vec![byte])).await.unwrap();
    }
    let answer = receive(&mut frames, &mut decoder, &mut received).await;
    assert!(matches!(answer, Some(Packet::ConnAck(answer)) if answer.reason == Reason::Success));
    let each = bytes(&Packet::Publish(publish(OWN, b"21", QoS::AtMostOnce)));
    frames.send(Message::Ping(vec![1].into())).await.unwrap();
    let last = bytes(&Packet::Publish(publish(OWN, b"22", QoS::AtLeastOnce)));
    frames.send(Message::binary([each.clone(), each, last].concat())).await.unwrap();
    let answer = receive(&mut frames, &mut decoder, &mut received).await;
    assert!(matches!(answer, Some(Packet::PubAck(ack)) if ack.reason == Reason::Success));
    for payload in ["21", "21", "22"] {
        assert_eq!(panel.message().await, (OWN.to_owned(), payload.into()));
    }
    frames.close(None).await.unwrap();
    while within(frames.next()).await.is_some() {}
}

#[tokio::test]
async fn who_is_cut_off_loses_its_websocket_too() {
    let rig = rig::start().await;
    let mut frames = frames(&rig).await;
    frames.send(Message::binary(connect())).await.unwrap();
    let (mut decoder, mut received) =
        (Decoder::for_client(Version::V5, 1 << 20), bytes::BytesMut::new());
    receive(&mut frames, &mut decoder, &mut received).await.unwrap();
    let fingerprint = rig.house.device("pump-7").fingerprint;
    rig.control.change(vec![policy::Delta::Revoked(vec![fingerprint])]);
    let word = receive(&mut frames, &mut decoder, &mut received).await;
    assert!(
        matches!(&word, Some(Packet::Disconnect(word)) if word.reason == Reason::AdministrativeAction),
        "{word:?}"
    );
    assert!(receive(&mut frames, &mut decoder, &mut received).await.is_none());
}

#[tokio::test]
async fn other_paths_pages_from_elsewhere_and_other_protocols_are_refused() {
    let rig = rig::start().await;
    let cases = [
        ("wss://localhost/", vec![MQTT], 404),
        ("wss://localhost/mqtt/x", vec![MQTT], 404),
        (URL, Vec::new(), 400),
        (URL, vec![("sec-websocket-protocol", "mqttv3.1")], 400),
        (URL, vec![MQTT, ("origin", "https://elsewhere.example")], 403),
        (URL, vec![MQTT, ("origin", "null")], 403),
        (URL, vec![MQTT, ("origin", "http://localhost")], 403),
    ];
    for (url, headers, status) in cases {
        match Box::pin(open(&rig, request(url, &headers))).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), status, "{headers:?}"),
            Err(error) => panic!("{url} {headers:?}: {error}"),
            Ok(_) => panic!("{url} {headers:?} was accepted"),
        }
    }
    let headers = [MQTT, ("origin", "https://localhost")];
    assert!(Box::pin(open(&rig, request(URL, &headers))).await.is_ok());
}

#[tokio::test]
async fn text_frames_and_endless_heads_end_the_connection() {
    let rig = rig::start().await;
    let mut frames = frames(&rig).await;
    frames.send(Message::text("MQTT")).await.unwrap();
    while let Some(Ok(_)) = within(frames.next()).await {}

    let mut endless = stream(&rig).await;
    let line = format!("X: {}\r\n", "x".repeat(1000));
    endless.write_all(b"GET /mqtt HTTP/1.1\r\n").await.unwrap();
    for _ in 0..20 {
        // It may be closed before all of it is written.
        if endless.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut client = Client::raw(endless);
    assert!(client.receive().await.is_err());
}

#[tokio::test]
async fn tls_may_name_the_protocol_and_a_wrong_name_is_refused() {
    let rig = rig::start().await;
    for (name, fits) in [("mqtt", true), ("http/1.1", true), ("h2", false)] {
        let connector = tls(&rig.house, Some(&rig.house.device("pump-7")), TLS13);
        let mut config = connector.config().as_ref().clone();
        config.alpn_protocols = vec![name.into()];
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let shaken = within(handshake(&connector, rig.address)).await;
        assert_eq!(shaken.is_ok(), fits, "{name}");
        if let Ok(stream) = shaken {
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(name.as_bytes()));
            let (_, answer) =
                Client::over(stream, connect_packet(Version::V5, "pump-7")).await.unwrap();
            assert_eq!(answer.reason, Reason::Success);
        }
    }
}
