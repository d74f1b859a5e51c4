//! What gateways observed, turned into events, connections, kept decisions and alerts.

use std::collections::BTreeMap;
use std::sync::Arc;

use identity::stage::Step;
use identity::{DeviceId, Time};
use policy::{Effect, Ending, Observation, Request};

use crate::centre::Centre;
use crate::policies;
use crate::problem::Problem;
use crate::record::{Actor, Draft};
use crate::registry::attention::{self, Severity};
use crate::registry::device;
use crate::store::{Connection, params};

/// What changed by observations that are recorded together.
#[derive(Default)]
struct Changed {
    /// Devices that look different.
    seen: Vec<DeviceId>,
    /// Those among them that changed for the gateways.
    moved: Vec<DeviceId>,
    /// How many sessions each has open now.
    sessions: BTreeMap<DeviceId, u64>,
}

/// Records observations, all of them or none; gives the devices that look different now.
///
/// Give a few at a time: while they are recorded, nobody else writes.
pub(crate) async fn record(
    centre: &Arc<Centre>,
    items: &[Observation],
) -> Result<Vec<DeviceId>, Problem> {
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let mut changed = Changed::default();
    for item in items {
        record_one(centre, &mut c, item, &mut changed).await?;
    }
    write.commit().await?;
    centre.sessions_changed(changed.sessions);
    if !changed.moved.is_empty() {
        centre.devices_changed(changed.moved).await;
    }
    centre.recorder.committed();
    Ok(changed.seen)
}

async fn record_one(
    centre: &Arc<Centre>,
    c: &mut Connection<'_>,
    item: &Observation,
    changed: &mut Changed,
) -> Result<(), Problem> {
    match item {
        Observation::SessionOpened { device, peer, protocol, at, client_id, .. } => {
            *changed.n_sessions(centre, device) += 1;
            let (peer, protocol) = (peer.to_string(), protocol.as_str());
            if opened(centre, c, device, &peer, protocol, client_id, *at).await? {
                changed.moved.push(device.clone());
            }
            changed.seen.push(device.clone());
        }
        Observation::SessionClosed { device, why, at, client_id, .. } => {
            let n_sessions = changed.n_sessions(centre, device);
            *n_sessions = n_sessions.saturating_sub(1);
            let is_last = *n_sessions == 0;
            closed(centre, c, device, *why, client_id, is_last, *at).await?;
            changed.seen.push(device.clone());
        }
        Observation::Denied { device, .. } => {
            denied(centre, c, item).await?;
            changed.seen.push(device.clone());
        }
        Observation::HandshakeRefused { why, peer, fingerprint, count, at } => {
            let draft = Draft::new("handshake.refused", &Actor::System("gateway"));
            let draft = draft.with("peer", peer).with("reason", why.text()).times(*count);
            let draft = match fingerprint {
                Some(fingerprint) => draft.with("fingerprint", fingerprint),
                None => draft,
            };
            centre.note(c, draft, *at).await?;
        }
        Observation::SlowConsumer { device, queued, at, .. } => {
            let draft =
                Draft::new("consumer.slow", &Actor::Device(device.clone())).on_device(device);
            centre.note(c, draft.with("queued", queued), *at).await?;
        }
        Observation::Ended { device, count, cause, at, .. } => {
            let draft = Draft::new("session.ended", &Actor::System("gateway")).on_device(device);
            let draft = draft.with("sessions", count).with("reason", cause.text());
            centre.note(c, draft, *at).await?;
            changed.seen.push(device.clone());
        }
        Observation::Allowed { .. } => (),
        Observation::Reached { sequence, at } => centre.metrics.standing_reached(*sequence, *at),
    }
    Ok(())
}

impl Changed {
    /// Lends how many sessions a device has open, to be changed.
    fn n_sessions(&mut self, centre: &Centre, id: &DeviceId) -> &mut u64 {
        self.sessions.entry(id.clone()).or_insert_with(|| centre.n_sessions(id))
    }
}

/// Notes that a device connected; says whether its stage changed by it.
async fn opened(
    centre: &Centre,
    c: &mut Connection<'_>,
    id: &DeviceId,
    peer: &str,
    protocol: &str,
    client_id: &str,
    at: Time,
) -> Result<bool, Problem> {
    let Some(stage) = device::stage(c, id).await? else { return Ok(false) };
    let sql = "update device set connection = 'connected', connection_since = $1, peer = $2, protocol = $3, \
               seen = $1 where id = $4";
    c.execute(sql, params![at, peer, protocol, id]).await?;
    let actor = Actor::Device(id.clone());
    let draft = Draft::new("device.connected", &actor).on_device(id).with("peer", peer);
    centre.note(c, draft.with("protocol", protocol).with("client_id", client_id), at).await?;
    match stage.after(Step::Connected) {
        Ok(next) if next != stage => {
            device::set_stage(c, id, next, at).await?;
            Ok(true)
        }
        Ok(_) | Err(_) => Ok(false),
    }
}

async fn closed(
    centre: &Centre,
    c: &mut Connection<'_>,
    id: &DeviceId,
    why: Ending,
    client_id: &str,
    is_last: bool,
    at: Time,
) -> Result<(), Problem> {
    let sql = "update device set connection = 'away', connection_since = $1, peer = null, protocol = null, \
               seen = $1 where id = $2 and connection = 'connected'";
    if is_last {
        c.execute(sql, params![at, id]).await?;
    }
    let actor = Actor::Device(id.clone());
    let draft = Draft::new("device.disconnected", &actor).on_device(id).with("reason", why.text());
    centre.note(c, draft.with("client_id", client_id), at).await?;
    Ok(())
}

async fn denied(
    centre: &Arc<Centre>,
    c: &mut Connection<'_>,
    item: &Observation,
) -> Result<(), Problem> {
    let Observation::Denied {
        decision,
        device: id,
        action,
        topic,
        cause,
        policies: deciding,
        count,
        first,
        last,
        ..
    } = item
    else {
        return Ok(());
    };
    let topic = topic.as_ref().map(|topic| topic.to_string());
    let standing = device::standing(c, id).await?;
    let rules = Arc::clone(&centre.rules.borrow());
    let request =
        standing.as_ref().map(|standing| Request::of(standing, *action, topic.as_deref()));
    // What is counted without its topic, because there were too many, cannot be explained one by one.
    let is_kept = matches!(request, Some(Ok(_)));
    if let Some(Ok(request)) = request {
        let mut explained = policies::explain(&rules.authority, &request, id);
        // The gateway's word stands: the registry may have moved on since it decided.
        if explained.effect == "allow" || explained.cause != cause.as_str() {
            cause.as_str().clone_into(&mut explained.cause);
            cause.text().clone_into(&mut explained.text);
            explained.policies.retain(|policy| deciding.iter().any(|id| **id == *policy.id));
        }
        debug_assert_eq!(cause.effect(), Effect::Deny);
        "deny".clone_into(&mut explained.effect);
        policies::keep(c, *decision, id, &explained, (*first, *last), *count).await?;
    }
    let actor = Actor::Device(id.clone());
    let draft = Draft::new("access.denied", &actor).on_device(id).with("action", action.as_str());
    let draft = draft.with("topic", topic.as_deref().unwrap_or("")).with("reason", cause.text());
    centre.note(c, draft.deciding(*decision).times(*count), *last).await?;
    let on = topic.as_ref().map(|topic| format!(" {topic}")).unwrap_or_default();
    let why = match is_kept {
        true => format!("; ask why with {decision}"),
        false => format!(": {}", cause.text()),
    };
    let message = format!("it was denied to {}{on}{why}", action.as_str());
    let n = i64::try_from(*count).unwrap_or(i64::MAX);
    attention::raise(c, id, attention::DENIED, Severity::Amber, &message, n, *last).await?;
    Ok(())
}
