//! How far peers can make the gateway grow, and how long they may keep it waiting.

use std::time::Duration;

/// Every bound of the gateway that is not the broker's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The broker's bounds; its `connections` are those whose device was admitted.
    pub broker: messaging::broker::Limits,
    /// The most handshakes that are computed at once; others wait for their turn.
    pub handshakes: usize,
    /// The most of them for one address (one /64 of IPv6): who stalls in its handshakes stalls its own.
    pub handshakes_per_address: usize,
    /// How long a peer may take from its first byte's due time to the end of its handshake.
    pub handshake_time: Duration,
    /// The most connections whose peer has not proven who it is.
    pub unproven: usize,
    /// The most of them from one address (one /64 of IPv6).
    pub unproven_per_address: usize,
    /// The most connections from one address in all; a whole site may stand behind one.
    pub connections_per_address: usize,
    /// The most connections of one device.
    pub connections_per_device: usize,
    /// How many connections a device may open at once after a rest.
    pub opens_burst: u32,
    /// How many connections per second a device may open for long.
    pub opens_per_second: u32,
    /// The most decisions that are kept in each of the cache's tables.
    pub decisions: usize,
    /// The most denials that are counted apart.
    pub denials: usize,
    /// The most observations that wait for control.
    pub observations: usize,
}

impl Default for Limits {
    /// Bounds for a site of ten thousand devices on a small machine.
    fn default() -> Self {
        let broker = messaging::broker::Limits {
            // A receiver of all that a fleet sends is to be written to while more is decided.
            batches_in_flight: 4,
            ..messaging::broker::Limits::default()
        };
        Self {
            handshakes: 256,
            handshakes_per_address: 32,
            handshake_time: Duration::from_secs(5),
            unproven: 4_096,
            unproven_per_address: 1_024,
            connections_per_address: broker.connections,
            connections_per_device: 16,
            opens_burst: 100,
            opens_per_second: 2,
            decisions: 65_536,
            denials: 8_192,
            observations: 65_536,
            broker,
        }
    }
}
