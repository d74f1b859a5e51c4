//! What a fuzz target calls, one function for each parser: any bytes give a value or an error, an
//! error is one short line, and what one reader believes a second one reads the same.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use rustls_pki_types::{CertificateDer, ServerName as WebpkiName};
use webpki::EndEntityCert;

use crate::certificate::{DEVICE_URI, ServerName};
use crate::chain::Usage;
use crate::issue::ToBeSigned;
use crate::key::{Algorithm, pure};
use crate::request::Request;
use crate::{Anchor, Certificate, Chain, Claim, DeviceId, Ed25519Key, Fingerprint, Holder, Time};

/// The longest error, in bytes.
const MAX_TOLD: usize = 500;

/// Asserts that an error is one short line, whatever it quotes.
pub fn told(error: &dyn fmt::Display) {
    let text = error.to_string();
    assert!(text.len() <= MAX_TOLD && !text.chars().any(char::is_control), "{text:?}");
}

/// Reads a certificate in DER.
pub fn certificate(der: &[u8]) {
    let certificate = match Certificate::parse(der) {
        Ok(certificate) => certificate,
        Err(error) => return told(&error),
    };
    assert_eq!(certificate.der(), der);
    for name in [certificate.subject(), certificate.issuer()] {
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    let chain = Chain::parse([der]).expect("what is read as a certificate is read as a leaf");
    let verified = chain.verify(&[], |_| false, Usage::Client, now(), pure::ALL);
    told(&verified.expect_err("nothing is believed without an anchor"));
}

/// Signs any bytes as the body of a certificate, so that only what they say can be wrong with it:
/// whom we then believe it to be of, webpki reads in it too.
pub fn chain(body: &[u8]) {
    let key = Ed25519Key::from_seed(&[1; 32].into()).expect("any seed makes a key");
    let unsigned = ToBeSigned { der: body.to_vec(), algorithm: Algorithm::Ed25519 };
    let Ok(der) = unsigned.sign(&key) else { return };
    certificate(&der);
    let Ok(chain) = Chain::parse([der.as_slice()]) else { return };
    let anchor = Anchor::trust(AUTHORITY).expect("an authority of ours");
    let anchors = [anchor];
    for usage in [Usage::Client, Usage::Server] {
        match chain.verify(&anchors, |_| false, usage, now(), pure::ALL) {
            Ok(leaf) => compare(leaf, usage),
            Err(error) => told(&error),
        }
        let revoked = |found: &Fingerprint| *found == chain.leaf().fingerprint();
        assert!(chain.verify(&anchors, revoked, usage, now(), pure::ALL).is_err());
    }
}

/// Reads a certificate that is believed a second time, with webpki.
fn compare(leaf: &Certificate, usage: Usage) {
    let der = CertificateDer::from(leaf.der());
    let other = EndEntityCert::try_from(&der).expect("webpki has just verified it");
    assert_eq!(other.subject_public_key_info().as_ref(), leaf.key().spki());
    assert!(leaf.covers(now()));
    match leaf.holder() {
        Holder::Device(id) => {
            assert_eq!(usage, Usage::Client);
            let uris: Vec<&str> = other.valid_uri_names().collect();
            assert_eq!(uris, [format!("{DEVICE_URI}{id}")]);
            assert_eq!(other.valid_dns_names().next(), None);
        }
        Holder::Server(names) => {
            assert_eq!(usage, Usage::Server);
            // Only a name that reads as one can be asked for.
            let plain = |name: &&ServerName| name.to_string().parse().as_ref() == Ok(*name);
            for name in names.iter().filter(plain) {
                let text = name.to_string();
                let asked = WebpkiName::try_from(text.as_str()).expect("a plain name");
                assert_eq!(other.verify_is_valid_for_subject_name(&asked), Ok(()), "{text}");
            }
        }
        Holder::Authority { .. } => panic!("an authority is no leaf"),
        Holder::Stranger => (),
    }
}

/// Reads a certificate request in DER.
pub fn request(der: &[u8]) {
    match Request::parse(der, pure::ALL) {
        Ok(request) => {
            let spki = request.key().spki();
            assert!(der.windows(spki.len()).any(|part| part == spki), "another key is proven");
        }
        Err(error) => told(&error),
    }
}

/// Reads a text as a claim, and as each kind of name that stands in URLs and settings.
pub fn claim(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match text.parse::<Claim>() {
        Ok(claim) => assert_eq!(claim.text().as_str(), text.trim()),
        Err(error) => told(&error),
    }
    match text.parse::<DeviceId>() {
        Ok(id) => {
            assert_eq!(id.as_str(), text);
            assert!(!text.contains(['+', '#', '/', '\0']));
        }
        Err(error) => told(&error),
    }
    match text.parse::<Fingerprint>() {
        Ok(fingerprint) => assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint)),
        Err(error) => told(&error),
    }
    match text.parse::<Time>() {
        Ok(time) => assert_eq!(time.to_string().parse(), Ok(time)),
        Err(error) => told(&error),
    }
    match text.parse::<ServerName>() {
        Ok(name) => assert_eq!(name.to_string().parse(), Ok(name)),
        Err(error) => told(&error),
    }
}

/// The moment at which chains are verified: 2027-01-15T08:00:00Z.
fn now() -> Time {
    Time::from_seconds(1_800_000_000)
}

/// An authority whose key is that of the seed of ones, valid then.
const AUTHORITY: &[u8] = include_bytes!("../corpus/authority.der");
