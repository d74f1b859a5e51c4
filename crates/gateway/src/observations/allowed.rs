//! What was allowed, as counts per device, action, namespace and hour: what a device usually does.

use std::collections::HashMap;
use std::time::Duration;

use identity::Time;
use policy::{Action, Decision, DeviceStanding, Observation, Slot, Standing};

/// Counts of the hour that runs.
#[derive(Default)]
pub(crate) struct Allowed {
    uses: HashMap<(Slot, Action), Vec<Use>>,
    hour: Option<Time>,
}

/// How often one namespace was used.
struct Use {
    namespace: Box<str>,
    count: u64,
}

impl Allowed {
    /// Counts a request that was allowed.
    pub(crate) fn count(&mut self, slot: Slot, action: Action, decision: &Decision) {
        let Some(namespace) = &decision.namespace else { return };
        if self.uses.len() >= MAX_COUNTED && !self.uses.contains_key(&(slot, action)) {
            return;
        }
        // As many as a policy has namespaces, mostly one.
        let uses = self.uses.entry((slot, action)).or_default();
        match uses.iter_mut().find(|held| held.namespace == *namespace) {
            Some(held) => held.count = held.count.saturating_add(1),
            None => uses.push(Use { namespace: namespace.clone(), count: 1 }),
        }
    }

    /// Gives the counts if their hour is over, or `all` are wanted.
    pub(crate) fn take_due(
        &mut self,
        now: Time,
        all: bool,
        standing: &Standing,
        mut take: impl FnMut(Observation),
    ) {
        let this_hour = hour_of(now);
        let hour = *self.hour.get_or_insert(this_hour);
        if hour == this_hour && !all {
            return;
        }
        self.hour = Some(this_hour);
        for ((slot, action), uses) in self.uses.drain() {
            // Whoever is gone by now has had its end recorded.
            let Some(device) = standing.device(slot) else { continue };
            let device: &DeviceStanding = device;
            for Use { namespace, count } in uses {
                take(Observation::Allowed {
                    device: device.id.clone(),
                    action,
                    namespace,
                    hour,
                    count,
                });
            }
        }
    }
}

fn hour_of(now: Time) -> Time {
    Time::from_seconds(now.seconds().div_euclid(HOUR).saturating_mul(HOUR))
}

/// The seconds of an hour.
const HOUR: i64 = Duration::from_secs(3_600).as_secs().cast_signed();
/// How many pairs of device and action are counted.
const MAX_COUNTED: usize = 32_768;
