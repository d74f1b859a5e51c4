//! Endings of a small segment: cut, torn and damaged at every byte.

use super::*;
use crate::frame::{push_event, push_mark, push_seal};

const HEADER: Header = Header { log_id: [7; 32], first: 100 };

/// Two commits of three events; gives the bytes and where the second commit begins.
fn segment() -> (Vec<u8>, usize) {
    let mut bytes = HEADER.encode().to_vec();
    for index in 100..103 {
        push_event(&mut bytes, index, &[b'a'; 40]).unwrap();
    }
    let second = bytes.len();
    push_mark(&mut bytes, 103, u64::try_from(second).unwrap());
    for index in 103..106 {
        push_event(&mut bytes, index, &[b'b'; 40]).unwrap();
    }
    (bytes, second)
}

fn look(bytes: &[u8]) -> Survey {
    survey(bytes, |_, _, _| {}).unwrap()
}

#[test]
fn a_whole_segment_is_open_or_sealed() {
    let (mut bytes, _) = segment();
    let open = look(&bytes);
    assert_eq!((open.end, open.good_bytes, &open.ending), (106, bytes.len(), &Ending::Open));
    let seal =
        Seal { end: 106, offset: u64::try_from(bytes.len()).unwrap(), carry: 1, strides: vec![64] };
    push_seal(&mut bytes, &seal).unwrap();
    assert_eq!(look(&bytes).ending, Ending::Sealed(seal));
    bytes.push(0);
    assert!(matches!(look(&bytes).ending, Ending::Broken(_)));
}

#[test]
fn a_cut_at_any_byte_is_torn_or_open() {
    let (bytes, _) = segment();
    for end in HEADER_BYTES..bytes.len() {
        let found = look(&bytes[..end]);
        assert!(matches!(found.ending, Ending::Torn(_) | Ending::Open), "cut at {end}: {found:?}");
        let n_torn = if let Ending::Torn(n_torn) = found.ending { n_torn } else { 0 };
        assert_eq!(found.good_bytes + n_torn, end);
    }
}

#[test]
fn damage_before_the_last_mark_is_never_called_torn() {
    let (bytes, second) = segment();
    for at in HEADER_BYTES..second {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let found = look(&changed);
        assert!(matches!(found.ending, Ending::Broken(_)), "byte {at}: {found:?}");
    }
}

#[test]
fn damage_in_the_last_commit_is_torn_only_at_its_very_end() {
    let (bytes, second) = segment();
    let last = bytes.len() - 48;
    for at in second + MARK_BYTES..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let is_torn = matches!(look(&changed).ending, Ending::Torn(_));
        assert_eq!(is_torn, at >= last, "byte {at}");
    }
}

#[test]
fn a_sector_that_never_arrived_is_torn() {
    let mut bytes = HEADER.encode().to_vec();
    for index in 100..140 {
        push_event(&mut bytes, index, &[b'a'; 100]).unwrap();
    }
    bytes[1024..1536].fill(0);
    let found = look(&bytes);
    assert!(matches!(found.ending, Ending::Torn(_)), "{found:?}");
    assert_eq!(found.end, 100 + (1024 - 64) / 108);
}

#[test]
fn a_sealed_segment_is_never_torn() {
    let (mut bytes, _) = segment();
    let seal =
        Seal { end: 106, offset: u64::try_from(bytes.len()).unwrap(), carry: 1, strides: vec![64] };
    let offset = bytes.len();
    push_seal(&mut bytes, &seal).unwrap();
    for at in HEADER_BYTES..offset {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(matches!(look(&changed).ending, Ending::Broken(_)), "byte {at}");
    }
}

#[test]
fn an_event_in_anothers_place_is_named() {
    let mut bytes = HEADER.encode().to_vec();
    for index in [100, 102, 101, 103] {
        push_event(&mut bytes, index, b"event").unwrap();
    }
    let Ending::Broken(broken) = look(&bytes).ending else { panic!() };
    assert_eq!((broken.event, broken.stands, broken.then), (101, Some(102), Some(101)));
    assert!(broken.to_string().ends_with("event `102` stands there instead"));
}

#[test]
fn files_without_a_header_are_refused() {
    assert_eq!(survey(b"", |_, _, _| {}), Err(FrameError::Header));
    assert_eq!(survey(&[0; 100], |_, _, _| {}), Err(FrameError::Header));
}
