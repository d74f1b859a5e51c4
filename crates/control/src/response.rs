//! What is done about a device: revoke, cut off, let back in, retire.

mod routes;

use identity::stage::Step;
use identity::{DeviceId, Time};
use policy::Fact;

use crate::centre::Centre;
use crate::problem::Problem;
use crate::record::{Actor, Draft};
use crate::registry::attention::{self, Severity};
use crate::registry::device;
use crate::store::{Connection, params};

pub(crate) use routes::{READS, routes};

/// Takes all certificates of a device out of force; gives how many there were.
pub(crate) async fn revoke(
    centre: &Centre,
    c: &mut Connection<'_>,
    id: &DeviceId,
    reason: &str,
    actor: &Actor,
    now: Time,
) -> Result<u64, Problem> {
    if device::stage(c, id).await?.is_none() {
        return Err(Problem::not_found("device", id));
    }
    let certificates = revoke_certificates(c, id, reason, now).await?;
    let end_claims =
        "update claim set expires = $1 where device = $2 and used is null and expires > $1";
    c.execute(end_claims, params![now, id]).await?;
    let message = format!("its certificate was revoked ({reason}); make a new claim, or retire it");
    attention::raise(c, id, attention::REVOKED, Severity::Red, &message, 1, now).await?;
    let draft = Draft::new("device.revoked", actor).on_device(id).with("reason", reason);
    centre.note(c, draft.with("certificates", certificates), now).await?;
    Ok(certificates)
}

async fn revoke_certificates(
    c: &mut Connection<'_>,
    id: &DeviceId,
    reason: &str,
    now: Time,
) -> Result<u64, Problem> {
    let sql = "update certificate set state = 'revoked', revoked_at = $1, revoked_reason = $2 \
               where device = $3 and state = 'issued'";
    Ok(c.execute(sql, params![now, reason, id]).await?)
}

/// Cuts a device off, or lets it back in: a fact of its posture that policy decides over.
pub(crate) async fn set_quarantine(
    centre: &Centre,
    c: &mut Connection<'_>,
    id: &DeviceId,
    cut: bool,
    reason: &str,
    actor: &Actor,
    now: Time,
) -> Result<(), Problem> {
    if device::stage(c, id).await?.is_none() {
        return Err(Problem::not_found("device", id));
    }
    let source = match actor {
        Actor::Operator(name) => format!("operator {name}"),
        Actor::Token(name) => format!("token {name}"),
        Actor::Device(other) => format!("device {other}"),
        Actor::System(name) => (*name).to_owned(),
    };
    device::hold(c, id, &Fact::quarantine(cut, &source, now, Some(reason))).await?;
    let kind = if cut {
        let message =
            format!("it is cut off ({reason}); find out why, then let it back in or retire it");
        attention::raise(c, id, attention::QUARANTINED, Severity::Red, &message, 1, now).await?;
        "device.quarantined"
    } else {
        attention::clear(c, id, attention::QUARANTINED).await?;
        "device.recovered"
    };
    centre.note(c, Draft::new(kind, actor).on_device(id).with("reason", reason), now).await?;
    Ok(())
}

/// Takes a device out of service for good.
pub(crate) async fn retire(
    centre: &Centre,
    c: &mut Connection<'_>,
    id: &DeviceId,
    reason: &str,
    actor: &Actor,
    now: Time,
) -> Result<(), Problem> {
    let stage = device::stage(c, id).await?.ok_or_else(|| Problem::not_found("device", id))?;
    let stage = stage.after(Step::Retired).map_err(Problem::conflict)?;
    revoke_certificates(c, id, "retired", now).await?;
    let end_claims =
        "update claim set expires = $1 where device = $2 and used is null and expires > $1";
    c.execute(end_claims, params![now, id]).await?;
    device::set_stage(c, id, stage, now).await?;
    attention::clear_all(c, id).await?;
    centre
        .note(c, Draft::new("device.retired", actor).on_device(id).with("reason", reason), now)
        .await?;
    Ok(())
}
