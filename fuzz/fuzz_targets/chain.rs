//! What an authority of ours has signed, whatever it says: we and webpki read the same in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| identity::fuzz::chain(bytes));
