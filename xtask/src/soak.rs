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
    /// 1,000 times kill -9 of a whole server while devices enrol and publish.
    Crash,
    /// 10,000 sessions under load, of which devices are revoked one by one and by the thousand.
    Revocation,
    /// 1,000 times kill -9 of a whole server while messages of QoS 1 and 2 go through sessions.
    Sessions,
    /// 10,000 sessions, while 2,000 slow and 2,000 malformed clients try.
    Crowd,
    /// 100,000 devices behind the API, the command line and the console.
    Fleet,
}

pub(crate) fn run(soak: Soak, seed: u64) -> Result<()> {
    let (package, test, name, value) = match soak {
        Soak::Mutations => ("journal", "mutations", "PALISADE_MUTATIONS", format!("100000:{seed}")),
        Soak::Kills => ("journal", "killed", "PALISADE_KILLS", "1000".to_owned()),
        Soak::Crash => ("palisade", "crash", "PALISADE_CRASHES", format!("1000:{seed}")),
        Soak::Revocation => {
            ("palisade", "revocation", "PALISADE_SESSIONS", format!("10000:{seed}"))
        }
        Soak::Sessions => {
            ("palisade", "sessions", "PALISADE_SESSION_KILLS", format!("1000:{seed}"))
        }
        Soak::Crowd => ("palisade", "crowd", "PALISADE_CROWD", format!("10000:{seed}")),
        Soak::Fleet => ("palisade", "fleet", "PALISADE_FLEET", format!("100000:{seed}")),
    };
    let status = Command::new("cargo")
        .args(["test", "--release", "--package", package, "--test", test])
        .args(["--", "--nocapture", "--test-threads=1"])
        .env(name, value)
        .current_dir(root())
        .status()?;
    ensure!(status.success(), "the soak failed");
    Ok(())
}
