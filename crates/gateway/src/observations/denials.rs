//! Denials, folded: whatever a device repeats is one observation with a count.
//!
//! A decision that is made anew has an id of its own and is counted apart, up to a bound per
//! device; beyond it, what a device is denied is counted by action and cause only.

use std::collections::HashMap;
use std::sync::Arc;

use identity::{DeviceId, Time};
use messaging::time::Instant;
use policy::link::MAX_POLICIES;
use policy::{Action, Cause, Decision, DecisionId, Excerpt, Observation, Slot};

use super::Pace;
use crate::hub::Principal;

/// Denials that are being counted.
pub(crate) struct Denials {
    by_decision: HashMap<DecisionId, Denial>,
    by_device: HashMap<Slot, Vec<DecisionId>>,
    limit: usize,
    n_uncounted: u64,
}

struct Denial {
    slot: Slot,
    device: DeviceId,
    action: Action,
    topic: Option<Excerpt>,
    decision: Arc<Decision>,
    /// Whether it stands for several decisions.
    is_folded: bool,
    count: u64,
    first: Time,
    last: Time,
    pace: Pace,
}

impl Denials {
    pub(crate) fn bounded(limit: usize) -> Self {
        Self { by_decision: HashMap::new(), by_device: HashMap::new(), limit, n_uncounted: 0 }
    }

    /// Counts a denial.
    pub(crate) fn count(
        &mut self,
        principal: &Principal,
        action: Action,
        topic: Option<&str>,
        decision: &Arc<Decision>,
        at: (Time, Instant),
    ) {
        if let Some(denial) = self.by_decision.get_mut(&decision.id) {
            return denial.repeat(at.0);
        }
        let ids = self.by_device.entry(principal.slot).or_default();
        let is_folded = ids.len() >= PER_DEVICE;
        if is_folded {
            let folded = ids.iter().copied().find(|id| {
                let denial = self.by_decision.get(id);
                denial.is_some_and(|held| held.is_folded && held.is_like(action, decision.cause))
            });
            if let Some(denial) = folded.and_then(|id| self.by_decision.get_mut(&id)) {
                return denial.repeat(at.0);
            }
        }
        if self.by_decision.len() >= self.limit {
            self.n_uncounted = self.n_uncounted.saturating_add(1);
            return;
        }
        ids.push(decision.id);
        let denial = Denial {
            slot: principal.slot,
            device: principal.device.clone(),
            action,
            topic: topic.filter(|_| !is_folded).map(Excerpt::of),
            decision: Arc::clone(decision),
            is_folded,
            count: 1,
            first: at.0,
            last: at.0,
            pace: Pace::start(at.1),
        };
        self.by_decision.insert(decision.id, denial);
    }

    /// Finds a denial of a device that is being counted, to be repeated under its id.
    pub(crate) fn find(&self, slot: Slot, action: Action, cause: Cause) -> Option<&Arc<Decision>> {
        let ids = self.by_device.get(&slot)?;
        let denials = ids.iter().filter_map(|id| self.by_decision.get(id));
        denials.filter(|denial| denial.is_like(action, cause)).map(|denial| &denial.decision).next()
    }

    /// Gives what is due to be reported; `all` gives everything.
    pub(crate) fn take_due(&mut self, now: Instant, all: bool, mut take: impl FnMut(Observation)) {
        let by_device = &mut self.by_device;
        self.by_decision.retain(|id, denial| {
            if !all && !denial.pace.is_due(now) {
                return true;
            }
            if denial.count == 0 {
                if let Some(ids) = by_device.get_mut(&denial.slot) {
                    ids.retain(|held| held != id);
                    if ids.is_empty() {
                        by_device.remove(&denial.slot);
                    }
                }
                return false;
            }
            take(denial.report());
            denial.pace.step(now);
            true
        });
    }

    /// Gives how many denials there was no room to count, since it was last asked.
    pub(crate) fn take_uncounted(&mut self) -> u64 {
        std::mem::take(&mut self.n_uncounted)
    }
}

impl Denial {
    fn repeat(&mut self, now: Time) {
        if self.count == 0 {
            self.first = now;
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
    }

    fn is_like(&self, action: Action, cause: Cause) -> bool {
        self.action == action && self.decision.cause == cause
    }

    fn report(&mut self) -> Observation {
        let policies = self.decision.policies.iter().take(MAX_POLICIES);
        Observation::Denied {
            decision: self.decision.id,
            device: self.device.clone(),
            action: self.action,
            topic: self.topic.clone(),
            cause: self.decision.cause,
            policies: policies.map(|policy| Box::from(&*Excerpt::of(policy))).collect(),
            epoch: self.decision.epoch,
            count: std::mem::take(&mut self.count),
            first: self.first,
            last: self.last,
        }
    }
}

/// How many decisions of one device are counted apart.
const PER_DEVICE: usize = 8;

#[cfg(test)]
mod tests;
