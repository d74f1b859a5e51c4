//! Texts of strangers, cut to a length that a report can bear.

use alloc::boxed::Box;
use core::fmt;
use core::ops::Deref;

use minicbor::{Decode, Decoder, Encode, decode};

/// At most 256 bytes of a text that a peer sent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct Excerpt(#[n(0)] Box<str>);

impl Excerpt {
    /// The longest excerpt, in bytes.
    pub const MAX: usize = 256;

    /// Takes a text's start, as much as an excerpt holds.
    pub fn of(text: &str) -> Self {
        let end = text.floor_char_boundary(Self::MAX);
        Self(Box::from(text.get(..end).unwrap_or_default()))
    }
}

impl Deref for Excerpt {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'b, C> Decode<'b, C> for Excerpt {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let text = d.str()?;
        if text.len() > Self::MAX {
            return Err(decode::Error::message("an excerpt is longer than 256 bytes").at(at));
        }
        Ok(Self(Box::from(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "é".repeat(200);
        assert_eq!(Excerpt::of(&long).len(), 256);
        let odd = alloc::format!("x{long}");
        assert_eq!(Excerpt::of(&odd).len(), 255);
        assert_eq!(&*Excerpt::of("short"), "short");
    }

    #[test]
    fn a_text_that_is_too_long_does_not_decode() {
        let bytes = minicbor::to_vec("x".repeat(257)).unwrap();
        assert!(minicbor::decode::<Excerpt>(&bytes).is_err());
    }
}
