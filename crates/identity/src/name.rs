//! Names of devices, kinds, zones and sites.
//!
//! A name appears in topics, URLs, file names, certificates and policies, so its alphabet is the
//! one that is plain in all of them. What people call a thing (any script, any length) is its
//! title, which is text and never decides anything.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// The longest name, in bytes: the upper bound of an X.509 common name (RFC 5280, `ub-common-name`).
pub const MAX_LEN: usize = 64;

/// What is wrong with a text that should be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name is empty; use 1 to {MAX_LEN} of `a-z 0-9 - _ .`")]
    Empty,
    /// The text is longer than a name may be.
    #[error("a name has {0} bytes; use at most {MAX_LEN}")]
    TooLong(usize),
    /// The text starts with something that is neither letter nor digit.
    #[error("a name starts with `{0}`; start with a letter or a digit")]
    BadStart(char),
    /// The text holds a character outside the alphabet.
    #[error("a name holds `{}`; use `a-z 0-9 - _ .`", .0.escape_debug())]
    BadCharacter(char),
}

fn check(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > MAX_LEN {
        return Err(NameError::TooLong(text.len()));
    }
    let odd = |c: &char| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    if let Some(c) = text.chars().find(odd) {
        return Err(NameError::BadCharacter(c));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::BadStart(first));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Lends the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(Box::from(text)))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                check(&text)?;
                Ok(Self(text.into_boxed_str()))
            }
        }

        impl core::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let at = d.position();
                d.str()?
                    .parse()
                    .map_err(|e: NameError| decode::Error::message(format!("{e}")).at(at))
            }
        }
    };
}

name!(
    /// Names a device: a thing with an identity.
    DeviceId
);
name!(
    /// Names a kind: a model or type of device.
    KindId
);
name!(
    /// Names a zone: a part of a site with one trust.
    ZoneId
);
name!(
    /// Names a site: a place.
    SiteId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_taken() {
        for text in ["pump-7", "7", "plant_a.line-2", &"a".repeat(64)] {
            assert_eq!(text.parse::<DeviceId>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_widens_a_topic_a_path_or_a_certificate_is_refused() {
        let cases = [
            "",
            "+",
            "#",
            "a/b",
            "a\0b",
            "../x",
            ".",
            "-x",
            "_x",
            "Pump",
            "pümp",
            "a b",
            "a\u{202e}b",
            &"a".repeat(65),
            "*",
            "a,CN=b",
            "$SYS",
        ];
        for text in cases {
            assert!(text.parse::<DeviceId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_error_says_what_was_found_and_what_was_expected() {
        let error = "pump/7".parse::<DeviceId>().unwrap_err();
        assert_eq!(format!("{error}"), "a name holds `/`; use `a-z 0-9 - _ .`");
    }

    #[test]
    fn a_bad_name_does_not_decode() {
        let bytes = minicbor::to_vec("a/b").unwrap();
        assert!(minicbor::decode::<DeviceId>(&bytes).is_err());
    }
}
