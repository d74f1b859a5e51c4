//! What the broker's task tells control, the log and the counts.

use std::sync::Arc;

use messaging::broker::{Event, Why};
use messaging::mqtt::{Reason, Version};
use policy::{Ending, Excerpt, Observation, Protocol, Refusal};
use tracing::{debug, warn};

use super::{Hub, Principal};
use crate::tls::Refused;

impl Hub {
    /// Takes note of what the broker tells.
    pub(super) fn note(&mut self, event: Event<Arc<Principal>>) {
        let at = self.gate.now();
        match event {
            Event::Connected { principal, client_id, version, .. } => {
                self.metrics.opened.inc();
                self.backlog.push(Observation::SessionOpened {
                    device: principal.device.clone(),
                    fingerprint: principal.fingerprint,
                    peer: principal.peer,
                    protocol: protocol_of(version),
                    client_id: Excerpt::of(&client_id),
                    at,
                });
            }
            Event::Disconnected { principal, client_id, why, .. } => {
                let ending = ending_of(why);
                self.metrics.ended(ending);
                match client_id {
                    Some(client_id) => self.backlog.push(Observation::SessionClosed {
                        device: principal.device.clone(),
                        fingerprint: principal.fingerprint,
                        client_id: Excerpt::of(&client_id),
                        why: ending,
                        at,
                    }),
                    None => self.note_without_session(&principal, why),
                }
            }
            Event::SlowConsumer { principal, client_id, n_queued, .. } => {
                self.metrics.slow.inc();
                self.backlog.push(Observation::SlowConsumer {
                    device: principal.device.clone(),
                    client_id: Excerpt::of(&client_id),
                    queued: u64::try_from(n_queued).unwrap_or(u64::MAX),
                    at,
                });
            }
            Event::ProtocolError { principal, text, .. } => {
                debug!(device = %principal.device, %text, "a device broke the protocol");
            }
            Event::Withdrawn { principal, filter, .. } => {
                debug!(device = %principal.device, %filter, "a subscription was withdrawn");
            }
            Event::Lost { n_events } => {
                warn!(
                    n_events,
                    "events of the broker were lost; sessions may be missing in the record"
                );
                self.metrics.dropped_observations.inc_by(n_events);
            }
            // Denials are counted where they are decided; the others are told by what follows them.
            Event::Denied { .. } | Event::TakenOver { .. } | Event::WillPublished { .. } => {}
        }
    }

    /// A connection ended before it had a session: a device may do that as often as it likes, so
    /// it is folded.
    fn note_without_session(&mut self, principal: &Principal, why: Why) {
        let why = match why {
            Why::ConnectTimeout => Refusal::Timeout,
            Why::ProtocolError { .. } => Refusal::Other,
            // What was denied is reported as such; the rest is of no interest.
            Why::Refused { .. }
            | Why::ByClient { .. }
            | Why::TransportClosed
            | Why::KeepAlive
            | Why::TakenOver
            | Why::SlowConsumer
            | Why::Closed { .. } => return,
        };
        let fingerprint = Some(principal.fingerprint);
        self.refuse(Refused { why, fingerprint }, principal.peer);
    }

    /// Moves folded observations that are due to the backlog; `all` moves everything.
    pub(super) fn report_due(&mut self, all: bool) {
        let Self { gate, refusals, backlog, clock, .. } = self;
        gate.take_due(all, |observation| backlog.push(observation));
        refusals.take_due(clock.moment(), all, |observation| backlog.push(observation));
    }

    /// Sends what waits, as far as the link takes it.
    pub(super) fn send_reports(&mut self) {
        while let Ok(permit) = self.ways.uplink.try_reserve() {
            let Some(message) = self.backlog.next_message() else { return };
            permit.send(message);
        }
    }

    /// Brings the counts up to date, and says what was lost.
    pub(super) fn report_round(&mut self) {
        let n_dropped = self.backlog.take_dropped();
        let n_uncounted = self.gate.take_uncounted();
        if n_dropped > 0 || n_uncounted > 0 {
            warn!(
                n_dropped,
                n_uncounted, "observations were dropped; control does not take them fast enough"
            );
        }
        self.metrics.dropped_observations.inc_by(n_dropped.saturating_add(n_uncounted));
        match std::mem::take(&mut self.n_overloaded) {
            0 => {}
            n_peers => warn!(
                n_peers,
                n_connections = self.broker.sizes().connections,
                "peers were turned away: there are as many connections as there may be, in all or \
                 from one address or device; find who opens them, or raise the limits"
            ),
        }
        let (counters, sizes) = (*self.broker.counters(), self.broker.sizes());
        self.metrics.mirror(&counters, &sizes, self.gate.decisions(), self.backlog.len());
    }
}

fn protocol_of(version: Version) -> Protocol {
    match version {
        Version::V311 => Protocol::Mqtt311,
        Version::V5 => Protocol::Mqtt5,
    }
}

fn ending_of(why: Why) -> Ending {
    match why {
        Why::ByClient { .. } => Ending::ByDevice,
        Why::TransportClosed => Ending::ConnectionLost,
        Why::ProtocolError { .. } => Ending::ProtocolError,
        Why::Refused { .. } => Ending::Denied,
        Why::KeepAlive => Ending::KeepAlive,
        Why::ConnectTimeout => Ending::ConnectTimeout,
        Why::TakenOver => Ending::TakenOver,
        Why::SlowConsumer => Ending::SlowConsumer,
        Why::Closed { reason: Reason::ServerShuttingDown } => Ending::Shutdown,
        Why::Closed { .. } => Ending::Cut,
    }
}
