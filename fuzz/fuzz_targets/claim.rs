//! A claim's text, and the names and fingerprints that stand in URLs.
#![no_main]

use identity::{Claim, DeviceId, Fingerprint, Time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(claim) = text.parse::<Claim>() {
        assert_eq!(claim.text().as_str(), text.trim());
    }
    if let Ok(id) = text.parse::<DeviceId>() {
        assert_eq!(id.as_str(), text);
        assert!(!text.contains(['+', '#', '/', '\0']));
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }
    if let Ok(time) = text.parse::<Time>() {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
});
