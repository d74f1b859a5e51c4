//! Namespace templates, and topics and filters bound by them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::Namespace;

fuzz_target!(|text: &str| {
    let (template, topic) = text.split_once('\n').unwrap_or((text, text));
    let Ok(namespace) = Namespace::parse("fuzzed", template) else { return };
    if let Some(binding) = namespace.bind(topic) {
        for (_, value) in binding.values() {
            assert!(!value.contains(['+', '#', '/', '\0']));
        }
    }
    let _ = namespace.bind_filter(topic);
});
