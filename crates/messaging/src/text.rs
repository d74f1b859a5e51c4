//! Text and binary fields as MQTT carries them: length-checked, and text also UTF-8 without NUL.
//!
//! Both are views over the bytes that were received. What outlives the read buffer must be `detach`ed, or a
//! hundred bytes would keep a whole buffer alive.

use core::fmt;
use core::ops::Deref;

use bytes::Bytes;

/// UTF-8 text without NUL of at most 65,535 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Bytes);

impl Text {
    /// Checks that the bytes are text (MQTT 5.0 §1.5.4).
    pub fn parse(bytes: Bytes) -> Result<Self, TextError> {
        check_length(bytes.len())?;
        if let Err(error) = core::str::from_utf8(&bytes) {
            return Err(TextError::Utf8 { at: error.valid_up_to() });
        }
        match bytes.iter().position(|&byte| byte == 0) {
            Some(at) => Err(TextError::Nul { at }),
            None => Ok(Self(bytes)),
        }
    }

    /// Makes text from a literal; what a literal may not hold (NUL, 65,536 bytes) ends it.
    #[must_use]
    pub fn from_static(literal: &'static str) -> Self {
        Self(fitting(Bytes::from_static(literal.as_bytes())))
    }

    /// Copies a string that may come from anywhere.
    pub fn copy_of(string: &str) -> Result<Self, TextError> {
        Self::parse(Bytes::copy_from_slice(string.as_bytes()))
    }

    /// Copies as much of a string as text can hold: up to the first NUL and at most 65,535 bytes.
    #[must_use]
    pub fn clipped(string: &str) -> Self {
        Self(fitting(Bytes::copy_from_slice(string.as_bytes())))
    }

    /// Returns the text as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Invariant: every constructor has checked or cut the bytes to UTF-8.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the text's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Copies the text out of the buffer that it was received in.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Binary data of at most 65,535 bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Binary(Bytes);

impl Binary {
    /// Checks that the bytes fit a length-prefixed field (MQTT 5.0 §1.5.6).
    pub fn parse(bytes: Bytes) -> Result<Self, TextError> {
        check_length(bytes.len())?;
        Ok(Self(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes, still shared with the buffer that they were received in.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Copies the bytes out of the buffer that they were received in.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

/// Why bytes are no text or do not fit a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The bytes are not UTF-8.
    #[error("byte {at} is not UTF-8; send text as UTF-8")]
    Utf8 {
        /// Where the first bad byte stands.
        at: usize,
    },
    /// The text holds the character NUL.
    #[error("byte {at} is NUL, which text may not hold; leave it out")]
    Nul {
        /// Where it stands.
        at: usize,
    },
    /// The field is longer than its length prefix can say.
    #[error("field has {found} bytes, expected at most {MAX_LEN}; send less")]
    Long {
        /// How many bytes there are.
        found: usize,
    },
}

fn check_length(found: usize) -> Result<(), TextError> {
    if found > MAX_LEN { Err(TextError::Long { found }) } else { Ok(()) }
}

fn fitting(mut bytes: Bytes) -> Bytes {
    bytes.truncate(MAX_LEN);
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(at);
    }
    if let Err(error) = core::str::from_utf8(&bytes) {
        bytes.truncate(error.valid_up_to());
    }
    bytes
}

/// A field's length prefix has two bytes.
const MAX_LEN: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf8_without_nul() {
        assert!(Text::parse(Bytes::from_static("Füllstand".as_bytes())).is_ok());
        assert_eq!(Text::parse(Bytes::from_static(b"ab\xff")), Err(TextError::Utf8 { at: 2 }));
        assert_eq!(Text::parse(Bytes::from_static(b"a\0")), Err(TextError::Nul { at: 1 }));
        // A surrogate, coded as UTF-8 forbids it (MQTT-1.5.4-1).
        assert_eq!(
            Text::parse(Bytes::from_static(b"\xed\xa0\x80")),
            Err(TextError::Utf8 { at: 0 })
        );
    }

    #[test]
    fn field_is_no_longer_than_its_prefix_can_say() {
        assert!(Binary::parse(Bytes::from(alloc::vec![1; 65_535])).is_ok());
        assert_eq!(
            Binary::parse(Bytes::from(alloc::vec![1; 65_536])),
            Err(TextError::Long { found: 65_536 })
        );
    }

    #[test]
    fn clipped_text_ends_before_what_it_cannot_hold() {
        assert_eq!(Text::clipped("ab\0cd").as_str(), "ab");
        let long = "ü".repeat(40_000);
        assert_eq!(Text::clipped(&long).len(), 65_534);
    }
}
