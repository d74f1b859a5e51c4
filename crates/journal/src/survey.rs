//! Walks a segment from its header to its end and says how it ends: whole, torn or broken.
//!
//! A process that is killed, or a machine that loses power, leaves the last write half done; none
//! of it was acknowledged, so it may be cut. Damage looks similar but must never be cut. The two
//! are told apart by what follows the first bad frame:
//! - a good mark or seal with a later number: all before was durable, so this is damage;
//! - nothing good: a torn write;
//! - good frames, but no mark: one write of which some sectors did not arrive. Only sectors of
//!   zeros are taken for that, anything else is damage.

use crate::frame::{
    self, Frame, FrameError, HEADER_BYTES, Header, MARK_BYTES, PREFIX_BYTES, STRIDE, Seal,
};

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Its header.
    pub header: Header,
    /// The number of the event after the last good one.
    pub end: u64,
    /// Where the good part ends.
    pub good_bytes: usize,
    /// Where every 256th event begins.
    pub strides: Vec<u32>,
    /// How it ends.
    pub ending: Ending,
}

/// How a segment ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With a whole frame: more may be appended.
    Open,
    /// With a seal.
    Sealed(Seal),
    /// With so many bytes of a write that was under way.
    Torn(usize),
    /// With damage.
    Broken(Broken),
}

/// Damage in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event `{event}` at byte `{offset}`: {why}{}", Stands(*stands))]
pub struct Broken {
    /// The event that should stand there.
    pub event: u64,
    /// Where.
    pub offset: usize,
    /// What is wrong.
    pub why: FrameError,
    /// The event that stands there instead, where that can be told.
    pub stands: Option<u64>,
    /// The event that stands behind that one.
    pub then: Option<u64>,
}

struct Stands(Option<u64>);

impl std::fmt::Display for Stands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |event| write!(f, "; event `{event}` stands there instead"))
    }
}

/// Walks a segment, handing each event with its number and offset to `each`.
pub fn survey<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(u64, usize, &'a [u8]),
) -> Result<Survey, FrameError> {
    let header = Header::parse(bytes)?;
    let mut survey = Survey {
        header,
        end: header.first,
        good_bytes: HEADER_BYTES,
        strides: Vec::new(),
        ending: Ending::Open,
    };
    while let Some(rest) = bytes.get(survey.good_bytes..).filter(|rest| !rest.is_empty()) {
        let offset = u64::try_from(survey.good_bytes).unwrap_or(u64::MAX);
        let (frame, n_bytes) = match frame::parse(rest, offset, survey.end) {
            Ok(found) => found,
            Err(why) => {
                survey.ending = ending(bytes, survey.good_bytes, survey.end, why);
                return Ok(survey);
            }
        };
        match frame {
            Frame::Event(event) => {
                if (survey.end - header.first).is_multiple_of(STRIDE) {
                    survey.strides.push(u32::try_from(survey.good_bytes).unwrap_or(u32::MAX));
                }
                each(survey.end, survey.good_bytes, event);
                survey.end += 1;
            }
            Frame::Mark => {}
            Frame::Seal(seal) => {
                survey.ending = sealed(&survey, seal, bytes.len() - survey.good_bytes - n_bytes);
                survey.good_bytes += n_bytes;
                return Ok(survey);
            }
        }
        survey.good_bytes += n_bytes;
    }
    Ok(survey)
}

/// A seal must be the last frame and tell the truth.
fn sealed(survey: &Survey, seal: Seal, n_behind: usize) -> Ending {
    if n_behind == 0 && seal.strides == survey.strides {
        return Ending::Sealed(seal);
    }
    let why = FrameError::Control;
    Ending::Broken(Broken {
        event: survey.end,
        offset: survey.good_bytes,
        why,
        stands: None,
        then: None,
    })
}

fn ending(bytes: &[u8], at: usize, event: u64, why: FrameError) -> Ending {
    let bad = &bytes[at..];
    let stands = stands_at(bad, event, event);
    let is_torn = || {
        let is_hole = |to| has_hole(bytes, at, at + to);
        !has_later_control(bad, at, event) && follower(bad, event).is_none_or(is_hole)
    };
    if stands.is_none() && is_torn() {
        return Ending::Torn(bad.len());
    }
    let next =
        bad.first_chunk().and_then(|length| usize::try_from(u32::from_le_bytes(*length)).ok());
    let next = next.and_then(|n_bytes| bad.get(n_bytes.checked_add(PREFIX_BYTES)?..));
    let then = next.filter(|_| stands.is_some()).and_then(|next| stands_at(next, u64::MAX, event));
    Ending::Broken(Broken { event, offset: at, why, stands, then })
}

/// Finds a good mark or seal with a number after `event`.
fn has_later_control(bad: &[u8], at: usize, event: u64) -> bool {
    let end = at.saturating_add(bad.len());
    let is_sealed = u64::try_from(end)
        .is_ok_and(|end| frame::parse_tail(bad, end).is_ok_and(|seal| seal.end > event));
    is_sealed
        || bad
            .windows(MARK_BYTES)
            .enumerate()
            .any(|(idx, window)| is_mark_after(window, at + idx, event))
}

fn is_mark_after(window: &[u8], at: usize, event: u64) -> bool {
    let Some(number) = window.get(PREFIX_BYTES..).and_then(|payload| payload.strip_prefix(b"MARK"))
    else {
        return false;
    };
    let Some(number) = number.first_chunk().map(|number| u64::from_le_bytes(*number)) else {
        return false;
    };
    let Ok(offset) = u64::try_from(at) else { return false };
    number > event && frame::parse(window, offset, number) == Ok((Frame::Mark, MARK_BYTES))
}

/// Says which event's frame stands there, other than the one expected, if it is one near.
fn stands_at(bytes: &[u8], expected: u64, near: u64) -> Option<u64> {
    let near = near.saturating_sub(NEAR)..near.saturating_add(NEAR);
    near.filter(|event| *event != expected).find(|event| is_event(bytes, *event))
}

/// Finds how far behind the bad frame the next good one of a following event begins.
fn follower(bad: &[u8], event: u64) -> Option<usize> {
    let is_good =
        |rest: &[u8]| (event + 1..event.saturating_add(FOLLOWERS)).any(|next| is_event(rest, next));
    (1..bad.len().min(RESYNC_BYTES)).find(|idx| bad.get(*idx..).is_some_and(is_good))
}

fn is_event(bytes: &[u8], event: u64) -> bool {
    // Lengths with the highest bit are marks and seals; not looked at, since those may be long.
    bytes.get(3).is_some_and(|byte| byte & 0x80 == 0)
        && matches!(frame::parse(bytes, 0, event), Ok((Frame::Event(_), _)))
}

/// Says whether a whole sector of zeros lies in those bytes.
fn has_hole(bytes: &[u8], from: usize, to: usize) -> bool {
    let sectors =
        bytes.chunks_exact(SECTOR_BYTES).take(to / SECTOR_BYTES).skip(from.div_ceil(SECTOR_BYTES));
    sectors.into_iter().any(|sector| sector.iter().all(|byte| *byte == 0))
}

const NEAR: u64 = 64;
const FOLLOWERS: u64 = 4;
// One frame at most is bad where only one was damaged, and the next begins within its length.
const RESYNC_BYTES: usize = 1 << 17;
const SECTOR_BYTES: usize = 512;

#[cfg(test)]
mod tests;
