//! The text of the master key's file: two lines, of which the second says how it is unlocked.
//!
//! ```text
//! palisade master key v1
//! key BASE64
//! argon2id MEMORY-KIB PASSES LANES SALT SEALED
//! pkcs11 WRAPPED
//! tpm WRAPPED
//! ```
//!
//! One of the last four; SALT, SEALED and WRAPPED are base64, and WRAPPED is the keeper's own.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::keeper::MAX_WRAPPED_BYTES;
use super::{Kind, Way};

/// What stands in the file.
pub(crate) enum Content {
    /// The key.
    Bare(Zeroizing<[u8; 32]>),
    /// The key, sealed under what a passphrase gives.
    Argon2id {
        /// What it costs to get there.
        cost: Cost,
        /// What is mixed into the passphrase.
        salt: [u8; 16],
        /// The envelope.
        sealed: Vec<u8>,
    },
    /// The key, as a keeper wrapped it.
    Kept {
        /// Which kind of keeper.
        kind: Kind,
        /// What it made.
        wrapped: Vec<u8>,
    },
}

/// How hard a passphrase is to guess; kept in the file, so that it can be raised later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl Content {
    /// Reads it; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const OTHER: &str = "its second line is another";
        let line = text.strip_prefix(FIRST_LINE).ok_or("its first line is another")?;
        let line = line.strip_suffix('\n').ok_or("it was cut off")?;
        let (word, rest) = line.split_once(' ').ok_or(OTHER)?;
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.word() == word) {
            let wrapped = Base64::decode_vec(rest).map_err(|_| OTHER)?;
            return match wrapped.len() {
                0 => Err(OTHER),
                1..=MAX_WRAPPED_BYTES => Ok(Self::Kept { kind, wrapped }),
                _ => Err("its wrapped key is too long"),
            };
        }
        match word {
            "key" => bytes(rest).map(Self::Bare).ok_or("the key is not 32 bytes in base64"),
            "argon2id" => match argon2id(rest) {
                Some(Self::Argon2id { cost, .. }) if !cost.bearable() => {
                    Err("its costs are out of bounds")
                }
                Some(content) => Ok(content),
                None => Err(OTHER),
            },
            _ => Err("it is unlocked in a way that this version does not know"),
        }
    }

    /// Writes it.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        // No growing: that would leave copies of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES));
        text.push_str(FIRST_LINE);
        match self {
            Self::Bare(key) => {
                text.push_str("key ");
                text.push_str(&Zeroizing::new(Base64::encode_string(key.as_ref())));
            }
            Self::Argon2id { cost: Cost { memory_kib, passes, lanes }, salt, sealed } => {
                let (salt, sealed) = (Base64::encode_string(salt), Base64::encode_string(sealed));
                text.push_str(&format!("argon2id {memory_kib} {passes} {lanes} {salt} {sealed}"));
            }
            Self::Kept { kind, wrapped } => {
                text.push_str(kind.word());
                text.push(' ');
                text.push_str(&Base64::encode_string(wrapped));
            }
        }
        text.push('\n');
        text
    }

    /// Says how it is unlocked.
    pub(crate) fn way(&self) -> Way {
        match self {
            Self::Bare(_) => Way::KeyFile,
            Self::Argon2id { .. } => Way::Passphrase,
            Self::Kept { kind, .. } => Way::Keeper(*kind),
        }
    }
}

impl Cost {
    /// RFC 9106 §4, the second recommended choice: 64 MiB, three passes, four lanes.
    pub(super) const OURS: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    /// Says whether a start may take so much; lanes are bounded by the memory that they share.
    fn bearable(self) -> bool {
        self.memory_kib <= MAX_MEMORY_KIB && self.passes <= MAX_PASSES
    }
}

fn argon2id(line: &str) -> Option<Content> {
    let mut words = line.split(' ');
    let mut number = || words.next()?.parse().ok();
    let cost = Cost { memory_kib: number()?, passes: number()?, lanes: number()? };
    let salt = Base64::decode_vec(words.next()?).ok()?.try_into().ok()?;
    let sealed = Base64::decode_vec(words.next()?).ok()?;
    if words.next().is_some() { None } else { Some(Content::Argon2id { cost, salt, sealed }) }
}

fn bytes(base64: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    let n_bytes = Base64::decode(base64, bytes.as_mut()).ok()?.len();
    if n_bytes == 32 { Some(bytes) } else { None }
}

/// No more of a file is read.
pub(super) const MAX_FILE_BYTES: usize = 4096;
const FIRST_LINE: &str = "palisade master key v1\n";
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
