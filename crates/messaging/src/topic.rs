//! Topics and topic filters, checked once at the door.

use core::fmt;
use core::str::FromStr;

use bytes::Bytes;

/// A topic as a message carries it: UTF-8 without NUL and wildcards, neither empty nor beyond the limits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Bytes);

impl Topic {
    /// Checks that the bytes are a topic (MQTT 5.0 §4.7).
    #[inline]
    pub fn parse(bytes: Bytes) -> Result<Self, TopicError> {
        let scan = Scan::of(&bytes)?;
        if scan.wildcard {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(bytes))
    }

    /// Returns the topic as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Invariant: `parse` has checked the bytes.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the topic's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the levels between the slashes; at least one, any of them may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/')
    }

    /// Tells whether the topic is the server's own (`$SYS/…`), which a leading wildcard doesn't match.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.0.first() == Some(&b'$')
    }

    /// Copies the topic out of the buffer that it was received in.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

/// A topic filter as a subscription carries it; `+` and `#` stand alone in their level, `#` only in the last.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(Bytes);

impl Filter {
    /// Checks that the bytes are a topic filter (MQTT 5.0 §4.7.1).
    pub fn parse(bytes: Bytes) -> Result<Self, TopicError> {
        let scan = Scan::of(&bytes)?;
        if scan.wildcard {
            let mut after_multi = false;
            for level in bytes.split(|&byte| byte == b'/') {
                let has_wildcard = level.iter().any(|byte| matches!(byte, b'+' | b'#'));
                if after_multi || (has_wildcard && level.len() > 1) {
                    return Err(TopicError::Wildcard);
                }
                after_multi = level == b"#";
            }
        }
        Ok(Self(bytes))
    }

    /// Returns the filter as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Invariant: `parse` has checked the bytes.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the filter's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the levels between the slashes, wildcards among them.
    pub fn levels(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/')
    }

    /// Tells whether the filter asks for a shared subscription (`$share/group/filter`, MQTT 5.0 §4.8.2).
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.starts_with(b"$share/")
    }

    /// Takes a shared subscription's filter apart, into the group's name and what is shared; none if it is not one,
    /// or lacks one of the two, or has a wildcard in its name.
    #[must_use]
    pub fn shared(&self) -> Option<(&[u8], Self)> {
        let rest = self.0.strip_prefix(b"$share/")?;
        let name_len = rest.iter().position(|&byte| byte == b'/')?;
        let name = rest.get(..name_len).filter(|name| !name.is_empty() && *name != b"+")?;
        let inner = self.0.slice(b"$share/".len() + name_len + 1..);
        Some((name, Self::parse(inner).ok()?))
    }

    /// Tells whether the filter matches the topic.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        if topic.is_hidden() && matches!(self.0.first(), Some(b'+' | b'#')) {
            return false; // MQTT-4.7.2-1
        }
        let mut topic_levels = topic.levels();
        for level in self.levels() {
            match (level, topic_levels.next()) {
                (b"#", _) => return true, // also the parent level: `a/#` matches `a`
                (b"+", Some(_)) => {}
                (literal, Some(found)) if literal == found => {}
                _ => return false,
            }
        }
        topic_levels.next().is_none()
    }

    /// Copies the filter out of the buffer that it was received in.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

macro_rules! text_traits {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = TopicError;

            fn from_str(string: &str) -> Result<Self, TopicError> {
                Self::parse(Bytes::copy_from_slice(string.as_bytes()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}
text_traits!(Topic);
text_traits!(Filter);

/// Why bytes are no topic or no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// There are no bytes.
    #[error("topic is empty, expected at least one character")]
    Empty,
    /// A shared subscription lacks its name or its filter.
    #[error("filter shares a subscription without a name or a filter; write `$share/NAME/FILTER`")]
    Share,
    /// There are more bytes than the limit.
    #[error("topic has {found} bytes, expected at most {MAX_BYTES}; shorten it")]
    Long {
        /// How many bytes there are.
        found: usize,
    },
    /// There are more levels than the limit.
    #[error("topic has {found} levels, expected at most {MAX_LEVELS}; use fewer slashes")]
    Deep {
        /// How many levels there are.
        found: usize,
    },
    /// The bytes are not UTF-8.
    #[error("topic is not UTF-8; send text as UTF-8")]
    Utf8,
    /// The topic holds the character NUL.
    #[error("topic holds NUL; leave it out")]
    Nul,
    /// A wildcard stands where none may.
    #[error(
        "a wildcard stands where none may; `+` and `#` fill a whole level of a filter, `#` the last, and no topic has any"
    )]
    Wildcard,
}

/// The longest topic or filter in bytes: what is kept per subscription and retained message stays small.
pub const MAX_BYTES: usize = 1_024;

/// The most levels of a topic or filter: routing takes a step per level, so a peer chooses at most this many.
pub const MAX_LEVELS: usize = 128;

/// How many bytes are looked at before a count in one byte could overflow.
const CHUNK: usize = 255;

/// What one pass over the bytes tells.
struct Scan {
    wildcard: bool,
}

impl Scan {
    fn of(bytes: &[u8]) -> Result<Self, TopicError> {
        if bytes.is_empty() {
            return Err(TopicError::Empty);
        }
        if bytes.len() > MAX_BYTES {
            return Err(TopicError::Long { found: bytes.len() });
        }
        let (mut all, mut nul, mut wildcard, mut n_slashes) = (0_u8, false, false, 0_usize);
        for chunk in bytes.chunks(CHUNK) {
            // Everything is counted in bytes here, so that the compiler can take sixteen at once.
            let mut n_slashes_here = 0_u8;
            for &byte in chunk {
                all |= byte;
                nul |= byte == 0;
                wildcard |= (byte == b'+') | (byte == b'#');
                n_slashes_here += u8::from(byte == b'/');
            }
            n_slashes += usize::from(n_slashes_here);
        }
        if nul {
            return Err(TopicError::Nul);
        }
        if n_slashes >= MAX_LEVELS {
            return Err(TopicError::Deep { found: n_slashes + 1 });
        }
        if !all.is_ascii() && core::str::from_utf8(bytes).is_err() {
            return Err(TopicError::Utf8);
        }
        Ok(Self { wildcard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        filter.parse::<Filter>().expect("a filter").matches(&topic.parse().expect("a topic"))
    }

    #[test]
    fn filters_match_as_the_specification_shows() {
        // MQTT 5.0 §4.7.1 and §4.7.2, each with the specification's own examples.
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "sport/tennis", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("+/tennis/#", "sport/tennis", true),
            ("sport/+/player1", "sport/tennis/player1", true),
            ("#", "$SYS/monitor/Clients", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor/Clients", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("/finance", "finance", false),
            ("ACCOUNTS", "Accounts", false),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("a/+/#", "a/b", true),
            ("a/+/#", "a", false),
        ];
        for (filter, topic, expected) in table {
            assert_eq!(matches(filter, topic), expected, "`{filter}` against `{topic}`");
        }
    }

    #[test]
    fn wildcard_fills_its_level_and_hash_ends_the_filter() {
        for bad in ["sport/tennis#", "sport/tennis/#/ranking", "sport+", "a/+b", "##", "#/", "+#"] {
            assert_eq!(bad.parse::<Filter>(), Err(TopicError::Wildcard), "{bad}");
        }
        for good in ["+", "#", "+/+/#", "/", "a//+", "$share/group/a/#"] {
            assert!(good.parse::<Filter>().is_ok(), "{good}");
        }
    }

    #[test]
    fn topic_holds_no_wildcard_nul_or_bad_utf8() {
        assert_eq!("a/+/b".parse::<Topic>(), Err(TopicError::Wildcard));
        assert_eq!("a/#".parse::<Topic>(), Err(TopicError::Wildcard));
        assert_eq!("".parse::<Topic>(), Err(TopicError::Empty));
        assert_eq!("a\0b".parse::<Topic>(), Err(TopicError::Nul));
        assert_eq!(Topic::parse(Bytes::from_static(b"a/\xc3")), Err(TopicError::Utf8));
    }

    #[test]
    fn topic_ends_at_its_limits() {
        assert!("/".repeat(MAX_LEVELS - 1).parse::<Topic>().is_ok());
        assert_eq!(
            "/".repeat(MAX_LEVELS).parse::<Topic>(),
            Err(TopicError::Deep { found: MAX_LEVELS + 1 })
        );
        assert!("x".repeat(MAX_BYTES).parse::<Topic>().is_ok());
        assert_eq!("/".repeat(5_000).parse::<Filter>(), Err(TopicError::Long { found: 5_000 }));
    }
}
