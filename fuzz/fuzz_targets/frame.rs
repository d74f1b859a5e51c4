//! Frames, segments and the history of checkpoints on disk.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    journal::fuzz::frames(bytes);
    journal::fuzz::segment(bytes);
    journal::fuzz::history(bytes);
});
