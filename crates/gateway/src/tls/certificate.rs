//! The certificate that the gateway shows: asked from control, checked, renewed before it ends.

use std::sync::Arc;
use std::time::Duration;

use identity::certificate::ServerName;
use identity::chain::{ChainError, Usage};
use identity::{Anchor, Chain, Holder, SignError, Signer, Time, request};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use super::key::ServerKey;

/// Keeps the gateway's own certificate in force.
pub(crate) struct Presented {
    anchor: Anchor,
    names: Vec<ServerName>,
    /// The key that a certificate was asked for.
    asked: Option<Asked>,
    renew_at: Option<Time>,
    current: watch::Sender<Option<Arc<CertifiedKey>>>,
}

struct Asked {
    key: ServerKey,
    at: Time,
}

/// A chain is not one that the gateway can show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PresentError {
    /// None was asked for.
    #[error("a server certificate came that was not asked for")]
    NotAsked,
    /// The chain does not verify.
    #[error("the server certificate is not to be believed: {0}")]
    Chain(#[from] ChainError),
    /// It is for another key.
    #[error("the server certificate is for another key than the one that was asked for")]
    OtherKey,
    /// It lacks a name under which devices reach the gateway.
    #[error("the server certificate lacks the name `{0}`; control must know the same names")]
    LacksName(ServerName),
}

impl Presented {
    pub(crate) fn new(
        anchor: Anchor,
        names: Vec<ServerName>,
        current: watch::Sender<Option<Arc<CertifiedKey>>>,
    ) -> Self {
        Self { anchor, names, asked: None, renew_at: None, current }
    }

    /// Makes a key and a request for its certificate, in DER.
    pub(crate) fn ask(&mut self, now: Time) -> anyhow::Result<Vec<u8>> {
        let key = ServerKey::generate()?;
        let csr =
            request::Request::make(&key).map_err(|error: SignError| anyhow::anyhow!(error))?;
        self.asked = Some(Asked { key, at: now });
        Ok(csr)
    }

    /// Takes the answer, and shows it from now on.
    pub(crate) fn install(&mut self, chain: &[Vec<u8>], now: Time) -> Result<(), PresentError> {
        let asked = self.asked.as_ref().ok_or(PresentError::NotAsked)?;
        let parsed = Chain::parse(chain.iter().map(Vec::as_slice))?;
        let algorithms = super::provider().signature_verification_algorithms.all;
        let anchors = std::slice::from_ref(&self.anchor);
        let leaf = parsed.verify(anchors, |_| false, Usage::Server, now, algorithms)?;
        if leaf.key() != asked.key.public_key() {
            return Err(PresentError::OtherKey);
        }
        let held = match leaf.holder() {
            Holder::Server(names) => names.as_slice(),
            Holder::Device(_) | Holder::Authority { .. } | Holder::Stranger => &[],
        };
        if let Some(name) = self.names.iter().find(|name| !held.contains(name)) {
            return Err(PresentError::LacksName(name.clone()));
        }
        let lifetime = leaf.not_after().since(now).unwrap_or_default();
        self.renew_at = Some(leaf.not_after().minus(lifetime / 3));
        let ders = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let certified = CertifiedKey::new(ders, Arc::clone(asked.key.signing()));
        self.asked = None;
        self.current.send_replace(Some(Arc::new(certified)));
        Ok(())
    }

    /// Tells whether there is a certificate to show.
    pub(crate) fn is_there(&self) -> bool {
        self.renew_at.is_some()
    }

    /// Tells whether it is time to ask for the next one.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        let asked_lately = self.asked.as_ref().is_some_and(|asked| now < asked.at.plus(PATIENCE));
        self.renew_at.is_some_and(|at| at <= now) && !asked_lately
    }
}

/// How long an answer is waited for before it is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
