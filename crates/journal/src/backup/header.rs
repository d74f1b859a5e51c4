//! The first two lines of a backup: its format, and how the key is made from the passphrase.
//!
//! ```text
//! palisade backup v1
//! argon2id MEMORY_KIB PASSES LANES SALT CHECK
//! ```
//!
//! Salt and check are base64. The check is made from the key, so that a wrong passphrase is told
//! from damage; it says nothing about the key.

use std::io::{BufRead, Read};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::BackupError;

/// What the second line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cost: Cost,
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) check: [u8; CHECK_BYTES],
}

/// How hard the passphrase is to guess; kept in the file, so that it can be raised later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

/// What is made from passphrase and salt.
pub(crate) struct Keys {
    prk: Prk,
}

impl Header {
    /// Makes the header of a new backup, and its key.
    pub(crate) fn make(
        passphrase: &str,
        salt: [u8; SALT_BYTES],
        cost: Cost,
    ) -> Result<(Self, LessSafeKey), BackupError> {
        let keys = Keys::of(passphrase, &salt, cost)?;
        Ok((Self { cost, salt, check: keys.check() }, keys.sealing()?))
    }

    /// Makes the key from the passphrase, if it is the right one.
    pub(crate) fn unlock(&self, passphrase: &str) -> Result<LessSafeKey, BackupError> {
        let keys = Keys::of(passphrase, &self.salt, self.cost)?;
        verify_slices_are_equal(&keys.check(), &self.check).map_err(|_| BackupError::Passphrase)?;
        keys.sealing()
    }

    /// Reads the two lines.
    pub(crate) fn read(input: &mut impl BufRead) -> Result<Self, BackupError> {
        let first = line(input)?.ok_or(BackupError::NoBackup)?;
        match first.strip_prefix(FORMAT) {
            Some("1") => {}
            Some(version) if version.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(BackupError::Newer(version.to_owned()));
            }
            Some(_) | None => return Err(BackupError::NoBackup),
        }
        Self::parse(&line(input)?.ok_or(BackupError::Costs)?).ok_or(BackupError::Costs)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("argon2id ")?.split(' ');
        let mut number = || {
            let word = words.next()?;
            let is_plain = word == "0" || !word.starts_with('0');
            word.parse().ok().filter(|_| is_plain && word.bytes().all(|b| b.is_ascii_digit()))
        };
        let cost = Cost { memory_kib: number()?, passes: number()?, lanes: number()? };
        let salt = Base64::decode_vec(words.next()?).ok()?.try_into().ok()?;
        let check = Base64::decode_vec(words.next()?).ok()?.try_into().ok()?;
        if words.next().is_some() || !cost.is_bounded() {
            return None;
        }
        Some(Self { cost, salt, check })
    }

    /// Writes the two lines.
    pub(crate) fn to_text(&self) -> String {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, check) = (Base64::encode_string(&self.salt), Base64::encode_string(&self.check));
        format!("{FORMAT}1\nargon2id {memory_kib} {passes} {lanes} {salt} {check}\n")
    }
}

impl Cost {
    /// RFC 9106 §4, the second recommended choice: 64 MiB, three passes, four lanes.
    pub(crate) const USUAL: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    fn is_bounded(self) -> bool {
        self.memory_kib <= MAX_MEMORY_KIB && self.passes <= MAX_PASSES && self.lanes <= MAX_LANES
    }
}

impl Keys {
    fn of(passphrase: &str, salt: &[u8], cost: Cost) -> Result<Self, BackupError> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
        let argon2 = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            params.map_err(|_| BackupError::Costs)?,
        );
        let mut stretched = Zeroizing::new([0; 32]);
        argon2
            .hash_password_into(passphrase.as_bytes(), salt, stretched.as_mut())
            .map_err(|_| BackupError::Costs)?;
        Ok(Self { prk: Salt::new(HKDF_SHA256, b"palisade backup v1").extract(stretched.as_ref()) })
    }

    fn check(&self) -> [u8; CHECK_BYTES] {
        let mut check = [0; CHECK_BYTES];
        self.expand(b"check", &mut check);
        check
    }

    fn sealing(&self) -> Result<LessSafeKey, BackupError> {
        let mut secret = Zeroizing::new([0; 32]);
        self.expand(b"pieces", secret.as_mut());
        let key = UnboundKey::new(&AES_256_GCM, secret.as_ref()).map_err(|_| BackupError::Costs)?;
        Ok(LessSafeKey::new(key))
    }

    fn expand(&self, info: &[u8], out: &mut [u8]) {
        let info = [info];
        let expanded = self.prk.expand(&info, Length(out.len())).and_then(|okm| okm.fill(out));
        expanded.expect("HKDF-SHA256 gives up to 8160 bytes, and 32 at most are asked for");
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Reads one line without its end; none if it is too long, cut off or no text.
fn line(input: &mut impl BufRead) -> Result<Option<String>, BackupError> {
    let mut bytes = Vec::new();
    input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Ok(None);
    }
    Ok(String::from_utf8(bytes).ok())
}

const FORMAT: &str = "palisade backup v";
pub(crate) const SALT_BYTES: usize = 16;
pub(crate) const CHECK_BYTES: usize = 16;
const MAX_LINE_BYTES: u64 = 256;
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 64;
