//! A small MQTT client over TLS, plain enough to break every rule where a test wants to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use messaging::mqtt::{
    self, ConnAck, Connect, ConnectProperties, Decoder, Delivery, Packet, PacketId, Publish, QoS,
    Reason, RetainHandling, Subscribe, Subscription, Version,
};
use messaging::text::Text;
use rustls::client::Resumption;
use rustls::{ClientConfig, NamedGroup, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Credential, House, Rig, within};

pub struct Client {
    pub stream: TlsStream<TcpStream>,
    decoder: Decoder,
    received: BytesMut,
    version: Version,
}

/// Prepares TLS as a device would; every part can be made wrong.
pub fn tls(
    house: &House,
    credential: Option<&Credential>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // As current OpenSSL and browsers do: hybrid first.
    provider.kx_groups.sort_by_key(|group| group.name() != NamedGroup::X25519MLKEM768);
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(house.root.der.clone().into()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match credential {
        Some(credential) => builder
            .with_client_auth_cert(credential.chain.clone(), credential.key.clone_key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(8);
    TlsConnector::from(Arc::new(config))
}

pub const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

pub async fn handshake(
    connector: &TlsConnector,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    connector.connect("localhost".try_into().unwrap(), stream).await
}

/// Gives CONNECT as a device sends it that wants nothing special.
pub fn connect_packet(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 30,
        client_id: Text::copy_of(client_id).unwrap(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

impl Client {
    /// Comes in with a device's credential under its own name.
    pub async fn connect(rig: &Rig, device: &str, version: Version) -> Self {
        let credential = rig.house.device(device);
        let (client, answer) =
            Self::open(rig, &credential, connect_packet(version, device)).await.unwrap();
        assert_eq!(answer.reason, Reason::Success, "{:?}", answer.properties.reason_string);
        client
    }

    pub async fn open(
        rig: &Rig,
        credential: &Credential,
        connect: Connect,
    ) -> io::Result<(Self, ConnAck)> {
        let connector = tls(&rig.house, Some(credential), TLS13);
        let stream = within(handshake(&connector, rig.address)).await?;
        Self::over(stream, connect).await
    }

    /// Holds a stream that has said nothing of MQTT.
    pub fn raw(stream: TlsStream<TcpStream>) -> Self {
        let decoder = Decoder::for_client(Version::V5, 1 << 20);
        Self { stream, decoder, received: BytesMut::new(), version: Version::V5 }
    }

    pub async fn over(
        stream: TlsStream<TcpStream>,
        connect: Connect,
    ) -> io::Result<(Self, ConnAck)> {
        let version = connect.version;
        let decoder = Decoder::for_client(version, 1 << 20);
        let mut client = Self { stream, decoder, received: BytesMut::new(), version };
        client.send(&Packet::Connect(Box::new(connect))).await?;
        match client.receive().await? {
            Packet::ConnAck(answer) => Ok((client, *answer)),
            other => panic!("{} instead of CONNACK", other.kind()),
        }
    }

    pub async fn send(&mut self, packet: &Packet) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        mqtt::encode(packet, self.version, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }

    /// Waits for the next packet; the end of the connection is an error.
    pub async fn receive(&mut self) -> io::Result<Packet> {
        within(self.receive_whenever()).await
    }

    pub async fn receive_whenever(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.received).unwrap() {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }

    pub async fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS) -> io::Result<()> {
        self.send(&Packet::Publish(publish(topic, payload, qos))).await
    }

    /// Publishes with QoS 1 and gives the answer.
    pub async fn publish_and_hear(&mut self, topic: &str, payload: &[u8]) -> mqtt::Ack {
        self.publish(topic, payload, QoS::AtLeastOnce).await.unwrap();
        match self.receive().await.unwrap() {
            Packet::PubAck(ack) => ack,
            other => panic!("{} instead of PUBACK", other.kind()),
        }
    }

    /// Subscribes and gives the answer.
    pub async fn subscribe(&mut self, filter: &str) -> Reason {
        let subscription = Subscription {
            filter: filter.parse().unwrap(),
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        };
        let subscribe = Subscribe {
            id: PacketId::FIRST,
            properties: mqtt::SubscribeProperties::default(),
            subscriptions: vec![subscription],
        };
        self.send(&Packet::Subscribe(subscribe)).await.unwrap();
        match self.receive().await.unwrap() {
            Packet::SubAck(answer) => answer.reasons[0],
            other => panic!("{} instead of SUBACK", other.kind()),
        }
    }

    /// Waits for a message, acknowledges it, and gives topic and payload.
    pub async fn message(&mut self) -> (String, Bytes) {
        let Packet::Publish(publish) = self.receive().await.unwrap() else { panic!("no message") };
        if let Some(id) = publish.delivery.id() {
            self.send(&Packet::PubAck(mqtt::Ack::of(id, Reason::Success))).await.unwrap();
        }
        (publish.topic.unwrap().as_str().to_owned(), publish.payload)
    }

    /// Says something and hears the answer: all that was sent before has been dealt with.
    pub async fn ping(&mut self) -> io::Result<()> {
        self.send(&Packet::PingReq).await?;
        match self.receive().await? {
            Packet::PingResp => Ok(()),
            other => panic!("{} instead of PINGRESP", other.kind()),
        }
    }

    /// Reads on until the connection ends; gives the last words if there are any.
    pub async fn last_words(&mut self) -> Option<mqtt::Disconnect> {
        let mut words = None;
        while let Ok(packet) = self.receive().await {
            if let Packet::Disconnect(disconnect) = packet {
                words = Some(disconnect);
            }
        }
        words
    }
}

pub fn publish(topic: &str, payload: &[u8], qos: QoS) -> Publish {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id: PacketId::FIRST, dup: false },
    };
    Publish {
        delivery,
        retain: false,
        topic: Some(topic.parse().unwrap()),
        properties: None,
        payload: Bytes::copy_from_slice(payload),
    }
}
