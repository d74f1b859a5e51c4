//! What a signed document promises, and each way to break it.

use super::*;
use crate::key::{Ed25519Key, P256Key};
use zeroize::Zeroizing;

#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Order(#[n(0)] u32);

impl Document for Order {
    const CONTEXT: &'static str = "palisade.test.order.v1";
}

#[derive(Debug, Encode, Decode)]
struct Other(#[n(0)] u32);

impl Document for Other {
    const CONTEXT: &'static str = "palisade.test.other.v1";
}

#[test]
fn a_document_comes_back_verified_with_its_signers() {
    let (a, b) = (ed25519(1), p256(2));
    let bytes = Signed::sign(&Order(7), Some(at(100)), &[&a, &b]).unwrap();

    let order =
        Signed::<Order>::parse(&bytes).unwrap().verify(&keys(&[&a, &b]), 2, at(99)).unwrap();

    assert_eq!(*order, Order(7));
    assert_eq!(order.signers().len(), 2);
    assert_eq!(order.expires(), Some(at(100)));
}

#[test]
fn one_kind_is_not_read_as_another() {
    let key = ed25519(1);
    let bytes = Signed::sign(&Order(7), None, &[&key]).unwrap();
    let Err(error) = Signed::<Other>::parse(&bytes) else { panic!("read as another kind") };
    assert!(matches!(error, ParseError::OtherKind { .. }));

    // Even with the content type rewritten, the signatures cover the context.
    let from = b"palisade.test.order.v1";
    let place = bytes.windows(from.len()).position(|w| w == from).unwrap();
    let mut bytes = bytes;
    bytes[place..place + from.len()].copy_from_slice(b"palisade.test.other.v1");
    let forged = Signed::<Other>::parse(&bytes).unwrap().verify(&keys(&[&key]), 1, at(0));
    assert_eq!(forged.unwrap_err(), VerifyError::Threshold { found: 0, needed: 1 });
}

#[test]
fn a_kind_that_is_not_ours_is_told_on_one_line() {
    let mut bytes = Signed::sign(&Order(7), None, &[&ed25519(1)]).unwrap();
    let place = bytes.windows(5).position(|w| w == b"order").unwrap();
    bytes[place..place + 5].copy_from_slice(b"o\r\n\x1b[");
    let Err(error) = Signed::<Order>::parse(&bytes) else { panic!("read as another kind") };
    let told = std::string::ToString::to_string(&error);
    assert!(told.contains(r"test.o\r\n\u{1b}[.v1`; expected"), "{told}");
}

#[test]
fn the_same_key_twice_counts_once() {
    let key = ed25519(1);
    let bytes = Signed::sign(&Order(7), None, &[&key, &key]).unwrap();
    let verified = Signed::<Order>::parse(&bytes).unwrap().verify(&keys(&[&key]), 2, at(0));
    assert_eq!(verified.unwrap_err(), VerifyError::Threshold { found: 1, needed: 2 });
}

#[test]
fn a_stranger_s_signature_does_not_count() {
    let (ours, stranger) = (ed25519(1), ed25519(9));
    let bytes = Signed::sign(&Order(7), None, &[&stranger]).unwrap();
    let verified = Signed::<Order>::parse(&bytes).unwrap().verify(&keys(&[&ours]), 0, at(0));
    assert_eq!(verified.unwrap_err(), VerifyError::Threshold { found: 0, needed: 1 });
}

#[test]
fn an_expired_document_is_refused_at_its_second() {
    let key = ed25519(1);
    let bytes = Signed::sign(&Order(7), Some(at(100)), &[&key]).unwrap();
    let verified = Signed::<Order>::parse(&bytes).unwrap().verify(&keys(&[&key]), 1, at(100));
    assert_eq!(verified.unwrap_err(), VerifyError::Expired(at(100)));
}

#[test]
fn no_flipped_bit_survives() {
    let key = ed25519(1);
    let bytes = Signed::sign(&Order(7), Some(at(100)), &[&key]).unwrap();
    for idx in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[idx / 8] ^= 1 << (idx % 8);
        let Ok(signed) = Signed::<Order>::parse(&bytes) else { continue };
        let verified = signed.verify(&keys(&[&key]), 1, at(0));
        assert!(verified.is_err(), "bit {idx} flipped unseen");
    }
}

#[test]
fn bytes_after_the_payload_are_refused() {
    let key = ed25519(1);
    let mut payload = minicbor::to_vec(Order(7)).unwrap();
    payload.push(0);
    let sign =
        CoseSignBuilder::new().protected(protected_header(Order::CONTEXT, None)).payload(payload);
    let header = HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(key.public_key().digest().to_vec())
        .build();
    let signature = CoseSignatureBuilder::new().protected(header).build();
    let sign =
        sign.add_created_signature(signature, Order::CONTEXT.as_bytes(), |m| key.sign(m).unwrap());
    let bytes = sign.build().to_tagged_vec().unwrap();

    let verified = Signed::<Order>::parse(&bytes).unwrap().verify(&keys(&[&key]), 1, at(0));

    assert!(matches!(verified, Err(VerifyError::Payload(_))));
}

fn at(seconds: i64) -> Time {
    Time::from_seconds(seconds)
}

fn ed25519(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([seed; 32])).unwrap()
}

fn p256(seed: u8) -> P256Key {
    P256Key::from_random(&Zeroizing::new([seed; 32])).unwrap()
}

fn keys(signers: &[&dyn Signer]) -> Vec<PublicKey> {
    signers.iter().map(|signer| signer.public_key().clone()).collect()
}
