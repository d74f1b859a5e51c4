//! Side-by-side benchmarks: ours and a peer measured in turns, in one run, in release builds;
//! `docs/benchmarks.md` keeps the results.
//!
//! What is measured lives in examples of the crates, which print one line for each turn; here
//! they are built, run, and summed up. One file for each benchmark.

mod figure;
mod issue;
mod ledger;
mod mqtt;
mod program;
mod server;
mod start;

use anyhow::Result;
use clap::ValueEnum;

use self::figure::Figure;

/// What can be measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Bench {
    /// Durable events beside the disk and SQLite; verification beside plain SHA-256.
    Ledger,
    /// Certificates on one core and through a running server, beside `openssl ca` and SQLite.
    Issue,
    /// Handshakes, messages and idle connections beside Mosquitto; wants two cores.
    Mqtt,
    /// How soon `palisade up` is ready, and how much memory it takes when idle.
    Start,
}

/// Measures, and prints one table, or one line of JSON for each figure.
pub(crate) fn run(bench: Bench, json: bool) -> Result<()> {
    let (name, turns, aims) = match bench {
        Bench::Ledger => ("ledger", ledger::measure()?, ledger::AIMS),
        Bench::Issue => ("issue", issue::measure()?, issue::AIMS),
        Bench::Mqtt => ("mqtt", mqtt::measure()?, mqtt::AIMS),
        Bench::Start => ("start", start::measure()?, start::AIMS),
    };
    let figures = Figure::gather(turns, aims);
    if json {
        figures.iter().for_each(|figure| println!("{}", figure.json(name)));
    } else {
        print!("{}", figure::table(&figures));
    }
    Ok(())
}
