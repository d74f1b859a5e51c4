//! A certificate request (PKCS#10): proof that the asker holds a key, and nothing more.
//!
//! Names and extensions in a request are not even read: what a certificate says comes from the
//! registry.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use der::asn1::{AnyRef, BitStringRef, SetOfVec};
use der::{Decode, Encode, Sequence};
use rustls_pki_types::SignatureVerificationAlgorithm;
use x509_cert::name::Name;
use x509_cert::request::{CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::issue::signature_algorithm;
use crate::key::{KeyError, PublicKey, SignError, Signer};

/// The largest request that is read, in bytes of DER.
pub const MAX_DER_LEN: usize = 4 * 1024;

/// A key whose holder proved that it has the private half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    key: PublicKey,
}

/// Bytes are not a request that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More bytes than a request has.
    #[error("the request has {0} bytes; at most {MAX_DER_LEN} are read")]
    TooLong(usize),
    /// The bytes are not PKCS#10 in DER.
    #[error("the request is not PKCS#10 in DER: {0}")]
    Malformed(String),
    /// Its key is not one that we take.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is not signed by the key that it asks for.
    #[error("the request is not signed by the key that it asks for")]
    Unproven,
}

/// The outer structure, with the signed part kept as it was received.
#[derive(Sequence)]
struct Envelope<'a> {
    info: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

impl Request {
    /// Reads a request in DER and checks that its key signed it.
    pub fn parse(
        der: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Self, RequestError> {
        if der.len() > MAX_DER_LEN {
            return Err(RequestError::TooLong(der.len()));
        }
        let malformed = |e: der::Error| RequestError::Malformed(e.to_string());
        let envelope = Envelope::from_der(der).map_err(malformed)?;
        let message = envelope.info.to_der().map_err(malformed)?;
        let info = CertReqInfo::from_der(&message).map_err(malformed)?;
        let key = PublicKey::from_spki(&info.public_key.to_der().map_err(malformed)?)?;
        if envelope.algorithm != signature_algorithm(key.algorithm()) {
            return Err(RequestError::Unproven);
        }
        let signature = envelope.signature.as_bytes().ok_or(RequestError::Unproven)?;
        let verifier = algorithms.iter().find(|algorithm| {
            algorithm.public_key_alg_id() == key.algorithm().public_key_id()
                && algorithm.signature_alg_id() == key.algorithm().signature_id()
        });
        let verifier = verifier.ok_or(RequestError::Unproven)?;
        let proven = verifier.verify_signature(key.raw(), &message, signature);
        proven.map_err(|_| RequestError::Unproven)?;
        Ok(Self { key })
    }

    /// Makes a request for a key, in DER.
    pub fn make(signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
        let encode = |_| SignError("the request does not encode");
        let key = signer.public_key();
        let info = CertReqInfo {
            version: Version::V1,
            subject: Name::default(),
            public_key: SubjectPublicKeyInfoOwned::from_der(key.spki()).map_err(encode)?,
            attributes: SetOfVec::new(),
        };
        let info = info.to_der().map_err(encode)?;
        let signature = signer.sign(&info)?;
        let envelope = Envelope {
            info: AnyRef::from_der(&info).map_err(encode)?,
            algorithm: signature_algorithm(key.algorithm()),
            signature: BitStringRef::from_bytes(&signature).map_err(encode)?,
        };
        envelope.to_der().map_err(encode)
    }

    /// Lends the proven key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Ed25519Key, P256Key, pure};
    use zeroize::Zeroizing;

    #[test]
    fn what_is_made_is_read_and_proven() {
        let p256 = P256Key::from_random(&Zeroizing::new([7; 32])).unwrap();
        let ed25519 = Ed25519Key::from_seed(&Zeroizing::new([7; 32])).unwrap();
        let signers: [&dyn Signer; 2] = [&p256, &ed25519];
        for signer in signers {
            let der = Request::make(signer).unwrap();
            assert_eq!(Request::parse(&der, pure::ALL).unwrap().key(), signer.public_key());
        }
    }

    #[test]
    fn no_flipped_bit_passes() {
        let key = P256Key::from_random(&Zeroizing::new([7; 32])).unwrap();
        let der = Request::make(&key).unwrap();
        for idx in 0..der.len() * 8 {
            let mut der = der.clone();
            der[idx / 8] ^= 1 << (idx % 8);
            let parsed = Request::parse(&der, pure::ALL);
            assert!(parsed.is_err(), "bit {idx} flipped unseen");
        }
    }

    #[test]
    fn a_long_request_is_refused_before_it_is_parsed() {
        assert_eq!(Request::parse(&[0x30; 5000], pure::ALL), Err(RequestError::TooLong(5000)));
    }
}
