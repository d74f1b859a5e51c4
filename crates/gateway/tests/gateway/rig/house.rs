//! Authorities and certificates, made afresh but the same in every test.

use std::time::{Duration, SystemTime};

use identity::certificate::ServerName;
use identity::issue::{Intent, Issuer};
use identity::{Ed25519Key, Fingerprint, Holder, P256Key, PublicKey, Serial, Signer, Time};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

pub struct House {
    pub root: Authority,
    pub issuing: Authority,
    pub standing: Ed25519Key,
    seed: u8,
    born: Time,
}

pub struct Authority {
    pub key: P256Key,
    pub issuer: Issuer,
    pub der: Vec<u8>,
}

pub struct Credential {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub pem: (String, Zeroizing<String>),
    pub fingerprint: Fingerprint,
}

impl House {
    pub fn new() -> Self {
        Self::with_seed(1)
    }

    /// Another seed is another house with the same names.
    pub fn with_seed(seed: u8) -> Self {
        Self::born(seed, now())
    }

    /// Gives the same house once more.
    pub fn again(&self) -> Self {
        Self::born(self.seed, self.born)
    }

    fn born(seed: u8, born: Time) -> Self {
        let (root_key, issuing_key) = (key(seed), key(seed + 1));
        let root = intent(
            Holder::Authority { path_len: 1 },
            "Palisade root",
            root_key.public_key(),
            born,
            1,
        );
        let issuer = Issuer { common_name: "Palisade root".into(), key: root.key.clone() };
        let der = root.build(&issuer).unwrap().sign(&root_key).unwrap();
        let root = Authority { key: root_key, issuer, der };
        let issuing = intent(
            Holder::Authority { path_len: 0 },
            "Palisade issuing",
            issuing_key.public_key(),
            born,
            2,
        );
        let issuer = Issuer { common_name: "Palisade issuing".into(), key: issuing.key.clone() };
        let der = root.sign(&issuing);
        let issuing = Authority { key: issuing_key, issuer, der };
        let standing = Ed25519Key::from_seed(&Zeroizing::new([seed + 2; 32])).unwrap();
        Self { root, issuing, standing, seed, born }
    }

    /// Gives a device's credential: the same each time for the same name.
    pub fn device(&self, id: &str) -> Credential {
        self.device_until(id, self.born.plus(30 * DAY))
    }

    pub fn device_until(&self, id: &str, not_after: Time) -> Credential {
        let key = self.key_of(id);
        let holder = Holder::Device(id.parse().unwrap());
        let intent = intent(holder, id, key.public_key(), self.born, 3);
        self.credential(Intent { not_after, ..intent }, &key)
    }

    pub fn expired(&self, id: &str) -> Credential {
        let key = self.key_of(id);
        let holder = Holder::Device(id.parse().unwrap());
        let intent = intent(holder, id, key.public_key(), self.born, 4);
        let not_before = self.born.minus(2 * DAY);
        self.credential(Intent { not_before, not_after: self.born.minus(DAY), ..intent }, &key)
    }

    /// A server's certificate in the hands of a client.
    pub fn server_as_client(&self) -> Credential {
        let key = self.key_of("server");
        let holder = Holder::Server(vec![ServerName::Dns("localhost".into())]);
        self.credential(intent(holder, "localhost", key.public_key(), self.born, 5), &key)
    }

    /// What custody answers to a gateway's request.
    pub fn server(&self, key: &PublicKey, not_after: Time, names: &[&str]) -> Vec<Vec<u8>> {
        let mut held = vec![ServerName::Ip([127, 0, 0, 1].into())];
        held.extend(names.iter().map(|name| ServerName::Dns((*name).to_owned())));
        let intent = intent(Holder::Server(held), "localhost", key, self.born, 6);
        let leaf = self.issuing.sign(&Intent { not_after, ..intent });
        vec![leaf, self.issuing.der.clone()]
    }

    fn credential(&self, intent: Intent, key: &P256Key) -> Credential {
        let leaf = self.issuing.sign(&intent);
        Credential {
            fingerprint: Fingerprint::of_der(&leaf),
            pem: (pem(&leaf) + &pem(&self.issuing.der), key.to_pem()),
            chain: vec![leaf.into(), self.issuing.der.clone().into()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_der().to_vec())),
        }
    }

    fn key_of(&self, name: &str) -> P256Key {
        let mut bytes = [self.seed; 32];
        let n_bytes = name.len().min(30);
        bytes[1..=n_bytes].copy_from_slice(&name.as_bytes()[..n_bytes]);
        P256Key::from_random(&Zeroizing::new(bytes)).unwrap()
    }
}

impl Authority {
    pub fn sign(&self, intent: &Intent) -> Vec<u8> {
        intent.build(&self.issuer).unwrap().sign(&self.key).unwrap()
    }
}

#[allow(clippy::disallowed_methods)] // The gateway under test reads the same clock.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Time::EPOCH.plus(since).whole_seconds()
}

fn key(seed: u8) -> P256Key {
    P256Key::from_random(&Zeroizing::new([seed; 32])).unwrap()
}

fn intent(holder: Holder, name: &str, key: &PublicKey, born: Time, number: u8) -> Intent {
    Intent {
        serial: Serial::from_random([0x5a ^ number; 20]),
        holder,
        common_name: name.to_owned(),
        key: key.clone(),
        not_before: born.minus(DAY),
        not_after: born.plus(30 * DAY),
    }
}

pub fn pem(der: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in der.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        let digits = (0..4).map(|idx| alphabet[(bits >> (18 - 6 * idx) & 63) as usize] as char);
        text.extend(digits.take(group.len() + 1));
        text.extend(std::iter::repeat_n('=', 3 - group.len()));
    }
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

pub const DAY: Duration = Duration::from_secs(24 * 3_600);
