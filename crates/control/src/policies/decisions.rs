//! Decisions that denied, kept for a while so that `why` can explain them by their id.

use std::time::Duration;

use identity::{DeviceId, Time};
use policy::DecisionId;

use super::routes::Explained;
use crate::store::{Connection, StoreError, params};

/// How long a decision can be asked about.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Keeps a decision, or counts it again; says whether it is new.
pub(crate) async fn keep(
    c: &mut Connection<'_>,
    id: DecisionId,
    device: &DeviceId,
    explained: &Explained,
    (first, last): (Time, Time),
    count: u64,
) -> Result<bool, StoreError> {
    let n = i64::try_from(count).unwrap_or(i64::MAX);
    let again = "update decision set n = n + $1, last = $2 where id = $3";
    if c.execute(again, params![n, last, id.to_string()]).await? > 0 {
        return Ok(false);
    }
    let text =
        serde_json::to_string(explained).map_err(|_| StoreError::Unreadable("a decision"))?;
    c.execute(
        "insert into decision (id, device, explanation, first, last, n) values ($1, $2, $3, $4, $5, $6)",
        params![id.to_string(), device, text, first, last, n],
    )
    .await?;
    Ok(true)
}

/// Reads a kept decision.
pub(super) async fn find(
    c: &mut Connection<'_>,
    id: DecisionId,
) -> Result<Option<Explained>, StoreError> {
    let sql = "select explanation, last, n from decision where id = $1";
    let Some(row) = c.row(sql, params![id.to_string()]).await? else { return Ok(None) };
    let mut explained: Explained = serde_json::from_str(&row.get::<String>(0)?)
        .map_err(|_| StoreError::Unreadable("a decision"))?;
    explained.decision = Some(id.to_string());
    explained.at = Some(row.time(1)?.to_string());
    explained.count = Some(row.count(2)?);
    Ok(Some(explained))
}

/// Forgets decisions that were last made long ago.
pub(crate) async fn forget_old(c: &mut Connection<'_>, now: Time) -> Result<u64, StoreError> {
    c.execute("delete from decision where last < $1", params![now.minus(KEPT)]).await
}
