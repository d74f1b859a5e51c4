//! Replays the fuzz corpora of this crate, and keeps its seeds what they claim to be.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use identity::issue::{Intent, Issuer};
use identity::key::pure;
use identity::request::Request;
use identity::{Certificate, Claim, Ed25519Key, Holder, Serial, Signer as _, Time, fuzz};

#[test]
fn every_seed_is_read_or_refused_as_its_name_says() {
    for (path, bytes) in named("certificate") {
        let parsed = Certificate::parse(&bytes);
        assert_eq!(parsed.is_err(), refused(&path), "{}: {parsed:?}", path.display());
    }
    for (path, bytes) in named("request") {
        let parsed = Request::parse(&bytes, pure::ALL);
        assert_eq!(parsed.is_err(), refused(&path), "{}: {parsed:?}", path.display());
    }
    for (path, bytes) in named("claim") {
        let parsed = String::from_utf8(bytes).ok().and_then(|text| text.parse::<Claim>().ok());
        assert_eq!(parsed.is_none(), refused(&path), "{}", path.display());
    }
}

#[test]
fn no_file_of_the_corpora_breaks_a_parser() {
    for (name, target) in TARGETS {
        seeds(name).iter().for_each(|(_, bytes)| target(bytes));
    }
}

#[test]
fn no_cut_or_changed_seed_is_read_with_a_panic() {
    for (name, target) in TARGETS {
        for (_, seed) in named(name) {
            for end in 0..seed.len() {
                target(&seed[..end]);
            }
            for idx in 0..seed.len() {
                let mut changed = seed.clone();
                changed[idx] = changed[idx].wrapping_add(0x55);
                target(&changed);
            }
        }
    }
}

#[test]
fn the_authority_that_chains_are_fuzzed_under_is_of_the_seed_of_ones() {
    let key = Ed25519Key::from_seed(&[1; 32].into()).unwrap();
    let made = Time::from_seconds(1_790_000_000);
    let intent = Intent {
        serial: Serial::from_random([1; 20]),
        holder: Holder::Authority { path_len: 0 },
        common_name: "Fuzzing".to_owned(),
        key: key.public_key().clone(),
        not_before: made,
        not_after: made.plus(Duration::from_secs(20 * 365 * 24 * 3600)),
    };
    let issuer = Issuer { common_name: "Fuzzing".to_owned(), key: key.public_key().clone() };
    let der = intent.build(&issuer).unwrap().sign(&key).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/authority.der");
    assert_eq!(std::fs::read(path).unwrap(), der);
}

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 4] = [
    ("certificate", fuzz::certificate),
    ("chain", fuzz::chain),
    ("request", fuzz::request),
    ("claim", fuzz::claim),
];

fn refused(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with("refused-")
}

/// The seeds that people named; the fuzzer's are named by their hash.
fn named(kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let is_hash = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    seeds(kind).into_iter().filter(|(path, _)| !is_hash(path)).collect()
}

fn seeds(kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(kind);
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let seeds: Vec<_> = entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds
}
