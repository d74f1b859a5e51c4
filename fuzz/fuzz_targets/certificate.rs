//! A certificate, and the chain that it would be the leaf of.
#![no_main]

use identity::key::pure;
use identity::{Certificate, Chain, Time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    let Ok(certificate) = Certificate::parse(der) else { return };
    assert_eq!(certificate.der(), der);
    let chain = Chain::parse([der]).expect("what is read as a certificate is read as a leaf");
    let verified = chain.verify(&[], |_| false, identity::chain::Usage::Client, Time::EPOCH, pure::ALL);
    assert!(verified.is_err(), "nothing is believed without an anchor");
});
