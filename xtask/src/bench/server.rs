//! A whole server, as an operator starts it, on free ports.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

pub(super) struct Server {
    child: Child,
    /// How long it took until it said that it was ready.
    pub(super) took: Duration,
    /// All its processes.
    pub(super) pids: Vec<u64>,
    /// What it said then.
    pub(super) ready: String,
}

impl Server {
    /// Starts `up` and waits until it is ready.
    pub(super) fn start(binary: &Path, data: &Path) -> Result<Self> {
        Self::start_on(&["env"], binary, data)
    }

    /// Starts `up` by another command, which becomes it.
    pub(super) fn start_on(by: &[&str], binary: &Path, data: &Path) -> Result<Self> {
        let (by, arguments) = by.split_first().context("no command")?;
        let begun = Instant::now();
        let mut child = Command::new(by)
            .args(arguments)
            .arg(binary)
            .args(["up", "--json", "--https-port", "0", "--mqtt-port", "0", "--data"])
            .arg(data)
            // Nothing that was set for another server.
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| binary.display().to_string())?;
        let mut output = BufReader::new(child.stdout.take().context("no output of `up`")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let took = begun.elapsed();
        // What it says later is read too: a closed pipe would end it.
        std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        let mut server = Self { child, took, pids: Vec::new(), ready: line.clone() };
        let ready: Value = serde_json::from_str(&line).context("`up` is not ready")?;
        let roles = ready.get("roles").and_then(Value::as_object).into_iter().flatten();
        let pids = roles.map(|(_, pid)| pid).chain(ready.get("pid"));
        server.pids = pids.filter_map(Value::as_u64).collect();
        Ok(server)
    }

    /// Stops it as an operator does, and waits until it has ended.
    pub(super) fn stop(mut self) -> Result<()> {
        let status = self.end()?;
        ensure!(status.success(), "`up` ended with {status}");
        Ok(())
    }

    fn end(&mut self) -> io::Result<std::process::ExitStatus> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        self.child.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also when a measurement failed half-way; one that was stopped has its status already.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.end();
        }
    }
}
