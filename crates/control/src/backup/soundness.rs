//! Whether the file of a store, as a backup brought it, can be used.

use std::path::Path;

use crate::store::{Read, StoreError, params};

/// What a store's file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soundness {
    /// What is wrong with its pages, in the words of SQLite; nothing if it is whole.
    pub faults: Vec<String>,
    /// How many events it knows to be in the record, if it ever put one there.
    pub recorded: Option<u64>,
    /// How many devices it has.
    pub devices: u64,
}

/// Looks through a store's file that nobody uses.
pub async fn check_store(path: &Path) -> Result<Soundness, StoreError> {
    let mut read = Read::of_file(path)?;
    let mut c = read.connection();
    let rows = c.rows("pragma integrity_check(20)", params![]).await?;
    let mut faults = rows.iter().map(|row| row.get(0)).collect::<Result<Vec<String>, _>>()?;
    faults.retain(|fault| fault != "ok");
    let recorded = crate::record::recorded(&mut c).await?;
    let devices = c.row("select count(*) from device", params![]).await?;
    let devices = devices.map_or(Ok(0), |row| row.count(0))?;
    Ok(Soundness { faults, recorded, devices })
}
