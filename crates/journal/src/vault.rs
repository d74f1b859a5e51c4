//! Sealing at rest: one master key, a key for each role derived from it, envelopes around secrets.
//!
//! The master key lies in one file that only its owner may read: bare, or wrapped by a passphrase
//! or by a keeper, which is hardware that this crate knows as a trait only. Roles never see it: the
//! supervisor derives each role's key and hands over that alone. Keys have no `Debug` and no
//! `Clone`, and are wiped when dropped.

pub(crate) mod file;
mod keeper;
mod master;
mod sealing;

use std::fmt;
use std::path::PathBuf;

pub use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

pub use keeper::{Keeper, KeeperError, Kind};
pub use master::MasterKey;
pub use sealing::{SealingKey, key_id};

/// How the master key's file is unlocked, with what that takes.
pub enum Unlock<'a> {
    /// The file itself is the key: whoever can read it can read all.
    KeyFile,
    /// The file holds the key wrapped by a passphrase (argon2id).
    Passphrase(&'a str),
    /// The file holds the key wrapped by what only this keeper has.
    Keeper(&'a dyn Keeper),
}

/// How a master key's file says that it is unlocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The file itself is the key.
    KeyFile,
    /// By a passphrase.
    Passphrase,
    /// By a keeper of this kind.
    Keeper(Kind),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyFile => "is the bare key",
            Self::Passphrase => "is wrapped by a passphrase",
            Self::Keeper(Kind::Pkcs11) => "is wrapped by a key on a PKCS#11 token",
            Self::Keeper(Kind::Tpm) => "is sealed by a TPM",
        })
    }
}

/// A key can't be had, or something does not seal or open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key's file could not be used.
    #[error("`{}` could not be used: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is a key already.
    #[error("`{}` exists already; a new master key would make all that is sealed unreadable", .0.display())]
    Exists(PathBuf),
    /// Others may read the key's file.
    #[error("`{}` has permissions `{mode:04o}`, so that others may read it; run `chmod 600 {}`", .path.display(), .path.display())]
    Permissions {
        /// Which.
        path: PathBuf,
        /// What it has.
        mode: u32,
    },
    /// Someone else owns the key's file.
    #[error("`{}` belongs to user `{owner}`, this program runs as `{user}`; run `chown {user} {}`", .path.display(), .path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// The file is no master key.
    #[error("`{}` is no master key: {why}; restore it from a backup", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The file is unlocked in another way.
    #[error("`{}` {found}", .path.display())]
    OtherUnlock {
        /// Which.
        path: PathBuf,
        /// How the file is unlocked.
        found: Way,
    },
    /// The keeper does not do it.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The passphrase is wrong.
    #[error("the passphrase does not unlock `{}`", .0.display())]
    WrongPassphrase(PathBuf),
    /// The passphrase is too short to make a key from.
    #[error("the passphrase has `{0}` characters; use at least 12")]
    ShortPassphrase(usize),
    /// Random numbers can't be had.
    #[error("the system gives no random numbers")]
    Random,
    /// It was sealed under another key.
    #[error("it is sealed under key `{found}`, this is key `{expected}`")]
    OtherKey {
        /// The key that it names.
        found: String,
        /// The key that was tried.
        expected: String,
    },
    /// It is no envelope of a version that we read.
    #[error("this is no sealed envelope of version 1")]
    NoEnvelope,
    /// It was changed, or sealed in another context.
    #[error("the sealed bytes do not open; they were changed, or belong elsewhere")]
    Changed,
}

pub(crate) fn random<const N: usize>(
    random: &dyn SecureRandom,
) -> Result<Zeroizing<[u8; N]>, VaultError> {
    let mut bytes = Zeroizing::new([0; N]);
    random.fill(bytes.as_mut()).map_err(|_| VaultError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
