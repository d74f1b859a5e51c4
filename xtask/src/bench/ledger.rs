//! The record: durable events, acknowledgements, verification of ten million.

use anyhow::Result;

use super::figure::{Aim, Turn};
use super::program;

pub(super) const AIMS: &[(&str, Aim)] = &[
    ("durable, 256 callers", Aim::Least(20_000.0)),
    ("acknowledged, 256 callers, p99", Aim::Most(50.0)),
    ("acknowledged, 20000 events/s offered, p99", Aim::Most(50.0)),
    ("verify 10000000 events, from memory", Aim::Most(15.0)),
    ("verify 10000000 events, from the disk", Aim::Most(15.0)),
];

pub(super) fn measure() -> Result<Vec<Turn>> {
    let folder = program::folder()?;
    program::turns("journal", "ledger", &[folder.path().join("record").as_os_str()])
}
