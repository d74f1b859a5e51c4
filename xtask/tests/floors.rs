//! The floors of the house: imports point down only, crates of one floor do not know each other,
//! and the floors of pure logic have neither runtime nor sockets, files nor clock.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every crate and its floor; a crate that is not here fails the test.
const FLOORS: [(&str, u8); 9] = [
    ("identity", 0),
    ("ledger", 1),
    ("messaging", 1),
    ("policy", 1),
    ("authority", 2),
    ("journal", 3),
    ("control", 4),
    ("gateway", 4),
    ("palisade", 5),
];

/// What floors 0 to 2 must not name.
const IMPURE: [&str; 13] = [
    "tokio",
    "mio",
    "rustix",
    "libc",
    "nix",
    "socket2",
    "hyper",
    "axum",
    "sqlx",
    "rusqlite",
    "tempfile",
    "getrandom",
    "rand",
];

/// What the source of floors 0 to 2 must not reach for in std.
const IMPURE_PATHS: [&str; 8] = [
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::thread",
    "std::env",
    "std::process",
];

/// The crates that must build without std.
const NO_STD: [&str; 3] = ["identity", "messaging", "policy"];

#[test]
fn every_crate_has_a_floor() {
    let names: Vec<_> = manifests().into_keys().collect();
    let mut expected: Vec<_> = FLOORS.iter().map(|(name, _)| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn imports_point_down_only() {
    let floors = BTreeMap::from(FLOORS);
    for (name, manifest) in manifests() {
        for dependency in dependencies(&manifest, "dependencies") {
            let Some(below) = floors.get(dependency.as_str()) else { continue };
            let floor = floors[name.as_str()];
            assert!(
                *below < floor,
                "`{name}` (floor {floor}) imports `{dependency}` (floor {below})"
            );
        }
    }
}

#[test]
fn the_pure_floors_name_no_runtime_socket_or_file() {
    for (name, floor) in FLOORS {
        if floor > 2 {
            continue;
        }
        for dependency in dependencies(&manifests()[name], "dependencies") {
            assert!(!IMPURE.contains(&dependency.as_str()), "`{name}` imports `{dependency}`");
        }
        for (path, text) in sources(&root().join("crates").join(name).join("src")) {
            if path.ends_with("tests.rs")
                || path.components().any(|part| part.as_os_str() == "tests")
            {
                continue;
            }
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for impure in IMPURE_PATHS {
                assert!(!text.contains(impure), "{} names `{impure}`", path.display());
            }
        }
    }
}

#[test]
fn what_is_declared_no_std_says_so() {
    for name in NO_STD {
        let text =
            std::fs::read_to_string(root().join("crates").join(name).join("src/lib.rs")).unwrap();
        assert!(text.contains("#![no_std]"), "`{name}` does not say `#![no_std]`");
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() {
    for folder in ["crates", "xtask"] {
        for (path, text) in sources(&root().join(folder)) {
            assert!(
                text.starts_with("//!"),
                "{} does not open with what it is for",
                path.display()
            );
            let n_lines = text.lines().count();
            assert!(n_lines <= 800, "{} has {n_lines} lines", path.display());
            let name = path.file_stem().unwrap().to_str().unwrap();
            let drawers = ["util", "utils", "common", "helpers", "misc", "types", "manager"];
            assert!(!drawers.contains(&name), "{} is named after nothing", path.display());
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn manifests() -> BTreeMap<String, toml::Table> {
    let folders = std::fs::read_dir(root().join("crates")).unwrap();
    let manifest = |path: PathBuf| {
        let text = std::fs::read_to_string(path.join("Cargo.toml")).unwrap();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), text.parse().unwrap())
    };
    folders.map(|entry| manifest(entry.unwrap().path())).collect()
}

fn dependencies(manifest: &toml::Table, section: &str) -> Vec<String> {
    let table = manifest.get(section).and_then(toml::Value::as_table);
    table.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}
