//! A device as people see it.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use identity::{Certificate, DeviceId, Time};
use serde::Serialize;
use utoipa::ToSchema;

use super::attention::Severity;
use super::device;
use crate::store::{Connection, Row, StoreError, many, params};

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

/// What is read of a device.
pub(super) const COLUMNS: &str = "d.id, d.title, d.kind, d.zone, z.site, d.owner, d.labels, \
     d.stage, d.epoch, d.connection, d.connection_since, d.peer, d.protocol, d.seen, d.attention, \
     d.created, d.changed, c.der, c.revoked_at, c.revoked_reason, m.expires, m.used, \
     c.created";

/// What is read with it: its zone, its newest certificate and its newest claim.
pub(super) const BESIDE: &str = "join zone z on z.id = d.zone \
     left join certificate c on c.serial = (select x.serial from certificate x \
       where x.device = d.id and x.der is not null order by x.created desc, x.serial limit 1) \
     left join claim m on m.digest = (select y.digest from claim y \
       where y.device = d.id order by y.created desc, y.digest limit 1)";

/// Reads one device.
pub(crate) async fn one(
    c: &mut Connection<'_>,
    id: &DeviceId,
) -> Result<Option<Device>, StoreError> {
    static ONE: LazyLock<String> =
        LazyLock::new(|| format!("select {COLUMNS} from device d {BESIDE} where d.id = $1"));
    let rows = c.rows(&ONE, params![id]).await?;
    Ok(read(c, &rows).await?.pop())
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

/// Reads what is in rows.
pub(super) async fn read(c: &mut Connection<'_>, rows: &[Row]) -> Result<Vec<Device>, StoreError> {
    // Most devices have neither facts nor alerts; those of all others are read together.
    let ids = rows.iter().map(|row| row.parse(0, "a device's id"));
    let ids: Vec<DeviceId> = ids.collect::<Result<_, _>>()?;
    let (mut with_facts, mut with_alerts) = (Vec::new(), Vec::new());
    for (row, id) in rows.iter().zip(&ids) {
        if row.count(8)? > 0 {
            with_facts.push(id);
        }
        if row.get::<i64>(14)? > 0 {
            with_alerts.push(id);
        }
    }
    let mut facts = device::facts_of(c, &with_facts).await?;
    let mut alerts = alerts_of(c, &with_alerts).await?;
    let read = |row: &Row| {
        let id: String = row.get(0)?;
        let facts = facts.remove(&id).unwrap_or_default();
        read_one(row, id.clone(), &facts, alerts.remove(&id).unwrap_or_default())
    };
    rows.iter().map(read).collect()
}

fn read_one(
    row: &Row,
    id: String,
    facts: &[policy::Fact],
    attention: Vec<Attention>,
) -> Result<Device, StoreError> {
    let quarantined =
        facts.iter().find(|fact| &*fact.name == "quarantine" && &*fact.value == "yes");
    let quarantined = quarantined.map(|fact| Quarantined {
        since: fact.since.to_string(),
        reason: fact.reason.as_deref().unwrap_or_default().to_owned(),
        by: fact.source.to_string(),
    });
    let certificate = certificate(row, 17)?;
    let issued = row.time_if(22)?.map(|time| time.to_string());
    let time = |idx| row.time_if(idx).map(|time| time.map(|time| time.to_string()));
    let connection = Connected {
        state: row.get(9)?,
        since: time(10)?,
        peer: row.get(11)?,
        protocol: row.get(12)?,
    };
    Ok(Device {
        id,
        title: row.get(1)?,
        kind: row.get(2)?,
        zone: row.get(3)?,
        site: row.get(4)?,
        owner: row.get(5)?,
        labels: serde_json::from_str(&row.get::<String>(6)?)
            .map_err(|_| StoreError::Unreadable("labels"))?,
        stage: row.get(7)?,
        posture: Posture {
            epoch: row.count(8)?,
            facts: derived(&connection, certificate.as_ref().zip(issued.as_deref()))
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
    certificate: Option<(&CertificateView, &str)>,
) -> impl Iterator<Item = FactView> {
    let certificate = certificate.map(|(certificate, issued)| match &certificate.revoked {
        Some(revoked) => fact_of("certificate", "revoked", "registry", &revoked.at),
        None => fact_of("certificate", "issued", "registry", issued),
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

/// Reads the alerts of devices, the worst first.
async fn alerts_of(
    c: &mut Connection<'_>,
    ids: &[&DeviceId],
) -> Result<HashMap<String, Vec<Attention>>, StoreError> {
    static SOME: LazyLock<String> = LazyLock::new(|| {
        format!(
            "select device, code, severity, message, since from alert where device in ({}) \
             order by severity desc, code",
            many::places_from(1)
        )
    });
    let mut alerts: HashMap<String, Vec<Attention>> = HashMap::new();
    for run in many::runs(ids) {
        for row in &c.rows(&SOME, run).await? {
            alerts.entry(row.get(0)?).or_default().push(Attention {
                code: row.get(1)?,
                severity: Severity::of_level(row.get(2)?).as_str(),
                text: row.get(3)?,
                since: row.time(4)?.to_string(),
            });
        }
    }
    Ok(alerts)
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
