//! What was wrapped, taken apart.

use super::*;

fn gcm(n_bytes: usize) -> Vec<u8> {
    [[VERSION, GCM].as_slice(), &[2; ID_BYTES], &[3; NONCE_BYTES], &vec![4; n_bytes]].concat()
}

#[test]
fn what_the_token_made_is_taken_apart() {
    let bytes = gcm(48);
    let parsed = Wrapped::parse(&bytes).unwrap();
    assert_eq!(parsed.id, [2; ID_BYTES]);
    let Sealed::Gcm { nonce, ciphertext } = parsed.sealed else { panic!() };
    assert_eq!((nonce, ciphertext), ([3; NONCE_BYTES], [4; 48].as_slice()));
    assert_eq!(key_name(&bytes).unwrap(), "palisade-0202020202020202");
}

#[test]
fn no_cut_or_change_breaks_the_parser_and_lengths_are_bounded() {
    let bytes = gcm(48);
    for end in 0..bytes.len() {
        assert_eq!(Wrapped::parse(&bytes[..end]), None, "cut at {end}");
    }
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            let _ = Wrapped::parse(&changed);
        }
    }
    assert!(Wrapped::parse(&gcm(MAX_CIPHERTEXT_BYTES)).is_some());
    assert_eq!(Wrapped::parse(&gcm(MAX_CIPHERTEXT_BYTES + 1)), None);
    assert_eq!(Wrapped::parse(&[9, 9]), None);
}

#[test]
fn a_module_is_a_file_that_is_named() {
    let Err(failure) = Token::of(Path::new("libsofthsm2.so"), "palisade", "1234") else { panic!() };
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.line().contains("there is no PKCS#11 module at `/"), "{}", failure.line());
}
