//! A device: its key, its claim, its certificate, and its MQTT sessions over TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use bytes::{Bytes, BytesMut};
use identity::request::Request;
use identity::{Fingerprint, P256Key};
use messaging::mqtt::{
    self, Ack, Connect, ConnectProperties, Decoder, Delivery, Packet, PacketId, Publish, QoS,
    Reason, RetainHandling, Subscribe, Subscription, Version,
};
use messaging::text::Text;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::api::{Answer, Line, Lost, provider};
use super::dice::Dice;

/// What a device knows of the server it belongs to.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) https: SocketAddr,
    pub(crate) mqtt: SocketAddr,
    pub(crate) roots: Arc<RootCertStore>,
}

/// A device that holds a key.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) claim: String,
    key: Arc<P256Key>,
    /// Its certificate in DER, once it was answered.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Home {
    /// Reads where a server is from what `up --json` said, and asks it for its root.
    pub(crate) async fn of(ready: &Value, line: &mut Line) -> Result<Self, Lost> {
        let authority = line.get("/v1/authority").await?;
        let pem = authority.pointer("/root/pem").and_then(Value::as_str).unwrap();
        let root = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let said = ready.get("root").and_then(Value::as_str);
        assert_eq!(Some(Fingerprint::of_der(&root).to_string().as_str()), said);
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let port = |key: &str| {
            let text = ready.get(key).and_then(Value::as_str).unwrap();
            let port = text.rsplit_once(':').unwrap().1.parse().unwrap();
            SocketAddr::from(([127, 0, 0, 1], port))
        };
        Ok(Self { https: port("console"), mqtt: port("mqtt"), roots: Arc::new(roots) })
    }
}

impl Device {
    /// Makes a key for a device that was given a claim.
    pub(crate) fn with_claim(id: &str, claim: &str, dice: &mut Dice) -> Self {
        // One value in 2^32 is no scalar of the curve.
        let key = std::iter::repeat_with(|| P256Key::from_random(&dice.secret())).flatten().next();
        let key = Arc::new(key.unwrap());
        Self { id: id.to_owned(), claim: claim.to_owned(), key, certificate: None }
    }

    /// Adds a device of a kind, and makes its key.
    pub(crate) async fn add(
        line: &mut Line,
        id: &str,
        kind: &str,
        dice: &mut Dice,
    ) -> Result<Self, Lost> {
        let body = json!({ "id": id, "kind": kind, "zone": "plant-a" });
        let added = line.post("/v1/devices", &body).await?;
        let claim = added.pointer("/claim/text").and_then(Value::as_str).unwrap();
        Ok(Self::with_claim(id, claim, dice))
    }

    /// Asks to be let in, and gives the answer as it came.
    pub(crate) async fn ask_in(&self, line: &mut Line) -> Result<Answer, Lost> {
        let csr = Base64::encode_string(&Request::make(&*self.key).unwrap());
        let body = json!({ "claim": self.claim, "csr": csr });
        line.ask(hyper::Method::POST, "/v1/enrolment", Some(&body)).await
    }

    /// Enrols, and keeps the certificate that it is given.
    pub(crate) async fn enrol(&mut self, line: &mut Line) -> Result<(), Lost> {
        let answer = self.ask_in(line).await?.json();
        self.certificate = Some(certificate_of(&answer));
        Ok(())
    }

    /// Gives the fingerprint of its certificate, if it has one.
    pub(crate) fn fingerprint(&self) -> Option<String> {
        self.certificate.as_ref().map(|der| Fingerprint::of_der(der).to_string())
    }

    /// Names a topic that it may publish to.
    pub(crate) fn topic(&self, kind: &str) -> String {
        format!("main/{kind}/{}/telemetry/flow", self.id)
    }

    /// Opens a session; a certificate that is refused is an error when the answer is read.
    pub(crate) async fn connect(&self, home: &Home) -> io::Result<Session> {
        let stream = TcpStream::connect(home.mqtt).await?;
        self.connect_over(stream, home).await
    }

    /// Opens a session over a socket of its own.
    pub(crate) async fn connect_over(&self, stream: TcpStream, home: &Home) -> io::Result<Session> {
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive: 600,
            client_id: Text::copy_of(&self.id).unwrap(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        Ok(self.connect_with(stream, home, connect).await?.0)
    }

    /// Prepares TLS as this device, towards a server that one of the roots vouches for.
    pub(crate) fn connector(&self, roots: &Arc<RootCertStore>) -> TlsConnector {
        let chain = vec![CertificateDer::from(self.certificate.clone().unwrap())];
        let key = PrivateKeyDer::from_pem_slice(self.key.to_pem().as_bytes()).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(Arc::clone(roots))
            .with_client_auth_cert(chain, key)
            .unwrap();
        config.resumption = Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }

    /// Opens a session on its own terms; tells whether it was there before.
    pub(crate) async fn connect_with(
        &self,
        stream: TcpStream,
        home: &Home,
        connect: Connect,
    ) -> io::Result<(Session, bool)> {
        stream.set_nodelay(true)?;
        let connector = self.connector(&home.roots);
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await?;
        let decoder = Decoder::for_client(Version::V5, 1 << 20);
        let mut session =
            Session { stream, decoder, received: BytesMut::new(), next_id: PacketId::FIRST };
        session.send(&Packet::Connect(Box::new(connect))).await?;
        match session.receive().await? {
            Packet::ConnAck(answer) if answer.reason == Reason::Success => {
                Ok((session, answer.session_present))
            }
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }
}

/// Reads the certificate out of the answer to an enrolment.
pub(crate) fn certificate_of(answer: &Value) -> Vec<u8> {
    let pem = answer.get("certificate").and_then(Value::as_str).unwrap();
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

/// An MQTT session.
pub(crate) struct Session {
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
    received: BytesMut,
    next_id: PacketId,
}

impl Session {
    /// Sends a packet.
    pub(crate) async fn send(&mut self, packet: &Packet) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        mqtt::encode(packet, Version::V5, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }

    /// Waits for the next packet; the end of the connection is an error. May be given up.
    pub(crate) async fn receive(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.received).unwrap() {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if self.received.is_empty() {
                // One of ten thousand sessions that wait holds no buffer.
                self.received = BytesMut::new();
            }
        }
    }

    /// Sends a message that is to be acknowledged.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        let id = self.next_id;
        self.next_id = id.following();
        self.send(&Packet::Publish(Publish {
            delivery: Delivery::AtLeastOnce { id, dup: false },
            retain: false,
            topic: Some(topic.parse().unwrap()),
            properties: None,
            payload: Bytes::copy_from_slice(payload),
        }))
        .await
    }

    /// Subscribes, and waits until it holds.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let subscription = Subscription {
            filter: filter.parse().unwrap(),
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        };
        self.send(&Packet::Subscribe(Subscribe {
            id: PacketId::FIRST,
            properties: mqtt::SubscribeProperties::default(),
            subscriptions: vec![subscription],
        }))
        .await?;
        match self.receive().await? {
            Packet::SubAck(answer) if !answer.reasons[0].is_failure() => Ok(()),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    /// Acknowledges a message, if it asks for that.
    pub(crate) async fn acknowledge(&mut self, publish: &Publish) -> io::Result<()> {
        match publish.delivery.id() {
            Some(id) => self.send(&Packet::PubAck(Ack::of(id, Reason::Success))).await,
            None => Ok(()),
        }
    }
}
