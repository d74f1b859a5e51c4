//! The master key's file: two lines of text, made once, readable by its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::SecureRandom;
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::sealing::expand;
use super::{SealingKey, Unlock, VaultError, random};
use crate::disk;

/// The key from which every other key under a data folder is derived.
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// How hard a passphrase is to guess; kept in the file, so that it can be raised later.
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl MasterKey {
    /// Makes a key and its file, which must not be there yet.
    pub fn create(
        path: &Path,
        unlock: &Unlock,
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
    pub fn load(path: &Path, unlock: &Unlock) -> Result<Self, VaultError> {
        let text = read_private(path)?;
        let malformed = |why| VaultError::Malformed { path: path.to_path_buf(), why };
        let line = text.strip_prefix(FIRST_LINE).ok_or(malformed("its first line is another"))?;
        let line = line.strip_suffix('\n').ok_or(malformed("it was cut off"))?;
        let (found, rest) = line.split_once(' ').ok_or(malformed("its second line is another"))?;
        match (found, unlock) {
            ("key", Unlock::KeyFile) => {
                bytes(rest).map(Self).ok_or(malformed("the key is not 32 bytes in base64"))
            }
            ("argon2id", Unlock::Passphrase(passphrase)) => {
                let (cost, salt, sealed) =
                    parse_wrapped(rest).ok_or(malformed("its second line is another"))?;
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
            ("argon2id", Unlock::KeyFile) => Err(VaultError::OtherUnlock {
                path: path.to_path_buf(),
                found: "is wrapped by a passphrase",
                advice: "give the passphrase",
            }),
            ("key", Unlock::Passphrase(_)) => Err(VaultError::OtherUnlock {
                path: path.to_path_buf(),
                found: "is not wrapped by a passphrase",
                advice: "leave the passphrase out",
            }),
            _ => Err(malformed("it is unlocked in a way that this version does not know")),
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

    fn to_text(
        &self,
        unlock: &Unlock,
        source: &dyn SecureRandom,
    ) -> Result<Zeroizing<String>, VaultError> {
        let mut text = Zeroizing::new(FIRST_LINE.to_string());
        match unlock {
            Unlock::KeyFile => {
                let key = Zeroizing::new(Base64::encode_string(self.0.as_ref()));
                text.push_str("key ");
                text.push_str(&key);
            }
            Unlock::Passphrase(passphrase) => {
                let n_chars = passphrase.chars().count();
                if n_chars < MIN_CHARS {
                    return Err(VaultError::ShortPassphrase(n_chars));
                }
                let salt = random::<16>(source)?;
                // The costs are ours, so that they are within their bounds.
                let wrapping = wrapping_key(passphrase, &salt, &COST).ok_or(VaultError::Random)?;
                let sealed = SealingKey::new(&wrapping).seal(CONTEXT, self.0.as_ref(), source)?;
                let Cost { memory_kib, passes, lanes } = COST;
                let (salt, sealed) =
                    (Base64::encode_string(salt.as_ref()), Base64::encode_string(&sealed));
                text.push_str(&format!("argon2id {memory_kib} {passes} {lanes} {salt} {sealed}"));
            }
        }
        text.push('\n');
        Ok(text)
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

fn parse_wrapped(line: &str) -> Option<(Cost, [u8; 16], Vec<u8>)> {
    let mut words = line.split(' ');
    let mut number = || words.next()?.parse().ok();
    let cost = Cost { memory_kib: number()?, passes: number()?, lanes: number()? };
    let salt = Base64::decode_vec(words.next()?).ok()?.try_into().ok()?;
    let sealed = Base64::decode_vec(words.next()?).ok()?;
    if words.next().is_some() { None } else { Some((cost, salt, sealed)) }
}

/// Makes the key that wraps the master key; none if the costs are more than a start may take.
fn wrapping_key(passphrase: &str, salt: &[u8; 16], cost: &Cost) -> Option<Zeroizing<[u8; 32]>> {
    if cost.memory_kib > MAX_MEMORY_KIB || cost.passes > MAX_PASSES {
        return None;
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.as_bytes(), salt, key.as_mut()).ok()?;
    Some(key)
}

fn bytes(base64: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    let n_bytes = Base64::decode(base64, bytes.as_mut()).ok()?.len();
    if n_bytes == 32 { Some(bytes) } else { None }
}

const FIRST_LINE: &str = "palisade master key v1\n";
const CONTEXT: &str = "master key";
const MIN_CHARS: usize = 12;
const MAX_FILE_BYTES: usize = 4096;
/// RFC 9106 §4, the second recommended choice: 64 MiB, three passes, four lanes.
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
