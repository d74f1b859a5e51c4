//! Replays the committed corpus, and keeps its seeds what they claim to be.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use identity::key::pure;
use identity::request::Request;
use identity::{Certificate, Claim, DeviceId, Fingerprint, Time};

#[test]
fn every_seed_is_read_or_refused_as_its_name_says() {
    for (path, bytes) in seeds("certificate") {
        let parsed = Certificate::parse(&bytes);
        assert_eq!(parsed.is_err(), refused(&path), "{}: {parsed:?}", path.display());
    }
    for (path, bytes) in seeds("request") {
        let parsed = Request::parse(&bytes, pure::ALL);
        assert_eq!(parsed.is_err(), refused(&path), "{}: {parsed:?}", path.display());
    }
    for (path, bytes) in seeds("claim") {
        let parsed = String::from_utf8(bytes).ok().and_then(|text| text.parse::<Claim>().ok());
        assert_eq!(parsed.is_none(), refused(&path), "{}", path.display());
    }
}

#[test]
fn no_cut_or_changed_seed_is_read_with_a_panic() {
    for kind in ["certificate", "request", "claim"] {
        for (_, seed) in seeds(kind) {
            for end in 0..seed.len() {
                read(&seed[..end]);
            }
            for idx in 0..seed.len() {
                let mut changed = seed.clone();
                changed[idx] = changed[idx].wrapping_add(0x55);
                read(&changed);
            }
        }
    }
}

fn read(bytes: &[u8]) {
    let _ = Certificate::parse(bytes);
    let _ = Request::parse(bytes, pure::ALL);
    let text = String::from_utf8_lossy(bytes);
    let _ = text.parse::<Claim>();
    let _ = text.parse::<DeviceId>();
    let _ = text.parse::<Fingerprint>();
    let _ = text.parse::<Time>();
}

fn refused(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with("refused-")
}

fn seeds(kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(kind);
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let seeds: Vec<_> = entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds
}
