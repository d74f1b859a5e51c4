//! A P-256 key on the server's provider, as custody has it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use identity::{PublicKey, SignError, Signer};

pub(crate) struct Key {
    pub(crate) pair: EcdsaKeyPair,
    public: PublicKey,
}

impl Key {
    pub(crate) fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let public = PublicKey::p256(pair.public_key().as_ref()).unwrap();
        Self { pair, public }
    }

    /// Makes a request for it, in DER.
    pub(crate) fn request(&self) -> Vec<u8> {
        identity::request::Request::make(self).unwrap()
    }
}

impl Signer for Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| SignError("ECDSA on P-256 failed"))?.as_ref().to_vec())
    }
}
