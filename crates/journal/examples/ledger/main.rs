//! Measures the record on this machine beside its peers, in turns: `cargo xtask bench ledger`.
//!
//! By hand: `cargo run --release -p journal --example ledger -- DIR [EVENTS]`. DIR is made and
//! removed, and should lie on the disk that is asked about; EVENTS is how many are verified.
//! Each line on stdout is one turn in JSON.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod append;
mod event;
mod peers;
mod verified;

use std::fs;
use std::path::PathBuf;

use serde_json::json;

/// How often each figure is measured.
const TURNS: usize = 7;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().expect("the folder to measure in"));
    let n_events: u64 = arguments.next().map_or(10_000_000, |count| count.parse().unwrap());
    fs::create_dir(&dir).unwrap();
    eprintln!("an event has {} bytes", event::bytes(7).len());
    append::measure(&dir);
    verified::measure(&dir, n_events);
    fs::remove_dir_all(&dir).unwrap();
}

/// Says what one turn of a figure came to.
fn report(figure: &str, unit: &str, ours: f64, peer_name: &str, peer: f64) {
    let turn = json!({
        "figure": figure, "unit": unit, "ours": ours, "peer_name": peer_name, "peer": peer,
    });
    println!("{turn}");
}

/// Counts are far below where a float becomes coarse.
#[allow(clippy::cast_precision_loss)]
fn float(count: usize) -> f64 {
    count as f64
}
