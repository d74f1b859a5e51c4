//! Certificates that were revoked, as the handshake asks for them.
//!
//! The broker's task holds the standing and is the judge; this small set beside it is what lets a
//! handshake fail as a handshake. It is touched at handshakes and at changes, never by messages.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use identity::Fingerprint;

/// The set, shared between the broker's task, which writes it, and handshakes.
#[derive(Clone, Default)]
pub(crate) struct Revoked(Arc<RwLock<HashSet<Fingerprint>>>);

impl Revoked {
    /// Tells whether a certificate was revoked.
    pub(crate) fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(fingerprint)
    }

    /// Adds certificates.
    pub(crate) fn extend(&self, fingerprints: &[Fingerprint]) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(fingerprints);
    }

    /// Holds exactly these certificates from now on.
    pub(crate) fn replace(&self, fingerprints: &[Fingerprint]) {
        let fresh: HashSet<Fingerprint> = fingerprints.iter().copied().collect();
        let held =
            std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), fresh);
        drop(held); // after the lock
    }
}
