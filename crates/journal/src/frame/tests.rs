//! The bytes of segments, golden and broken.

use super::*;
use proptest::prelude::*;

fn seal() -> Seal {
    Seal { end: 300, offset: 4096, carry: 9, strides: vec![64, 2000] }
}

#[test]
fn bytes_are_stable() {
    // CRC-32C recomputed in Python from its polynomial.
    let header = Header { log_id: [7; 32], first: 256 }.encode();
    assert_eq!(header.to_vec(), include!("../../tests/vectors/header.in"));
    let mut bytes = Vec::new();
    push_event(&mut bytes, 5, b"abc").unwrap();
    push_mark(&mut bytes, 6, 75);
    push_seal(&mut bytes, &seal()).unwrap();
    assert_eq!(bytes, include!("../../tests/vectors/frames.in"));
}

#[test]
fn what_was_written_is_read() {
    let header = Header { log_id: [7; 32], first: 256 };
    assert_eq!(Header::parse(&header.encode()), Ok(header));
    let mut bytes = Vec::new();
    push_event(&mut bytes, 5, b"abc").unwrap();
    assert_eq!(parse(&bytes, 64, 5), Ok((Frame::Event(b"abc"), 11)));
    let mut bytes = Vec::new();
    push_mark(&mut bytes, 6, 75);
    assert_eq!(parse(&bytes, 75, 6), Ok((Frame::Mark, MARK_BYTES)));
    let mut bytes = Vec::new();
    push_seal(&mut bytes, &seal()).unwrap();
    assert_eq!(parse(&bytes, 4096, 300), Ok((Frame::Seal(seal()), bytes.len())));
    let end = 4096 + u64::try_from(bytes.len()).unwrap();
    assert_eq!(parse_tail(&bytes, end), Ok(seal()));
    assert_eq!(parse_tail(&bytes[10..], end), Err(TailError::Longer(bytes.len())));
    assert_eq!(parse_tail(&bytes, end + 1), Err(TailError::NotSealed));
}

#[test]
fn every_changed_bit_and_every_other_place_is_noticed() {
    let mut bytes = Vec::new();
    push_event(&mut bytes, 5, b"abc").unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&changed, 64, 5).is_err(), "bit {bit}");
    }
    assert_eq!(parse(&bytes, 64, 6), Err(FrameError::Checksum));
    let header = Header { log_id: [7; 32], first: 256 }.encode();
    for bit in 0..header.len() * 8 {
        let mut changed = header;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::parse(&changed).is_err(), "bit {bit}");
    }
    let mut mark = Vec::new();
    push_mark(&mut mark, 6, 75);
    assert_eq!(parse(&mark, 76, 6), Err(FrameError::Control));
}

#[test]
fn empty_and_overlong_events_are_refused() {
    let mut bytes = Vec::new();
    assert_eq!(push_event(&mut bytes, 0, b""), Err(FrameError::Length(0)));
    assert_eq!(push_event(&mut bytes, 0, &[0; 65_536]), Err(FrameError::Length(65_536)));
    assert_eq!(bytes, b"");
    assert_eq!(parse(&[0; 64], 0, 0), Err(FrameError::Length(0)));
}

#[test]
fn a_seal_that_claims_too_much_allocates_nothing() {
    let mut payload = b"SEAL".to_vec();
    payload.extend([0; 24]);
    payload.extend(u32::MAX.to_le_bytes());
    payload.extend([0; 4]);
    let mut bytes = Vec::new();
    let length = u32::try_from(payload.len()).unwrap();
    push_frame(&mut bytes, 0, length | CONTROL, &payload);
    assert_eq!(parse(&bytes, 0, 0), Err(FrameError::Control));
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = (parse(&bytes, 0, 0), Header::parse(&bytes), parse_tail(&bytes, 100));
    }
}
