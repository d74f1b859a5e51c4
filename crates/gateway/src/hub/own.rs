//! What the gateway tells of itself, under `$SYS`: for those whom the policy lets hear it.

use std::time::Duration;

use messaging::topic::Topic;
use tokio::time::Instant;

use super::Hub;

impl Hub {
    /// Tells anew how it is, if there is a namespace by which anybody could hear it.
    pub(super) fn tell_of_itself(&mut self, now: Instant) {
        if now < self.next_telling {
            return;
        }
        self.next_telling = now + TELLING;
        if !self.gate.tells_of_itself() {
            return;
        }
        let (counters, sizes) = (*self.broker.counters(), self.broker.sizes());
        let moment = self.clock.moment();
        let n_dropped = counters.dropped_full + counters.dropped_offline;
        let uptime = moment.since_start().as_secs();
        let told = [
            ("version", format!("palisade version {}", env!("CARGO_PKG_VERSION"))),
            ("uptime", format!("{uptime} seconds")),
            ("clients/connected", sizes.connections.to_string()),
            ("clients/total", sizes.sessions.to_string()),
            ("subscriptions/count", sizes.subscriptions.to_string()),
            ("retained messages/count", sizes.retained.to_string()),
            ("publish/messages/received", counters.received.to_string()),
            ("publish/messages/sent", counters.delivered.to_string()),
            ("publish/messages/dropped", n_dropped.to_string()),
        ];
        for (name, value) in told {
            let topic = format!("{}/broker/{name}", policy::namespace::SERVERS_OWN);
            if let Ok(topic) = topic.parse::<Topic>() {
                self.broker.publish_own(topic, value.into(), &mut self.gate, moment);
            }
        }
    }
}

/// How often it is told.
const TELLING: Duration = Duration::from_secs(10);
