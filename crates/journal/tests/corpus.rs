//! Replays the fuzz corpora of this crate.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

#[test]
fn no_file_of_the_corpora_breaks_a_parser() {
    let targets: [(&str, Target); 5] = [
        ("segment", journal::fuzz::segment),
        ("frames", journal::fuzz::frames),
        ("history", journal::fuzz::history),
        ("backup", journal::fuzz::backup),
        ("key", journal::fuzz::key),
    ];
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
    for at in 0..=bytes.len() {
        target(&bytes[..at]);
        for mask in [0x01, 0x20, 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= mask);
            target(&changed);
        }
    }
}
