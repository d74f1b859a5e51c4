//! The routes of the registry: fleet, devices, places.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use identity::{DeviceId, KindId, SiteId, ZoneId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::{self, Filter, From, Sort};
use super::view::{self, CertificateView, Device};
use super::{device, places};
use crate::body::{Json, Query};
use crate::centre::Centre;
use crate::enrolment::make_claim;
use crate::fuzz::{self, Read};
use crate::people::{AsOperator, AsViewer};
use crate::problem::Problem;
use crate::record::{Actor, Draft};
use crate::store::{Connection, params};

/// All routes of the registry.
pub(crate) fn routes() -> OpenApiRouter<Arc<Centre>> {
    OpenApiRouter::new()
        .routes(routes!(fleet))
        .routes(routes!(devices, add_device))
        .routes(routes!(one_device, change_device))
        .routes(routes!(new_claim))
        .routes(routes!(certificates))
        .routes(routes!(sites, add_site))
        .routes(routes!(zones, add_zone))
        .routes(routes!(kinds, add_kind))
}

#[derive(Serialize, ToSchema)]
struct Fleet {
    total: u64,
    connected: u64,
    stages: BTreeMap<&'static str, u64>,
    attention: BTreeMap<&'static str, u64>,
    quarantined: u64,
    kinds: Vec<KindView>,
    zones: Vec<ZoneView>,
    sites: Vec<SiteView>,
    policy_version: u64,
    checked: String,
}

#[derive(Serialize, ToSchema)]
struct KindView {
    id: String,
    title: String,
    count: u64,
}

#[derive(Serialize, ToSchema)]
struct ZoneView {
    id: String,
    site: String,
    title: String,
    count: u64,
}

#[derive(Serialize, ToSchema)]
struct SiteView {
    id: String,
    title: String,
    count: u64,
}

/// Gives the fleet in numbers.
#[utoipa::path(get, path = "/v1/fleet", tag = "registry", responses((status = 200, body = Fleet)))]
async fn fleet(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
) -> Result<Answer<Fleet>, Problem> {
    let mut read = centre.store.read().await?;
    let mut c = read.connection();
    let policy_version = centre.rules.borrow().policy.version;
    let mut fleet = Fleet {
        total: 0,
        connected: 0,
        stages: identity::Stage::ALL.into_iter().map(|stage| (stage.as_str(), 0)).collect(),
        attention: BTreeMap::from([("red", 0), ("amber", 0)]),
        quarantined: 0,
        kinds: kind_views(&mut c).await?,
        zones: zone_views(&mut c).await?,
        sites: Vec::new(),
        policy_version,
        checked: centre.now().to_string(),
    };
    // Each of these reads an index and no device.
    let sql = "select stage, cast(count(*) as bigint) from device group by stage";
    for row in c.rows(sql, params![]).await? {
        let stage: identity::Stage = row.parse(0, "a stage")?;
        *fleet.stages.entry(stage.as_str()).or_default() += row.count(1)?;
    }
    fleet.total = fleet.stages.values().sum();
    let sql = "select attention, cast(count(*) as bigint) from device where attention > 0 \
               group by attention";
    for row in c.rows(sql, params![]).await? {
        let severity = super::attention::Severity::of_level(row.get(0)?);
        *fleet.attention.entry(severity.as_str()).or_default() += row.count(1)?;
    }
    let sql = "select cast(count(*) as bigint) from device where connection = 'connected'";
    if let Some(row) = c.row(sql, params![]).await? {
        fleet.connected = row.count(0)?;
    }
    let sql =
        "select cast(count(*) as bigint) from fact where name = 'quarantine' and value = 'yes'";
    if let Some(row) = c.row(sql, params![]).await? {
        fleet.quarantined = row.count(0)?;
    }
    fleet.sites = site_views(&mut c, &fleet.zones).await?;
    Ok(Answer(fleet))
}

async fn kind_views(c: &mut Connection<'_>) -> Result<Vec<KindView>, Problem> {
    let sql = "select k.id, k.title, coalesce(n.n, 0) from kind k left join \
               (select kind, cast(count(*) as bigint) as n from device group by kind) n \
               on n.kind = k.id order by k.id";
    let mut views = Vec::new();
    for row in c.rows(sql, params![]).await? {
        views.push(KindView { id: row.get(0)?, title: row.get(1)?, count: row.count(2)? });
    }
    Ok(views)
}

async fn zone_views(c: &mut Connection<'_>) -> Result<Vec<ZoneView>, Problem> {
    let sql = "select z.id, z.site, z.title, coalesce(n.n, 0) from zone z left join \
               (select zone, cast(count(*) as bigint) as n from device group by zone) n \
               on n.zone = z.id order by z.id";
    let mut views = Vec::new();
    for row in c.rows(sql, params![]).await? {
        views.push(ZoneView {
            id: row.get(0)?,
            site: row.get(1)?,
            title: row.get(2)?,
            count: row.count(3)?,
        });
    }
    Ok(views)
}

/// Lists the sites; a site has the devices of its zones.
async fn site_views(c: &mut Connection<'_>, zones: &[ZoneView]) -> Result<Vec<SiteView>, Problem> {
    let mut views = Vec::new();
    for row in c.rows("select id, title from site order by id", params![]).await? {
        let id: String = row.get(0)?;
        let count = zones.iter().filter(|zone| zone.site == id).map(|zone| zone.count).sum();
        views.push(SiteView { id, title: row.get(1)?, count });
    }
    Ok(views)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
#[derive(Default)]
struct Ask {
    /// A part of the id or title.
    q: String,
    stage: String,
    kind: String,
    zone: String,
    site: String,
    /// `connected`, `away` or `never`.
    connection: String,
    /// `any`, `red` or `amber`.
    attention: String,
    /// `attention`, `id`, `seen` or `created`.
    sort: String,
    /// `asc` or `desc`.
    order: String,
    /// The cursor that the page before gave as `next`.
    after: String,
    /// So many rows are passed over, for a view that jumps.
    skip: Option<u32>,
    /// At most 500.
    limit: Option<u16>,
}

#[derive(Serialize, ToSchema)]
struct Page {
    items: Vec<Device>,
    next: Option<String>,
    total: u64,
}

/// Lists devices, those that need a person first.
#[utoipa::path(get, path = "/v1/devices", tag = "registry", params(Ask),
    responses((status = 200, body = Page), (status = 400, body = Problem)))]
async fn devices(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Query(ask): Query<Ask>,
) -> Result<Answer<Page>, Problem> {
    let (sort, descending) = ask.sort()?;
    let (filter, from, limit) = (ask.filter()?, ask.from()?, ask.limit()?);
    let mut read = centre.store.read().await?;
    let mut c = read.connection();
    let page::Page { items, next, total } =
        page::page(&mut c, &filter, sort, descending, &from, limit).await?;
    Ok(Answer(Page { items, next: next.map(|(key, id)| write_cursor(key, &id)), total }))
}

impl Ask {
    fn sort(&self) -> Result<(Sort, bool), Problem> {
        let sort = match self.sort.as_str() {
            "" | "attention" => Sort::Attention,
            "id" => Sort::Id,
            "seen" => Sort::Seen,
            "created" => Sort::Created,
            _ => return Err(Problem::malformed("sort by `attention`, `id`, `seen` or `created`")),
        };
        match (self.order.as_str(), sort) {
            ("desc", _) | ("", Sort::Attention | Sort::Seen | Sort::Created) => Ok((sort, true)),
            ("asc", _) | ("", Sort::Id) => Ok((sort, false)),
            _ => Err(Problem::malformed("an order is `asc` or `desc`")),
        }
    }

    fn from(&self) -> Result<From, Problem> {
        match (self.after.as_str(), self.skip) {
            ("", skip) => Ok(From::Skip(i64::from(skip.unwrap_or(0)))),
            (cursor, None) => read_cursor(cursor),
            (_, Some(_)) => Err(Problem::malformed("give either `after` or `skip`")),
        }
    }

    fn limit(&self) -> Result<i64, Problem> {
        let limit = self.limit.unwrap_or(100);
        if !(1..=500).contains(&limit) {
            return Err(Problem::malformed("a limit is 1 to 500"));
        }
        Ok(i64::from(limit))
    }

    fn filter(&self) -> Result<Filter, Problem> {
        let (attention, level) = match self.attention.as_str() {
            "" => (0, -1),
            "any" => (1, -1),
            "amber" => (1, 1),
            "red" => (2, 2),
            _ => return Err(Problem::malformed("attention is `any`, `red` or `amber`")),
        };
        if self.q.chars().count() > MAX_TEXT {
            let text = format!("a text to look for has at most {MAX_TEXT} characters");
            return Err(Problem::malformed(text));
        }
        let known = ["", "connected", "away", "never"];
        if !known.contains(&self.connection.as_str()) {
            return Err(Problem::malformed("a connection is `connected`, `away` or `never`"));
        }
        if !self.stage.is_empty() {
            self.stage.parse::<identity::Stage>().map_err(Problem::malformed)?;
        }
        Ok(Filter {
            text: self.q.clone(),
            stage: self.stage.clone(),
            kind: self.kind.clone(),
            zone: self.zone.clone(),
            site: self.site.clone(),
            connection: self.connection.clone(),
            attention,
            level,
        })
    }
}

fn write_cursor(key: i64, id: &str) -> String {
    Base64UrlUnpadded::encode_string(format!("{key} {id}").as_bytes())
}

fn read_cursor(cursor: &str) -> Result<From, Problem> {
    let bad = || Problem::malformed("the cursor is not one that was given here");
    let bytes = Base64UrlUnpadded::decode_vec(cursor).map_err(|_| bad())?;
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    let (key, id) = text.split_once(' ').ok_or_else(bad)?;
    let id: DeviceId = id.parse().map_err(|_| bad())?;
    Ok(From::After(key.parse().map_err(|_| bad())?, id.to_string()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    id: String,
    kind: String,
    zone: String,
    title: Option<String>,
    owner: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Serialize, ToSchema)]
struct Added {
    device: Device,
    claim: ClaimText,
    /// Kinds and zones that this call made.
    made: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct ClaimText {
    /// The claim itself; it is shown this once.
    text: String,
    expires: String,
    /// Where the device enrols with it.
    server: String,
}

#[derive(Serialize, ToSchema)]
struct NewClaim {
    claim: ClaimText,
}

/// Adds a device and makes the claim by which it enrols. A kind or zone that is new is made with it.
#[utoipa::path(post, path = "/v1/devices", tag = "registry", request_body = NewDevice,
    responses((status = 201, body = Added), (status = 400, body = Problem), (status = 409, body = Problem)))]
async fn add_device(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Json(body): Json<NewDevice>,
) -> Result<(StatusCode, Answer<Added>), Problem> {
    let new = body.parsed()?;
    let now = centre.now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let made = make_places(&centre, &mut c, &new.kind, &new.zone, &principal.actor).await?;
    if !device::insert(&mut c, &new, now).await? {
        return Err(Problem::conflict(format!(
            "there is a device `{}` already; choose another id",
            new.id
        )));
    }
    let draft = Draft::new("device.added", &principal.actor).on_device(&new.id);
    centre.note(&mut c, draft.with("kind", &new.kind).with("zone", &new.zone), now).await?;
    let claim = claim(&centre, &mut c, &new.id, &principal.actor).await?;
    let device = view::one(&mut c, &new.id).await?;
    let device = device.ok_or_else(|| Problem::internal(&"a device vanished"))?;
    write.commit().await?;
    centre.devices_changed(vec![new.id]).await;
    Ok((StatusCode::CREATED, Answer(Added { device, claim, made })))
}

impl NewDevice {
    fn parsed(self) -> Result<device::NewDevice, Problem> {
        Ok(device::NewDevice {
            id: self.id.parse().map_err(Problem::malformed)?,
            kind: self.kind.parse().map_err(Problem::malformed)?,
            zone: self.zone.parse().map_err(Problem::malformed)?,
            title: text("title", self.title)?,
            owner: text("owner", self.owner)?,
            labels: labels(self.labels)?,
        })
    }
}

/// Makes the kind and the zone that a new device names, where they are new.
async fn make_places(
    centre: &Centre,
    c: &mut Connection<'_>,
    kind: &KindId,
    zone: &ZoneId,
    actor: &Actor,
) -> Result<Vec<String>, Problem> {
    let now = centre.now();
    let mut made = Vec::new();
    if !places::has_kind(c, kind).await? {
        places::add_kind(c, kind, kind.as_str(), now).await?;
        centre.note(c, Draft::new("kind.added", actor).on("kind", kind), now).await?;
        made.push(format!("kind {kind}"));
    }
    if !places::has_zone(c, zone).await? {
        let sites = c.rows("select id from site order by id limit 2", params![]).await?;
        let [site] = sites.as_slice() else {
            return Err(Problem::malformed(format!(
                "there is no zone `{zone}`, and more than one site it could be in; add the zone first"
            )));
        };
        let site: SiteId = site.parse(0, "a site")?;
        places::add_zone(c, zone, &site, zone.as_str(), now).await?;
        let draft = Draft::new("zone.added", actor).on("zone", zone).with("site", &site);
        centre.note(c, draft, now).await?;
        made.push(format!("zone {zone} in {site}"));
    }
    Ok(made)
}

async fn claim(
    centre: &Centre,
    c: &mut Connection<'_>,
    id: &DeviceId,
    actor: &Actor,
) -> Result<ClaimText, Problem> {
    let now = centre.now();
    let claim = make_claim(centre, c, id, now).await?;
    let draft = Draft::new("claim.made", actor).on_device(id).with("expires", claim.expires);
    centre.note(c, draft, now).await?;
    Ok(ClaimText {
        text: claim.text.to_string(),
        expires: claim.expires.to_string(),
        server: centre.addresses.server.clone(),
    })
}

/// Gives one device.
#[utoipa::path(get, path = "/v1/devices/{id}", tag = "registry", params(("id" = String, Path)),
    responses((status = 200, body = Device), (status = 404, body = Problem)))]
async fn one_device(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Path(id): Path<String>,
) -> Result<Answer<Device>, Problem> {
    let id: DeviceId = id.parse().map_err(Problem::malformed)?;
    let device = view::one(&mut centre.store.read().await?.connection(), &id).await?;
    device.map(Answer).ok_or_else(|| Problem::not_found("device", id))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeDevice {
    title: Option<String>,
    owner: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    zone: Option<String>,
    kind: Option<String>,
}

/// Changes what is said of a device; an empty title or owner takes it away.
#[utoipa::path(patch, path = "/v1/devices/{id}", tag = "registry", params(("id" = String, Path)),
    request_body = ChangeDevice, responses((status = 200, body = Device), (status = 404, body = Problem)))]
async fn change_device(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Path(id): Path<String>,
    Json(body): Json<ChangeDevice>,
) -> Result<Answer<Device>, Problem> {
    let id: DeviceId = id.parse().map_err(Problem::malformed)?;
    let now = centre.now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    if device::stage(&mut c, &id).await?.is_none() {
        return Err(Problem::not_found("device", id));
    }
    let mut what = Vec::new();
    if let Some(title) = body.title {
        c.execute(
            "update device set title = $1 where id = $2",
            params![text("title", Some(title))?, &id],
        )
        .await?;
        what.push("title");
    }
    if let Some(owner) = body.owner {
        c.execute(
            "update device set owner = $1 where id = $2",
            params![text("owner", Some(owner))?, &id],
        )
        .await?;
        what.push("owner");
    }
    if let Some(new) = body.labels {
        let new = serde_json::to_string(&labels(new)?).map_err(|e| Problem::internal(&e))?;
        c.execute("update device set labels = $1 where id = $2", params![new, &id]).await?;
        what.push("labels");
    }
    if let Some(zone) = body.zone {
        let zone: ZoneId = zone.parse().map_err(Problem::malformed)?;
        if !places::has_zone(&mut c, &zone).await? {
            return Err(Problem::not_found("zone", zone));
        }
        c.execute("update device set zone = $1 where id = $2", params![&zone, &id]).await?;
        what.push("zone");
    }
    if let Some(kind) = body.kind {
        let kind: KindId = kind.parse().map_err(Problem::malformed)?;
        if !places::has_kind(&mut c, &kind).await? {
            return Err(Problem::not_found("kind", kind));
        }
        c.execute("update device set kind = $1 where id = $2", params![&kind, &id]).await?;
        what.push("kind");
    }
    c.execute("update device set changed = $1, epoch = epoch + 1 where id = $2", params![now, &id])
        .await?;
    let draft =
        Draft::new("device.changed", &principal.actor).on_device(&id).with("what", what.join(", "));
    centre.note(&mut c, draft, now).await?;
    let device = view::one(&mut c, &id).await?.ok_or_else(|| Problem::not_found("device", &id))?;
    write.commit().await?;
    centre.devices_changed(vec![id]).await;
    Ok(Answer(device))
}

/// Makes a new claim for a device; the one before it ends.
#[utoipa::path(post, path = "/v1/devices/{id}/claim", tag = "registry", params(("id" = String, Path)),
    responses((status = 201, body = NewClaim), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn new_claim(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Path(id): Path<String>,
) -> Result<(StatusCode, Answer<NewClaim>), Problem> {
    let id: DeviceId = id.parse().map_err(Problem::malformed)?;
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    let stage =
        device::stage(&mut c, &id).await?.ok_or_else(|| Problem::not_found("device", &id))?;
    stage.after(identity::stage::Step::Enrolled).map_err(Problem::conflict)?;
    super::attention::clear(&mut c, &id, super::attention::UNCLAIMED).await?;
    let claim = claim(&centre, &mut c, &id, &principal.actor).await?;
    write.commit().await?;
    centre.devices_seen(vec![id]);
    Ok((StatusCode::CREATED, Answer(NewClaim { claim })))
}

#[derive(Serialize, ToSchema)]
struct Certificates {
    items: Vec<CertificateView>,
}

/// Lists the certificates of a device, the newest first.
#[utoipa::path(get, path = "/v1/devices/{id}/certificates", tag = "registry", params(("id" = String, Path)),
    responses((status = 200, body = Certificates)))]
async fn certificates(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
    Path(id): Path<String>,
) -> Result<Answer<Certificates>, Problem> {
    let id: DeviceId = id.parse().map_err(Problem::malformed)?;
    let items = view::certificates(&mut centre.store.read().await?.connection(), &id).await?;
    Ok(Answer(Certificates { items }))
}

#[derive(Serialize, ToSchema)]
struct Sites {
    items: Vec<SiteView>,
}

#[derive(Serialize, ToSchema)]
struct Zones {
    items: Vec<ZoneView>,
}

#[derive(Serialize, ToSchema)]
struct Kinds {
    items: Vec<KindView>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPlace {
    id: String,
    title: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewZone {
    id: String,
    site: String,
    title: Option<String>,
}

/// Lists the sites.
#[utoipa::path(get, path = "/v1/sites", tag = "registry", responses((status = 200, body = Sites)))]
async fn sites(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
) -> Result<Answer<Sites>, Problem> {
    let mut read = centre.store.read().await?;
    let mut c = read.connection();
    let zones = zone_views(&mut c).await?;
    Ok(Answer(Sites { items: site_views(&mut c, &zones).await? }))
}

/// Lists the zones.
#[utoipa::path(get, path = "/v1/zones", tag = "registry", responses((status = 200, body = Zones)))]
async fn zones(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
) -> Result<Answer<Zones>, Problem> {
    Ok(Answer(Zones { items: zone_views(&mut centre.store.read().await?.connection()).await? }))
}

/// Lists the kinds.
#[utoipa::path(get, path = "/v1/kinds", tag = "registry", responses((status = 200, body = Kinds)))]
async fn kinds(
    State(centre): State<Arc<Centre>>,
    AsViewer(_who): AsViewer,
) -> Result<Answer<Kinds>, Problem> {
    Ok(Answer(Kinds { items: kind_views(&mut centre.store.read().await?.connection()).await? }))
}

/// Adds a site.
#[utoipa::path(post, path = "/v1/sites", tag = "registry", request_body = NewPlace,
    responses((status = 201, body = SiteView), (status = 409, body = Problem)))]
async fn add_site(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Json(body): Json<NewPlace>,
) -> Result<(StatusCode, Answer<SiteView>), Problem> {
    let id: SiteId = body.id.parse().map_err(Problem::malformed)?;
    let title = text("title", body.title)?.unwrap_or_else(|| id.to_string());
    let now = centre.now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    if !places::add_site(&mut c, &id, &title, now).await? {
        return Err(Problem::conflict(format!("there is a site `{id}` already")));
    }
    centre.note(&mut c, Draft::new("site.added", &principal.actor).on("site", &id), now).await?;
    write.commit().await?;
    centre.recorder.committed();
    Ok((StatusCode::CREATED, Answer(SiteView { id: id.to_string(), title, count: 0 })))
}

/// Adds a zone to a site.
#[utoipa::path(post, path = "/v1/zones", tag = "registry", request_body = NewZone,
    responses((status = 201, body = ZoneView), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn add_zone(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Json(body): Json<NewZone>,
) -> Result<(StatusCode, Answer<ZoneView>), Problem> {
    let id: ZoneId = body.id.parse().map_err(Problem::malformed)?;
    let site: SiteId = body.site.parse().map_err(Problem::malformed)?;
    let title = text("title", body.title)?.unwrap_or_else(|| id.to_string());
    let now = centre.now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    if !places::has_site(&mut c, &site).await? {
        return Err(Problem::not_found("site", site));
    }
    if !places::add_zone(&mut c, &id, &site, &title, now).await? {
        return Err(Problem::conflict(format!("there is a zone `{id}` already")));
    }
    let draft = Draft::new("zone.added", &principal.actor).on("zone", &id).with("site", &site);
    centre.note(&mut c, draft, now).await?;
    write.commit().await?;
    centre.recorder.committed();
    Ok((
        StatusCode::CREATED,
        Answer(ZoneView { id: id.to_string(), site: site.to_string(), title, count: 0 }),
    ))
}

/// Adds a kind.
#[utoipa::path(post, path = "/v1/kinds", tag = "registry", request_body = NewPlace,
    responses((status = 201, body = KindView), (status = 409, body = Problem)))]
async fn add_kind(
    State(centre): State<Arc<Centre>>,
    AsOperator(principal): AsOperator,
    Json(body): Json<NewPlace>,
) -> Result<(StatusCode, Answer<KindView>), Problem> {
    let id: KindId = body.id.parse().map_err(Problem::malformed)?;
    let title = text("title", body.title)?.unwrap_or_else(|| id.to_string());
    let now = centre.now();
    let mut write = centre.store.write().await?;
    let mut c = write.connection();
    if !places::add_kind(&mut c, &id, &title, now).await? {
        return Err(Problem::conflict(format!("there is a kind `{id}` already")));
    }
    centre.note(&mut c, Draft::new("kind.added", &principal.actor).on("kind", &id), now).await?;
    write.commit().await?;
    centre.recorder.committed();
    Ok((StatusCode::CREATED, Answer(KindView { id: id.to_string(), title, count: 0 })))
}

/// The longest free text, in characters.
const MAX_TEXT: usize = 200;
/// The most labels of one device.
const MAX_LABELS: usize = 32;

fn text(what: &str, value: Option<String>) -> Result<Option<String>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let value = value.trim();
    if value.chars().count() > MAX_TEXT || !identity::is_plain(value) {
        return Err(Problem::malformed(format!(
            "a {what} has at most {MAX_TEXT} characters on one line, none of them hidden"
        )));
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn labels(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Problem> {
    if labels.len() > MAX_LABELS {
        return Err(Problem::malformed(format!("a device has at most {MAX_LABELS} labels")));
    }
    for (name, value) in &labels {
        // A label's name becomes an attribute in policy, so it is spelt like any other name.
        name.parse::<KindId>().map_err(|e| Problem::malformed(format!("label `{name}`: {e}")))?;
        text("label", Some(value.clone()))?;
    }
    Ok(labels)
}

/// What these routes read, as far as they read it without the store.
pub(crate) const READS: &[Read] = &[
    ("GET /v1/devices", |bytes| {
        let ask = fuzz::query::<Ask>(bytes)?;
        ask.sort()?;
        ask.filter()?;
        ask.limit()?;
        if let From::After(key, id) = ask.from()? {
            let again = read_cursor(&write_cursor(key, &id))?;
            assert!(matches!(again, From::After(k, i) if k == key && i == id));
        }
        Ok(())
    }),
    ("POST /v1/devices", |bytes| fuzz::body::<NewDevice>(bytes)?.parsed().map(drop)),
    ("PATCH /v1/devices/{id}", |bytes| {
        let body = fuzz::body::<ChangeDevice>(bytes)?;
        text("title", body.title)?;
        text("owner", body.owner)?;
        labels(body.labels.unwrap_or_default()).map(drop)
    }),
    ("POST /v1/sites", |bytes| fuzz::body::<NewPlace>(bytes)?.read()),
    ("POST /v1/zones", |bytes| {
        let NewZone { id, site, title } = fuzz::body::<NewZone>(bytes)?;
        NewPlace { id: site, title }.read()?;
        NewPlace { id, title: None }.read()
    }),
    ("POST /v1/kinds", |bytes| fuzz::body::<NewPlace>(bytes)?.read()),
];

impl NewPlace {
    fn read(self) -> Result<(), Problem> {
        self.id.parse::<SiteId>().map_err(Problem::malformed)?;
        text("title", self.title).map(drop)
    }
}
