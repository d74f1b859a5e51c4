//! A device as people see it, and the queries behind the fleet's table.

use std::collections::BTreeMap;

use identity::{Certificate, DeviceId, Time};
use serde::Serialize;
use utoipa::ToSchema;

use super::attention::Severity;
use super::device;
use crate::store::{Connection, Row, StoreError, params};

/// A device with everything that is known of it now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Device {
    id: String,
    title: Option<String>,
    kind: String,
    zone: String,
    site: String,
    owner: Option<String>,
    labels: BTreeMap<String, String>,
    /// `manufactured`, `claimed`, `active` or `retired`.
    stage: String,
    posture: Posture,
    connection: Connected,
    certificate: Option<CertificateView>,
    claim: Option<ClaimView>,
    attention: Vec<Attention>,
    quarantined: Option<Quarantined>,
    created: String,
    changed: String,
}

/// What is held true of a device now; what is not known is absent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Posture {
    epoch: u64,
    facts: Vec<FactView>,
}

/// One fact with its source and age.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FactView {
    name: String,
    value: String,
    source: String,
    since: String,
}

/// Whether the device is connected.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Connected {
    /// `connected`, `away` or `never`.
    state: String,
    since: Option<String>,
    peer: Option<String>,
    protocol: Option<String>,
}

/// A certificate of a device.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct CertificateView {
    fingerprint: String,
    serial: String,
    subject: String,
    issuer: String,
    not_before: String,
    not_after: String,
    revoked: Option<RevokedView>,
}

/// When and why a certificate was revoked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RevokedView {
    at: String,
    reason: String,
}

/// The device's newest claim.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ClaimView {
    expires: String,
    used: Option<String>,
}

/// One thing that needs a person.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Attention {
    code: String,
    /// `red` or `amber`.
    severity: &'static str,
    text: String,
    since: String,
}

/// Since when and why a device is cut off.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Quarantined {
    since: String,
    reason: String,
    by: String,
}

/// Which devices are asked for; an empty text asks for all.
#[derive(Debug, Default, Clone)]
pub(crate) struct Filter {
    pub(crate) text: String,
    pub(crate) stage: String,
    pub(crate) kind: String,
    pub(crate) zone: String,
    pub(crate) site: String,
    pub(crate) connection: String,
    /// The least level of attention.
    pub(crate) attention: i64,
    /// Exactly this level, where it is not negative.
    pub(crate) level: i64,
}

/// By what the table is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Attention,
    Id,
    Seen,
    Created,
}

/// Where a page begins.
#[derive(Debug, Clone)]
pub(crate) enum From {
    /// After a row: its sort value and id.
    After(i64, String),
    /// After so many rows.
    Skip(i64),
}

macro_rules! columns {
    () => {
        "select d.id, d.title, d.kind, d.zone, z.site, d.owner, d.labels, d.stage, d.epoch, \
         d.connection, d.connection_since, d.peer, d.protocol, d.seen, d.attention, d.created, d.changed, \
         c.der, c.revoked_at, c.revoked_reason, m.expires, m.used \
         from device d join zone z on z.id = d.zone \
         left join certificate c on c.serial = (select x.serial from certificate x \
           where x.device = d.id and x.der is not null order by x.created desc, x.serial limit 1) \
         left join claim m on m.digest = (select y.digest from claim y \
           where y.device = d.id order by y.created desc, y.digest limit 1) "
    };
}

macro_rules! filter {
    () => {
        "($1 = '' or lower(d.id) like $1 escape '\\' or lower(coalesce(d.title, '')) like $1 escape '\\') \
         and ($2 = '' or d.stage = $2) and ($3 = '' or d.kind = $3) and ($4 = '' or d.zone = $4) \
         and ($5 = '' or z.site = $5) and ($6 = '' or d.connection = $6) \
         and d.attention >= $7 and ($8 < 0 or d.attention = $8) "
    };
}

macro_rules! page_by_id {
    ($than:literal, $order:literal) => {
        concat!(
            columns!(),
            "where ",
            filter!(),
            "and ($9 = '' or d.id ",
            $than,
            " $9) and $10 = $10 order by d.id ",
            $order,
            " limit $11 offset $12"
        )
    };
}

macro_rules! page {
    ($key:literal, $than:literal, $order:literal) => {
        concat!(
            columns!(),
            "where ",
            filter!(),
            "and ($9 = '' or ",
            $key,
            $than,
            "$10 or (",
            $key,
            " = $10 and d.id > $9)) order by ",
            $key,
            " ",
            $order,
            ", d.id limit $11 offset $12"
        )
    };
}

impl Filter {
    fn params(&self) -> Vec<crate::store::Value> {
        let like = match self.text.trim() {
            "" => String::new(),
            text => {
                let escaped = text
                    .to_lowercase()
                    .replace('\\', "\\\\")
                    .replace('%', "\\%")
                    .replace('_', "\\_");
                format!("%{escaped}%")
            }
        };
        params![
            like,
            &self.stage,
            &self.kind,
            &self.zone,
            &self.site,
            &self.connection,
            self.attention,
            self.level
        ]
    }
}

/// Reads one page of the fleet, and where the next one begins.
pub(crate) async fn page(
    c: &mut Connection<'_>,
    filter: &Filter,
    sort: Sort,
    descending: bool,
    from: &From,
    limit: i64,
) -> Result<(Vec<Device>, Option<(i64, String)>), StoreError> {
    let sql = match (sort, descending) {
        (Sort::Attention, true) => page!("d.attention", " < ", "desc"),
        (Sort::Attention, false) => page!("d.attention", " > ", "asc"),
        (Sort::Seen, true) => page!("d.seen", " < ", "desc"),
        (Sort::Seen, false) => page!("d.seen", " > ", "asc"),
        (Sort::Created, true) => page!("d.created", " < ", "desc"),
        (Sort::Created, false) => page!("d.created", " > ", "asc"),
        (Sort::Id, false) => page_by_id!(">", "asc"),
        (Sort::Id, true) => page_by_id!("<", "desc"),
    };
    let (after_id, after_key, skip) = match from {
        From::After(key, id) => (id.as_str(), *key, 0),
        From::Skip(skip) => ("", 0, *skip),
    };
    let mut params = filter.params();
    params.extend(params![after_id, after_key, limit + 1, skip]);
    let mut rows = c.rows(sql, params).await?;
    let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    if more {
        rows.pop();
    }
    let key = |row: &Row| -> Result<(i64, String), StoreError> {
        let key = match sort {
            Sort::Attention => row.get(14)?,
            Sort::Seen => row.get(13)?,
            Sort::Created => row.get(15)?,
            Sort::Id => 0,
        };
        Ok((key, row.get(0)?))
    };
    let next = if more { rows.last().map(key).transpose()? } else { None };
    let mut devices = Vec::with_capacity(rows.len());
    for row in &rows {
        devices.push(read(c, row).await?);
    }
    Ok((devices, next))
}

/// Counts the devices that a filter takes.
pub(crate) async fn total(c: &mut Connection<'_>, filter: &Filter) -> Result<u64, StoreError> {
    let sql = concat!(
        "select cast(count(*) as bigint) from device d join zone z on z.id = d.zone where ",
        filter!()
    );
    let row = c.row(sql, filter.params()).await?.ok_or(StoreError::Unreadable("a count"))?;
    row.count(0)
}

/// Reads one device.
pub(crate) async fn one(
    c: &mut Connection<'_>,
    id: &DeviceId,
) -> Result<Option<Device>, StoreError> {
    let row = c.row(concat!(columns!(), "where d.id = $1"), params![id]).await?;
    match row {
        Some(row) => Ok(Some(read(c, &row).await?)),
        None => Ok(None),
    }
}

/// Reads all certificates of a device, the newest first.
pub(crate) async fn certificates(
    c: &mut Connection<'_>,
    id: &DeviceId,
) -> Result<Vec<CertificateView>, StoreError> {
    let sql = "select der, revoked_at, revoked_reason from certificate \
               where device = $1 and der is not null order by created desc, serial limit 500";
    let rows = c.rows(sql, params![id]).await?;
    rows.iter().filter_map(|row| certificate(row, 0).transpose()).collect()
}

async fn read(c: &mut Connection<'_>, row: &Row) -> Result<Device, StoreError> {
    let id: DeviceId = row.parse(0, "a device's id")?;
    let epoch = row.count(8)?;
    // Most devices have neither facts nor alerts, and are read with one query.
    let facts = if epoch > 0 { device::facts(c, &id).await? } else { Vec::new() };
    let attention = if row.get::<i64>(14)? > 0 { alerts(c, &id).await? } else { Vec::new() };
    let quarantined =
        facts.iter().find(|fact| &*fact.name == "quarantine" && &*fact.value == "yes");
    let quarantined = quarantined.map(|fact| Quarantined {
        since: fact.since.to_string(),
        reason: fact.reason.as_deref().unwrap_or_default().to_owned(),
        by: fact.source.to_string(),
    });
    let certificate = certificate(row, 17)?;
    let time = |idx| row.time_if(idx).map(|time| time.map(|time| time.to_string()));
    let connection = Connected {
        state: row.get(9)?,
        since: time(10)?,
        peer: row.get(11)?,
        protocol: row.get(12)?,
    };
    Ok(Device {
        id: id.to_string(),
        title: row.get(1)?,
        kind: row.get(2)?,
        zone: row.get(3)?,
        site: row.get(4)?,
        owner: row.get(5)?,
        labels: serde_json::from_str(&row.get::<String>(6)?)
            .map_err(|_| StoreError::Unreadable("labels"))?,
        stage: row.get(7)?,
        posture: Posture {
            epoch,
            facts: derived(&connection, certificate.as_ref())
                .chain(facts.iter().map(fact_view))
                .collect(),
        },
        connection,
        certificate,
        claim: match time(20)? {
            Some(expires) => Some(ClaimView { expires, used: time(21)? }),
            None => None,
        },
        attention,
        quarantined,
        created: row.time(15)?.to_string(),
        changed: row.time(16)?.to_string(),
    })
}

/// Facts that follow from the registry itself.
fn derived(
    connection: &Connected,
    certificate: Option<&CertificateView>,
) -> impl Iterator<Item = FactView> {
    let certificate = certificate.map(|certificate| match &certificate.revoked {
        Some(revoked) => fact_of("certificate", "revoked", "registry", &revoked.at),
        None => fact_of("certificate", "issued", "registry", &certificate.not_before),
    });
    let session = match (&connection.since, connection.state.as_str()) {
        (Some(since), "connected") => Some(fact_of("session", "mutual TLS 1.3", "gateway", since)),
        _ => None,
    };
    certificate.into_iter().chain(session)
}

fn fact_of(name: &str, value: &str, source: &str, since: &str) -> FactView {
    FactView { name: name.into(), value: value.into(), source: source.into(), since: since.into() }
}

fn fact_view(fact: &policy::Fact) -> FactView {
    FactView {
        name: fact.name.to_string(),
        value: fact.value.to_string(),
        source: fact.source.to_string(),
        since: fact.since.to_string(),
    }
}

async fn alerts(c: &mut Connection<'_>, id: &DeviceId) -> Result<Vec<Attention>, StoreError> {
    let sql = "select code, severity, message, since from alert where device = $1 order by severity desc, code";
    let rows = c.rows(sql, params![id]).await?;
    let alert = |row: &Row| -> Result<Attention, StoreError> {
        Ok(Attention {
            code: row.get(0)?,
            severity: Severity::of_level(row.get(1)?).as_str(),
            text: row.get(2)?,
            since: row.time(3)?.to_string(),
        })
    };
    rows.iter().map(alert).collect()
}

fn certificate(row: &Row, first: usize) -> Result<Option<CertificateView>, StoreError> {
    let Some(der) = row.get::<Option<Vec<u8>>>(first)? else { return Ok(None) };
    let certificate =
        Certificate::parse(&der).map_err(|_| StoreError::Unreadable("a certificate"))?;
    let revoked: Option<Time> = row.time_if(first + 1)?;
    let reason: Option<String> = row.get(first + 2)?;
    Ok(Some(CertificateView {
        fingerprint: certificate.fingerprint().to_string(),
        serial: certificate.serial().to_string(),
        subject: certificate.subject().to_owned(),
        issuer: certificate.issuer().to_owned(),
        not_before: certificate.not_before().to_string(),
        not_after: certificate.not_after().to_string(),
        revoked: revoked
            .map(|at| RevokedView { at: at.to_string(), reason: reason.unwrap_or_default() }),
    }))
}
