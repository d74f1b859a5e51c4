//! The data types of MQTT 5.0 §1.5: reading them out of one packet and writing them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::DecodeError;
use super::packet::{Kind, PacketId, Version};
use crate::text::{Binary, Text};
use crate::topic::{Filter, Topic, TopicError};

/// Reads the fields of one packet, never past its end.
pub(super) struct Reader {
    frame: Bytes,
    at: usize,
    end: usize,
    pub(super) kind: Kind,
}

impl Reader {
    /// Reads `frame` from `at` on.
    #[inline]
    pub(super) fn of(kind: Kind, frame: Bytes, at: usize) -> Self {
        let end = frame.len();
        Self { frame, at, end, kind }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// Takes the next byte if it is zero.
    #[inline]
    pub(super) fn take_zero(&mut self) -> bool {
        let is_zero = !self.is_empty() && self.frame.get(self.at) == Some(&0);
        self.at += usize::from(is_zero);
        is_zero
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::of(self.u16()?).ok_or(DecodeError::PacketId { kind: self.kind })
    }

    /// Reads a variable byte integer in its shortest form (MQTT-1.5.5-1).
    pub(super) fn variable(&mut self) -> Result<usize, DecodeError> {
        match variable(self.frame.get(self.at..self.end).unwrap_or_default())? {
            Some((value, n_bytes)) => {
                self.at += n_bytes;
                Ok(value)
            }
            None => Err(self.short()),
        }
    }

    /// Reads what two bytes of length precede.
    #[inline]
    pub(super) fn field(&mut self) -> Result<Bytes, DecodeError> {
        let len = usize::from(self.u16()?);
        let range = self.advance(len)?;
        Ok(self.frame.slice(range))
    }

    pub(super) fn text(&mut self) -> Result<Text, DecodeError> {
        let kind = self.kind;
        Text::parse(self.field()?).map_err(|error| DecodeError::Text { kind, error })
    }

    pub(super) fn binary(&mut self) -> Result<Binary, DecodeError> {
        let kind = self.kind;
        Binary::parse(self.field()?).map_err(|error| DecodeError::Text { kind, error })
    }

    pub(super) fn topic(&mut self) -> Result<Topic, DecodeError> {
        let kind = self.kind;
        Topic::parse(self.field()?).map_err(|error| DecodeError::Topic { kind, error })
    }

    pub(super) fn filter(&mut self, version: Version) -> Result<Filter, DecodeError> {
        let kind = self.kind;
        let refused = |error| DecodeError::Filter { kind, error };
        let filter = Filter::parse(self.field()?).map_err(refused)?;
        // MQTT 3.1.1 knows nothing of sharing: there this is a filter like any other.
        if version == Version::V5 && filter.is_shared() && filter.shared().is_none() {
            return Err(refused(TopicError::Share)); // MQTT-4.8.2-1, MQTT-4.8.2-2
        }
        Ok(filter)
    }

    /// Takes everything that is left.
    #[inline]
    pub(super) fn rest(mut self) -> Bytes {
        self.frame.advance(self.at.min(self.frame.len()));
        self.frame
    }

    /// Runs `read` over the next `len` bytes only, which it must use up.
    pub(super) fn within<T>(
        &mut self,
        len: usize,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let inner_end =
            self.at.checked_add(len).filter(|&end| end <= self.end).ok_or_else(|| self.short())?;
        let outer_end = core::mem::replace(&mut self.end, inner_end);
        let value = read(self)?;
        self.end = outer_end;
        Ok(value)
    }

    /// Refuses bytes after the last field.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.end.saturating_sub(self.at) {
            0 => Ok(()),
            n_bytes => Err(DecodeError::Trailing { kind: self.kind, n_bytes }),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let range = self.advance(N)?;
        self.frame.get(range).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| self.short())
    }

    #[inline]
    fn advance(&mut self, len: usize) -> Result<core::ops::Range<usize>, DecodeError> {
        let start = self.at;
        let end =
            start.checked_add(len).filter(|&end| end <= self.end).ok_or_else(|| self.short())?;
        self.at = end;
        Ok(start..end)
    }

    fn short(&self) -> DecodeError {
        DecodeError::Short { kind: self.kind }
    }
}

/// Reads a variable byte integer and how many bytes it took; `None` if more bytes are needed.
#[inline]
pub(super) fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0_usize;
    for (idx, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * idx);
        if byte & 0x80 == 0 {
            let is_shortest = byte != 0 || idx == 0;
            return if is_shortest { Ok(Some((value, idx + 1))) } else { Err(DecodeError::Length) };
        }
    }
    if bytes.len() >= 4 { Err(DecodeError::Length) } else { Ok(None) }
}

/// Returns how many bytes a variable byte integer takes.
#[inline]
pub(super) const fn variable_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Writes a variable byte integer; the value is at most `MAX_REMAINING`, which `encode` has checked.
pub(super) fn put_variable(out: &mut BytesMut, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7F).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

/// Writes bytes after their length; the types whose bytes come here hold at most 65,535.
pub(super) fn put_field(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_lengths_are_those_of_the_specification() {
        // MQTT 5.0 table 1-1.
        let table: [(usize, &[u8]); 8] = [
            (0, &[0x00]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        for (value, bytes) in table {
            assert_eq!(variable(bytes), Ok(Some((value, bytes.len()))));
            assert_eq!(variable_len(value), bytes.len());
            let mut out = BytesMut::new();
            put_variable(&mut out, value);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn variable_length_beyond_its_shortest_form_or_four_bytes_is_refused() {
        for bad in [&[0x80, 0x00][..], &[0xFF, 0x80, 0x00], &[0x80, 0x80, 0x80, 0x80], &[0xFF; 5]] {
            assert_eq!(variable(bad), Err(DecodeError::Length), "{bad:?}");
        }
        assert_eq!(variable(&[0x80, 0x80]), Ok(None));
        assert_eq!(variable(&[]), Ok(None));
    }
}
