//! The guard at the broker's side: every connection, message and subscription is decided here.

use std::sync::Arc;

use anyhow::Context;
use authority::{Authority, Cache};
use identity::{DeviceId, Time};
use messaging::broker::{Guard, Ruling};
use messaging::mqtt::{Connect, QoS};
use messaging::text::Text;
use messaging::time::Instant;
use messaging::topic::{Filter, Topic};
use policy::{Action, Ask, Cause, Decision, Epoch, Observation, Slot, Standing};

use crate::hub::Principal;
use crate::limits::Limits;
use crate::observations::{Allowed, Denials};

mod ids;

use ids::Ids;

/// Decides with what is known: the standing, the authority, and the decisions that hold.
pub(crate) struct Gate {
    standing: Standing,
    authority: Authority,
    cache: Cache,
    ids: Ids,
    denials: Denials,
    allowed: Allowed,
    at: (Time, Instant),
    /// While a device's session is ended because of this, nothing that it leaves is let through.
    cutting: Option<(Slot, Cause)>,
}

impl Gate {
    pub(crate) fn new(
        standing: Standing,
        authority: Authority,
        limits: &Limits,
        at: (Time, Instant),
    ) -> anyhow::Result<Self> {
        let mut ids = Ids::default();
        let seed = ids.number().context("there is no randomness")?;
        Ok(Self {
            standing,
            authority,
            cache: Cache::new(limits.decisions, seed),
            ids,
            denials: Denials::bounded(limits.denials),
            allowed: Allowed::default(),
            at,
            cutting: None,
        })
    }

    /// Says what time it is, once for all that is done in one turn.
    pub(crate) fn set_time(&mut self, now: Time, moment: Instant) {
        self.at = (now, moment);
    }

    pub(crate) fn now(&self) -> Time {
        self.at.0
    }

    pub(crate) fn time_and_moment(&self) -> (Time, Instant) {
        self.at
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(crate) fn standing_mut(&mut self) -> &mut Standing {
        &mut self.standing
    }

    /// Decides by another policy from now on.
    pub(crate) fn adopt(&mut self, authority: Authority) {
        self.authority = authority;
    }

    /// Says whose session is being ended and because of what, and that it is over with none.
    pub(crate) fn set_cutting(&mut self, cutting: Option<(Slot, Cause)>) {
        self.cutting = cutting;
    }

    /// Draws a client id for a device that sends none.
    pub(crate) fn assigned_id(&mut self, device: &DeviceId) -> Text {
        let number = self.ids.number().unwrap_or_default();
        Text::clipped(&format!("{device}:{number:016x}"))
    }

    /// Decides whether a device may have a session; a denial is counted.
    pub(crate) fn decide_connect(&mut self, principal: &Principal) -> Arc<Decision> {
        let decision = self.decide(principal, Ask::Connect);
        if !decision.allows() {
            self.denials.count(principal, Action::Connect, None, &decision, self.at);
        }
        decision
    }

    /// Hands over the folded observations that are due; `all` hands over everything.
    pub(crate) fn take_due(&mut self, all: bool, mut take: impl FnMut(Observation)) {
        self.denials.take_due(self.at.1, all, &mut take);
        self.allowed.take_due(self.at.0, all, &self.standing, &mut take);
    }

    /// Gives how many denials could not be counted since it was last asked.
    pub(crate) fn take_uncounted(&mut self) -> u64 {
        self.denials.take_uncounted()
    }

    /// Says whether the policy declares a namespace in which the server tells of itself.
    pub(crate) fn tells_of_itself(&self) -> bool {
        self.authority.namespaces().iter().any(policy::Namespace::is_servers_own)
    }

    /// Says how often decisions were kept already.
    pub(crate) fn decisions(&self) -> authority::cache::Counters {
        self.cache.counters()
    }

    fn decide(&mut self, principal: &Principal, ask: Ask<'_>) -> Arc<Decision> {
        let Self { cache, authority, standing, ids, .. } = self;
        cache.decide(authority, standing, principal.slot, ask, || ids.decision())
    }

    fn rule(&mut self, principal: &Principal, ask: Ask<'_>) -> Ruling {
        if let Some((_, cause)) = self.cutting.filter(|(slot, _)| *slot == principal.slot) {
            return Ruling::not_authorized(Text::from_static(cause.text()));
        }
        let decision = self.decide(principal, ask);
        if decision.allows() {
            match ask {
                Ask::Publish { .. } | Ask::Subscribe { .. } => {
                    self.allowed.count(principal.slot, ask.action(), &decision);
                }
                // To be sent a message is what subscribing is for: counting it says nothing new.
                Ask::Connect | Ask::Receive { .. } => {}
            }
            return Ruling::Allow;
        }
        self.denials.count(principal, ask.action(), ask.topic(), &decision, self.at);
        let reason = match ask {
            // Nobody is told: there is no packet that could say it.
            Ask::Receive { .. } => Text::default(),
            Ask::Connect | Ask::Publish { .. } | Ask::Subscribe { .. } => {
                Text::clipped(&decision.wire_text())
            }
        };
        Ruling::not_authorized(reason)
    }

    /// Denies a client id that is another's; while it is repeated, it is the same decision.
    fn deny_client_id(&mut self, principal: &Principal) -> Ruling {
        let cause = Cause::ClientId;
        let known = self.denials.find(principal.slot, Action::Connect, cause).cloned();
        let decision = known.unwrap_or_else(|| {
            let posture =
                self.standing.device(principal.slot).map_or(0, |device| device.posture.epoch);
            let epoch = Epoch { posture, policy: self.authority.version() };
            Arc::new(Decision::denied(self.ids.decision(), cause, epoch))
        });
        self.denials.count(principal, Action::Connect, None, &decision, self.at);
        Ruling::not_authorized(Text::clipped(&decision.wire_text()))
    }
}

impl Guard<Arc<Principal>> for Gate {
    fn connect(&mut self, principal: &Arc<Principal>, client_id: &Text, _: &Connect) -> Ruling {
        if !is_own(client_id, &principal.device) {
            return self.deny_client_id(principal);
        }
        self.rule(principal, Ask::Connect)
    }

    fn publish(
        &mut self,
        principal: &Arc<Principal>,
        topic: &Topic,
        retain: bool,
        _: QoS,
        _: usize,
    ) -> Ruling {
        self.rule(principal, Ask::Publish { topic: topic.as_str(), retain })
    }

    fn subscribe(&mut self, principal: &Arc<Principal>, filter: &Filter) -> Ruling {
        self.rule(principal, Ask::Subscribe { filter: filter.as_str() })
    }

    fn receive(&mut self, principal: &Arc<Principal>, topic: &Topic) -> Ruling {
        self.rule(principal, Ask::Receive { topic: topic.as_str() })
    }
}

/// Tells whether a client id is a device's own: its id, or its id with `/` or `:` and more, for a
/// device with several sessions. Neither sign occurs in an id, so no device's name begins another's.
fn is_own(client_id: &str, device: &DeviceId) -> bool {
    let rest = client_id.strip_prefix(device.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn a_client_id_is_the_devices_or_begins_with_it() {
        let device = "pump-7".parse().unwrap();
        for own in ["pump-7", "pump-7/", "pump-7/shell", "pump-7:2"] {
            assert!(is_own(own, &device), "{own}");
        }
        for foreign in
            ["", "pump", "pump-8", "pump-70", "pump-7.1", "pump-7-a", "PUMP-7", "x/pump-7"]
        {
            assert!(!is_own(foreign, &device), "{foreign}");
        }
    }
}
