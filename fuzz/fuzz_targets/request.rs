//! A certificate request.
#![no_main]

use identity::key::pure;
use identity::request::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    let _ = Request::parse(der, pure::ALL);
});
