//! Replays the fuzz corpora of this crate.
#![allow(clippy::unwrap_used)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

#[test]
fn no_file_of_the_corpora_breaks_a_parser() {
    replay::replay(
        env!("CARGO_MANIFEST_DIR"),
        &[
            ("configuration", palisade::fuzz::configuration),
            ("setup", palisade::fuzz::setup),
            ("events", palisade::fuzz::events),
            ("wrapped", palisade::fuzz::wrapped),
        ],
    );
}
