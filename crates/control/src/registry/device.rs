//! A device as the registry keeps it, and the queries that read and change it.

use std::collections::BTreeMap;

use identity::{DeviceId, Fingerprint, KindId, Stage, Time, ZoneId};
use policy::standing::{DeviceStanding, Labels};
use policy::{Fact, Posture};

use crate::store::{Connection, Row, StoreError, params};

/// What makes a new device.
pub(crate) struct NewDevice {
    pub(crate) id: DeviceId,
    pub(crate) kind: KindId,
    pub(crate) zone: ZoneId,
    pub(crate) title: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Adds a device in its first stage; says whether the id was free.
pub(crate) async fn insert(
    c: &mut Connection<'_>,
    device: &NewDevice,
    now: Time,
) -> Result<bool, StoreError> {
    let labels =
        serde_json::to_string(&device.labels).map_err(|_| StoreError::Unreadable("labels"))?;
    let inserted = c
        .execute(
            "insert into device (id, title, kind, zone, owner, labels, stage, epoch, connection, \
             seen, attention, created, changed) \
             values ($1, $2, $3, $4, $5, $6, $7, 0, 'never', 0, 0, $8, $9) on conflict (id) do nothing",
            params![
                &device.id,
                device.title.clone(),
                &device.kind,
                &device.zone,
                device.owner.clone(),
                labels,
                Stage::Manufactured,
                now,
                now
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Reads a device's stage, if there is such a device.
pub(crate) async fn stage(
    c: &mut Connection<'_>,
    id: &DeviceId,
) -> Result<Option<Stage>, StoreError> {
    let row = c.row("select stage from device where id = $1", params![id]).await?;
    row.map(|row| row.parse(0, "a device's stage")).transpose()
}

/// Moves a device to a stage.
pub(crate) async fn set_stage(
    c: &mut Connection<'_>,
    id: &DeviceId,
    stage: Stage,
    now: Time,
) -> Result<(), StoreError> {
    let sql = "update device set stage = $1, changed = $2 where id = $3";
    c.execute(sql, params![stage, now, id]).await?;
    Ok(())
}

/// Holds a fact of a device's posture, and raises its epoch.
pub(crate) async fn hold(
    c: &mut Connection<'_>,
    id: &DeviceId,
    fact: &Fact,
) -> Result<(), StoreError> {
    c.execute(
        "insert into fact (device, name, value, reason, source, since) values ($1, $2, $3, $4, $5, $6) \
         on conflict (device, name) do update set value = excluded.value, reason = excluded.reason, \
         source = excluded.source, since = excluded.since",
        params![
            id,
            fact.name.as_ref(),
            fact.value.as_ref(),
            fact.reason.as_deref(),
            fact.source.as_ref(),
            fact.since
        ],
    )
    .await?;
    c.execute(
        "update device set epoch = epoch + 1, changed = $1 where id = $2",
        params![fact.since, id],
    )
    .await?;
    Ok(())
}

/// Reads the facts of a device's posture.
pub(crate) async fn facts(c: &mut Connection<'_>, id: &DeviceId) -> Result<Vec<Fact>, StoreError> {
    let sql = "select name, value, reason, source, since from fact where device = $1 order by name";
    let rows = c.rows(sql, params![id]).await?;
    rows.iter().map(|row| fact(row, 0)).collect()
}

fn fact(row: &Row, first: usize) -> Result<Fact, StoreError> {
    Ok(Fact {
        name: row.get::<String>(first)?.into(),
        value: row.get::<String>(first + 1)?.into(),
        reason: row.get::<Option<String>>(first + 2)?.map(Into::into),
        source: row.get::<String>(first + 3)?.into(),
        since: row.time(first + 4)?,
    })
}

/// Reads what a gateway must know of one device.
pub(crate) async fn standing(
    c: &mut Connection<'_>,
    id: &DeviceId,
) -> Result<Option<DeviceStanding>, StoreError> {
    let sql = "select d.id, d.kind, d.zone, z.site, d.stage, d.labels, d.epoch \
               from device d join zone z on z.id = d.zone where d.id = $1";
    let Some(row) = c.row(sql, params![id]).await? else { return Ok(None) };
    let facts = facts(c, id).await?;
    let sql = "select fingerprint from certificate where device = $1 and state = 'issued' order by created";
    let certificates = c.rows(sql, params![id]).await?;
    let certificates: Result<_, StoreError> =
        certificates.iter().map(|row| fingerprint(row, 0)).collect();
    Ok(Some(bare_standing(&row)?.with(facts, certificates?)))
}

/// Reads what a gateway must know of every device.
pub(crate) async fn standings(c: &mut Connection<'_>) -> Result<Vec<DeviceStanding>, StoreError> {
    let sql = "select d.id, d.kind, d.zone, z.site, d.stage, d.labels, d.epoch \
               from device d join zone z on z.id = d.zone order by d.id";
    let devices = c.rows(sql, params![]).await?;
    let mut facts: BTreeMap<String, Vec<Fact>> = BTreeMap::new();
    let sql = "select device, name, value, reason, source, since from fact";
    for row in &c.rows(sql, params![]).await? {
        facts.entry(row.get(0)?).or_default().push(fact(row, 1)?);
    }
    let mut certificates: BTreeMap<String, Vec<Fingerprint>> = BTreeMap::new();
    let sql = "select device, fingerprint from certificate where state = 'issued'";
    for row in &c.rows(sql, params![]).await? {
        certificates.entry(row.get(0)?).or_default().push(fingerprint(row, 1)?);
    }
    let take = |row: &Row| -> Result<DeviceStanding, StoreError> {
        let bare = bare_standing(row)?;
        let facts = facts.get(bare.id.as_str()).cloned().unwrap_or_default();
        let certificates = certificates.get(bare.id.as_str()).cloned().unwrap_or_default();
        Ok(bare.with(facts, certificates))
    };
    devices.iter().map(take).collect()
}

/// Reads the fingerprints of all certificates that were revoked and have not expired.
pub(crate) async fn revoked(
    c: &mut Connection<'_>,
    now: Time,
) -> Result<Vec<Fingerprint>, StoreError> {
    let sql = "select fingerprint from certificate where state = 'revoked' and not_after > $1";
    let rows = c.rows(sql, params![now]).await?;
    rows.iter().map(|row| fingerprint(row, 0)).collect()
}

pub(crate) fn fingerprint(row: &Row, idx: usize) -> Result<Fingerprint, StoreError> {
    row.bytes(idx, "a fingerprint").map(Fingerprint::from_bytes)
}

struct Bare {
    id: DeviceId,
    standing: DeviceStanding,
}

fn bare_standing(row: &Row) -> Result<Bare, StoreError> {
    let id: DeviceId = row.parse(0, "a device's id")?;
    let labels: BTreeMap<String, String> = serde_json::from_str(&row.get::<String>(5)?)
        .map_err(|_| StoreError::Unreadable("labels"))?;
    let standing = DeviceStanding {
        id: id.clone(),
        kind: row.parse::<KindId>(1, "a kind")?.into(),
        zone: row.parse::<ZoneId>(2, "a zone")?.into(),
        site: row.parse::<identity::SiteId>(3, "a site")?.into(),
        stage: row.parse(4, "a device's stage")?,
        labels: labels.into_iter().collect::<Labels>(),
        posture: Posture { epoch: row.count(6)?, facts: Vec::new() },
        certificates: Vec::new(),
    };
    Ok(Bare { id, standing })
}

impl Bare {
    fn with(mut self, facts: Vec<Fact>, certificates: Vec<Fingerprint>) -> DeviceStanding {
        self.standing.posture.facts = facts;
        self.standing.certificates = certificates;
        self.standing
    }
}
