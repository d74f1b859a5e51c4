//! Interoperability suites of others, run against a fresh Palisade's test listener.

use std::io::BufRead as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::browser::Up;
use crate::root;

/// The suites for MQTT 3.1.1 and 5.0, as Eclipse Paho's testing repository names them.
const SUITES: [&str; 2] = ["client_test.py", "client_test5.py"];

/// Runs the suites that lie in a folder.
pub(crate) fn run(suites: &Path) -> Result<()> {
    let build = Command::new("cargo").args(["build", "--locked"]).current_dir(root()).status()?;
    ensure!(build.success(), "the build failed");
    let folder = tempfile::tempdir()?;
    let flags = ["--json", "--insecure-test-listener", "0"];
    let (up, mut output) = Up::begin(&flags, &folder.path().join("data"))?;
    let mut line = String::new();
    output.read_line(&mut line)?;
    let ready: Value = serde_json::from_str(&line).context("palisade up is not ready")?;
    let address = ready.get("insecure_test_listener").and_then(Value::as_str);
    let (host, port) = address.and_then(|it| it.split_once(':')).context("no test listener")?;
    for suite in SUITES {
        println!("{suite}");
        let status = Command::new("python3")
            .args(["-W", "ignore", suite, &format!("--hostname={host}"), &format!("--port={port}")])
            .current_dir(suites)
            .status()
            .with_context(|| format!("python3 {suite}"))?;
        ensure!(status.success(), "{suite} failed");
    }
    drop(up);
    Ok(())
}
