//! The full counts of what the ordinary tests run in a seeded reduction; `docs/soak.md` keeps the
//! results.

use std::process::Command;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::root;

/// What can be soaked.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Soak {
    /// 100,000 changes to a record's files, each found and placed.
    Mutations,
    /// 1,000 times kill -9 while events are written: no acknowledged one is lost.
    Kills,
}

pub(crate) fn run(soak: Soak, seed: u64) -> Result<()> {
    let (package, test, name, value) = match soak {
        Soak::Mutations => ("journal", "mutations", "PALISADE_MUTATIONS", format!("100000:{seed}")),
        Soak::Kills => ("journal", "killed", "PALISADE_KILLS", "1000".to_owned()),
    };
    let status = Command::new("cargo")
        .args(["test", "--release", "--package", package, "--test", test, "--", "--nocapture"])
        .env(name, value)
        .current_dir(root())
        .status()?;
    ensure!(status.success(), "the soak failed");
    Ok(())
}
