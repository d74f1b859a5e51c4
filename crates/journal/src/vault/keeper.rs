//! What hardware must do to keep the master key: wrap it, and open what it wrapped.

use zeroize::Zeroizing;

/// The longest wrapped key that a keeper may make and a file may hold.
pub(super) const MAX_WRAPPED_BYTES: usize = 1024;

/// Holds a key that never leaves it, and wraps the master key with that.
pub trait Keeper {
    /// Names its kind, which stands in the file.
    fn kind(&self) -> Kind;

    /// Wraps the master key, with authentication; no more than 1024 bytes.
    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>, KeeperError>;

    /// Opens what it wrapped; any bytes give the key or an error.
    fn open(&self, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeeperError>;
}

/// A kind of keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A token behind a PKCS#11 module.
    Pkcs11,
    /// A TPM 2.0.
    Tpm,
}

/// A keeper can't wrap or open.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// It is not there, cannot be reached, or lacks what is needed; the text says what to do.
    #[error("{0}")]
    Unusable(String),
    /// It is there and says no: a wrong PIN, another token, another TPM; the text says what to do.
    #[error("{0}")]
    Refused(String),
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Pkcs11, Self::Tpm];

    /// Gives the word that stands in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pkcs11 => "pkcs11",
            Self::Tpm => "tpm",
        }
    }
}
