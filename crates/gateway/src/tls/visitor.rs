//! One handshake's judge of the peer's certificate.

use std::fmt;
use std::sync::{Arc, OnceLock};

use identity::chain::{ChainError, Usage};
use identity::{Anchor, Chain, DeviceId, Fingerprint, Time};
use policy::Refusal;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::refused::{Refused, alert_of};
use crate::revoked::Revoked;

/// Judges one peer's chain, and remembers the leaf that it found good.
pub(crate) struct Visitor {
    anchors: Arc<[Anchor]>,
    revoked: Revoked,
    algorithms: WebPkiSupportedAlgorithms,
    shown: OnceLock<Fingerprint>,
    leaf: OnceLock<Leaf>,
}

/// What a verified certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) device: DeviceId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) not_after: Time,
}

impl Visitor {
    pub(crate) fn new(
        anchors: Arc<[Anchor]>,
        revoked: Revoked,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { anchors, revoked, algorithms, shown: OnceLock::new(), leaf: OnceLock::new() }
    }

    /// Gives the leaf, once the handshake is complete: then the peer has proven that it holds the key.
    pub(crate) fn leaf(&self) -> Result<Leaf, Refused> {
        // TLS ends no handshake without asking the verifier; were it to, nobody comes in.
        self.leaf.get().cloned().ok_or(Refused::because(Refusal::NoCertificate))
    }

    /// Adds the certificate that was shown to why its holder was turned away.
    pub(crate) fn explain(&self, refused: Refused) -> Refused {
        Refused { fingerprint: self.shown.get().copied(), ..refused }
    }

    fn judge(&self, ders: &[&[u8]], now: Time) -> Result<Leaf, CertificateError> {
        let refuse = |error: ChainError| alert_of(&error);
        let chain = Chain::parse(ders.iter().copied()).map_err(refuse)?;
        // Empty before: a handshake shows one chain.
        let _ = self.shown.set(chain.leaf().fingerprint());
        let revoked = |fingerprint: &Fingerprint| self.revoked.contains(fingerprint);
        let leaf = chain
            .verify(&self.anchors, revoked, Usage::Client, now, self.algorithms.all)
            .map_err(refuse)?;
        let device = leaf.device().ok_or(CertificateError::InvalidPurpose)?.clone();
        Ok(Leaf { device, fingerprint: leaf.fingerprint(), not_after: leaf.not_after() })
    }
}

impl ClientCertVerifier for Visitor {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut ders: Vec<&[u8]> = vec![end_entity];
        ders.extend(intermediates.iter().map(|der| der.as_ref()));
        let now = Time::from_seconds(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let leaf = self.judge(&ders, now).map_err(Error::InvalidCertificate)?;
        let _ = self.leaf.set(leaf);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // The keys that `identity` reads.
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "visitor {:?}", self.shown.get())
    }
}
