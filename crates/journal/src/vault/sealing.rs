//! Envelopes: version 1, key id 8 bytes, nonce 24 bytes, then ciphertext and tag.
//!
//! Each envelope has a key of its own, made by HKDF-SHA256 from the role's key and a random nonce
//! of 192 bits, and is sealed with AES-256-GCM under a fixed nonce. AES-GCM with random nonces of
//! 96 bits must stop after some 2^32 messages, since one repeated nonce gives the key away; here
//! two messages share a key only if 192 random bits repeat.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use super::{VaultError, random};

/// Seals what one role keeps at rest.
pub struct SealingKey {
    prk: Prk,
    id: [u8; 8],
}

impl SealingKey {
    /// Takes a role's secret, as `MasterKey::derive_secret` gives it.
    pub fn new(secret: &[u8; 32]) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"palisade sealing v1").extract(secret);
        let mut id = [0; 8];
        expand(&prk, &[b"key id"], &mut id);
        Self { prk, id }
    }

    /// Names the key, so that what it sealed can be found when it is replaced.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// Seals bytes for a context, the place that they belong to, such as `custody/issuing-key`.
    pub fn seal(
        &self,
        context: &str,
        plaintext: &[u8],
        source: &dyn SecureRandom,
    ) -> Result<Vec<u8>, VaultError> {
        let nonce = random::<NONCE_BYTES>(source)?;
        let mut envelope = Vec::with_capacity(HEADER_BYTES + plaintext.len() + TAG_BYTES);
        envelope.push(VERSION);
        envelope.extend(self.id);
        envelope.extend(nonce.iter());
        let aad = associated(&envelope, context);
        envelope.extend(plaintext);
        let (_, in_place) = envelope.split_at_mut(HEADER_BYTES);
        let key = self.message_key(&nonce)?;
        let tag = key.seal_in_place_separate_tag(fixed_nonce(), Aad::from(aad), in_place);
        envelope.extend(tag.map_err(|_| VaultError::Changed)?.as_ref());
        Ok(envelope)
    }

    /// Opens an envelope in the context it was sealed for.
    pub fn open(&self, context: &str, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let found = key_id(envelope).ok_or(VaultError::NoEnvelope)?;
        if found != self.id {
            return Err(VaultError::OtherKey { found: hex(&found), expected: hex(&self.id) });
        }
        let (header, sealed) =
            envelope.split_at_checked(HEADER_BYTES).ok_or(VaultError::NoEnvelope)?;
        let nonce = header.last_chunk().ok_or(VaultError::NoEnvelope)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let key = self.message_key(nonce)?;
        let opened =
            key.open_in_place(fixed_nonce(), Aad::from(associated(header, context)), &mut bytes);
        let n_bytes = opened.map_err(|_| VaultError::Changed)?.len();
        bytes.truncate(n_bytes);
        Ok(bytes)
    }

    fn message_key(&self, nonce: &[u8; NONCE_BYTES]) -> Result<LessSafeKey, VaultError> {
        let mut secret = Zeroizing::new([0; 32]);
        expand(&self.prk, &[b"message", nonce], secret.as_mut());
        let key =
            UnboundKey::new(&AES_256_GCM, secret.as_ref()).map_err(|_| VaultError::NoEnvelope)?;
        Ok(LessSafeKey::new(key))
    }
}

/// Reads which key an envelope was sealed with; none if it is no envelope.
pub fn key_id(envelope: &[u8]) -> Option<[u8; 8]> {
    match envelope.split_first_chunk::<HEADER_BYTES>() {
        Some(([VERSION, rest @ ..], sealed)) if sealed.len() >= TAG_BYTES => {
            rest.first_chunk().copied()
        }
        _ => None,
    }
}

/// What the tag covers beside the plaintext.
fn associated(header: &[u8], context: &str) -> Vec<u8> {
    [header, context.as_bytes()].concat()
}

/// The key is used for one message only.
fn fixed_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

pub(super) fn expand(prk: &Prk, info: &[&[u8]], out: &mut [u8]) {
    let expanded = prk.expand(info, Length(out.len())).and_then(|okm| okm.fill(out));
    expanded.expect("HKDF-SHA256 gives up to 8160 bytes, and 32 at most are asked for");
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const HEADER_BYTES: usize = 1 + 8 + NONCE_BYTES;
const TAG_BYTES: usize = 16;
