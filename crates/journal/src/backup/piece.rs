//! The pieces that a backup consists of: before they are sealed, and sealed as they lie in the file.
//!
//! A sealed piece is its length (four bytes, big-endian) and so many bytes of ciphertext and tag.
//! The nonce is the piece's number; the key is of this backup alone, so that none comes twice.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use super::PartName;

/// What a piece says, once it is open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A part begins.
    Head(PartName),
    /// The part goes on.
    Data(&'a [u8]),
    /// This is the end, after so many parts.
    End(u64),
}

impl<'a> Piece<'a> {
    /// Reads an open piece; none if it is none.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (sort, rest) = bytes.split_first()?;
        match sort {
            b'P' => Some(Self::Head(str::from_utf8(rest).ok()?.parse().ok()?)),
            b'D' if !rest.is_empty() && rest.len() <= MAX_DATA_BYTES => Some(Self::Data(rest)),
            b'E' => Some(Self::End(u64::from_be_bytes(rest.try_into().ok()?))),
            _ => None,
        }
    }

    /// Writes it, to be sealed.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Head(name) => {
                out.push(b'P');
                out.extend(name.as_str().as_bytes());
            }
            Self::Data(data) => {
                out.push(b'D');
                out.extend(*data);
            }
            Self::End(n_parts) => {
                out.push(b'E');
                out.extend(n_parts.to_be_bytes());
            }
        }
    }
}

/// Seals an open piece in place; none only if it is longer than the cipher takes.
pub(crate) fn seal(key: &LessSafeKey, number: u64, piece: &mut Vec<u8>) -> Option<()> {
    key.seal_in_place_append_tag(nonce(number), Aad::empty(), piece).ok()
}

/// Opens a sealed piece in place.
pub(crate) fn open<'a>(key: &LessSafeKey, number: u64, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
    key.open_in_place(nonce(number), Aad::empty(), sealed).ok().map(|open| &*open)
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// The most bytes of a part in one piece.
pub(crate) const MAX_DATA_BYTES: usize = 256 * 1024;
const TAG_BYTES: usize = 16;
/// How long a sealed piece may be: at least its sort and tag.
pub(crate) const SEALED_BYTES: std::ops::RangeInclusive<usize> =
    1 + TAG_BYTES..=1 + MAX_DATA_BYTES + TAG_BYTES;
