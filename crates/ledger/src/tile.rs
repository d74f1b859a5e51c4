//! Where hashes and events lie in the tiled log that others read (C2SP tlog-tiles).
//!
//! A tile holds up to 256 neighbouring hashes of one level: leaves at level 0, above it the roots
//! of the full tiles below. A bundle holds the events of a level 0 tile.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// The coordinates of a tile; written as in a URL, `0/x001/234.p/7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    // Invariant: the events under it have numbers below 2^64, and the width is 1 to 256.
    level: u8,
    index: u64,
    width: u16,
}

/// Coordinates or a path name no tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tile's path looks like `0/x001/234` or `0/x001/234.p/7`, with a width of 1 to 255 after `.p/`"
)]
pub struct TileError;

/// An event is too long for a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry of `{0}` bytes does not fit a bundle's 65535")]
pub struct LongEntry(usize);

impl Tile {
    /// The width of a full tile.
    pub const FULL: u16 = 256;

    /// Names the tile at a level and index with that many hashes.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        let shift = u32::from(level)
            .checked_add(1)
            .and_then(|level| level.checked_mul(8))
            .ok_or(TileError)?;
        let fits = match shift {
            ..64 => index < 1 << (64 - shift),
            64 => index == 0,
            _ => false,
        };
        if fits && (1..=Self::FULL).contains(&width) {
            Ok(Self { level, index, width })
        } else {
            Err(TileError)
        }
    }

    /// Gives the level.
    pub fn level(self) -> u8 {
        self.level
    }

    /// Gives the index in its level.
    pub fn index(self) -> u64 {
        self.index
    }

    /// Gives the number of hashes.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Gives the number of its first hash in its level.
    pub fn first_hash(self) -> u64 {
        self.index * u64::from(Self::FULL)
    }

    /// Counts the hashes that a level has in a tree of that size.
    pub fn n_hashes(level: u8, size: u64) -> u64 {
        size.checked_shr(u32::from(level) * 8).unwrap_or(0)
    }

    /// Gives the path of its hashes, `tile/0/x001/234.p/7`.
    pub fn path(self) -> String {
        format!("tile/{self}")
    }

    /// Gives the path of its events, `tile/entries/x001/234.p/7`; it has meaning at level 0 only.
    pub fn entries_path(self) -> String {
        format!("tile/entries/{}", Place(self))
    }

    /// Reads a path below `tile/entries/`.
    pub fn parse_entries(path: &str) -> Result<Self, TileError> {
        Self::parse_place(0, path)
    }

    fn parse_place(level: u8, path: &str) -> Result<Self, TileError> {
        let (path, width) = match path.split_once(".p/") {
            Some((path, width)) => {
                (path, decimal::<u16>(width).filter(|width| *width < Self::FULL).ok_or(TileError)?)
            }
            None => (path, Self::FULL),
        };
        let (high, last) =
            path.rsplit_once('/').map_or((None, path), |(high, last)| (Some(high), last));
        let mut index = 0_u64;
        let mut is_first = true;
        for part in high.into_iter().flat_map(|high| high.split('/')) {
            let part = part.strip_prefix('x').ok_or(TileError)?;
            // One index has one path: no group of zeros in front.
            if is_first && part == "000" {
                return Err(TileError);
            }
            index = append(index, part)?;
            is_first = false;
        }
        Self::new(level, append(index, last)?, width)
    }
}

/// Appends an event to a bundle: a length in two bytes, big-endian, and the event.
pub fn append_entry(bundle: &mut alloc::vec::Vec<u8>, entry: &[u8]) -> Result<(), LongEntry> {
    let n_bytes = u16::try_from(entry.len()).map_err(|_| LongEntry(entry.len()))?;
    bundle.extend_from_slice(&n_bytes.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Splits a bundle into its events; none if it ends inside one.
pub fn split_entries(mut bundle: &[u8]) -> Option<alloc::vec::Vec<&[u8]>> {
    let mut entries = alloc::vec::Vec::new();
    while !bundle.is_empty() {
        let (n_bytes, rest) = bundle.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*n_bytes)))?;
        entries.push(entry);
        bundle = rest;
    }
    Some(entries)
}

fn append(index: u64, group: &str) -> Result<u64, TileError> {
    if group.len() != 3 || !group.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TileError);
    }
    let group: u64 = group.parse().map_err(|_| TileError)?;
    index.checked_mul(1000).and_then(|index| index.checked_add(group)).ok_or(TileError)
}

/// Reads digits without a sign or a zero in front.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

struct Place(Tile);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tile { index, width, .. } = self.0;
        // 2^64 has seven groups of three digits.
        for power in (1..7).rev().map(|group| 1000_u64.pow(group)) {
            if index >= power {
                write!(f, "x{:03}/", index / power % 1000)?;
            }
        }
        write!(f, "{:03}", index % 1000)?;
        if width < Tile::FULL { write!(f, ".p/{width}") } else { Ok(()) }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.level, Place(*self))
    }
}

impl FromStr for Tile {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let (level, place) = path.split_once('/').ok_or(TileError)?;
        Self::parse_place(decimal(level).ok_or(TileError)?, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = Tile::new(0, 1_234_067, 256).unwrap();
        assert_eq!(tile.path(), "tile/0/x001/x234/067");
        assert_eq!(tile.entries_path(), "tile/entries/x001/x234/067");
        assert_eq!(Tile::new(1, 0, 17).unwrap().path(), "tile/1/000.p/17");
        assert_eq!(Tile::new(2, 1000, 1).unwrap().path(), "tile/2/x001/000.p/1");
    }

    #[test]
    fn a_tree_of_70000_has_the_tiles_of_the_specification() {
        let widths =
            |level| (Tile::n_hashes(level, 70_000) / 256, Tile::n_hashes(level, 70_000) % 256);
        assert_eq!(widths(0), (273, 112));
        assert_eq!(widths(1), (1, 17));
        assert_eq!(widths(2), (0, 1));
        assert_eq!(Tile::n_hashes(8, u64::MAX), 0);
    }

    #[test]
    fn other_paths_are_refused() {
        for path in [
            "",
            "0",
            "0/",
            "0/1",
            "0/0001",
            "00/001",
            "+0/001",
            "-1/001",
            "8/001",
            "64/000",
            "0/001/",
            "0/001/002",
            "0/x001",
            "0/x000/001",
            "0/x001/x002",
            "0/001.p/0",
            "0/001.p/256",
            "0/001.p/01",
            "0/001.p/",
            "0/001.p/+1",
            "0/001.p/1.p/1",
            "0/xx01/001",
            "0/../001",
            "7/001",
            "0/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(path.parse::<Tile>(), Err(TileError), "{path}");
        }
    }

    #[test]
    fn bundles_are_prefixed_by_two_bytes_of_length() {
        let mut bundle = Vec::new();
        append_entry(&mut bundle, b"ab").unwrap();
        append_entry(&mut bundle, b"").unwrap();
        assert_eq!(bundle, b"\0\x02ab\0\0");
        assert_eq!(split_entries(&bundle), Some([b"ab".as_slice(), b""].to_vec()));
        assert_eq!(split_entries(&bundle[..3]), None);
        assert_eq!(append_entry(&mut bundle, &[0; 65_536]), Err(LongEntry(65_536)));
    }

    proptest! {
        #[test]
        fn paths_round_trip(level in 0..8_u8, index: u64, width in 1..=256_u16) {
            let index = index.checked_shr(u32::from(level + 1) * 8).unwrap_or(0);
            let tile = Tile::new(level, index, width).unwrap();
            prop_assert_eq!(tile.to_string().parse(), Ok(tile));
        }
    }
}
