//! A claim: the one-time proof that lets a device in through the first door.
//!
//! Its text carries 256 secret bits and the fingerprint of the root authority, so that the device
//! can tell the real server from an impostor before it has any certificate of its own.

use alloc::format;
use alloc::string::String;
use core::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::fingerprint::Fingerprint;

/// What every claim's text starts with, so that people and secret scanners recognise it.
pub const PREFIX: &str = "palisade-claim-1";

/// A one-time secret bound to one device, and the root that the device is to trust.
pub struct Claim {
    secret: Zeroizing<[u8; 32]>,
    root: Fingerprint,
}

/// What the registry keeps of a claim: its hash, by which it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimDigest(pub [u8; 32]);

/// A text is not a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a claim looks like `{PREFIX}.SECRET.ROOT`, with 43 characters in each of the two last parts; copy it whole"
)]
pub struct ClaimError;

impl Claim {
    /// Makes a claim of 32 random bytes.
    pub fn from_random(secret: Zeroizing<[u8; 32]>, root: Fingerprint) -> Self {
        Self { secret, root }
    }

    /// Writes the text that is handed to the device.
    pub fn text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(Base64UrlUnpadded::encode_string(self.secret.as_ref()));
        let root = Base64UrlUnpadded::encode_string(self.root.as_bytes());
        Zeroizing::new(format!("{PREFIX}.{}.{root}", *secret))
    }

    /// Gives what the registry keeps. The secret has full entropy, so one plain hash suffices.
    pub fn digest(&self) -> ClaimDigest {
        let hash =
            Sha256::new().chain_update(b"palisade.claim.v1\0").chain_update(self.secret.as_ref());
        ClaimDigest(hash.finalize().into())
    }

    /// Gives the fingerprint of the root that the device is to trust.
    pub fn root(&self) -> Fingerprint {
        self.root
    }
}

impl FromStr for Claim {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let rest = text.trim().strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.'));
        let (secret, root) = rest.and_then(|rest| rest.split_once('.')).ok_or(ClaimError)?;
        let mut bytes = Zeroizing::new([0; 32]);
        decode(secret, &mut bytes)?;
        let mut fingerprint = [0; 32];
        decode(root, &mut fingerprint)?;
        Ok(Self { secret: bytes, root: Fingerprint::from_bytes(fingerprint) })
    }
}

fn decode(text: &str, into: &mut [u8; 32]) -> Result<(), ClaimError> {
    match Base64UrlUnpadded::decode(text, into) {
        Ok(bytes) if bytes.len() == 32 => Ok(()),
        Ok(_) | Err(_) => Err(ClaimError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim::from_random(Zeroizing::new([0xa5; 32]), Fingerprint::of_der(b"root"))
    }

    #[test]
    fn text_round_trips() {
        let text = claim().text();
        let parsed: Claim = text.parse().unwrap();
        assert_eq!(parsed.digest(), claim().digest());
        assert_eq!(parsed.root(), claim().root());
        assert!(format!("  {}\n", *text).parse::<Claim>().is_ok());
    }

    #[test]
    fn cut_lengthened_and_foreign_text_is_refused() {
        let text = claim().text();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Claim>().is_err(), "cut at {end}");
        }
        assert!(format!("{}A", *text).parse::<Claim>().is_err());
        assert!(text.replace("claim-1", "claim-2").parse::<Claim>().is_err());
    }

    #[test]
    fn the_digest_is_bound_to_its_purpose() {
        let plain: [u8; 32] = Sha256::digest([0xa5; 32]).into();
        assert_ne!(claim().digest().0, plain);
    }
}
