//! Connections to either server, the same for both.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use messaging::mqtt::{
    self, Connect, ConnectProperties, Decoder, Packet, PacketId, QoS, Reason, RetainHandling,
    Subscribe, SubscribeProperties, Subscription, Version,
};
use messaging::text::Text;
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::rig::device::{Device, Home};

/// Where a server is, and whom it must prove to be.
pub(crate) struct Target {
    address: SocketAddr,
    roots: Arc<RootCertStore>,
    /// TLS as each device, once it was prepared.
    connectors: RefCell<HashMap<String, TlsConnector>>,
}

/// A connection whose CONNECT was taken.
pub(crate) struct Wire {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) decoder: Decoder,
    pub(crate) received: BytesMut,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, roots: Arc<RootCertStore>) -> Self {
        Self { address, roots, connectors: RefCell::default() }
    }

    pub(crate) fn ours(home: &Home) -> Self {
        Self::new(home.mqtt, Arc::clone(&home.roots))
    }

    /// Does a full handshake, and connects.
    pub(crate) async fn connect(&self, device: &Device, client_id: &str) -> Wire {
        let connector = self.connector(device);
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let decoder = Decoder::for_client(Version::V5, 1 << 20);
        let mut wire = Wire { stream, decoder, received: BytesMut::new() };
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive: 600,
            client_id: Text::copy_of(client_id).unwrap(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        wire.send(&Packet::Connect(Box::new(connect))).await;
        match wire.receive().await {
            Packet::ConnAck(answer) if answer.reason == Reason::Success => wire,
            other => panic!("{other:?}"),
        }
    }
}

impl Target {
    fn connector(&self, device: &Device) -> TlsConnector {
        let mut connectors = self.connectors.borrow_mut();
        let prepare = || device.connector(&self.roots);
        connectors.entry(device.id.clone()).or_insert_with(prepare).clone()
    }
}

impl Wire {
    pub(crate) async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        mqtt::encode(packet, Version::V5, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.received).unwrap() {
                return packet;
            }
            let n_read = self.stream.read_buf(&mut self.received).await.unwrap();
            assert!(n_read > 0, "the server has closed the connection");
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let subscription = Subscription {
            filter: filter.parse().unwrap(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Never,
        };
        let subscribe = Subscribe {
            id: PacketId::FIRST,
            properties: SubscribeProperties::default(),
            subscriptions: vec![subscription],
        };
        self.send(&Packet::Subscribe(subscribe)).await;
        let answer = self.receive().await;
        assert!(
            matches!(&answer, Packet::SubAck(ack) if !ack.reasons[0].is_failure()),
            "{answer:?}"
        );
    }
}
