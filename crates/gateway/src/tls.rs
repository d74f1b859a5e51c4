//! TLS 1.3 with a required client certificate: a handshake ends with a proven device or a reason.
//!
//! Nobody resumes a session here: no tickets are sent and no session is kept. A resumed handshake
//! shows no certificate, so whoever was revoked in between would come in; resumption may come
//! once a resumed handshake is checked like a full one.

use std::sync::Arc;

use identity::Anchor;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) mod certificate;
mod key;
mod refused;
mod visitor;

pub(crate) use refused::{Refused, refusal_of_cause};
pub(crate) use visitor::Leaf;

use crate::revoked::Revoked;
use crate::websocket;
use visitor::Visitor;

/// What every handshake needs.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    anchors: Arc<[Anchor]>,
    revoked: Revoked,
    certified: watch::Receiver<Option<Arc<CertifiedKey>>>,
}

/// Gives the provider with what is spoken here: hybrid key exchange first.
pub(crate) fn provider() -> CryptoProvider {
    let kx_groups =
        vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    CryptoProvider { kx_groups, ..default_provider() }
}

impl Tls {
    pub(crate) fn new(
        anchor: Anchor,
        revoked: Revoked,
        certified: watch::Receiver<Option<Arc<CertifiedKey>>>,
    ) -> Self {
        Self { provider: Arc::new(provider()), anchors: Arc::new([anchor]), revoked, certified }
    }

    /// Speaks TLS with a peer until it has proven which device it is. Bound it in time.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Leaf), Refused> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
        let start = start.map_err(|error| Refused::of(&error))?;
        let visitor = Arc::new(Visitor::new(
            Arc::clone(&self.anchors),
            self.revoked.clone(),
            self.provider.signature_verification_algorithms,
        ));
        let config = self.config(Arc::clone(&visitor))?;
        match start.into_stream(config).await {
            Ok(stream) => Ok((stream, visitor.leaf()?)),
            Err(error) => Err(visitor.explain(Refused::of(&error))),
        }
    }

    /// Makes one handshake's configuration: the visitor in it remembers what it verified.
    fn config(&self, visitor: Arc<Visitor>) -> Result<Arc<ServerConfig>, Refused> {
        let certified = self.certified.borrow().clone().ok_or(Refused::OURS)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| Refused::OURS)?
            .with_client_cert_verifier(visitor)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // Who names none of them is not turned away for that: the first byte says what it speaks.
        config.alpn_protocols = vec![websocket::PROTOCOL.into(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
