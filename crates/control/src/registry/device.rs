//! A device as the registry keeps it, and the queries that read and change it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use identity::{DeviceId, Fingerprint, KindId, Stage, Time, ZoneId};
use policy::standing::{DeviceStanding, Labels};
use policy::{Fact, Posture};

use super::attention;
use crate::store::{Connection, Row, StoreError, many, params};

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

/// Moves a device to the stage that an enrolment leads to, with what that settles.
pub(crate) async fn enrolled(
    c: &mut Connection<'_>,
    id: &DeviceId,
    stage: Stage,
    now: Time,
) -> Result<(), StoreError> {
    attention::settle(c, id).await?;
    let sql = "update device set stage = $1, changed = $2, \
               attention = (select coalesce(max(severity), 0) from alert where device = $3) \
               where id = $4";
    c.execute(sql, params![stage, now, id, id]).await?;
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
    Ok(facts_of(c, &[id]).await?.remove(id.as_str()).unwrap_or_default())
}

/// Reads the facts of some devices' postures, by device and in the order of their names.
pub(crate) async fn facts_of(
    c: &mut Connection<'_>,
    ids: &[&DeviceId],
) -> Result<BTreeMap<String, Vec<Fact>>, StoreError> {
    let mut rows = Vec::new();
    for run in many::runs(ids) {
        rows.extend(c.rows(&SOME_FACTS, run).await?);
    }
    by_device(&rows)
}

fn by_device(rows: &[Row]) -> Result<BTreeMap<String, Vec<Fact>>, StoreError> {
    let mut facts: BTreeMap<String, Vec<Fact>> = BTreeMap::new();
    for row in rows {
        facts.entry(row.get(0)?).or_default().push(fact(row, 1)?);
    }
    Ok(facts)
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
    Ok(standings_of(c, &[id]).await?.pop())
}

/// Reads what a gateway must know of some devices, without those that there are not.
pub(crate) async fn standings_of(
    c: &mut Connection<'_>,
    ids: &[&DeviceId],
) -> Result<Vec<DeviceStanding>, StoreError> {
    let mut standings = Vec::with_capacity(ids.len());
    for run in many::runs(ids) {
        let devices = c.rows(&SOME_DEVICES, run.clone()).await?;
        let facts = c.rows(&SOME_FACTS, run.clone()).await?;
        let certificates = c.rows(&SOME_CERTIFICATES, run).await?;
        standings.extend(joined(&devices, &facts, &certificates)?);
    }
    Ok(standings)
}

/// Reads what a gateway must know of every device.
pub(crate) async fn standings(c: &mut Connection<'_>) -> Result<Vec<DeviceStanding>, StoreError> {
    static ALL: LazyLock<[String; 3]> = LazyLock::new(|| {
        [
            format!("{DEVICES} order by d.id"),
            format!("{FACTS} order by name"),
            format!("{CERTIFICATES} order by created"),
        ]
    });
    let [devices, facts, certificates] = &*ALL;
    let devices = c.rows(devices, params![]).await?;
    let facts = c.rows(facts, params![]).await?;
    let certificates = c.rows(certificates, params![]).await?;
    joined(&devices, &facts, &certificates)
}

const DEVICES: &str = "select d.id, d.kind, d.zone, z.site, d.stage, d.labels, d.epoch \
                       from device d join zone z on z.id = d.zone";
const FACTS: &str = "select device, name, value, reason, source, since from fact";
const CERTIFICATES: &str = "select device, fingerprint from certificate where state = 'issued'";

static SOME_DEVICES: LazyLock<String> =
    LazyLock::new(|| format!("{DEVICES} where d.id in ({})", many::places_from(1)));
static SOME_FACTS: LazyLock<String> =
    LazyLock::new(|| format!("{FACTS} where device in ({}) order by name", many::places_from(1)));
static SOME_CERTIFICATES: LazyLock<String> = LazyLock::new(|| {
    format!("{CERTIFICATES} and device in ({}) order by created", many::places_from(1))
});

/// Puts devices together with the facts and certificates that are theirs.
fn joined(
    devices: &[Row],
    fact_rows: &[Row],
    certificate_rows: &[Row],
) -> Result<Vec<DeviceStanding>, StoreError> {
    let mut facts = by_device(fact_rows)?;
    let mut certificates: BTreeMap<String, Vec<Fingerprint>> = BTreeMap::new();
    for row in certificate_rows {
        certificates.entry(row.get(0)?).or_default().push(fingerprint(row, 1)?);
    }
    let take = |row: &Row| -> Result<DeviceStanding, StoreError> {
        let bare = bare_standing(row)?;
        let facts = facts.remove(bare.id.as_str()).unwrap_or_default();
        let certificates = certificates.remove(bare.id.as_str()).unwrap_or_default();
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

/// Reads those of some devices.
pub(crate) async fn revoked_of(
    c: &mut Connection<'_>,
    ids: &[&DeviceId],
    now: Time,
) -> Result<Vec<Fingerprint>, StoreError> {
    static SOME: LazyLock<String> = LazyLock::new(|| {
        format!(
            "select fingerprint from certificate where state = 'revoked' and not_after > $1 \
             and device in ({})",
            many::places_from(2)
        )
    });
    let mut revoked = Vec::new();
    for run in many::runs(ids) {
        for row in &c.rows(&SOME, many::after(params![now], &run)).await? {
            revoked.push(fingerprint(row, 0)?);
        }
    }
    Ok(revoked)
}

fn fingerprint(row: &Row, idx: usize) -> Result<Fingerprint, StoreError> {
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
