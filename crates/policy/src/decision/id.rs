//! Ids of decisions: short enough to be read aloud, long enough never to meet.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};

/// Names one decision: 80 random bits, written `d-` and 16 letters and digits (Crockford's base32).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct DecisionId(#[cbor(with = "minicbor::bytes")] [u8; 10]);

/// A text is not a decision's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a decision's id looks like `d-0g9x3t7mq2vb5r8k`: `d-` and 16 of `0-9 a-z` without `i l o u`"
)]
pub struct DecisionIdError;

impl DecisionId {
    /// Takes 80 random bits.
    pub fn from_random(bits: [u8; 10]) -> Self {
        Self(bits)
    }

    /// Lends the bits.
    pub fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"d-0000000000000000";
        for (group, digits) in self.0.chunks_exact(5).zip(text[2..].chunks_exact_mut(8)) {
            let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for (digit_idx, digit) in digits.iter_mut().enumerate() {
                *digit = DIGITS[(bits >> (35 - 5 * digit_idx) & 31) as usize];
            }
        }
        f.write_str(core::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DecisionId {
    type Err = DecisionIdError;

    fn from_str(text: &str) -> Result<Self, DecisionIdError> {
        let text = text.strip_prefix("d-").ok_or(DecisionIdError)?;
        if text.len() != 16 {
            return Err(DecisionIdError);
        }
        let mut bytes = [0; 10];
        for (digits, group) in text.as_bytes().chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
            let mut bits = 0_u64;
            for digit in digits {
                let value = (0_u64..)
                    .zip(DIGITS)
                    .find(|(_, known)| *known == digit)
                    .ok_or(DecisionIdError)?
                    .0;
                bits = bits << 5 | value;
            }
            group.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        Ok(Self(bytes))
    }
}

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    #[test]
    fn the_text_is_plain_base32_of_the_bits() {
        assert_eq!(format!("{}", DecisionId::from_random([0; 10])), "d-0000000000000000");
        assert_eq!(format!("{}", DecisionId::from_random([255; 10])), "d-zzzzzzzzzzzzzzzz");
        let counting = DecisionId::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(format!("{counting}"), "d-000g40r40m30e209");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "d-",
            "000g40r40m30e209",
            "d-000g40r40m30e20",
            "d-000g40r40m30e2099",
            "d-000G40R40M30E209",
            "d-uuuuuuuuuuuuuuuu",
            "d-é00g40r40m30e20",
        ] {
            assert_eq!(text.parse::<DecisionId>(), Err(DecisionIdError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_id_comes_back_from_its_text(bits: [u8; 10]) {
            let id = DecisionId::from_random(bits);
            prop_assert_eq!(format!("{id}").parse(), Ok(id));
        }
    }
}
