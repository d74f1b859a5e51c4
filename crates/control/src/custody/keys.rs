//! The signers in custody, on the server's provider.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use identity::{PublicKey, SignError, Signer};
use zeroize::Zeroizing;

use super::CustodyError;

/// ECDSA on P-256.
pub(crate) struct P256Signer {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

/// Ed25519.
pub(crate) struct Ed25519Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl P256Signer {
    pub(crate) fn generate() -> Result<Self, CustodyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        Self::with_pair(pair.map_err(|_| CustodyError::Key("no P-256 key could be made"))?)
    }

    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, CustodyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        Self::with_pair(pair.map_err(|_| CustodyError::Damaged("P-256 key"))?)
    }

    fn with_pair(pair: EcdsaKeyPair) -> Result<Self, CustodyError> {
        let public = PublicKey::p256(pair.public_key().as_ref());
        let public = public.map_err(|_| CustodyError::Damaged("P-256 key"))?;
        Ok(Self { pair, public })
    }

    pub(crate) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
        let der =
            self.pair.to_pkcs8v1().map_err(|_| CustodyError::Key("the key does not encode"))?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }
}

impl Signer for P256Signer {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| SignError("ECDSA on P-256 failed"))?.as_ref().to_vec())
    }
}

impl Ed25519Signer {
    pub(crate) fn from_seed(seed: &[u8]) -> Result<Self, CustodyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        let pair = pair.map_err(|_| CustodyError::Damaged("Ed25519 key"))?;
        let public = PublicKey::ed25519(pair.public_key().as_ref());
        let public = public.map_err(|_| CustodyError::Damaged("Ed25519 key"))?;
        Ok(Self { pair, public })
    }
}

impl Signer for Ed25519Signer {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.pair.sign(message).as_ref().to_vec())
    }
}
