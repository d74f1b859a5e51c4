//! What a TPM sealed, as bytes: version 1, PCRs (3 bytes, a bit each), the name of the storage key
//! (34 bytes), policy (32 bytes, only with PCRs), the object's unique part (32 bytes) and its
//! private part.
//!
//! The rest of the object's public part is always the same, so that no library reads it from here.

use std::collections::BTreeSet;

/// What was sealed, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sealed<'a> {
    /// The PCRs that must be as they were.
    pub(crate) pcrs: BTreeSet<u8>,
    /// The name of the key under which it was sealed.
    pub(crate) storage_name: [u8; NAME_BYTES],
    /// What must have been shown of the PCRs.
    pub(crate) policy: Option<[u8; DIGEST_BYTES]>,
    /// What makes the object's public part its own.
    pub(crate) unique: [u8; DIGEST_BYTES],
    /// What only the TPM reads.
    pub(crate) private: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Reads it; none if it is something else.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let ([VERSION], rest) = bytes.split_first_chunk()? else { return None };
        let ([low, middle, high], rest) = rest.split_first_chunk()?;
        let bits = u32::from_le_bytes([*low, *middle, *high, 0]);
        let pcrs: BTreeSet<u8> = (0..24).filter(|pcr| bits >> pcr & 1 == 1).collect();
        let (storage_name, rest) = rest.split_first_chunk()?;
        let (policy, rest) = match pcrs.is_empty() {
            true => (None, rest),
            false => {
                let (policy, rest) = rest.split_first_chunk()?;
                (Some(*policy), rest)
            }
        };
        let (unique, private) = rest.split_first_chunk()?;
        (1..=MAX_PRIVATE_BYTES).contains(&private.len()).then_some(Self {
            pcrs,
            storage_name: *storage_name,
            policy,
            unique: *unique,
            private,
        })
    }

    /// Writes it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let bits = self.pcrs.iter().fold(0_u32, |bits, pcr| bits | 1 << pcr);
        let [low, middle, high, _] = bits.to_le_bytes();
        let policy = self.policy.as_ref().map_or(&[][..], |policy| policy.as_slice());
        let head = [VERSION, low, middle, high];
        [head.as_slice(), &self.storage_name, policy, &self.unique, self.private].concat()
    }
}

const VERSION: u8 = 1;
/// The name of an object: which hash, and the hash of its public part.
pub(crate) const NAME_BYTES: usize = 34;
/// SHA-256.
pub(crate) const DIGEST_BYTES: usize = 32;
const MAX_PRIVATE_BYTES: usize = 512;

#[cfg(test)]
mod tests;
