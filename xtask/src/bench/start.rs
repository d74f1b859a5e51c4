//! `palisade up`: how soon it is ready, first with an empty folder and then with its own, and how
//! much memory all its processes take when nothing happens.

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::figure::{Aim, Turn};
use super::program;
use super::server::Server;

pub(super) const AIMS: &[(&str, Aim)] =
    &[("ready, later runs", Aim::Most(1.0)), ("memory when idle, later runs", Aim::Most(80.0))];

const TURNS: usize = 7;
/// How long it is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(10);

pub(super) fn measure() -> Result<Vec<Turn>> {
    let binary = program::palisade()?;
    let mut turns = Vec::new();
    for turn in 1..=TURNS {
        eprintln!("starting, turn {turn} of {TURNS}");
        let folder = program::folder()?;
        for runs in ["first run", "later runs"] {
            let server = Server::start(&binary, &folder.path().join("data"))?;
            turns.push(figure(format!("ready, {runs}"), "s", server.took.as_secs_f64()));
            pass(IDLE);
            let memory = memory(&server.pids)?;
            turns.push(figure(format!("memory when idle, {runs}"), "MB", memory));
            server.stop()?;
        }
    }
    Ok(turns)
}

fn figure(figure: String, unit: &str, ours: f64) -> Turn {
    Turn { figure, unit: unit.to_owned(), ours, peer: None, peer_name: None }
}

/// Adds up the proportional set sizes of processes, in megabytes.
fn memory(pids: &[u64]) -> Result<f64> {
    let sizes = pids.iter().map(|pid| {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read `{path}`; measure as root"))?;
        let size = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let size = size.and_then(|size| size.trim().strip_suffix(" kB"));
        let size: u32 = size.with_context(|| path.clone())?.parse()?;
        Ok(f64::from(size) * 1024.0 / 1e6)
    });
    sizes.sum()
}

/// Lets time pass.
fn pass(span: Duration) {
    let (_silent, nothing) = mpsc::channel::<()>();
    // Nobody ever sends: it ends by the time.
    let _ = nothing.recv_timeout(span);
}
