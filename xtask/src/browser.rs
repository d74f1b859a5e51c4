//! The browser tests: a fresh Palisade on free ports, Debian's chromium, and `console/tests`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::root;

/// A Palisade that ends with its owner.
pub(crate) struct Up(Child);

impl Up {
    /// Starts one on free ports, with a data folder; gives what it writes too.
    pub(crate) fn begin(flags: &[&str], data: &Path) -> Result<(Self, BufReader<ChildStdout>)> {
        let binary = root().join("target/debug/palisade");
        ensure!(binary.exists(), "there is no {}; run `cargo build` first", binary.display());
        let mut up = Command::new(binary)
            .args(["up", "--https-port", "0", "--mqtt-port", "0"])
            .args(flags)
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = up.stdout.take().context("no output of palisade up")?;
        Ok((Self(up), BufReader::new(stdout)))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // SIGTERM, so that it ends as it would under an operator's hand.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Runs the tests; their pictures go into a folder.
pub(crate) fn run(pictures: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let (up, mut output) = Up::begin(&[], &data)?;
    let link = sign_in_link(&mut output)?;
    let (address, _) = link.split_once("/welcome#").context("a link to elsewhere")?;
    // What it says later is read too: a closed pipe would end it.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let status = Command::new("npm")
        .args(["run", "--silent", "browser"])
        .current_dir(root().join("console"))
        .env("PALISADE_URL", address)
        .env("PALISADE_LINK", link)
        .env("PALISADE_BINARY", root().join("target/debug/palisade"))
        .env("PALISADE_DATA", &data)
        .env("PALISADE_IMG", pictures)
        .status()?;
    drop(up);
    ensure!(status.success(), "the browser tests failed");
    Ok(())
}

fn sign_in_link(output: &mut impl BufRead) -> Result<String> {
    for line in output.lines() {
        let line = line?;
        let words = line.split_whitespace();
        if let Some(link) = words.clone().find(|word| word.contains("/welcome#")) {
            return Ok(link.to_owned());
        }
    }
    bail!("palisade up ended without a sign-in link")
}
