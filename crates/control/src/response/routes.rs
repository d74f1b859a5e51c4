//! The routes of the response.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use identity::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Places;
use crate::body::Json;
use crate::centre::Centre;
use crate::fuzz::{self, Read};
use crate::people::AsOperator;
use crate::problem::Problem;
use crate::registry::view::{self, Device};

/// All routes of the response.
pub(crate) fn routes() -> OpenApiRouter<Arc<Centre>> {
    OpenApiRouter::new()
        .routes(routes!(revoke))
        .routes(routes!(revoke_many))
        .routes(routes!(quarantine))
        .routes(routes!(recover))
        .routes(routes!(retire))
}

/// The most devices that one call revokes.
const MAX_DEVICES: usize = 10_000;
/// The longest reason, in bytes.
const MAX_REASON: usize = 500;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Why; it stands in the record.
    reason: String,
}

/// Devices by name, or all of a kind, zone or site; where several of these are given, all hold.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Many {
    #[serde(default)]
    ids: Vec<String>,
    kind: Option<String>,
    zone: Option<String>,
    site: Option<String>,
    reason: String,
}

#[derive(Serialize, ToSchema)]
struct Revoked {
    /// How many devices it was about.
    devices: u64,
    /// How many certificates no longer count.
    certificates: u64,
    /// How many of the devices were connected when it was decided.
    sessions: u64,
}

impl Reason {
    fn checked(&self) -> Result<&str, Problem> {
        checked(&self.reason)
    }
}

/// Which devices are meant.
enum Which {
    Named(BTreeSet<DeviceId>),
    All(Places),
}

impl Many {
    fn parsed(&self) -> Result<(Which, &str), Problem> {
        let reason = checked(&self.reason)?;
        let places = Places {
            kind: self.kind.as_deref().map(str::parse).transpose().map_err(Problem::malformed)?,
            zone: self.zone.as_deref().map(str::parse).transpose().map_err(Problem::malformed)?,
            site: self.site.as_deref().map(str::parse).transpose().map_err(Problem::malformed)?,
        };
        if self.ids.is_empty() == places.is_empty() {
            return Err(Problem::malformed("name the devices, or a kind, zone or site of them"));
        }
        if !places.is_empty() {
            return Ok((Which::All(places), reason));
        }
        if self.ids.len() > MAX_DEVICES {
            return Err(Problem::malformed(format!("at most {MAX_DEVICES} devices at once")));
        }
        let ids: Result<_, _> = self.ids.iter().map(|id| id.parse()).collect();
        Ok((Which::Named(ids.map_err(Problem::malformed)?), reason))
    }
}

fn checked(reason: &str) -> Result<&str, Problem> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON || !identity::is_plain(reason) {
        return Err(Problem::malformed(format!(
            "say why, in 1 to {MAX_REASON} bytes on one line, none of them hidden"
        )));
    }
    Ok(reason)
}

/// Takes a device's certificates out of force: its live session ends, and its next handshake is refused.
#[utoipa::path(post, path = "/v1/devices/{id}/revoke", tag = "response", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = Revoked), (status = 404, body = Problem)))]
async fn revoke(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Path(id): Path<DeviceIdText>,
    Json(body): Json<Reason>,
) -> Result<Answer<Revoked>, Problem> {
    let many = Many { ids: vec![id.0], reason: body.reason, ..Many::default() };
    revoke_all(&centre, &principal, many).await
}

/// Takes the certificates of many devices out of force in one step.
#[utoipa::path(post, path = "/v1/devices/revoke", tag = "response", request_body = Many,
    responses((status = 200, body = Revoked), (status = 404, body = Problem)))]
async fn revoke_many(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Json(body): Json<Many>,
) -> Result<Answer<Revoked>, Problem> {
    revoke_all(&centre, &principal, body).await
}

async fn revoke_all(
    centre: &Centre,
    principal: &crate::people::Principal,
    many: Many,
) -> Result<Answer<Revoked>, Problem> {
    let (which, reason) = many.parsed()?;
    let now = centre.now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let ids = match which {
        Which::Named(ids) => ids,
        Which::All(places) => super::to_revoke(&mut c, &places, now, MAX_DEVICES).await?,
    };
    let devices = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    let super::Revoked { certificates, sessions } =
        super::revoke(centre, &mut c, &ids, reason, &principal.actor, now).await?;
    write.commit().await?;
    centre.devices_changed(ids.into_iter().collect()).await;
    Ok(Answer(Revoked { devices, certificates, sessions }))
}

/// Cuts a device off.
#[utoipa::path(post, path = "/v1/devices/{id}/quarantine", tag = "response", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = Device), (status = 404, body = Problem)))]
async fn quarantine(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Path(id): Path<DeviceIdText>,
    Json(body): Json<Reason>,
) -> Result<Answer<Device>, Problem> {
    let (id, reason, now) = (id.parsed()?, body.checked()?, centre.now());
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    super::set_quarantine(&centre, &mut c, &id, true, reason, &principal.actor, now).await?;
    write.commit().await?;
    changed(&centre, id).await
}

/// Lets a device back in that was cut off.
#[utoipa::path(post, path = "/v1/devices/{id}/recover", tag = "response", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = Device), (status = 404, body = Problem)))]
async fn recover(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Path(id): Path<DeviceIdText>,
    Json(body): Json<Reason>,
) -> Result<Answer<Device>, Problem> {
    let (id, reason, now) = (id.parsed()?, body.checked()?, centre.now());
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    super::set_quarantine(&centre, &mut c, &id, false, reason, &principal.actor, now).await?;
    write.commit().await?;
    changed(&centre, id).await
}

/// Takes a device out of service for good.
#[utoipa::path(post, path = "/v1/devices/{id}/retire", tag = "response", params(("id" = String, Path)),
    request_body = Reason, responses((status = 200, body = Device), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn retire(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Path(id): Path<DeviceIdText>,
    Json(body): Json<Reason>,
) -> Result<Answer<Device>, Problem> {
    let (id, reason, now) = (id.parsed()?, body.checked()?, centre.now());
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    super::retire(&centre, &mut c, &id, reason, &principal.actor, now).await?;
    write.commit().await?;
    changed(&centre, id).await
}

async fn changed(centre: &Centre, id: DeviceId) -> Result<Answer<Device>, Problem> {
    centre.devices_changed(vec![id.clone()]).await;
    let device = view::one(&mut centre.store.read().await?.connection(), &id).await?;
    device.map(Answer).ok_or_else(|| Problem::not_found("device", id))
}

/// A device's id in a path, before it was parsed.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct DeviceIdText(pub(crate) String);

impl DeviceIdText {
    /// Parses it, or says what is wrong with it.
    pub(crate) fn parsed(&self) -> Result<DeviceId, Problem> {
        self.0.parse().map_err(Problem::malformed)
    }
}

const READ_REASON: fn(&[u8]) -> Result<(), Problem> =
    |bytes| fuzz::body::<Reason>(bytes)?.checked().map(drop);

/// What these routes read, as far as they read it without the store.
pub(crate) const READS: &[Read] = &[
    ("POST /v1/devices/{id}/revoke", READ_REASON),
    ("POST /v1/devices/revoke", |bytes| fuzz::body::<Many>(bytes)?.parsed().map(drop)),
    ("POST /v1/devices/{id}/quarantine", READ_REASON),
    ("POST /v1/devices/{id}/recover", READ_REASON),
    ("POST /v1/devices/{id}/retire", READ_REASON),
];
