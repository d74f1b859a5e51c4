//! The first policy of a new house: it grants little, and its comments teach how to grant more.

use policy::{Namespaces, PolicySet};

/// The policies, in Cedar.
pub const SOURCE: &str = include_str!("starter.cedar");

/// The namespaces that they speak of: names and templates.
pub const NAMESPACES: [(&str, &str); 3] = [
    ("telemetry", "{site}/{kind}/{device}/telemetry/#"),
    ("status", "{site}/{kind}/{device}/status"),
    ("command", "{site}/{kind}/{device}/command/#"),
];

/// Gives the first policy, as version 1.
pub fn policy() -> PolicySet {
    let namespaces = Namespaces::parse(NAMESPACES).expect("the namespaces above do not overlap");
    PolicySet { version: 1, source: SOURCE.to_string(), namespaces }
}
