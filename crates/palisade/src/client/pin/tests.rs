//! Which servers are believed, by their root.

use super::*;
use identity::issue::{Intent, Issuer};
use identity::{P256Key, Serial, Signer};
use zeroize::Zeroizing;

const DAY: i64 = 24 * 3600;

struct Authority {
    key: P256Key,
    issuer: Issuer,
    der: Vec<u8>,
}

fn key(seed: u8) -> P256Key {
    P256Key::from_random(&Zeroizing::new([seed; 32])).unwrap()
}

fn intent(holder: Holder, name: &str, key: &P256Key, days: i64) -> Intent {
    Intent {
        serial: Serial::from_random([9; 20]),
        holder,
        common_name: name.into(),
        key: key.public_key().clone(),
        not_before: Time::EPOCH,
        not_after: Time::from_seconds(days * DAY),
    }
}

fn authority(seed: u8, name: &str, path_len: u8, above: Option<&Authority>) -> Authority {
    let key = key(seed);
    let intent = intent(Holder::Authority { path_len }, name, &key, 3000);
    let issuer = Issuer { common_name: name.into(), key: key.public_key().clone() };
    let der = match above {
        Some(above) => intent.build(&above.issuer).unwrap().sign(&above.key).unwrap(),
        None => intent.build(&issuer).unwrap().sign(&key).unwrap(),
    };
    Authority { key, issuer, der }
}

/// The chain that a server shows, with the root at its end.
fn shown(seed: u8, holder: Holder, name: &str) -> [Vec<u8>; 3] {
    let root = authority(seed, "Palisade root", 1, None);
    let issuing = authority(seed + 1, "Palisade issuing", 0, Some(&root));
    let intent = intent(holder, name, &key(seed + 2), 90);
    let leaf = intent.build(&issuing.issuer).unwrap().sign(&issuing.key).unwrap();
    [leaf, issuing.der, root.der]
}

fn server(seed: u8) -> [Vec<u8>; 3] {
    shown(seed, Holder::Server(vec!["localhost".parse().unwrap()]), "localhost")
}

fn check(pin: &Pin, shown: &[Vec<u8>], name: &str) -> Result<(), PinError> {
    let shown: Vec<&[u8]> = shown.iter().map(Vec::as_slice).collect();
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    pin.check(&shown, &name.parse().unwrap(), Time::from_seconds(10 * DAY), &algorithms)
}

#[test]
fn the_server_of_the_claimed_root_is_believed() {
    let chain = server(10);
    let [_, _, root] = &chain;
    check(&Pin::Fingerprint(Fingerprint::of_der(root)), &chain, "localhost").unwrap();
    check(&Pin::Root(root.clone()), &chain, "localhost").unwrap();
    check(&Pin::Root(root.clone()), &chain[..2], "localhost").unwrap();
}

#[test]
fn the_server_of_another_root_is_not_even_when_it_shows_ours() {
    let ours = server(10);
    let pin = Pin::Fingerprint(Fingerprint::of_der(&ours[2]));
    let mut theirs = server(50).to_vec();
    assert!(matches!(check(&pin, &theirs, "localhost"), Err(PinError::Absent(_))));
    theirs[2] = ours[2].clone();
    let error = check(&pin, &theirs, "localhost").unwrap_err();
    assert!(matches!(error, PinError::Chain(_)), "{error}");
}

#[test]
fn another_name_is_refused_and_the_right_ones_are_said() {
    let chain = server(10);
    let pin = Pin::Root(chain[2].clone());
    let error = check(&pin, &chain, "palisade.example").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server's certificate is not for `palisade.example` but for `localhost`; use one of \
         these, or start the server with `--name palisade.example`"
    );
}

#[test]
fn a_device_cannot_play_the_server() {
    let chain = shown(10, Holder::Device("pump-7".parse().unwrap()), "pump-7");
    let pin = Pin::Root(chain[2].clone());
    assert!(check(&pin, &chain, "pump-7").is_err());
}
