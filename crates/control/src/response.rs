//! What is done about a device: revoke, cut off, let back in, retire.

mod routes;

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use identity::stage::Step;
use identity::{DeviceId, KindId, SiteId, Time, ZoneId};
use policy::Fact;

use crate::centre::Centre;
use crate::problem::Problem;
use crate::record::{Actor, Draft};
use crate::registry::attention::{self, Severity};
use crate::registry::{device, places};
use crate::store::{Connection, many, params};

pub(crate) use routes::{READS, routes};

/// Where devices belong that something is done about; what is absent does not matter.
pub(crate) struct Places {
    pub(crate) kind: Option<KindId>,
    pub(crate) zone: Option<ZoneId>,
    pub(crate) site: Option<SiteId>,
}

impl Places {
    pub(crate) fn is_empty(&self) -> bool {
        self.kind.is_none() && self.zone.is_none() && self.site.is_none()
    }

    /// A misspelt name must not pass for a place without devices.
    async fn check(&self, c: &mut Connection<'_>) -> Result<(), Problem> {
        if let Some(kind) = &self.kind
            && !places::has_kind(c, kind).await?
        {
            return Err(Problem::not_found("kind", kind));
        }
        if let Some(zone) = &self.zone
            && !places::has_zone(c, zone).await?
        {
            return Err(Problem::not_found("zone", zone));
        }
        if let Some(site) = &self.site
            && !places::has_site(c, site).await?
        {
            return Err(Problem::not_found("site", site));
        }
        Ok(())
    }
}

/// Finds the devices of some places that have a certificate in force or a claim to get one.
pub(crate) async fn to_revoke(
    c: &mut Connection<'_>,
    places: &Places,
    now: Time,
    most: usize,
) -> Result<BTreeSet<DeviceId>, Problem> {
    let sql = "select d.id from device d join zone z on z.id = d.zone \
               where ($1 = '' or d.kind = $1) and ($2 = '' or d.zone = $2) and ($3 = '' or z.site = $3) \
               and (exists (select 1 from certificate c where c.device = d.id and c.state = 'issued') \
               or exists (select 1 from claim m where m.device = d.id and m.used is null and m.expires > $4)) \
               limit $5";
    places.check(c).await?;
    let kind = places.kind.as_ref().map_or("", KindId::as_str);
    let zone = places.zone.as_ref().map_or("", ZoneId::as_str);
    let site = places.site.as_ref().map_or("", SiteId::as_str);
    let limit = i64::try_from(most.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = c.rows(sql, params![kind, zone, site, now, limit]).await?;
    if rows.len() > most {
        return Err(Problem::malformed(format!(
            "more than {most} devices are meant; name a smaller part of the fleet, one after another"
        )));
    }
    Ok(rows.iter().map(|row| row.parse(0, "a device's id")).collect::<Result<_, _>>()?)
}

/// What was taken out of force.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    pub(crate) certificates: u64,
    /// How many of the devices were connected when it was decided.
    pub(crate) sessions: u64,
}

/// Takes all certificates of devices out of force, and ends their claims.
///
/// It is done to many at a time: the sessions of a thousand are to end within a second.
pub(crate) async fn revoke(
    centre: &Centre,
    c: &mut Connection<'_>,
    ids: &BTreeSet<DeviceId>,
    reason: &str,
    actor: &Actor,
    now: Time,
) -> Result<Revoked, Problem> {
    static QUERIES: LazyLock<[String; 3]> = LazyLock::new(|| {
        [
            format!("select id, connection from device where id in ({})", many::places_from(1)),
            format!(
                "update certificate set state = 'revoked', revoked_at = $1, revoked_reason = $2 \
                 where state = 'issued' and device in ({}) returning device",
                many::places_from(3)
            ),
            format!(
                "update claim set expires = $1 where used is null and expires > $1 \
                 and device in ({})",
                many::places_from(2)
            ),
        ]
    });
    let [connections, certificates, claims] = &*QUERIES;
    let (mut missing, mut revoked) = (ids.clone(), Revoked::default());
    let all: Vec<&DeviceId> = ids.iter().collect();
    let mut counts: HashMap<String, u64> = HashMap::new();
    for run in many::runs(&all) {
        for row in c.rows(connections, run.clone()).await? {
            missing.remove(row.get::<String>(0)?.as_str());
            revoked.sessions += u64::from(row.get::<String>(1)? == "connected");
        }
        for row in c.rows(certificates, many::after(params![now, reason], &run)).await? {
            *counts.entry(row.get(0)?).or_default() += 1;
            revoked.certificates += 1;
        }
        c.execute(claims, many::after(params![now], &run)).await?;
    }
    if let Some(id) = missing.first() {
        return Err(Problem::not_found("device", id));
    }
    let message = format!("its certificate was revoked ({reason}); make a new claim, or retire it");
    attention::raise_for(c, &all, attention::REVOKED, Severity::Red, &message, now).await?;
    for id in ids {
        let draft = Draft::new("device.revoked", actor).on_device(id).with("reason", reason);
        let certificates = counts.get(id.as_str()).copied().unwrap_or_default();
        centre.note(c, draft.with("certificates", certificates), now).await?;
    }
    Ok(revoked)
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
