//! The master key, and its file: made once, readable by its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use super::file::{Content, Cost, MAX_FILE_BYTES};
use super::keeper::MAX_WRAPPED_BYTES;
use super::sealing::expand;
use super::{KeeperError, SealingKey, Unlock, VaultError, Way, random};
use crate::disk;

/// The key from which every other key under a data folder is derived.
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Makes a key and its file, which must not be there yet.
    pub fn create(
        path: &Path,
        unlock: &Unlock<'_>,
        source: &dyn SecureRandom,
    ) -> Result<Self, VaultError> {
        let key = Self(random(source)?);
        let text = key.to_text(unlock, source)?;
        let written = write_new(path, &text);
        written.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => VaultError::Exists(path.to_path_buf()),
            _ => VaultError::Io { path: path.to_path_buf(), source: e },
        })?;
        Ok(key)
    }

    /// Reads a key from its file.
    pub fn load(path: &Path, unlock: &Unlock<'_>) -> Result<Self, VaultError> {
        Self::parse(&read_private(path)?, path, unlock)
    }

    /// Reads a key from what stands in its file, or will; the path is for errors only.
    pub fn parse(text: &str, path: &Path, unlock: &Unlock<'_>) -> Result<Self, VaultError> {
        let malformed = |why| VaultError::Malformed { path: path.to_path_buf(), why };
        match (Content::parse(text).map_err(malformed)?, unlock) {
            (Content::Bare(key), Unlock::KeyFile) => Ok(Self(key)),
            (Content::Argon2id { cost, salt, sealed }, Unlock::Passphrase(passphrase)) => {
                let wrapping = wrapping_key(passphrase, &salt, &cost)
                    .ok_or(malformed("its costs are out of bounds"))?;
                let wrong = |_| VaultError::WrongPassphrase(path.to_path_buf());
                let key = SealingKey::new(&wrapping).open(CONTEXT, &sealed).map_err(wrong)?;
                let key = key
                    .as_slice()
                    .try_into()
                    .map_err(|_| malformed("the wrapped key is not 32 bytes"))?;
                Ok(Self(Zeroizing::new(key)))
            }
            (Content::Kept { kind, wrapped }, Unlock::Keeper(keeper)) if keeper.kind() == kind => {
                Ok(Self(keeper.open(&wrapped)?))
            }
            (content, _) => {
                Err(VaultError::OtherUnlock { path: path.to_path_buf(), found: content.way() })
            }
        }
    }

    /// Reads how a key's file is unlocked, and what a keeper wrapped, without unlocking it.
    pub fn inspect(path: &Path) -> Result<(Way, Option<Vec<u8>>), VaultError> {
        let malformed = |why| VaultError::Malformed { path: path.to_path_buf(), why };
        let content = Content::parse(&read_private(path)?).map_err(malformed)?;
        let way = content.way();
        match content {
            Content::Kept { wrapped, .. } => Ok((way, Some(wrapped))),
            Content::Bare(_) | Content::Argon2id { .. } => Ok((way, None)),
        }
    }

    /// Takes a key from elsewhere.
    pub fn from_bytes(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Derives the sealing key of a role.
    pub fn derive(&self, label: &str) -> SealingKey {
        SealingKey::new(&self.derive_secret(label))
    }

    /// Derives a role's secret, to be handed to its process.
    pub fn derive_secret(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let prk = Salt::new(HKDF_SHA256, b"palisade master v1").extract(self.0.as_ref());
        let mut secret = Zeroizing::new([0; 32]);
        expand(&prk, &[b"role ", label.as_bytes()], secret.as_mut());
        secret
    }

    /// Writes what is to stand in a file that is unlocked like this.
    pub fn to_text(
        &self,
        unlock: &Unlock<'_>,
        source: &dyn SecureRandom,
    ) -> Result<Zeroizing<String>, VaultError> {
        let content = match unlock {
            Unlock::KeyFile => Content::Bare(self.0.clone()),
            Unlock::Passphrase(passphrase) => {
                let n_chars = passphrase.chars().count();
                if n_chars < MIN_CHARS {
                    return Err(VaultError::ShortPassphrase(n_chars));
                }
                let (cost, salt) = (Cost::OURS, *random::<16>(source)?);
                // The costs are ours, so that they are within their bounds.
                let wrapping = wrapping_key(passphrase, &salt, &cost).ok_or(VaultError::Random)?;
                let sealed = SealingKey::new(&wrapping).seal(CONTEXT, self.0.as_ref(), source)?;
                Content::Argon2id { cost, salt, sealed }
            }
            Unlock::Keeper(keeper) => {
                let wrapped = keeper.wrap(&self.0)?;
                if !(1..=MAX_WRAPPED_BYTES).contains(&wrapped.len()) {
                    let text = format!("the keeper made {} bytes of the key", wrapped.len());
                    return Err(KeeperError::Unusable(text).into());
                }
                Content::Kept { kind: keeper.kind(), wrapped }
            }
        };
        Ok(content.to_text())
    }
}

/// Writes beside its place, so that a crash leaves no half key, and never over another.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let beside = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // A link, unlike a rename, does not replace what came into being meanwhile.
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    linked?;
    path.parent().map_or(Ok(()), disk::sync_dir)
}

/// Reads a small file after making sure that no one else may.
fn read_private(path: &Path) -> Result<Zeroizing<String>, VaultError> {
    let io = |source| VaultError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Permissions { path: path.to_path_buf(), mode });
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(VaultError::Owner { path: path.to_path_buf(), owner: metadata.uid(), user });
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES));
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or_default();
    file.take(limit).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// Makes the key that wraps the master key; none if argon2 has no such costs.
fn wrapping_key(passphrase: &str, salt: &[u8; 16], cost: &Cost) -> Option<Zeroizing<[u8; 32]>> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.as_bytes(), salt, key.as_mut()).ok()?;
    Some(key)
}

const CONTEXT: &str = "master key";
const MIN_CHARS: usize = 12;
