//! Signed notes and checkpoints, verifier keys, tiles' paths and bundles of entries.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    ledger::fuzz::note(bytes);
    ledger::fuzz::verifier_key(bytes);
    ledger::fuzz::tile(bytes);
});
