//! Queries over operators, sessions and tokens.

use identity::Time;

use super::Role;
use crate::store::{Connection, StoreError, params};

/// An operator as stored.
pub(super) struct Operator {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) password: Option<String>,
    pub(super) failures: i64,
    pub(super) locked_until: Option<Time>,
    pub(super) created: Time,
}

const OPERATOR: &str = "select name, role, password, failures, locked_until, created from operator \
                        where name = $1";

fn operator_of(row: &crate::store::Row) -> Result<Operator, StoreError> {
    Ok(Operator {
        name: row.get(0)?,
        role: row.parse(1, "a role")?,
        password: row.get(2)?,
        failures: row.get(3)?,
        locked_until: row.time_if(4)?,
        created: row.time(5)?,
    })
}

/// Finds an operator by name.
pub(super) async fn operator(
    c: &mut Connection<'_>,
    name: &str,
) -> Result<Option<Operator>, StoreError> {
    c.row(OPERATOR, params![name]).await?.as_ref().map(operator_of).transpose()
}

/// Finds an operator by an unused sign-in link.
pub(super) async fn operator_of_link(
    c: &mut Connection<'_>,
    digest: &[u8],
    now: Time,
) -> Result<Option<Operator>, StoreError> {
    let sql = "select name, role, password, failures, locked_until, created from operator \
               where link = $1 and link_expires > $2";
    c.row(sql, params![digest, now]).await?.as_ref().map(operator_of).transpose()
}

/// Lists the operators.
pub(super) async fn operators(c: &mut Connection<'_>) -> Result<Vec<Operator>, StoreError> {
    let sql =
        "select name, role, password, failures, locked_until, created from operator order by name";
    c.rows(sql, params![]).await?.iter().map(operator_of).collect()
}

/// Finds a live session: who, in what role, until when.
pub(super) async fn session(
    c: &mut Connection<'_>,
    digest: &[u8],
    now: Time,
) -> Result<Option<(String, Role, Time)>, StoreError> {
    let sql = "select o.name, o.role, s.expires from session s join operator o on o.name = s.operator \
               where s.digest = $1 and s.expires > $2";
    let Some(row) = c.row(sql, params![digest, now]).await? else { return Ok(None) };
    Ok(Some((row.get(0)?, row.parse(1, "a role")?, row.time(2)?)))
}

/// Begins a session, and forgets those that have ended.
pub(super) async fn begin_session(
    c: &mut Connection<'_>,
    digest: &[u8],
    name: &str,
    now: Time,
    expires: Time,
) -> Result<(), StoreError> {
    c.execute("delete from session where expires <= $1", params![now]).await?;
    let sql = "insert into session (digest, operator, created, expires) values ($1, $2, $3, $4)";
    c.execute(sql, params![digest, name, now, expires]).await?;
    Ok(())
}

/// Finds a live token: its name and role.
pub(super) async fn token(
    c: &mut Connection<'_>,
    digest: &[u8],
    now: Time,
) -> Result<Option<(String, Role)>, StoreError> {
    let sql = "select name, role from token where digest = $1 and expires > $2";
    let Some(row) = c.row(sql, params![digest, now]).await? else { return Ok(None) };
    Ok(Some((row.get(0)?, row.parse(1, "a role")?)))
}

/// Removes an operator and the key under which the name is sealed in the record.
pub(crate) async fn forget_operator(c: &mut Connection<'_>, name: &str) -> Result<(), StoreError> {
    c.execute("delete from session where operator = $1", params![name]).await?;
    let subject =
        "delete from subject_key where id = (select subject from operator where name = $1)";
    c.execute(subject, params![name]).await?;
    c.execute("delete from operator where name = $1", params![name]).await?;
    forget_name(c, name).await
}

/// Takes a person's name out of what the registry says of devices, policies and tokens.
async fn forget_name(c: &mut Connection<'_>, name: &str) -> Result<(), StoreError> {
    let source = format!("operator {name}");
    let forgotten = format!("operator {FORGOTTEN}");
    c.execute("update fact set source = $1 where source = $2", params![forgotten, source]).await?;
    let sql = "update policy set changed_by = $1 where changed_by = $2";
    c.execute(sql, params![FORGOTTEN, name]).await?;
    c.execute("update token set made_by = $1 where made_by = $2", params![FORGOTTEN, name]).await?;
    Ok(())
}

/// What stands for a person who was forgotten.
pub(crate) const FORGOTTEN: &str = "someone forgotten";
