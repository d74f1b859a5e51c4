//! From a certificate to a holder that may be believed.

use alloc::vec::Vec;
use core::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::certificate::{Certificate, CertificateError};
use crate::fingerprint::Fingerprint;
use crate::time::Time;

/// The most certificates that a peer may present.
pub const MAX_LEN: usize = 4;

/// A leaf with what the peer sent beside it.
pub struct Chain {
    leaf: Certificate,
    others: Vec<CertificateDer<'static>>,
}

/// An authority that we trust by our own decision.
pub struct Anchor {
    certificate: Certificate,
    anchor: TrustAnchor<'static>,
}

/// What the leaf is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// The peer is a TLS client.
    Client,
    /// The peer is a TLS server.
    Server,
}

/// A chain is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The peer sent no certificate or too many.
    #[error("the peer sent {0} certificates; 1 to {MAX_LEN} are taken")]
    Length(usize),
    /// A certificate could not be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The leaf is not valid yet.
    #[error("the certificate is valid from {0}; check the clocks")]
    NotYetValid(Time),
    /// The leaf is no longer valid.
    #[error("the certificate expired at {0}; renew it")]
    Expired(Time),
    /// The leaf, or an authority above it, was revoked.
    #[error("the certificate `{0}` is revoked")]
    Revoked(Fingerprint),
    /// The leaf may not be used for this.
    #[error("the certificate may not be used by a TLS {}", match .0 { Usage::Client => "client", Usage::Server => "server" })]
    Usage(Usage),
    /// No trusted authority stands above the leaf.
    #[error("no trusted authority issued the certificate")]
    UnknownIssuer,
    /// A signature in the chain is wrong, or the chain breaks a rule of RFC 5280.
    #[error("the chain does not verify: {0}")]
    Broken(webpki::Error),
}

impl Anchor {
    /// Trusts an authority's certificate.
    pub fn trust(der: &[u8]) -> Result<Self, ChainError> {
        let certificate = Certificate::parse(der)?;
        let borrowed = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&borrowed).map_err(ChainError::Broken)?;
        Ok(Self { certificate, anchor: anchor.to_owned() })
    }

    /// Lends the authority's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl Chain {
    /// Reads what a peer sent: its leaf first, then the authorities above it in any order.
    pub fn parse<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, ChainError> {
        let mut ders = ders.into_iter();
        let leaf = ders.next().ok_or(ChainError::Length(0))?;
        let leaf = Certificate::parse(leaf)?;
        let mut others = Vec::new();
        for der in ders {
            if others.len() + 1 >= MAX_LEN {
                return Err(ChainError::Length(others.len() + 2));
            }
            if der.len() > crate::certificate::MAX_DER_LEN {
                return Err(CertificateError::TooLong(der.len()).into());
            }
            others.push(CertificateDer::from(der.to_vec()));
        }
        Ok(Self { leaf, others })
    }

    /// Checks signatures, validity, use and revocation up to an anchor, and gives the leaf.
    ///
    /// An anchor's own validity and revocation are checked too, which a path builder leaves out:
    /// our gateways anchor on the issuing authority, so that a handshake costs one signature less.
    pub fn verify(
        &self,
        anchors: &[Anchor],
        revoked: impl Fn(&Fingerprint) -> bool,
        usage: Usage,
        now: Time,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<&Certificate, ChainError> {
        let usable: Vec<_> = anchors
            .iter()
            .filter(|anchor| {
                anchor.certificate.covers(now) && !revoked(&anchor.certificate.fingerprint())
            })
            .map(|anchor| anchor.anchor.clone())
            .collect();
        let der = CertificateDer::from(self.leaf.der());
        let leaf = EndEntityCert::try_from(&der).map_err(ChainError::Broken)?;
        let key_usage = match usage {
            Usage::Client => KeyUsage::client_auth(),
            Usage::Server => KeyUsage::server_auth(),
        };
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unix().as_secs()));
        let path = leaf
            .verify_for_usage(algorithms, &usable, &self.others, time, key_usage, None, None)
            .map_err(|error| self.explain(error, usage))?;
        let above = path.intermediate_certificates().map(|cert| Fingerprint::of_der(&cert.der()));
        let mut fingerprints = core::iter::once(self.leaf.fingerprint()).chain(above);
        match fingerprints.find(|fingerprint| revoked(fingerprint)) {
            Some(fingerprint) => Err(ChainError::Revoked(fingerprint)),
            None => Ok(&self.leaf),
        }
    }

    /// Lends the leaf, which is not to be believed yet.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    fn explain(&self, error: webpki::Error, usage: Usage) -> ChainError {
        match error {
            webpki::Error::CertExpired { .. } => ChainError::Expired(self.leaf.not_after()),
            webpki::Error::CertNotValidYet { .. } => {
                ChainError::NotYetValid(self.leaf.not_before())
            }
            webpki::Error::RequiredEkuNotFoundContext(_) | webpki::Error::CaUsedAsEndEntity => {
                ChainError::Usage(usage)
            }
            webpki::Error::UnknownIssuer => ChainError::UnknownIssuer,
            error => ChainError::Broken(error),
        }
    }
}
