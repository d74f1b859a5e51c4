//! Replays the fuzz corpora of this crate.
#![allow(clippy::unwrap_used)]

#[path = "../../../fuzz/replay.rs"]
mod replay;

#[test]
fn no_file_of_the_corpora_breaks_a_parser() {
    replay::replay(
        env!("CARGO_MANIFEST_DIR"),
        &[
            ("event", ledger::fuzz::event),
            ("note", ledger::fuzz::note),
            ("verifier_key", ledger::fuzz::verifier_key),
            ("tile", ledger::fuzz::tile),
            ("proof", ledger::fuzz::proof),
        ],
    );
}
