//! TLS 1.3 with a required client certificate: a handshake ends with a proven device or a reason.
//!
//! TLS 1.2 is spoken too where it was asked for, with forward secrecy, authenticated encryption and
//! an extended master secret, or not at all.
//!
//! Nobody resumes a session here: no tickets are sent and no session is kept. A resumed handshake
//! shows no certificate, so whoever was revoked in between would come in; resumption may come
//! once a resumed handshake is checked like a full one.

use std::sync::Arc;

use identity::Anchor;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SignatureScheme, SupportedCipherSuite};
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

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldestTls {
    /// TLS 1.2, for devices that know nothing newer: their certificates can be read on the way.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What every handshake needs.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    oldest: OldestTls,
    anchors: Arc<[Anchor]>,
    revoked: Revoked,
    certified: watch::Receiver<Option<Arc<CertifiedKey>>>,
}

/// Gives the provider with what is spoken here: hybrid key exchange first.
pub(crate) fn provider() -> CryptoProvider {
    let kx_groups =
        vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    let mut provider = CryptoProvider { kx_groups, ..default_provider() };
    // Our own key is for ECDSA; what is left of TLS 1.2 has forward secrecy and authenticated encryption.
    provider.cipher_suites.retain(|suite| match suite {
        SupportedCipherSuite::Tls13(_) => true,
        SupportedCipherSuite::Tls12(suite) => {
            suite.sign.contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
        }
    });
    provider
}

impl Tls {
    pub(crate) fn new(
        anchor: Anchor,
        revoked: Revoked,
        certified: watch::Receiver<Option<Arc<CertifiedKey>>>,
        oldest: OldestTls,
    ) -> Self {
        let provider = Arc::new(provider());
        Self { provider, oldest, anchors: Arc::new([anchor]), revoked, certified }
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
        let versions: &[_] = match self.oldest {
            OldestTls::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            OldestTls::Tls13 => &[&rustls::version::TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .map_err(|_| Refused::OURS)?
            .with_client_cert_verifier(visitor)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.require_ems = true;
        // Who names none of them is not turned away for that: the first byte says what it speaks.
        config.alpn_protocols = vec![websocket::PROTOCOL.into(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
