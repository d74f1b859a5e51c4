//! Counts for Prometheus: atomics that the broker's task writes and a scrape reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use messaging::broker::{Counters, Sizes};
use policy::{Ending, Refusal};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

mod scrape;

pub(crate) use scrape::serve;

/// Every count of the gateway.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) handshakes: Counter,
    handshakes_refused: Labelled<Counter>,
    pub(crate) opened: Counter,
    ended: Labelled<Counter>,
    pub(crate) cut: Counter,
    pub(crate) slow: Counter,
    pub(crate) sequence: Gauge,
    pub(crate) refused_documents: Counter,
    pub(crate) dropped_observations: Counter,
    waiting_observations: Gauge,
    pub(crate) shelf_batches: Counter,
    pub(crate) shelf_changes: Counter,
    pub(crate) shelf_failing: Gauge,
    sizes: Labelled<Gauge>,
    messages: Labelled<Counter>,
    denied: Labelled<Counter>,
    decisions: Labelled<Counter>,
}

type Labelled<M> = Family<[(&'static str, &'static str); 1], M>;

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut metrics = Self {
            registry: Registry::with_prefix("palisade_gateway"),
            handshakes: Counter::default(),
            handshakes_refused: Family::default(),
            opened: Counter::default(),
            ended: Family::default(),
            cut: Counter::default(),
            slow: Counter::default(),
            sequence: Gauge::default(),
            refused_documents: Counter::default(),
            dropped_observations: Counter::default(),
            waiting_observations: Gauge::default(),
            shelf_batches: Counter::default(),
            shelf_changes: Counter::default(),
            shelf_failing: Gauge::default(),
            sizes: Family::default(),
            messages: Family::default(),
            denied: Family::default(),
            decisions: Family::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "handshakes",
            "Peers that proved to be a device and were let in",
            self.handshakes.clone(),
        );
        registry.register(
            "handshakes_refused",
            "Peers turned away, by cause",
            self.handshakes_refused.clone(),
        );
        registry.register("sessions_opened", "MQTT sessions opened", self.opened.clone());
        registry.register("connections_ended", "Connections ended, by cause", self.ended.clone());
        registry.register(
            "sessions_cut",
            "Connections ended by a change of standing",
            self.cut.clone(),
        );
        registry.register(
            "slow_consumers",
            "Sessions ended because they took too little",
            self.slow.clone(),
        );
        registry.register(
            "standing_sequence",
            "Sequence of the standing in force",
            self.sequence.clone(),
        );
        registry.register(
            "standing_refused",
            "Documents of control that were refused",
            self.refused_documents.clone(),
        );
        registry.register(
            "observations_dropped",
            "Observations that were lost",
            self.dropped_observations.clone(),
        );
        registry.register(
            "observations_waiting",
            "Observations that wait for control",
            self.waiting_observations.clone(),
        );
        registry.register(
            "shelf_batches",
            "Batches of changes of sessions that were made durable",
            self.shelf_batches.clone(),
        );
        registry.register(
            "shelf_changes",
            "Changes of sessions that were made durable",
            self.shelf_changes.clone(),
        );
        registry.register(
            "shelf_failing",
            "Whether changes of sessions cannot be made durable now",
            self.shelf_failing.clone(),
        );
        registry.register("held", "What the broker holds, by kind", self.sizes.clone());
        registry.register("messages", "Messages, by what became of them", self.messages.clone());
        registry.register("denied", "Requests denied, by action", self.denied.clone());
        registry.register(
            "decisions",
            "Decisions, by how they were come to",
            self.decisions.clone(),
        );
    }

    /// Counts a peer that was turned away.
    pub(crate) fn refused(&self, why: Refusal) {
        self.handshakes_refused.get_or_create(&[("cause", why.as_str())]).inc();
    }

    /// Counts a connection that ended.
    pub(crate) fn ended(&self, why: Ending) {
        self.ended.get_or_create(&[("cause", why.as_str())]).inc();
    }

    /// Copies what others count.
    pub(crate) fn mirror(
        &self,
        counters: &Counters,
        sizes: &Sizes,
        decisions: authority::cache::Counters,
        n_waiting: usize,
    ) {
        self.waiting_observations.set(signed(n_waiting));
        let held = [
            ("connections", sizes.connections),
            ("sessions", sizes.sessions),
            ("subscriptions", sizes.subscriptions),
            ("retained", sizes.retained),
            ("retained_bytes", sizes.retained_bytes),
            ("pooled_bytes", sizes.pooled_bytes),
        ];
        for (kind, n) in held {
            self.sizes.get_or_create(&[("kind", kind)]).set(signed(n));
        }
        let became = [
            ("received", counters.received),
            ("delivered", counters.delivered),
            ("dropped_full", counters.dropped_full),
            ("dropped_offline", counters.dropped_offline),
            ("dropped_too_large", counters.dropped_too_large),
            ("dropped_expired", counters.dropped_expired),
            ("not_retained", counters.refused_retained),
        ];
        for (what, n) in became {
            set(&self.messages, ("became", what), n);
        }
        let denied = [
            ("connect", counters.denied_connects),
            ("publish", counters.denied_publishes),
            ("subscribe", counters.denied_subscribes),
            ("receive", counters.denied_receives),
        ];
        for (action, n) in denied {
            set(&self.denied, ("action", action), n);
        }
        let come_to = [
            ("kept_by_topic", decisions.by_topic),
            ("kept_by_reading", decisions.by_reading),
            ("made", decisions.made),
        ];
        for (how, n) in come_to {
            set(&self.decisions, ("how", how), n);
        }
    }

    /// Writes all of it as Prometheus reads it.
    pub(crate) fn render(&self) -> String {
        let mut rendered = String::new();
        // Writing to memory does not fail.
        let _ = text::encode(&mut rendered, &self.registry);
        rendered
    }
}

fn set(family: &Labelled<Counter>, label: (&'static str, &'static str), n: u64) {
    family.get_or_create(&[label]).inner().store(n, Ordering::Relaxed);
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_as_prometheus_reads_them() {
        let metrics = Metrics::new();
        metrics.refused(Refusal::Revoked);
        metrics.opened.inc_by(2);
        let counters = Counters { denied_publishes: 7, ..Counters::default() };
        metrics.mirror(&counters, &Sizes::default(), authority::cache::Counters::default(), 3);
        let text = metrics.render();
        for line in [
            "palisade_gateway_handshakes_refused_total{cause=\"revoked\"} 1",
            "palisade_gateway_sessions_opened_total 2",
            "palisade_gateway_denied_total{action=\"publish\"} 7",
            "palisade_gateway_observations_waiting 3",
        ] {
            assert!(text.lines().any(|held| held == line), "{line} in\n{text}");
        }
    }
}
