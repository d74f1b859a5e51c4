//! Events of the record.
#![no_main]

use ledger::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = Event::decode(bytes) {
        let again = event.encode().expect("what was read can be written");
        assert_eq!(Event::decode(&again).as_ref(), Ok(&event));
    }
});
