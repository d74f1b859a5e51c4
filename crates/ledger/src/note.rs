//! Signed text (C2SP signed-note): what the log signs, what witnesses add, and their keys.
//!
//! Two kinds of signature: the log's plain Ed25519 one, and a witness's `cosignature/v1`, which
//! binds the time. A key's kind is part of its id, so that neither passes for the other.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use base64ct::{Base64, Encoding};
use identity::key::Algorithm;
use identity::{PublicKey, SignError, Signer, Time, excerpt};
use sha2::{Digest, Sha256};

/// A text and the signatures under it, none of them checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, with the newline at its end.
    pub text: String,
    /// The signatures, in their order.
    pub signatures: Vec<Signature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The signer's name.
    pub name: String,
    /// The first four bytes of a hash over name, kind and key.
    pub key_id: [u8; 4],
    /// What the signer made of the text.
    pub bytes: Vec<u8>,
}

/// The public half of a log's or witness's key, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    purpose: Purpose,
    key: PublicKey,
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Checkpoints of its own log.
    Log,
    /// Other logs' checkpoints, with the time (`cosignature/v1`).
    Witness,
}

/// Bytes are no note, or no note of the expected signer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is longer than a note may be.
    #[error("a note has `{0}` bytes, more than 65536")]
    TooLong(usize),
    /// It has not the form of a note.
    #[error("this is no signed note: {0}")]
    Malformed(&'static str),
    /// A signer's name is empty or has a space, a control character or a plus.
    #[error("`{}` can't name a signer; leave out spaces, control characters and `+`", excerpt(.0))]
    Name(String),
    /// A verifier key's text is not one.
    #[error("this is no verifier key (`name+hash+base64`): {0}")]
    Key(&'static str),
    /// The expected signer did not sign it.
    #[error("`{0}` has not signed this note")]
    Unsigned(String),
    /// A signature by the expected signer is wrong.
    #[error("the signature of `{0}` does not match the text; it was changed")]
    BadSignature(String),
    /// A key of one purpose was used for the other.
    #[error("the key of `{0}` serves another purpose")]
    Purpose(String),
    /// The text is no checkpoint.
    #[error("this is no checkpoint: {0}")]
    Checkpoint(&'static str),
    /// The checkpoint is of another log.
    #[error("this is a checkpoint of `{}`, not of `{expected}`", excerpt(.found))]
    Origin {
        /// Whose it is.
        found: String,
        /// Whose was expected.
        expected: String,
    },
    /// The key could not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl Note {
    /// The longest note in bytes.
    pub const MAX_BYTES: usize = 65_536;

    /// Reads a note without checking its signatures.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let note = str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::Malformed("it has a control character"));
        }
        // The text may have empty lines: the last one divides.
        let divide = note
            .rfind("\n\n")
            .ok_or(NoteError::Malformed("no empty line before its signatures"))?;
        let (text, lines) = (&note[..=divide], &note[divide + 2..]);
        let lines =
            lines.strip_suffix('\n').ok_or(NoteError::Malformed("it has no newline at its end"))?;
        let signatures = lines.split('\n').map(Signature::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_string(), signatures })
    }

    /// Signs a text as a log.
    pub fn sign(text: String, name: &str, signer: &dyn Signer) -> Result<Self, NoteError> {
        let mut note = Self { text, signatures: Vec::new() };
        if !note.text.ends_with('\n') || note.text.bytes().any(|byte| byte < b' ' && byte != b'\n')
        {
            return Err(NoteError::Malformed(
                "its text must end in a newline and have no control characters",
            ));
        }
        let key = VerifierKey::new(name, signer.public_key())?;
        let bytes = signer.sign(note.text.as_bytes())?;
        note.signatures.push(Signature { name: key.name.clone(), key_id: key.id(), bytes });
        Ok(note)
    }

    /// Makes a witness's signature over the text at that time; the note is not changed.
    pub fn cosign(
        &self,
        name: &str,
        at: Time,
        signer: &dyn Signer,
    ) -> Result<Signature, NoteError> {
        let key = VerifierKey::witness(name, signer.public_key())?;
        let seconds = u64::try_from(at.seconds()).unwrap_or_default();
        let mut bytes = seconds.to_be_bytes().to_vec();
        bytes.extend(signer.sign(cosigned(seconds, &self.text).as_bytes())?);
        Ok(Signature { name: key.name.clone(), key_id: key.id(), bytes })
    }

    /// Checks that the log has signed.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let bad = || NoteError::BadSignature(key.name.clone());
        match key.purpose {
            Purpose::Log => self.signatures_of(key)?.try_for_each(|signature| {
                key.key.verify(self.text.as_bytes(), &signature.bytes).map_err(|_| bad())
            }),
            Purpose::Witness => Err(NoteError::Purpose(key.name.clone())),
        }
    }

    /// Checks that a witness has cosigned, and gives the latest time at which it did.
    pub fn cosigned_at(&self, key: &VerifierKey) -> Result<Time, NoteError> {
        let bad = || NoteError::BadSignature(key.name.clone());
        if key.purpose != Purpose::Witness {
            return Err(NoteError::Purpose(key.name.clone()));
        }
        let mut latest = Time::EPOCH;
        for signature in self.signatures_of(key)? {
            let (seconds, bytes) = signature.bytes.split_first_chunk().ok_or_else(bad)?;
            let seconds = u64::from_be_bytes(*seconds);
            // C2SP tlog-cosignature: the time must not exceed 2^63 - 1.
            let at = i64::try_from(seconds).map(Time::from_seconds).map_err(|_| bad())?;
            key.key.verify(cosigned(seconds, &self.text).as_bytes(), bytes).map_err(|_| bad())?;
            latest = latest.max(at);
        }
        Ok(latest)
    }

    /// Gives the signatures that claim to be by a key; there is at least one.
    fn signatures_of(
        &self,
        key: &VerifierKey,
    ) -> Result<impl Iterator<Item = &Signature>, NoteError> {
        let key_id = key.id();
        let is_by =
            move |signature: &&Signature| signature.key_id == key_id && signature.name == key.name;
        let mut found = self.signatures.iter().filter(is_by).peekable();
        if found.peek().is_none() {
            return Err(NoteError::Unsigned(key.name.clone()));
        }
        Ok(found)
    }
}

/// What a witness signs.
fn cosigned(seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl Signature {
    fn parse(line: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("a signature line is `— name base64`");
        let Some((name, base64)) = line.strip_prefix("— ").and_then(|line| line.split_once(' '))
        else {
            return Err(malformed);
        };
        let bytes = Base64::decode_vec(base64).map_err(|_| malformed.clone())?;
        let Some((key_id, bytes)) = bytes.split_first_chunk() else { return Err(malformed) };
        if bytes.is_empty() {
            return Err(malformed);
        }
        Ok(Self { name: signer_name(name)?.to_string(), key_id: *key_id, bytes: bytes.to_vec() })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id[..], &self.bytes].concat();
        write!(f, "— {} {}", self.name, Base64::encode_string(&bytes))
    }
}

fn signer_name(name: &str) -> Result<&str, NoteError> {
    let is_bad = |c: char| c.is_whitespace() || c == '+' || c.is_control();
    if name.is_empty() || name.contains(is_bad) {
        Err(NoteError::Name(name.to_string()))
    } else {
        Ok(name)
    }
}

impl VerifierKey {
    /// Names a log's key.
    pub fn new(name: &str, key: &PublicKey) -> Result<Self, NoteError> {
        Self::with_purpose(name, Purpose::Log, key)
    }

    /// Names a witness's key.
    pub fn witness(name: &str, key: &PublicKey) -> Result<Self, NoteError> {
        Self::with_purpose(name, Purpose::Witness, key)
    }

    fn with_purpose(name: &str, purpose: Purpose, key: &PublicKey) -> Result<Self, NoteError> {
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(NoteError::Key("only Ed25519 signs notes"));
        }
        Ok(Self { name: signer_name(name)?.to_string(), purpose, key: key.clone() })
    }

    /// Lends the signer's name; for a log it is the origin of its checkpoints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says what the key signs.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Lends the key itself.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Computes the id that stands in signature lines.
    pub fn id(&self) -> [u8; 4] {
        let digest = Sha256::new()
            .chain_update(self.name.as_bytes())
            .chain_update([b'\n', self.purpose.byte()])
            .chain_update(self.key.raw())
            .finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(digest);
        [a, b, c, d]
    }
}

impl Purpose {
    /// C2SP signed-note, "Signature types".
    fn byte(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::Witness => 4,
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.purpose.byte()], self.key.raw()].concat();
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            u32::from_be_bytes(self.id()),
            Base64::encode_string(&key)
        )
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        // A name has no plus, but base64 may.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(base64)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(NoteError::Key("it has not three parts"));
        };
        let bytes = Base64::decode_vec(base64)
            .map_err(|_| NoteError::Key("its last part is not base64"))?;
        let (purpose, raw) = match bytes.split_first() {
            Some((1, raw)) => (Purpose::Log, raw),
            Some((4, raw)) => (Purpose::Witness, raw),
            _ => return Err(NoteError::Key("it is of an unknown kind")),
        };
        let key = PublicKey::ed25519(raw).map_err(|_| NoteError::Key("it holds no Ed25519 key"))?;
        let key = Self::with_purpose(name, purpose, &key)?;
        if format!("{:08x}", u32::from_be_bytes(key.id())) != id {
            return Err(NoteError::Key("its hash does not fit name and key; it was mistyped"));
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests;
