//! A signed document: nothing that no trusted key signed is ever verified.
#![no_main]

use identity::{Ed25519Key, Signed, Signer as _, Time};
use libfuzzer_sys::fuzz_target;
use policy::standing::{Changes, Snapshot};

fuzz_target!(|bytes: &[u8]| {
    // A key that has never signed anything.
    let key = Ed25519Key::from_seed(&[42; 32].into()).expect("any seed makes a key");
    let trusted = [key.public_key().clone()];
    if let Ok(signed) = Signed::<Snapshot>::parse(bytes) {
        assert!(signed.verify(&trusted, 1, Time::EPOCH).is_err());
    }
    if let Ok(signed) = Signed::<Changes>::parse(bytes) {
        assert!(signed.verify(&trusted, 1, Time::EPOCH).is_err());
    }
    let _ = minicbor::decode::<Snapshot>(bytes);
    let _ = minicbor::decode::<Changes>(bytes);
});
