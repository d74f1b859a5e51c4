//! Certificates as they are issued here, and every way in which a chain is not to be believed.
#![allow(clippy::unwrap_used, missing_docs)]

use identity::certificate::{CertificateError, ServerName};
use identity::chain::{ChainError, Usage};
use identity::issue::{Intent, IssueError, Issuer};
use identity::key::pure;
use identity::{Anchor, Certificate, Chain, Fingerprint, Holder, P256Key, Serial, Signer, Time};
use zeroize::Zeroizing;

const DAY: i64 = 24 * 3600;

struct House {
    root: Authority,
    issuing: Authority,
}

struct Authority {
    key: P256Key,
    issuer: Issuer,
    der: Vec<u8>,
}

#[test]
fn a_device_of_the_house_is_believed() {
    let house = house();
    let leaf = house.device("pump-7");
    let anchors = [Anchor::trust(&house.root.der).unwrap()];

    let chain = Chain::parse([leaf.as_slice(), &house.issuing.der]).unwrap();
    let leaf = chain.verify(&anchors, none, Usage::Client, at(10), pure::ALL).unwrap();

    assert_eq!(leaf.device().unwrap().as_str(), "pump-7");
    assert_eq!(leaf.holder(), &Holder::Device("pump-7".parse().unwrap()));
    assert_eq!((leaf.not_before(), leaf.not_after()), (at(0), at(90)));
}

#[test]
fn a_leaf_alone_is_believed_when_the_issuing_authority_is_the_anchor() {
    let house = house();
    let leaf = house.device("pump-7");
    let anchors = [Anchor::trust(&house.issuing.der).unwrap()];
    let chain = Chain::parse([leaf.as_slice()]).unwrap();
    assert!(chain.verify(&anchors, none, Usage::Client, at(10), pure::ALL).is_ok());
}

#[test]
fn validity_holds_to_the_second() {
    let house = house();
    let leaf = house.device("pump-7");
    let chain = Chain::parse([leaf.as_slice()]).unwrap();
    let anchors = [Anchor::trust(&house.issuing.der).unwrap()];
    let verify = |now| chain.verify(&anchors, none, Usage::Client, now, pure::ALL).map(|_| ());
    let second = std::time::Duration::from_secs(1);
    assert_eq!(verify(at(90)), Ok(()));
    assert_eq!(verify(at(90).plus(second)), Err(ChainError::Expired(at(90))));
    assert_eq!(verify(at(0)), Ok(()));
    assert_eq!(verify(at(0).minus(second)), Err(ChainError::NotYetValid(at(0))));
}

#[test]
fn an_expired_or_revoked_anchor_is_no_anchor() {
    let house = house();
    let leaf = house.device("pump-7");
    let chain = Chain::parse([leaf.as_slice()]).unwrap();
    let anchors = [Anchor::trust(&house.issuing.der).unwrap()];
    let (holder, issuing) = (Holder::Authority { path_len: 0 }, &house.issuing);
    let short = Intent { not_after: at(5), ..intent(holder, "Palisade issuing", &issuing.key) };
    let expired = [Anchor::trust(&house.root.sign(short)).unwrap()];
    let late = chain.verify(&expired, none, Usage::Client, at(10), pure::ALL);
    assert_eq!(late.unwrap_err(), ChainError::UnknownIssuer);
    let issuing = Fingerprint::of_der(&house.issuing.der);
    let revoked = chain.verify(&anchors, |f| *f == issuing, Usage::Client, at(10), pure::ALL);
    assert_eq!(revoked.unwrap_err(), ChainError::UnknownIssuer);
}

#[test]
fn a_revoked_leaf_or_intermediate_is_refused_by_name() {
    let house = house();
    let leaf = house.device("pump-7");
    let chain = Chain::parse([leaf.as_slice(), &house.issuing.der]).unwrap();
    let anchors = [Anchor::trust(&house.root.der).unwrap()];
    for der in [&leaf, &house.issuing.der] {
        let fingerprint = Fingerprint::of_der(der);
        let result =
            chain.verify(&anchors, |f| *f == fingerprint, Usage::Client, at(10), pure::ALL);
        assert_eq!(result.unwrap_err(), ChainError::Revoked(fingerprint));
    }
}

#[test]
fn a_server_is_no_client_and_a_device_is_no_server() {
    let house = house();
    let anchors = [Anchor::trust(&house.issuing.der).unwrap()];
    let names = vec![ServerName::Dns("localhost".into()), ServerName::Ip([127, 0, 0, 1].into())];
    let server = house.issuing.sign(intent(Holder::Server(names), "localhost", &key(5)));
    let device = house.device("pump-7");
    let usage = |der: &Vec<u8>, usage| {
        let chain = Chain::parse([der.as_slice()]).unwrap();
        chain.verify(&anchors, none, usage, at(10), pure::ALL).map(|_| ())
    };
    assert_eq!(usage(&server, Usage::Server), Ok(()));
    assert_eq!(usage(&server, Usage::Client), Err(ChainError::Usage(Usage::Client)));
    assert_eq!(usage(&device, Usage::Server), Err(ChainError::Usage(Usage::Server)));
    // An authority's own certificate is nobody's leaf.
    assert_eq!(usage(&house.issuing.der, Usage::Client), Err(ChainError::Usage(Usage::Client)));
}

#[test]
fn another_house_is_a_stranger_even_under_the_same_names() {
    let (ours, theirs) = (house(), other_house());
    let leaf = theirs.device("pump-7");
    let anchors = [Anchor::trust(&ours.issuing.der).unwrap()];
    let chain = Chain::parse([leaf.as_slice(), &theirs.issuing.der]).unwrap();
    let result = chain.verify(&anchors, none, Usage::Client, at(10), pure::ALL);
    assert!(matches!(result, Err(ChainError::UnknownIssuer | ChainError::Broken(_))), "{result:?}");
}

#[test]
fn a_device_cannot_issue() {
    let house = house();
    let device = house.device("pump-7");
    let forger = Issuer { common_name: "pump-7".into(), key: key(4).public_key().clone() };
    let forged = intent(Holder::Device("pump-8".parse().unwrap()), "pump-8", &key(6));
    let forged = forged.build(&forger).unwrap().sign(&key(4)).unwrap();
    let chain = Chain::parse([forged.as_slice(), &device]).unwrap();
    let anchors = [Anchor::trust(&house.issuing.der).unwrap()];
    assert!(chain.verify(&anchors, none, Usage::Client, at(10), pure::ALL).is_err());
}

#[test]
fn no_flipped_bit_is_believed() {
    let house = house();
    let leaf = house.device("pump-7");
    let anchors = [Anchor::trust(&house.issuing.der).unwrap()];
    for idx in 0..leaf.len() * 8 {
        let mut leaf = leaf.clone();
        leaf[idx / 8] ^= 1 << (idx % 8);
        let Ok(chain) = Chain::parse([leaf.as_slice()]) else { continue };
        let result = chain.verify(&anchors, none, Usage::Client, at(10), pure::ALL);
        assert!(result.is_err(), "bit {idx} flipped unseen");
    }
}

#[test]
fn chains_and_certificates_are_bounded() {
    let house = house();
    let leaf = house.device("pump-7");
    assert_eq!(Chain::parse([]).err(), Some(ChainError::Length(0)));
    assert_eq!(Chain::parse([leaf.as_slice(); 5]).err(), Some(ChainError::Length(5)));
    let long = Certificate::parse(&[0x30; 20_000]).unwrap_err();
    assert_eq!(long, CertificateError::TooLong(20_000));
}

#[test]
fn the_lint_refuses_what_would_be_wrong() {
    let house = house();
    let good = intent(Holder::Device("pump-7".parse().unwrap()), "pump-7", &key(4));
    let cases: [(&str, Intent); 7] = [
        (
            "its serial number is not random",
            Intent { serial: Serial::from_bytes([0; 20]), ..good.clone() },
        ),
        (
            "its serial number is negative",
            Intent { serial: Serial::from_bytes([0xff; 20]), ..good.clone() },
        ),
        ("its validity ends before it begins", Intent { not_after: at(0), ..good.clone() }),
        ("it would be valid for too long", Intent { not_after: at(900), ..good.clone() }),
        (
            "its names do not fit its holder",
            Intent { common_name: "pump-8".into(), ..good.clone() },
        ),
        ("its names do not fit its holder", Intent { holder: Holder::Stranger, ..good.clone() }),
        (
            "its common name holds a control or escape character",
            Intent { common_name: "pump-7,O=x".into(), ..good },
        ),
    ];
    for (rule, intent) in cases {
        assert_eq!(intent.build(&house.issuing.issuer).unwrap_err(), IssueError::Lint(rule));
    }
}

#[test]
fn a_server_is_certified_under_names_that_can_be_asked_for_only() {
    let house = house();
    let build = |name: &str| {
        let names = vec![ServerName::Dns(name.into())];
        intent(Holder::Server(names), "palisade.example", &key(4)).build(&house.issuing.issuer)
    };
    assert!(build("palisade.example").is_ok());
    for name in ["", "*", "*.example", "a b", "a.example\n", "A.example", "192.0.2.7", "é.example"]
    {
        let refused = IssueError::Lint("its names do not fit its holder");
        assert_eq!(build(name).unwrap_err(), refused, "{name:?}");
    }
}

#[test]
fn openssl_agrees_with_what_is_issued() {
    let Ok(version) = std::process::Command::new("openssl").arg("version").output() else {
        eprintln!("skipped: no openssl on this machine");
        return;
    };
    assert!(version.status.success());
    let house = house();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, der: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem(der)).unwrap();
        path
    };
    let root = write("root.pem", &house.root.der);
    let issuing = write("issuing.pem", &house.issuing.der);
    let leaf = write("leaf.pem", &house.device("pump-7"));
    let output = std::process::Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslclient", "-attime", "87264000", "-CAfile"])
        .arg(&root)
        .arg("-untrusted")
        .arg(&issuing)
        .arg(&leaf)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn none(_: &Fingerprint) -> bool {
    false
}

/// A point in time, in days since the thousandth of the epoch.
fn at(days: i64) -> Time {
    Time::from_seconds((1000 + days) * DAY)
}

fn key(seed: u8) -> P256Key {
    P256Key::from_random(&Zeroizing::new([seed; 32])).unwrap()
}

fn intent(holder: Holder, common_name: &str, key: &P256Key) -> Intent {
    Intent {
        serial: Serial::from_random([0x5a; 20]),
        holder,
        common_name: common_name.to_owned(),
        key: key.public_key().clone(),
        not_before: at(0),
        not_after: at(90),
    }
}

fn house() -> House {
    House::with_seeds(1, 2)
}

fn other_house() -> House {
    House::with_seeds(11, 12)
}

impl House {
    fn with_seeds(root: u8, issuing: u8) -> Self {
        let holder = Holder::Authority { path_len: 1 };
        let root_intent =
            Intent { not_after: at(7300), ..intent(holder, "Palisade root", &key(root)) };
        let issuer = Issuer { common_name: "Palisade root".into(), key: root_intent.key.clone() };
        let der = root_intent.build(&issuer).unwrap().sign(&key(root)).unwrap();
        let root = Authority { key: key(root), issuer, der };

        let holder = Holder::Authority { path_len: 0 };
        let issuing_intent = intent(holder, "Palisade issuing", &key(issuing));
        let issuing_intent = Intent { not_after: at(3650), ..issuing_intent };
        let issuer =
            Issuer { common_name: "Palisade issuing".into(), key: issuing_intent.key.clone() };
        let der = root.sign(issuing_intent);
        Self { root, issuing: Authority { key: key(issuing), issuer, der } }
    }

    fn device(&self, id: &str) -> Vec<u8> {
        self.issuing.sign(intent(Holder::Device(id.parse().unwrap()), id, &key(4)))
    }
}

impl Authority {
    fn sign(&self, intent: Intent) -> Vec<u8> {
        intent.build(&self.issuer).unwrap().sign(&self.key).unwrap()
    }
}

fn pem(der: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    let text = Base64::encode_string(der);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
