//! TLS to a server that we know by its root authority, not by a list of public ones.

use std::sync::Arc;

use identity::certificate::ServerName;
use identity::chain::{ChainError, Usage};
use identity::{Anchor, Chain, Fingerprint, Holder, Time};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::exit::{Exit, Failure};

/// The root that must stand above a server's certificate.
#[derive(Debug, Clone)]
pub(crate) enum Pin {
    /// Its fingerprint: the server shows the certificate itself.
    Fingerprint(Fingerprint),
    /// Its certificate in DER.
    Root(Vec<u8>),
}

/// A server is not the one that we were told of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinError {
    /// No certificate shown has the fingerprint.
    #[error("the server does not show the root `{0}`; is it the right server?")]
    Absent(Fingerprint),
    /// The chain does not lead to the root.
    #[error("the server's certificate is not of our root: {0}")]
    Chain(#[from] ChainError),
    /// The certificate is for other names.
    #[error(
        "the server's certificate is not for `{found}` but for {names}; use one of these, or start the server with `--name {found}`"
    )]
    Name {
        /// The name that was asked for.
        found: String,
        /// The names that it is for.
        names: String,
    },
}

impl Pin {
    /// Reads a root certificate in PEM.
    pub(crate) fn of_pem(pem: &[u8]) -> Result<Self, Failure> {
        let der = CertificateDer::from_pem_slice(pem)
            .map_err(|_| Failure::new(Exit::Usage, "the root is not a certificate in PEM"))?;
        Ok(Self::Root(der.to_vec()))
    }

    /// Speaks TLS 1.3 over a connection and proves the server.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier { pin: self.clone(), provider: provider.clone() };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = rustls_pki_types::ServerName::try_from(host.to_string())
            .map_err(|_| Failure::new(Exit::Usage, format!("`{host}` is no host name")))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.map_err(|error| refused(host, error))
    }

    /// Decides whether what a server shows leads from this root to this name.
    pub(crate) fn check(
        &self,
        shown: &[&[u8]],
        name: &ServerName,
        now: Time,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), PinError> {
        let root = match self {
            Self::Root(der) => der.as_slice(),
            Self::Fingerprint(fingerprint) => shown
                .iter()
                .find(|der| Fingerprint::of_der(der) == *fingerprint)
                .ok_or(PinError::Absent(*fingerprint))?,
        };
        let anchor = Anchor::trust(root)?;
        let chain = Chain::parse(shown.iter().copied().filter(|der| *der != root))?;
        let leaf = chain.verify(&[anchor], |_| false, Usage::Server, now, algorithms.all)?;
        match leaf.holder() {
            Holder::Server(names) if names.contains(name) => Ok(()),
            Holder::Server(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                Err(PinError::Name { found: name.to_string(), names: names.join(", ") })
            }
            Holder::Device(_) | Holder::Authority { .. } | Holder::Stranger => {
                Err(ChainError::Usage(Usage::Server).into())
            }
        }
    }
}

/// What rustls asks while it shakes hands.
#[derive(Debug)]
struct Verifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &rustls_pki_types::ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut shown: Vec<&[u8]> = vec![end_entity];
        shown.extend(intermediates.iter().map(AsRef::as_ref));
        let name = server_name.to_str();
        let name: ServerName =
            name.parse().map_err(|_| rustls::Error::General(format!("`{name}` is no name")))?;
        let now = Time::from_seconds(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let algorithms = &self.provider.signature_verification_algorithms;
        match self.pin.check(&shown, &name, now, algorithms) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(CertificateError::Other(rustls::OtherError(Arc::new(error))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Tells a server that failed our check from one that does not speak with us.
fn refused(host: &str, error: std::io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            Failure::new(Exit::Unverified, &other.0)
        }
        Some(rustls::Error::InvalidCertificate(_)) => {
            Failure::new(Exit::Unverified, format!("`{host}` is not to be trusted: {error}"))
        }
        _ => Failure::new(Exit::Unreachable, format!("no TLS with `{host}`: {error}")),
    }
}

#[cfg(test)]
mod tests;
