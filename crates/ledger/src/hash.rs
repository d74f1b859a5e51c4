//! SHA-256 hashes of leaves and nodes, kept apart by a first byte as RFC 6962 demands.

use core::fmt;
use core::str::FromStr;

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

/// The hash of a leaf, a node or a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// A text is not 32 bytes in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 32 bytes in base64 (44 characters)")]
pub struct HashError;

/// Hashes the bytes of an event, as they were written, into its leaf.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    // RFC 6962 §2.1: MTH({d(0)}) = SHA-256(0x00 || d(0)).
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// Hashes two neighbours into their parent.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // RFC 6962 §2.1: SHA-256(0x01 || left || right).
    let mut input = [1; 65];
    input[1..33].copy_from_slice(&left.0);
    input[33..].copy_from_slice(&right.0);
    Hash(Sha256::digest(input).into())
}

/// Hashes 256 neighbours into the root of their tile.
pub fn tile_hash(hashes: &[Hash; 256]) -> Hash {
    let mut row = *hashes;
    let mut n_hashes = row.len();
    while n_hashes > 1 {
        n_hashes /= 2;
        for idx in 0..n_hashes {
            row[idx] = node_hash(&row[2 * idx], &row[2 * idx + 1]);
        }
    }
    row[0]
}

impl Hash {
    /// The number of bytes in a hash.
    pub const BYTES: usize = 32;

    /// The root of a tree without leaves.
    pub fn of_nothing() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// Lends the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64::encode_string(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let mut bytes = [0; 32];
        // The buffer may be longer than what a text decodes to, hence the second check.
        match Base64::decode(text, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
            Ok(_) | Err(_) => Err(HashError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn leaves_and_nodes_have_the_hashes_of_certificate_transparency() {
        // Known from CT's own test data: the empty leaf and the empty tree.
        assert_eq!(
            hex(&leaf_hash(b"").0),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            hex(&Hash::of_nothing().0),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let pair = node_hash(&leaf_hash(b""), &leaf_hash(b"\0"));
        assert_eq!(
            hex(&pair.0),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
    }

    #[test]
    fn text_round_trips_and_other_lengths_are_refused() {
        let hash = leaf_hash(b"a");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for text in ["", "AAAA", "not base64", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J="] {
            assert_eq!(text.parse::<Hash>(), Err(HashError), "{text}");
        }
    }

    fn hex(bytes: &[u8]) -> alloc::string::String {
        bytes.iter().map(|byte| alloc::format!("{byte:02x}")).collect()
    }
}
