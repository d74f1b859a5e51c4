//! What happened, or to what sort of thing, in dotted words: `device.revoked`, `operator.signed-in`.
//!
//! Open on purpose: a log outlives the program that wrote it, so an unknown word must stay readable.

use alloc::borrow::Cow;
use alloc::string::ToString;
use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// A validated dotted word.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(Cow<'static, str>);

/// A text is not a dotted word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a kind is at most 64 bytes of words from `a-z 0-9 -`, joined by dots, such as `device.revoked`"
)]
pub struct KindError;

impl Kind {
    /// Names a kind known when the program is built; a bad word does not compile in a `const`.
    pub const fn known(text: &'static str) -> Self {
        assert!(is_dotted_word(text.as_bytes()), "a kind is made of dotted words");
        Self(Cow::Borrowed(text))
    }

    /// Lends the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const MAX_BYTES: usize = 64;

/// Each word starts with a letter and holds letters, digits and hyphens.
const fn is_dotted_word(text: &[u8]) -> bool {
    if text.is_empty() || text.len() > MAX_BYTES {
        return false;
    }
    let mut idx = 0;
    let mut is_start = true;
    while idx < text.len() {
        let byte = text[idx];
        let is_fine = match byte {
            b'a'..=b'z' => true,
            b'0'..=b'9' | b'-' | b'.' => !is_start,
            _ => false,
        };
        if !is_fine {
            return false;
        }
        is_start = byte == b'.';
        idx += 1;
    }
    !is_start
}

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        if is_dotted_word(text.as_bytes()) {
            Ok(Self(Cow::Owned(text.to_string())))
        } else {
            Err(KindError)
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for Kind {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Kind {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        d.str()?.parse().map_err(|e| decode::Error::message(e).at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_words_are_taken() {
        for text in ["device", "device.revoked", "operator.signed-in", "a.b.c.d", "x9"] {
            assert_eq!(text.parse::<Kind>().unwrap().as_str(), text);
        }
        const KIND: Kind = Kind::known("device.added");
        assert_eq!(KIND, "device.added".parse().unwrap());
    }

    #[test]
    fn anything_else_is_refused() {
        let long = "a".repeat(65);
        for text in
            ["", ".", "a.", ".a", "a..b", "Device", "device revoked", "9a", "a.-b", "é", &long]
        {
            assert_eq!(text.parse::<Kind>(), Err(KindError), "{text}");
        }
    }
}
