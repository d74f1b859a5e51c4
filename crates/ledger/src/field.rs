//! A text in an event: plain, or sealed for the person it is about.
//!
//! The leaf hashes the bytes as written, so for a sealed text its ciphertext. Erasing a person
//! means erasing one key: the log still verifies, and the texts are gone. The nonce has 192 bits
//! and comes in from a random source, so that one key serves any number of texts.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use zeroize::Zeroizing;

/// Names a person's key without saying who the person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

/// The key under which everything about one person is sealed.
pub struct SubjectKey {
    id: KeyId,
    secret: Zeroizing<[u8; 32]>,
}

/// A text that stays, or that goes when its key goes.
#[derive(Clone, PartialEq, Eq)]
pub enum Field {
    /// A text that anyone with the log may read.
    Plain(String),
    /// A text that only the holder of the person's key may read.
    Sealed {
        /// Whose key.
        key: KeyId,
        /// The nonce, used once.
        nonce: [u8; 24],
        /// XChaCha20-Poly1305 over the text, the field's name as associated data.
        ciphertext: Vec<u8>,
    },
}

/// A sealed text does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// It is sealed under another key.
    #[error("the text is sealed under another key; find the one that it names")]
    OtherKey,
    /// Key, name or bytes are wrong.
    #[error("the sealed text does not open; it was changed, or stood under another name")]
    Changed,
}

impl SubjectKey {
    /// Takes a key from where it is kept.
    pub fn new(id: KeyId, secret: Zeroizing<[u8; 32]>) -> Self {
        Self { id, secret }
    }

    /// Names the key.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl Field {
    /// The longest text in bytes; what is longer is clipped, since an event must not get lost for it.
    pub const MAX_BYTES: usize = 4096;

    /// Makes a plain text, clipped to the longest allowed.
    pub fn plain(text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(clip(&text).len());
        Self::Plain(text)
    }

    /// Seals a text, clipped to the longest allowed, under the name of its place in the event.
    pub fn seal(name: &str, text: &str, key: &SubjectKey, nonce: [u8; 24]) -> Self {
        let payload = Payload { msg: clip(text).as_bytes(), aad: &associated(name) };
        let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload);
        Self::Sealed {
            key: key.id,
            nonce,
            ciphertext: sealed.expect("a clipped text is far shorter than the cipher's limit"),
        }
    }

    /// Opens a sealed text; a plain one opens to itself.
    pub fn open(&self, name: &str, subject_key: &SubjectKey) -> Result<String, FieldError> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::Sealed { key, .. } if *key != subject_key.id => Err(FieldError::OtherKey),
            Self::Sealed { nonce, ciphertext, .. } => {
                let payload = Payload { msg: ciphertext, aad: &associated(name) };
                let text = cipher(subject_key).decrypt(&XNonce::from(*nonce), payload);
                String::from_utf8(text.map_err(|_| FieldError::Changed)?)
                    .map_err(|_| FieldError::Changed)
            }
        }
    }

    /// Lends the text if it is plain.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Sealed { .. } => None,
        }
    }

    /// Names the key that opens a sealed text.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::Plain(_) => None,
            Self::Sealed { key, .. } => Some(*key),
        }
    }

    fn n_bytes(&self) -> usize {
        match self {
            Self::Plain(text) => text.len(),
            Self::Sealed { ciphertext, .. } => ciphertext.len().saturating_sub(TAG_BYTES),
        }
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.n_bytes() > Self::MAX_BYTES
    }
}

fn cipher(key: &SubjectKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*key.secret).into())
}

fn associated(name: &str) -> Vec<u8> {
    [b"palisade ledger field v1\0", name.as_bytes()].concat()
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(Field::MAX_BYTES)]
}

const TAG_BYTES: usize = 16;

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => fmt::Debug::fmt(text, f),
            Self::Sealed { .. } => f.write_str("(sealed)"),
        }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl<C> Encode<C> for Field {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        match self {
            Self::Plain(text) => e.str(text)?.ok(),
            Self::Sealed { key, nonce, ciphertext } => {
                e.array(3)?.bytes(&key.0)?.bytes(nonce)?.bytes(ciphertext)?.ok()
            }
        }
    }
}

impl<'b, C> Decode<'b, C> for Field {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        if d.datatype()? == Type::String {
            return Ok(Self::Plain(d.str()?.to_string()));
        }
        if d.array()? != Some(3) {
            return Err(decode::Error::message(
                "a sealed text is its key's id, a nonce and ciphertext",
            )
            .at(at));
        }
        Ok(Self::Sealed {
            key: KeyId(bytes(d)?),
            nonce: bytes(d)?,
            ciphertext: d.bytes()?.to_vec(),
        })
    }
}

fn bytes<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], decode::Error> {
    let at = d.position();
    d.bytes()?
        .try_into()
        .map_err(|_| decode::Error::message("a key id or nonce has another length").at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u8) -> SubjectKey {
        SubjectKey::new(KeyId([id; 16]), Zeroizing::new([7; 32]))
    }

    #[test]
    fn a_sealed_text_opens_with_its_key_under_its_name_only() {
        let field = Field::seal("actor", "ada", &key(1), [9; 24]);
        assert_eq!(field.open("actor", &key(1)).as_deref(), Ok("ada"));
        assert_eq!(field.open("peer", &key(1)), Err(FieldError::Changed));
        assert_eq!(field.open("actor", &key(2)), Err(FieldError::OtherKey));
        let stolen = SubjectKey::new(KeyId([1; 16]), Zeroizing::new([8; 32]));
        assert_eq!(field.open("actor", &stolen), Err(FieldError::Changed));
    }

    #[test]
    fn sealed_bytes_are_those_of_another_implementation() {
        // Python: HChaCha20 by hand over its block function, then cryptography's ChaCha20Poly1305.
        let Field::Sealed { ciphertext, .. } = Field::seal("actor", "ada", &key(1), [9; 24]) else {
            panic!()
        };
        assert_eq!(ciphertext, include!("../tests/vectors/field.in"));
    }

    #[test]
    fn a_long_text_is_clipped_at_a_character() {
        let long = "é".repeat(4000);
        assert_eq!(Field::plain(long.as_str()).text().map(str::len), Some(4096));
        let odd = alloc::format!("a{long}");
        assert_eq!(Field::plain(odd.as_str()).text().map(str::len), Some(4095));
        let sealed = Field::seal("x", &odd, &key(1), [0; 24]);
        assert!(!sealed.is_too_long());
        assert_eq!(sealed.open("x", &key(1)).unwrap().len(), 4095);
    }

    #[test]
    fn debugging_shows_no_sealed_text() {
        assert_eq!(
            alloc::format!("{:?}", Field::seal("actor", "ada", &key(1), [9; 24])),
            "(sealed)"
        );
    }
}
