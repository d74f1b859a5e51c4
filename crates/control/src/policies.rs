//! The policy in force: its versions, its check, and the explanation of decisions.

mod decisions;
mod routes;

use std::collections::BTreeMap;
use std::sync::Arc;

use authority::{Authority, starter};
use identity::Time;
use policy::{Namespaces, PolicySet};

use crate::store::{Connection, Row, StoreError, params};

pub(crate) use decisions::{forget_old, keep};
pub(crate) use routes::{READS, explain, routes};

/// The policy in force, compiled, with what is told of it.
pub(crate) struct Rules {
    pub(crate) policy: PolicySet,
    pub(crate) authority: Authority,
    pub(crate) changed: Time,
    pub(crate) changed_by: String,
}

/// Reads the policy in force; the first time, puts the starter policy in force.
pub(crate) async fn load(c: &mut Connection<'_>, now: Time) -> Result<Arc<Rules>, StoreError> {
    let sql = "select version, source, namespaces, changed, changed_by from policy order by version desc limit 1";
    let row = match c.row(sql, params![]).await? {
        Some(row) => row,
        None => {
            insert(c, &starter::policy(), "palisade", now).await?;
            c.row(sql, params![]).await?.ok_or(StoreError::Unreadable("the policy"))?
        }
    };
    let policy = read(&row)?;
    let version = policy.version;
    // A policy that was accepted and does not compile any more denies everything, and says so.
    let authority = Authority::compile(&policy).unwrap_or_else(|problems| {
        tracing::error!(version, problem = %problems.first().map(ToString::to_string).unwrap_or_default(),
            "the policy in force does not compile: everything is denied");
        Authority::closed(version)
    });
    Ok(Arc::new(Rules { policy, authority, changed: row.time(3)?, changed_by: row.get(4)? }))
}

async fn insert(
    c: &mut Connection<'_>,
    policy: &PolicySet,
    by: &str,
    now: Time,
) -> Result<(), StoreError> {
    let namespaces: Vec<_> = policy.namespaces.iter().map(|n| (n.name(), n.template())).collect();
    let namespaces =
        serde_json::to_string(&namespaces).map_err(|_| StoreError::Unreadable("namespaces"))?;
    let version = i64::try_from(policy.version)
        .map_err(|_| StoreError::Unreadable("the policy's version"))?;
    c.execute(
        "insert into policy (version, source, namespaces, changed, changed_by) values ($1, $2, $3, $4, $5)",
        params![version, policy.source.as_str(), namespaces, now, by],
    )
    .await?;
    Ok(())
}

fn read(row: &Row) -> Result<PolicySet, StoreError> {
    let namespaces: Vec<(String, String)> = serde_json::from_str(&row.get::<String>(2)?)
        .map_err(|_| StoreError::Unreadable("namespaces"))?;
    let namespaces = namespaces.iter().map(|(name, template)| (name.as_str(), template.as_str()));
    let namespaces =
        Namespaces::parse(namespaces).map_err(|_| StoreError::Unreadable("namespaces"))?;
    Ok(PolicySet { version: row.count(0)?, source: row.get(1)?, namespaces })
}

/// How many devices each kind has would be asked elsewhere; this names what a binding says.
pub(crate) fn binding_map(binding: &[(Box<str>, Box<str>)]) -> BTreeMap<String, String> {
    binding.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}
