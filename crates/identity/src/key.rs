//! Public keys, and signing and verifying with them.
//!
//! Two algorithms: ECDSA on P-256 with SHA-256 (what devices and TLS use) and Ed25519 (what the
//! record and signed documents use). This crate's own signers are pure Rust, for a device; a
//! server signs with its provider or an HSM behind the same `Signer`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use der::asn1::{BitString, ObjectIdentifier};
use der::{Any, Decode as _, Encode as _};
use ed25519_dalek::Signer as _;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use p256::ecdsa::signature::Verifier as _;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use sha2::{Digest, Sha256};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use zeroize::Zeroizing;

pub(crate) const OID_EC_PUBLIC_KEY: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const OID_ECDSA_SHA256: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
pub(crate) const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256; signatures in DER.
    EcdsaP256,
    /// Ed25519 (RFC 8032); signatures of 64 bytes.
    Ed25519,
}

/// A public key that was parsed and whose algorithm we know.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    algorithm: Algorithm,
    spki: Box<[u8]>,
    raw: Box<[u8]>,
}

/// Bytes are not a public key that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not a SubjectPublicKeyInfo in DER.
    #[error("the key is not a SubjectPublicKeyInfo in DER")]
    Malformed,
    /// The algorithm is not one of ours.
    #[error("the key's algorithm is `{0}`; use ECDSA on P-256 or Ed25519")]
    Unsupported(ObjectIdentifier),
    /// The bytes do not lie on the curve, or are a point of small order.
    #[error("the key is not a point of its curve")]
    NotOnCurve,
    /// The bytes are not a private key in PKCS#8.
    #[error("the private key is not PKCS#8 in PEM or DER")]
    MalformedPrivate,
}

/// A signature does not match its message and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;

/// A key could not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key could not sign: {0}")]
pub struct SignError(pub &'static str);

/// Signs messages with one key, wherever that key lives.
pub trait Signer {
    /// Lends the public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs a message (which is hashed as the algorithm demands).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoOwned::from_der(der).map_err(|_| KeyError::Malformed)?;
        let raw = spki.subject_public_key.as_bytes().ok_or(KeyError::Malformed)?;
        let key = match spki.algorithm.oid {
            OID_EC_PUBLIC_KEY => {
                let curve = spki.algorithm.parameters.ok_or(KeyError::Malformed)?;
                let curve: ObjectIdentifier = curve.decode_as().map_err(|_| KeyError::Malformed)?;
                if curve != OID_P256 {
                    return Err(KeyError::Unsupported(curve));
                }
                Self::p256(raw)?
            }
            OID_ED25519 => Self::ed25519(raw)?,
            oid => return Err(KeyError::Unsupported(oid)),
        };
        // Invariant: one key has one encoding, so that equal keys are equal bytes.
        if key.spki.as_ref() != der {
            return Err(KeyError::Malformed);
        }
        Ok(key)
    }

    /// Reads an uncompressed P-256 point (65 bytes).
    pub fn p256(point: &[u8]) -> Result<Self, KeyError> {
        if point.len() != 65 {
            return Err(KeyError::NotOnCurve);
        }
        p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| KeyError::NotOnCurve)?;
        let parameters = Any::from(&OID_P256);
        Self::encode(Algorithm::EcdsaP256, OID_EC_PUBLIC_KEY, Some(parameters), point)
    }

    /// Reads an Ed25519 point (32 bytes), refusing those of small order.
    pub fn ed25519(point: &[u8]) -> Result<Self, KeyError> {
        let bytes = point.try_into().map_err(|_| KeyError::NotOnCurve)?;
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotOnCurve)?;
        if key.is_weak() {
            return Err(KeyError::NotOnCurve);
        }
        Self::encode(Algorithm::Ed25519, OID_ED25519, None, point)
    }

    fn encode(
        algorithm: Algorithm,
        oid: ObjectIdentifier,
        parameters: Option<Any>,
        raw: &[u8],
    ) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned { oid, parameters },
            subject_public_key: BitString::from_bytes(raw).map_err(|_| KeyError::Malformed)?,
        };
        let spki = spki.to_der().map_err(|_| KeyError::Malformed)?;
        Ok(Self { algorithm, spki: spki.into(), raw: raw.into() })
    }

    /// Names the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Lends the SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Lends the bare point: 65 bytes for P-256, 32 for Ed25519.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Gives SHA-256 over the SubjectPublicKeyInfo, by which keys are told apart.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.spki).into()
    }

    /// Checks a signature over a message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match self.algorithm {
            Algorithm::EcdsaP256 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&self.raw)
                    .map_err(|_| BadSignature)?;
                let signature =
                    p256::ecdsa::DerSignature::try_from(signature).map_err(|_| BadSignature)?;
                key.verify(message, &signature).map_err(|_| BadSignature)
            }
            Algorithm::Ed25519 => {
                let raw = self.raw.as_ref().try_into().map_err(|_| BadSignature)?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(raw).map_err(|_| BadSignature)?;
                let signature =
                    ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                // Strict: one message and key have no second signature by tweaking bits.
                key.verify_strict(message, &signature).map_err(|_| BadSignature)
            }
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:", self.algorithm)?;
        self.digest().iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<C> Encode<C> for PublicKey {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.spki)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for PublicKey {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Self::from_spki(d.bytes()?).map_err(|e| decode::Error::message(e).at(at))
    }
}

/// A P-256 key in memory, signing in pure Rust; wiped when dropped.
pub struct P256Key {
    key: p256::ecdsa::SigningKey,
    public: PublicKey,
}

impl P256Key {
    /// Makes a key from 32 random bytes; the few values that are no scalar of the curve give none.
    pub fn from_random(bytes: &Zeroizing<[u8; 32]>) -> Option<Self> {
        let key = p256::ecdsa::SigningKey::from_slice(bytes.as_ref()).ok()?;
        Self::with_key(key).ok()
    }

    /// Reads PKCS#8 in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key =
            p256::ecdsa::SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::MalformedPrivate)?;
        Self::with_key(key)
    }

    fn with_key(key: p256::ecdsa::SigningKey) -> Result<Self, KeyError> {
        let public = PublicKey::p256(key.verifying_key().to_sec1_point(false).as_bytes())?;
        Ok(Self { key, public })
    }

    /// Writes PKCS#8 in PEM.
    pub fn to_pem(&self) -> Zeroizing<alloc::string::String> {
        // Writing a scalar in memory cannot fail; an empty text would be refused by every reader.
        self.key.to_pkcs8_pem(LineEnding::LF).unwrap_or_default()
    }

    /// Writes PKCS#8 in DER.
    pub fn to_der(&self) -> Zeroizing<Vec<u8>> {
        self.key.to_pkcs8_der().map(|document| document.to_bytes()).unwrap_or_default()
    }
}

impl Signer for P256Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        // RFC 6979: deterministic, so that no bad random source can give the key away.
        let signature: p256::ecdsa::DerSignature =
            self.key.try_sign(message).map_err(|_| SignError("ECDSA on P-256 failed"))?;
        Ok(signature.as_bytes().to_vec())
    }
}

/// An Ed25519 key in memory, signing in pure Rust; wiped when dropped.
pub struct Ed25519Key {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl Ed25519Key {
    /// Makes the key of a 32-byte seed.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey::ed25519(key.verifying_key().as_bytes())?;
        Ok(Self { key, public })
    }
}

impl Signer for Ed25519Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.key.sign(message).to_bytes().to_vec())
    }
}

/// Pure-Rust verification for certificate chains, where no provider is at hand.
pub mod pure {
    use super::{Algorithm, PublicKey};
    use rustls_pki_types::{
        AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
    };

    #[derive(Debug)]
    struct Pure(Algorithm);

    impl SignatureVerificationAlgorithm for Pure {
        fn verify_signature(
            &self,
            key: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<(), InvalidSignature> {
            let key = match self.0 {
                Algorithm::EcdsaP256 => PublicKey::p256(key),
                Algorithm::Ed25519 => PublicKey::ed25519(key),
            };
            let key = key.map_err(|_| InvalidSignature)?;
            key.verify(message, signature).map_err(|_| InvalidSignature)
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            match self.0 {
                Algorithm::EcdsaP256 => alg_id::ECDSA_P256,
                Algorithm::Ed25519 => alg_id::ED25519,
            }
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            match self.0 {
                Algorithm::EcdsaP256 => alg_id::ECDSA_SHA256,
                Algorithm::Ed25519 => alg_id::ED25519,
            }
        }
    }

    /// ECDSA on P-256 with SHA-256, and Ed25519.
    pub static ALL: &[&dyn SignatureVerificationAlgorithm] =
        &[&Pure(Algorithm::EcdsaP256), &Pure(Algorithm::Ed25519)];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p256() -> P256Key {
        P256Key::from_random(&Zeroizing::new([7; 32])).unwrap()
    }

    fn ed25519() -> Ed25519Key {
        Ed25519Key::from_seed(&Zeroizing::new([7; 32])).unwrap()
    }

    #[test]
    fn what_a_key_signs_it_verifies_and_nothing_else() {
        let keys: [&dyn Signer; 2] = [&p256(), &ed25519()];
        for key in keys {
            let signature = key.sign(b"open the valve").unwrap();
            assert_eq!(key.public_key().verify(b"open the valve", &signature), Ok(()));
            assert_eq!(key.public_key().verify(b"open the valvf", &signature), Err(BadSignature));
            assert_eq!(
                key.public_key().verify(b"open the valve", &signature[1..]),
                Err(BadSignature)
            );
            assert_eq!(key.public_key().verify(b"open the valve", &[]), Err(BadSignature));
        }
    }

    #[test]
    fn public_keys_round_trip() {
        for key in [p256().public, ed25519().public] {
            assert_eq!(PublicKey::from_spki(key.spki()), Ok(key.clone()));
            let cbor = minicbor::to_vec(&key).unwrap();
            assert_eq!(minicbor::decode::<PublicKey>(&cbor).unwrap(), key);
        }
    }

    #[test]
    fn private_key_round_trips_through_pem() {
        let pem = p256().to_pem();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(P256Key::from_pem(&pem).unwrap().public, p256().public);
    }

    #[test]
    fn points_off_the_curve_and_of_small_order_are_refused() {
        let mut point = [0xff; 65];
        point[0] = 4;
        assert_eq!(PublicKey::p256(&point), Err(KeyError::NotOnCurve));
        assert_eq!(PublicKey::p256(&[0]), Err(KeyError::NotOnCurve));
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::ed25519(&identity), Err(KeyError::NotOnCurve));
    }

    #[test]
    fn a_second_encoding_of_a_key_is_refused() {
        let mut der = p256().public.spki().to_vec();
        der.push(0);
        assert_eq!(PublicKey::from_spki(&der), Err(KeyError::Malformed));
    }

    #[test]
    fn rfc_8032_test_1_verifies() {
        let key = PublicKey::ed25519(&hex(
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ))
        .unwrap();
        let signature = hex(concat!(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ));
        assert_eq!(key.verify(b"", &signature), Ok(()));
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }
}
