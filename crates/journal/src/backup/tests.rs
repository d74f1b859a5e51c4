//! What is written is read, and what was changed, cut or moved is refused with its part.

use std::io::Cursor;

use aws_lc_rs::rand::SystemRandom;

use super::header::{Cost, Header};
use super::*;

const PASSPHRASE: &str = "correct horse battery staple";
/// What opens in no time, for tests.
const CHEAP: Cost = Cost { memory_kib: 32, passes: 1, lanes: 1 };

fn name(text: &str) -> PartName {
    text.parse().unwrap()
}

fn written(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::begin_with(Vec::new(), PASSPHRASE, [9; 16], CHEAP).unwrap();
    for (part, content) in parts {
        let n_bytes = writer.part(&name(part), content.as_slice(), |_| {}).unwrap();
        assert_eq!(n_bytes, content.len() as u64);
    }
    let (bytes, n_bytes) = writer.finish().unwrap();
    assert_eq!(n_bytes, bytes.len() as u64);
    bytes
}

type Parts = Vec<(String, Vec<u8>)>;

fn read(bytes: &[u8], passphrase: &str) -> Result<Parts, BackupError> {
    let mut reader = Reader::open(bytes, passphrase)?;
    let mut parts = Vec::new();
    while let Some(part) = reader.next_part()? {
        let mut content = Vec::new();
        while let Some(data) = reader.data()? {
            content.extend(data);
        }
        parts.push((part.to_string(), content));
    }
    assert_eq!(reader.n_bytes(), bytes.len() as u64);
    assert!(reader.next_part()?.is_none());
    Ok(parts)
}

fn sample() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("manifest", b"{}".to_vec()),
        ("custody/root.key", vec![1; 300]),
        ("control/ledger/checkpoint", Vec::new()),
        ("control/store.sqlite", (0..=250_u8).cycle().take(600_000).collect()),
    ]
}

#[test]
fn what_was_written_is_read_part_by_part() {
    let parts = read(&written(&sample()), PASSPHRASE).unwrap();
    let expected: Parts =
        sample().into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
    assert_eq!(parts, expected);
    assert!(read(&written(&[]), PASSPHRASE).unwrap().is_empty());
}

#[test]
fn a_part_that_is_read_over_is_still_checked() {
    let mut bytes = written(&sample());
    let mut reader = Reader::open(bytes.as_slice(), PASSPHRASE).unwrap();
    let mut names = Vec::new();
    while let Some(part) = reader.next_part().unwrap() {
        names.push(part.to_string());
    }
    assert_eq!(names.len(), 4);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut reader = Reader::open(bytes.as_slice(), PASSPHRASE).unwrap();
    let failed = loop {
        match reader.next_part() {
            Ok(part) => assert!(part.is_some()),
            Err(e) => break e,
        }
    };
    assert!(failed.to_string().contains("`control/store.sqlite`"), "{failed}");
}

#[test]
fn every_flipped_bit_is_refused_with_its_part() {
    let small = [("manifest", b"{}".to_vec()), ("custody/root.key", vec![1; 40])];
    let bytes = written(&small);
    let first_line = "palisade backup v1\n".len();
    let head = Header::read(&mut Cursor::new(&bytes)).unwrap().to_text().len();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let failed = read(&changed, PASSPHRASE).unwrap_err();
            match failed {
                BackupError::NoBackup | BackupError::Newer(_) => assert!(at < first_line),
                BackupError::Passphrase | BackupError::Costs => assert!(at < head, "{at} {failed}"),
                BackupError::Changed { at: piece, .. } | BackupError::Cut { at: piece, .. } => {
                    assert!(piece <= at as u64, "{at} {bit}");
                }
                _ => panic!("{at} {bit}: {failed}"),
            }
        }
    }
}

#[test]
fn every_cut_is_refused_and_nothing_may_follow() {
    let bytes = written(&[("manifest", b"{}".to_vec()), ("custody/root.key", vec![1; 40])]);
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end], PASSPHRASE).is_err(), "{end}");
    }
    let last_piece = 4 + 9 + 16;
    let failed = read(&bytes[..bytes.len() - last_piece], PASSPHRASE).unwrap_err();
    assert!(matches!(&failed, BackupError::Cut { place: Place::Part(part), .. }
        if part.as_str() == "custody/root.key"));
    let longer = [bytes.as_slice(), b"\n"].concat();
    assert!(matches!(read(&longer, PASSPHRASE), Err(BackupError::Behind(_))));
}

#[test]
fn pieces_do_not_open_in_another_place_or_backup() {
    let parts = [("a", vec![1; 5]), ("b", vec![2; 5])];
    let bytes = written(&parts);
    let head = Header::read(&mut Cursor::new(&bytes)).unwrap().to_text().len();
    let mut ends = vec![head];
    let mut at = head;
    while at < bytes.len() {
        at += 4 + u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        ends.push(at);
    }
    let piece = |idx: usize| &bytes[ends[idx]..ends[idx + 1]];
    let of = |order: &[usize]| {
        [&bytes[..head]].into_iter().chain(order.iter().map(|idx| piece(*idx))).collect::<Vec<_>>()
    };
    assert!(read(&of(&[0, 1, 2, 3, 4]).concat(), PASSPHRASE).is_ok());
    for order in [&[2, 3, 0, 1, 4][..], &[0, 1, 4], &[0, 1, 1, 2, 3, 4], &[2, 3, 4], &[4]] {
        let failed = read(&of(order).concat(), PASSPHRASE).unwrap_err();
        assert!(matches!(failed, BackupError::Changed { .. }), "{order:?} {failed}");
    }
    let mut other = Writer::begin_with(Vec::new(), PASSPHRASE, [8; 16], CHEAP).unwrap();
    other.part(&name("a"), [1; 5].as_slice(), |_| {}).unwrap();
    let (other, _) = other.finish().unwrap();
    let mixed = [&other[..ends[1]], &bytes[ends[1]..]].concat();
    assert!(matches!(read(&mixed, PASSPHRASE), Err(BackupError::Changed { .. })));
}

#[test]
fn a_wrong_or_short_passphrase_is_refused() {
    let bytes = written(&sample());
    assert!(matches!(read(&bytes, "another passphrase"), Err(BackupError::Passphrase)));
    let short = Writer::begin(Vec::new(), "eleven char", &SystemRandom::new());
    assert!(matches!(short.err(), Some(BackupError::ShortPassphrase(11))));
}

#[test]
fn two_backups_of_the_same_share_no_byte_string() {
    let once = |source: &SystemRandom| {
        let mut writer = Writer::begin(Vec::new(), PASSPHRASE, source).unwrap();
        writer.part(&name("manifest"), [0; 64].as_slice(), |_| {}).unwrap();
        writer.finish().unwrap().0
    };
    let source = SystemRandom::new();
    let (one, other) = (once(&source), once(&source));
    assert!(one.windows(16).skip(60).all(|part| !other.windows(16).any(|also| also == part)));
    assert_eq!(read(&one, PASSPHRASE).unwrap().len(), 1);
}

#[test]
fn a_header_that_asks_for_too_much_is_refused_before_anything_is_spent() {
    let line = |cost: &str| {
        format!(
            "palisade backup v1\nargon2id {cost} CQkJCQkJCQkJCQkJCQkJCQ== CQkJCQkJCQkJCQkJCQkJCQ==\n"
        )
    };
    for cost in ["1048577 1 1", "64 65 1", "64 1 65", "4294967296 1 1", "064 1 1", "64 1", "-1 1 1"]
    {
        let read = Header::read(&mut line(cost).as_bytes());
        assert!(matches!(read, Err(BackupError::Costs)), "{cost}");
    }
    assert!(Header::read(&mut line("1048576 64 64").as_bytes()).is_ok());
    let long = [b"palisade backup v1\n".as_slice(), &[b'a'; 1000]].concat();
    assert!(matches!(Header::read(&mut long.as_slice()), Err(BackupError::Costs)));
}

#[test]
fn a_newer_format_and_another_file_are_told_apart() {
    let of = |text: &[u8]| Header::read(&mut Cursor::new(text)).unwrap_err();
    assert!(
        matches!(of(b"palisade backup v2\nwhat\n"), BackupError::Newer(version) if version == "2")
    );
    for text in [b"SQLite format 3\0".as_slice(), b"", b"\n", b"palisade backup v\xff\n"] {
        assert!(matches!(of(text), BackupError::NoBackup), "{text:?}");
    }
}

#[test]
fn names_stay_inside_the_folder() {
    for good in ["manifest", "custody/root.key", "control/store.sqlite-wal", "a/b/c_d-1"] {
        assert_eq!(name(good).as_str(), good);
    }
    let long = "a".repeat(PartName::MAX_BYTES + 1);
    for bad in ["", "/etc", "a//b", "a/", "../x", "a/../b", "a/.b", "a b", "a\\b", "ä", &long] {
        assert!(bad.parse::<PartName>().is_err(), "{bad}");
    }
}

/// The format as it is on disks: it must stay readable.
#[test]
fn the_golden_backup_is_read_and_written_the_same() {
    let golden = include_bytes!("../../corpus/backup/golden");
    let parts = [("manifest", b"{}".to_vec()), ("custody/root.key", b"sealed".to_vec())];
    let expected: Parts =
        parts.iter().map(|(name, content)| ((*name).to_owned(), content.clone())).collect();
    assert_eq!(read(golden, PASSPHRASE).unwrap(), expected);
    assert_eq!(written(&parts), golden);
}
