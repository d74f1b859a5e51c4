//! Sites, zones and kinds: what devices belong to.

use identity::{KindId, SiteId, Time, ZoneId};

use crate::store::{Connection, StoreError, params};

/// Adds a site; says whether the id was free.
pub(crate) async fn add_site(
    c: &mut Connection<'_>,
    id: &SiteId,
    title: &str,
    now: Time,
) -> Result<bool, StoreError> {
    let sql =
        "insert into site (id, title, created) values ($1, $2, $3) on conflict (id) do nothing";
    Ok(c.execute(sql, params![id, title, now]).await? == 1)
}

/// Adds a zone; says whether the id was free.
pub(crate) async fn add_zone(
    c: &mut Connection<'_>,
    id: &ZoneId,
    site: &SiteId,
    title: &str,
    now: Time,
) -> Result<bool, StoreError> {
    let sql = "insert into zone (id, site, title, created) values ($1, $2, $3, $4) on conflict (id) do nothing";
    Ok(c.execute(sql, params![id, site, title, now]).await? == 1)
}

/// Adds a kind; says whether the id was free.
pub(crate) async fn add_kind(
    c: &mut Connection<'_>,
    id: &KindId,
    title: &str,
    now: Time,
) -> Result<bool, StoreError> {
    let sql =
        "insert into kind (id, title, created) values ($1, $2, $3) on conflict (id) do nothing";
    Ok(c.execute(sql, params![id, title, now]).await? == 1)
}

/// Says whether there is such a site.
pub(crate) async fn has_site(c: &mut Connection<'_>, id: &SiteId) -> Result<bool, StoreError> {
    Ok(c.row("select id from site where id = $1", params![id]).await?.is_some())
}

/// Says whether there is such a zone.
pub(crate) async fn has_zone(c: &mut Connection<'_>, id: &ZoneId) -> Result<bool, StoreError> {
    Ok(c.row("select id from zone where id = $1", params![id]).await?.is_some())
}

/// Says whether there is such a kind.
pub(crate) async fn has_kind(c: &mut Connection<'_>, id: &KindId) -> Result<bool, StoreError> {
    Ok(c.row("select id from kind where id = $1", params![id]).await?.is_some())
}
