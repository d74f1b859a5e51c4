//! What needs a person: alerts of a device, each with its sentence, and the level they add up to.

use std::sync::LazyLock;
use std::time::Duration;

use identity::{DeviceId, Time};

use crate::store::{Connection, StoreError, many, params};

/// How much it matters; the order is the order in which people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Amber = 1,
    Red = 2,
}

impl Severity {
    /// Names it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }

    fn level(self) -> i64 {
        match self {
            Self::Amber => 1,
            Self::Red => 2,
        }
    }

    /// Reads a stored level; what is not red is amber, since an alert exists at all.
    pub(crate) fn of_level(level: i64) -> Self {
        if level >= 2 { Self::Red } else { Self::Amber }
    }
}

/// The device was cut off by a decision.
pub(crate) const QUARANTINED: &str = "quarantined";
/// No certificate of the device counts any more.
pub(crate) const REVOKED: &str = "revoked";
/// The device was denied something.
pub(crate) const DENIED: &str = "denied";
/// The device's certificate ends soon.
pub(crate) const EXPIRING: &str = "expiring";
/// The device's claim ended unused.
pub(crate) const UNCLAIMED: &str = "unclaimed";

/// How long before its end a certificate is worth a word.
const EXPIRING_SPAN: Duration = Duration::from_secs(30 * 24 * 3600);
/// After how long without another denial the alert goes.
const DENIED_SPAN: Duration = Duration::from_secs(3600);

/// Raises an alert, or says it anew; the time since when it holds stays.
pub(crate) async fn raise(
    c: &mut Connection<'_>,
    id: &DeviceId,
    code: &'static str,
    severity: Severity,
    message: &str,
    n: i64,
    now: Time,
) -> Result<(), StoreError> {
    c.execute(
        "insert into alert (device, code, severity, message, since, n) values ($1, $2, $3, $4, $5, $6) \
         on conflict (device, code) do update set severity = excluded.severity, \
         message = excluded.message, n = alert.n + excluded.n",
        params![id, code, severity.level(), message, now, n],
    )
    .await?;
    refresh(c, id).await
}

/// Raises an alert of many devices, or says it anew; the time since when it holds stays.
pub(crate) async fn raise_for(
    c: &mut Connection<'_>,
    ids: &[&DeviceId],
    code: &'static str,
    severity: Severity,
    message: &str,
    now: Time,
) -> Result<(), StoreError> {
    static QUERIES: LazyLock<[String; 2]> = LazyLock::new(|| {
        [
            format!(
                "insert into alert (device, code, severity, message, since, n) \
                 select id, $1, $2, $3, $4, $5 from device where id in ({}) \
                 on conflict (device, code) do update set severity = excluded.severity, \
                 message = excluded.message, n = alert.n + excluded.n",
                many::places_from(6)
            ),
            format!(
                "update device set attention = (select coalesce(max(severity), 0) from alert \
                 where alert.device = device.id) where id in ({})",
                many::places_from(1)
            ),
        ]
    });
    let [raise, refresh] = &*QUERIES;
    for run in many::runs(ids) {
        let params = params![code, severity.level(), message, now, 1_i64];
        c.execute(raise, many::after(params, &run)).await?;
        c.execute(refresh, run).await?;
    }
    Ok(())
}

/// Takes an alert back.
pub(crate) async fn clear(
    c: &mut Connection<'_>,
    id: &DeviceId,
    code: &'static str,
) -> Result<(), StoreError> {
    c.execute("delete from alert where device = $1 and code = $2", params![id, code]).await?;
    refresh(c, id).await
}

/// Takes back the alerts that a new certificate settles; the level is for the caller to refresh
/// with what else it changes of the device.
pub(crate) async fn settle(c: &mut Connection<'_>, id: &DeviceId) -> Result<(), StoreError> {
    c.execute(
        "delete from alert where device = $1 and code in ($2, $3, $4)",
        params![id, UNCLAIMED, EXPIRING, REVOKED],
    )
    .await?;
    Ok(())
}

/// Takes all alerts of a device back.
pub(crate) async fn clear_all(c: &mut Connection<'_>, id: &DeviceId) -> Result<(), StoreError> {
    c.execute("delete from alert where device = $1", params![id]).await?;
    refresh(c, id).await
}

async fn refresh(c: &mut Connection<'_>, id: &DeviceId) -> Result<(), StoreError> {
    c.execute(
        "update device set attention = (select coalesce(max(severity), 0) from alert where device = $1) \
         where id = $2",
        params![id, id],
    )
    .await?;
    Ok(())
}

/// Raises and clears what time alone changes; gives the devices that look different now.
pub(crate) async fn sweep(c: &mut Connection<'_>, now: Time) -> Result<Vec<DeviceId>, StoreError> {
    let mut changed = Vec::new();
    let sql = "select a.device from alert a where a.code = $1 and not exists (\
               select 1 from decision n where n.device = a.device and n.last > $2)";
    for row in c.rows(sql, params![DENIED, now.minus(DENIED_SPAN)]).await? {
        let id = row.parse(0, "a device's id")?;
        clear(c, &id, DENIED).await?;
        changed.push(id);
    }
    let sql = "select c.device, max(c.not_after) from certificate c \
               join device d on d.id = c.device \
               where c.state = 'issued' and d.stage <> 'retired' \
               and not exists (select 1 from alert a where a.device = c.device and a.code = $1) \
               group by c.device having max(c.not_after) < $2 limit 1000";
    for row in c.rows(sql, params![EXPIRING, now.plus(EXPIRING_SPAN)]).await? {
        let (id, ends) = (row.parse(0, "a device's id")?, row.time(1)?);
        let message = format!("its certificate ends at {ends}; enrol it again before then");
        let severity = if ends <= now { Severity::Red } else { Severity::Amber };
        raise(c, &id, EXPIRING, severity, &message, 1, now).await?;
        changed.push(id);
    }
    let sql = "select d.id, max(m.expires) from device d join claim m on m.device = d.id \
               where d.stage = 'manufactured' \
               and not exists (select 1 from alert a where a.device = d.id and a.code = $1) \
               group by d.id having max(m.expires) < $2 limit 1000";
    for row in c.rows(sql, params![UNCLAIMED, now]).await? {
        let (id, ended) = (row.parse(0, "a device's id")?, row.time(1)?);
        let message = format!("its claim ended at {ended} unused; make a new claim");
        raise(c, &id, UNCLAIMED, Severity::Amber, &message, 1, now).await?;
        changed.push(id);
    }
    Ok(changed)
}
