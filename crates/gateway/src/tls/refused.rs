//! Why a peer was turned away before it had a session, in the words of the record.

use std::io;

use identity::Fingerprint;
use identity::chain::ChainError;
use policy::{Cause, Refusal};
use rustls::CertificateError;

/// A peer was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) why: Refusal,
    /// The certificate that it showed, if it showed one that can be read.
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl Refused {
    /// It is not the peer's fault.
    pub(crate) const OURS: Self = Self::because(Refusal::Other);

    pub(crate) const fn because(why: Refusal) -> Self {
        Self { why, fingerprint: None }
    }

    /// Reads what TLS says of a handshake that failed.
    pub(crate) fn of(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        Self::because(tls.map_or(Refusal::Other, refusal_of))
    }
}

fn refusal_of(error: &rustls::Error) -> Refusal {
    match error {
        rustls::Error::NoCertificatesPresented => Refusal::NoCertificate,
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::NotValidYet => Refusal::Expired,
            CertificateError::Revoked => Refusal::Revoked,
            CertificateError::UnknownIssuer => Refusal::Untrusted,
            _ => Refusal::BadCertificate,
        },
        rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. }
        | rustls::Error::PeerIncompatible(_) => Refusal::NotTls,
        _ => Refusal::Other,
    }
}

/// Says why a chain is not believed, so that TLS answers with the alert that fits.
pub(crate) fn alert_of(error: &ChainError) -> CertificateError {
    match error {
        ChainError::Expired(_) => CertificateError::Expired,
        ChainError::NotYetValid(_) => CertificateError::NotValidYet,
        ChainError::Revoked(_) => CertificateError::Revoked,
        ChainError::Usage(_) => CertificateError::InvalidPurpose,
        ChainError::UnknownIssuer => CertificateError::UnknownIssuer,
        ChainError::Length(_) | ChainError::Certificate(_) => CertificateError::BadEncoding,
        ChainError::Broken(_) => CertificateError::BadSignature,
    }
}

/// Says the same of a standing that does not admit a certificate.
pub(crate) fn refusal_of_cause(cause: Cause) -> Refusal {
    match cause {
        Cause::Revoked => Refusal::Revoked,
        Cause::UnknownDevice => Refusal::UnknownDevice,
        Cause::NotActive => Refusal::NotActive,
        Cause::Expired => Refusal::Expired,
        Cause::Granted
        | Cause::Forbidden
        | Cause::NotGranted
        | Cause::NoNamespace
        | Cause::TooWide
        | Cause::Quarantined
        | Cause::PolicyError
        | Cause::PolicyUnusable
        | Cause::ClientId
        | Cause::ServersOwn => Refusal::Other,
    }
}
