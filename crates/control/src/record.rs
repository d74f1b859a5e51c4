//! The record of what happened: events go through the store's outbox in the same transaction as
//! the change that they tell of, and from there into the ledger, once each and in order.

pub(crate) mod draft;
mod job;
mod reconcile;
mod routes;
pub(crate) mod sentence;
mod witnesses;

use crate::store::{Connection, StoreError, params};

pub(crate) use draft::{Actor, Draft, PERSON, Seal};
pub(crate) use job::{Recorder, start};
pub(crate) use reconcile::{reconcile, recorded};
pub(crate) use routes::{READS, routes};

/// Puts an event into the outbox of the transaction that changes what it tells of.
pub(crate) async fn put(c: &mut Connection<'_>, event: &ledger::Event) -> Result<(), StoreError> {
    let bytes =
        event.encode().map_err(|_| StoreError::Unreadable("an event that does not encode"))?;
    c.execute("insert into outbox (event) values ($1)", params![bytes]).await?;
    Ok(())
}
