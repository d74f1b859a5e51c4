//! What a PKCS#11 token or a TPM wrapped of the master key.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| palisade::fuzz::wrapped(bytes));
