//! The daily verbs of the workspace, so that nothing need be installed for them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for its terminal")]

mod bench;
mod browser;
mod deny;
mod interop;
mod soak;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

/// The daily verbs.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Verb {
    /// Builds the console into `console/dist`, which the binary embeds.
    Console,
    /// Writes the API's description to its golden file.
    Openapi,
    /// Runs the browser tests against the debug binary.
    Browser,
    /// The same, and writes the pictures of `docs/img`.
    Pictures,
    /// Measures ours and a peer side by side, and prints one table.
    Bench {
        /// What.
        name: bench::Bench,
        /// One line of JSON for each figure instead.
        #[arg(long)]
        json: bool,
    },
    /// Runs the full count of a test that the ordinary tests run in a reduction.
    Soak {
        /// Which.
        name: soak::Soak,
        /// Where its randomness begins.
        #[arg(long, default_value_t = 7)]
        seed: u64,
    },
    /// Runs Eclipse Paho's interoperability suites for MQTT against the debug binary.
    Interop {
        /// The folder that holds them: `interoperability` of a clone of paho.mqtt.testing.
        suites: std::path::PathBuf,
    },
    /// Checks licences, sources and, where their database can be had, advisories.
    Deny,
}

fn main() -> Result<()> {
    match Verb::parse() {
        Verb::Console => console(),
        Verb::Openapi => openapi(),
        Verb::Browser => browser::run(&root().join("target/img")),
        Verb::Pictures => browser::run(&root().join("docs/img")),
        Verb::Bench { name, json } => bench::run(name, json),
        Verb::Soak { name, seed } => soak::run(name, seed),
        Verb::Interop { suites } => interop::run(&suites),
        Verb::Deny => deny::run(),
    }
}

/// The workspace's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask stands one level below the root")
}

fn console() -> Result<()> {
    for arguments in [&["ci", "--no-audit", "--no-fund"][..], &["run", "build"]] {
        let status =
            Command::new("npm").args(arguments).current_dir(root().join("console")).status()?;
        ensure!(status.success(), "npm {} failed", arguments.join(" "));
    }
    Ok(())
}

fn openapi() -> Result<()> {
    let arguments = ["run", "--quiet", "--package", "control", "--example", "openapi"];
    let output = Command::new("cargo").args(arguments).current_dir(root()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = root().join("crates/control/openapi.json");
    std::fs::write(&path, output.stdout).with_context(|| path.display().to_string())
}
