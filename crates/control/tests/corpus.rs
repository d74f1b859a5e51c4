//! Replays the fuzz corpora of this crate.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

#[test]
fn no_file_of_the_corpora_breaks_a_parser() {
    let targets: [(&str, Target); 2] =
        [("request", control::fuzz::request), ("ask", control::fuzz::ask)];
    for (name, target) in targets {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let files =
            fs::read_dir(dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let n_files = files.map(|bytes| every_cut(&bytes, target)).count();
        assert!(n_files > 0, "{name}");
    }
}

type Target = fn(&[u8]);

/// The file whole, cut anywhere, and with each byte changed.
fn every_cut(bytes: &[u8], target: Target) {
    target(bytes);
    for at in 0..bytes.len() {
        target(&bytes[..at]);
        let mut changed = bytes.to_vec();
        changed[at] = changed[at].wrapping_add(0x55);
        target(&changed);
    }
}
