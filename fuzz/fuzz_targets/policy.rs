//! Policy sources.
#![no_main]

use authority::Authority;
use libfuzzer_sys::fuzz_target;
use policy::PolicySet;

fuzz_target!(|source: &str| {
    let namespaces = authority::starter::policy().namespaces;
    let _ = Authority::compile(&PolicySet { version: 1, source: source.to_owned(), namespaces });
});
