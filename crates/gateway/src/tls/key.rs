//! The server's own key: made at start, never written down.

use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use identity::{PublicKey, SignError, Signer};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A P-256 key in memory.
pub(crate) struct ServerKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
    signing: Arc<dyn SigningKey>,
}

impl ServerKey {
    /// Makes a key.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let failed = "the server's key could not be made";
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).context(failed)?;
        let public = PublicKey::p256(pair.public_key().as_ref()).context(failed)?;
        // The document wipes itself when dropped.
        let pkcs8 = pair.to_pkcs8v1().context(failed)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_ref()));
        let signing = any_ecdsa_type(&der).context(failed)?;
        Ok(Self { pair, public, signing })
    }

    /// Lends the key as TLS signs with it.
    pub(crate) fn signing(&self) -> &Arc<dyn SigningKey> {
        &self.signing
    }
}

impl Signer for ServerKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| SignError("the server's key does not sign"))?;
        Ok(signature.as_ref().to_vec())
    }
}
