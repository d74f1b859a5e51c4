//! Figures about control, for Prometheus.

use std::sync::atomic::AtomicU64;

use identity::Time;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The figures and where they are registered.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Counter,
    standing_sequence: Gauge<i64>,
    standing_delay: Histogram,
    record_events: Gauge<u64, AtomicU64>,
    record_room: Gauge<u64, AtomicU64>,
}

/// From a millisecond to ten seconds.
const DELAYS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

impl Metrics {
    /// Registers all figures.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("palisade");
        let requests = Counter::default();
        registry.register("api_requests", "requests to the API and console", requests.clone());
        let standing_sequence = Gauge::default();
        let help = "the sequence of the standing that the gateway reached";
        registry.register("standing_sequence", help, standing_sequence.clone());
        let standing_delay = Histogram::new(DELAYS);
        let help = "from a change's being issued to the gateway's having reached it, in seconds";
        registry.register("standing_delay_seconds", help, standing_delay.clone());
        let record_events = Gauge::default();
        registry.register("record_events", "events in the record", record_events.clone());
        let record_room = Gauge::default();
        let help = "bytes that are free where the record is kept";
        registry.register("record_room_bytes", help, record_room.clone());
        Self { registry, requests, standing_sequence, standing_delay, record_events, record_room }
    }

    /// Counts a request.
    pub(crate) fn request(&self) {
        self.requests.inc();
    }

    /// Notes that the gateway reached a sequence; a sequence is the time at which it was issued.
    pub(crate) fn standing_reached(&self, sequence: u64, at: Time) {
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.standing_sequence.set(sequence);
        if let Some(delay) = at.since(Time::from_millis(sequence)) {
            self.standing_delay.observe(delay.as_secs_f64());
        }
    }

    /// Writes all figures as Prometheus reads them.
    pub(crate) fn render(&self, n_events: u64, room: u64) -> String {
        self.record_events.set(n_events);
        self.record_room.set(room);
        let mut text = String::new();
        // Writing to a `String` does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
