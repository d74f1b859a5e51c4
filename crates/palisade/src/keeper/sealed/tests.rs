//! What was sealed, taken apart.

use super::*;

fn sealed(pcrs: &[u8], private: &[u8]) -> Vec<u8> {
    let policy = (!pcrs.is_empty()).then_some([2; DIGEST_BYTES]);
    let (storage_name, unique) = ([1; NAME_BYTES], [3; DIGEST_BYTES]);
    let pcrs = pcrs.iter().copied().collect();
    Sealed { pcrs, storage_name, policy, unique, private }.to_bytes()
}

#[test]
fn what_is_written_is_read_again() {
    for pcrs in [&[][..], &[0], &[7, 11], &[23], &[0, 1, 8, 15, 16, 23]] {
        let bytes = sealed(pcrs, &[4; 190]);
        let parsed = Sealed::parse(&bytes).unwrap();
        assert_eq!(parsed.pcrs, pcrs.iter().copied().collect());
        assert_eq!(parsed.policy.is_some(), !pcrs.is_empty());
        assert_eq!(parsed.private, [4; 190]);
        assert_eq!(parsed.to_bytes(), bytes);
    }
}

#[test]
fn no_cut_or_change_breaks_the_parser_and_lengths_are_bounded() {
    let bytes = sealed(&[7], &[4; 8]);
    for end in 0..=bytes.len() {
        assert_eq!(Sealed::parse(&bytes[..end]).is_some(), end > bytes.len() - 8, "cut at {end}");
    }
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            if let Some(parsed) = Sealed::parse(&changed) {
                assert_eq!(parsed.to_bytes(), changed);
            }
        }
    }
    assert!(Sealed::parse(&sealed(&[], &[4; MAX_PRIVATE_BYTES])).is_some());
    assert_eq!(Sealed::parse(&sealed(&[], &[4; MAX_PRIVATE_BYTES + 1])), None);
}
