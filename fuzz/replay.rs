//! What the crates' `tests/corpus.rs` share: each file of a corpus goes through its target whole, cut
//! anywhere, and with each byte changed in several ways.

use std::fs;
use std::path::Path;

type Target = fn(&[u8]);

/// Replays the named corpora of a crate.
pub(crate) fn replay(crate_folder: &str, targets: &[(&str, Target)]) {
    for (name, target) in targets {
        let folder = Path::new(crate_folder).join("corpus").join(name);
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let n_files = files.map(|path| every_cut(&fs::read(path).unwrap(), *target)).count();
        assert!(n_files > 0, "{name}");
    }
}

fn every_cut(bytes: &[u8], target: Target) {
    target(bytes);
    let mut changed = bytes.to_vec();
    for (at, byte) in bytes.iter().enumerate() {
        target(&bytes[..at]);
        for mask in [0x01, 0x20, 0x55, 0x80, 0xff] {
            changed[at] = byte ^ mask;
            target(&changed);
        }
        changed[at] = *byte;
    }
}
