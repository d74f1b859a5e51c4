//! The bytes of a segment file: a header, frames of events, marks between commits, a seal at the end.
//!
//! | part | bytes |
//! |---|---|
//! | header | magic 8, version 4, zero 4, log id 32, number of the first event 8, zero 4, CRC 4 |
//! | event | length 4, CRC 4, the event |
//! | mark | length 20 with the highest bit set 4, CRC 4, `MARK`, number of the next event 8, own offset 8 |
//! | seal | the same with `SEAL`, then carry 8, count 4, offsets 4 each, length of this frame 4 |
//!
//! Numbers are little-endian. Each CRC-32C starts with the number of the (next) event, so that a
//! frame that was moved is noticed in its new place. A mark says that all before it was durable:
//! after a crash it tells a write that was under way from a file that was damaged. Offsets in the
//! seal point at every 256th event, so that a sealed segment needs no index beside it.

use crc32c::{crc32c, crc32c_append};

/// The first part of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The log it belongs to.
    pub log_id: [u8; 32],
    /// The number of its first event.
    pub first: u64,
}

/// What stands at a place in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An event's bytes.
    Event(&'a [u8]),
    /// All before it was durable when it was written.
    Mark,
    /// The segment ends here.
    Seal(Seal),
}

/// The last part of a segment that takes no more events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The number of the event after its last.
    pub end: u64,
    /// Where the seal itself begins.
    pub offset: u64,
    /// A number that the journal's owner carries from segment to segment.
    pub carry: u64,
    /// Where every 256th event begins, from the first on.
    pub strides: Vec<u32>,
}

/// What is wrong with bytes where a frame was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There are fewer bytes than the frame says.
    #[error("it ends inside a frame")]
    Incomplete,
    /// The length is nought or beyond what a frame may have.
    #[error("a frame can't have the length `{0}`")]
    Length(u32),
    /// The checksum does not fit bytes and place.
    #[error("its checksum does not fit")]
    Checksum,
    /// The mark or seal is none, or was meant for another place.
    #[error("it is neither a mark nor a seal of this place")]
    Control,
    /// The header is none.
    #[error("it has no header of a segment")]
    Header,
    /// The version is not ours.
    #[error("it is of version `{0}`, this program reads version 1; use a newer program")]
    Version(u32),
}

/// The number of bytes in a header.
pub const HEADER_BYTES: usize = 64;
/// The longest event; what a tlog entry bundle can carry.
pub const MAX_EVENT_BYTES: usize = 65_535;
/// The number of bytes before an event.
pub const PREFIX_BYTES: usize = 8;
/// The number of bytes in a whole mark.
pub const MARK_BYTES: usize = PREFIX_BYTES + 20;
/// How many events lie between two offsets in a seal.
pub const STRIDE: u64 = 256;

const MAGIC: &[u8; 8] = b"PALISEG1";
const VERSION: u32 = 1;
const CONTROL: u32 = 1 << 31;
const MAX_SEAL_BYTES: usize = 1 << 22;

impl Header {
    /// Writes the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.log_id);
        bytes[48..56].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the beginning of a segment.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(FrameError::Header)?;
        if !bytes.starts_with(MAGIC) {
            return Err(FrameError::Header);
        }
        if crc32c(&bytes[..60]).to_le_bytes() != bytes[60..] {
            return Err(FrameError::Checksum);
        }
        let mut fields = Fields(&bytes[8..60]);
        let (Some(version), Some([0, 0, 0, 0])) = (fields.u32(), fields.take()) else {
            return Err(FrameError::Header);
        };
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let (Some(log_id), Some(first), Some([0, 0, 0, 0])) =
            (fields.take(), fields.u64(), fields.take())
        else {
            return Err(FrameError::Header);
        };
        Ok(Self { log_id, first })
    }
}

/// Appends the frame of event number `index`.
pub fn push_event(buffer: &mut Vec<u8>, index: u64, event: &[u8]) -> Result<(), FrameError> {
    let n_bytes = u32::try_from(event.len()).unwrap_or(u32::MAX);
    if event.is_empty() || event.len() > MAX_EVENT_BYTES {
        return Err(FrameError::Length(n_bytes));
    }
    push_frame(buffer, index, n_bytes, event);
    Ok(())
}

/// Appends a mark before event number `index`, which lies at `offset` of the segment.
pub fn push_mark(buffer: &mut Vec<u8>, index: u64, offset: u64) {
    let mut payload = [0; 20];
    payload[..4].copy_from_slice(b"MARK");
    payload[4..12].copy_from_slice(&index.to_le_bytes());
    payload[12..].copy_from_slice(&offset.to_le_bytes());
    push_frame(buffer, index, 20 | CONTROL, &payload);
}

/// Appends a seal.
pub fn push_seal(buffer: &mut Vec<u8>, seal: &Seal) -> Result<(), FrameError> {
    let mut payload = b"SEAL".to_vec();
    payload.extend(seal.end.to_le_bytes());
    payload.extend(seal.offset.to_le_bytes());
    payload.extend(seal.carry.to_le_bytes());
    let n_strides = u32::try_from(seal.strides.len()).map_err(|_| FrameError::Length(u32::MAX))?;
    payload.extend(n_strides.to_le_bytes());
    payload.extend(seal.strides.iter().flat_map(|stride| stride.to_le_bytes()));
    let n_bytes = payload.len() + 4;
    if n_bytes > MAX_SEAL_BYTES {
        return Err(FrameError::Length(n_strides));
    }
    let n_bytes = u32::try_from(n_bytes).map_err(|_| FrameError::Length(u32::MAX))?;
    payload.extend((n_bytes + 8).to_le_bytes());
    push_frame(buffer, seal.end, n_bytes | CONTROL, &payload);
    Ok(())
}

fn push_frame(buffer: &mut Vec<u8>, index: u64, length: u32, payload: &[u8]) {
    buffer.extend(length.to_le_bytes());
    buffer.extend(checksum(index, length, payload).to_le_bytes());
    buffer.extend(payload);
}

fn checksum(index: u64, length: u32, payload: &[u8]) -> u32 {
    let mut place = [0; 12];
    place[..8].copy_from_slice(&index.to_le_bytes());
    place[8..].copy_from_slice(&length.to_le_bytes());
    crc32c_append(crc32c(&place), payload)
}

/// Reads the frame at the beginning of `bytes`, which lie at `offset` of their segment, where event
/// number `index` is next; gives it with its length.
pub fn parse(bytes: &[u8], offset: u64, index: u64) -> Result<(Frame<'_>, usize), FrameError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(FrameError::Incomplete)?;
    let (crc, rest) = rest.split_first_chunk().ok_or(FrameError::Incomplete)?;
    let (length, crc) = (u32::from_le_bytes(*length), u32::from_le_bytes(*crc));
    let is_control = length & CONTROL != 0;
    let n_bytes = usize::try_from(length & !CONTROL).map_err(|_| FrameError::Length(length))?;
    let longest = if is_control { MAX_SEAL_BYTES } else { MAX_EVENT_BYTES };
    if n_bytes == 0 || n_bytes > longest {
        return Err(FrameError::Length(length));
    }
    let payload = rest.get(..n_bytes).ok_or(FrameError::Incomplete)?;
    if checksum(index, length, payload) != crc {
        return Err(FrameError::Checksum);
    }
    let frame =
        if is_control { parse_control(payload, offset, index)? } else { Frame::Event(payload) };
    Ok((frame, PREFIX_BYTES + n_bytes))
}

fn parse_control(payload: &[u8], offset: u64, index: u64) -> Result<Frame<'_>, FrameError> {
    let mut fields = Fields(payload);
    let tag: Option<[u8; 4]> = fields.take();
    if fields.u64() != Some(index) || fields.u64() != Some(offset) {
        return Err(FrameError::Control);
    }
    match tag.as_ref() {
        Some(b"MARK") if fields.0.is_empty() => Ok(Frame::Mark),
        Some(b"SEAL") => {
            let seal = parse_seal(fields, index, offset, payload.len() + PREFIX_BYTES);
            seal.map(Frame::Seal).ok_or(FrameError::Control)
        }
        _ => Err(FrameError::Control),
    }
}

fn parse_seal(mut fields: Fields<'_>, end: u64, offset: u64, n_bytes: usize) -> Option<Seal> {
    let carry = fields.u64()?;
    let n_strides = usize::try_from(fields.u32()?).ok()?;
    // Checked before anything is allocated: the count must be what the length says.
    if fields.0.len() != n_strides.checked_mul(4)?.checked_add(4)? {
        return None;
    }
    let strides = (0..n_strides).map(|_| fields.u32()).collect::<Option<_>>()?;
    if usize::try_from(fields.u32()?) != Ok(n_bytes) {
        return None;
    }
    Some(Seal { end, offset, carry, strides })
}

/// Reads the seal at the end of a segment of which `tail` is the last part, ending at `end`.
///
/// Answers how many bytes the seal has when `tail` is too short to hold it.
pub fn parse_tail(tail: &[u8], end: u64) -> Result<Seal, TailError> {
    let (_, n_bytes) = tail.split_last_chunk().ok_or(TailError::NotSealed)?;
    let n_bytes =
        usize::try_from(u32::from_le_bytes(*n_bytes)).map_err(|_| TailError::NotSealed)?;
    if n_bytes > MAX_SEAL_BYTES {
        return Err(TailError::NotSealed);
    }
    let offset = u64::try_from(n_bytes)
        .ok()
        .and_then(|n_bytes| end.checked_sub(n_bytes))
        .ok_or(TailError::NotSealed)?;
    let start = tail.len().checked_sub(n_bytes).ok_or(TailError::Longer(n_bytes))?;
    let bytes = tail.get(start..).ok_or(TailError::NotSealed)?;
    // The checksum starts with the number of the next event, which the seal itself says.
    let mut fields = Fields(bytes.get(PREFIX_BYTES + 4..).ok_or(TailError::NotSealed)?);
    let index = fields.u64().ok_or(TailError::NotSealed)?;
    match parse(bytes, offset, index) {
        Ok((Frame::Seal(seal), length)) if length == n_bytes => Ok(seal),
        _ => Err(TailError::NotSealed),
    }
}

/// The end of a segment is not a seal that could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailError {
    /// It is not sealed, or its seal is broken.
    NotSealed,
    /// So many bytes of the end are needed.
    Longer(usize),
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
