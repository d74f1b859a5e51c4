//! A whole server that can be killed at any moment, every process of it at once.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use tokio::sync::oneshot;

use super::palisade;

/// `up`, from the moment it was started.
pub(crate) struct Run {
    child: Child,
    ready: Option<oneshot::Receiver<Result<Value, String>>>,
    log: Option<JoinHandle<String>>,
}

impl Run {
    /// Starts `up` in a folder on free ports, and waits for nothing.
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        let mut child = palisade()
            .args(["up", "--json", "--https-port", "0", "--mqtt-port", "0", "--data"])
            .arg(data)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (sender, ready) = oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            // Whoever kills it meanwhile does not wait for this.
            let _ = sender.send(serde_json::from_str(&line).map_err(|_| line));
            // What it says later is read too: a closed pipe would end it.
            std::io::copy(&mut stdout, &mut std::io::sink())
        });
        let log = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            super::text(&bytes)
        });
        Self { child, ready: Some(ready), log: Some(log) }
    }

    /// Waits until it says that it is ready; gives what it says, or the line that it said instead.
    pub(crate) async fn ready(&mut self) -> Result<Value, String> {
        self.ready.take().unwrap().await.unwrap()
    }

    /// Gives the numbers of all its processes, its own first.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        let up = self.child.id();
        let children = fs::read_to_string(format!("/proc/{up}/task/{up}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        [up.cast_signed()].into_iter().chain(children).filter_map(Pid::from_raw).collect()
    }

    /// Kills every process of it, the supervisor first or last, waits until all are gone, and
    /// gives what they logged.
    pub(crate) fn kill(mut self, supervisor_first: bool) -> String {
        self.kill_all(supervisor_first);
        self.log.take().unwrap().join().unwrap()
    }

    fn kill_all(&mut self, supervisor_first: bool) {
        let up = Pid::from_child(&self.child);
        // Stopped, it starts no further role while its roles are counted.
        let _ = kill_process(up, Signal::STOP);
        let mut pids = self.pids();
        if !supervisor_first {
            pids.rotate_left(1);
        }
        let watched: Vec<_> =
            pids.iter().filter_map(|pid| pidfd_open(*pid, PidfdFlags::empty()).ok()).collect();
        for pid in &pids {
            let _ = kill_process(*pid, Signal::KILL);
        }
        for process in &watched {
            // Readable once the process has ended.
            poll(&mut [PollFd::new(process, PollFlags::IN)], None).unwrap();
        }
        self.child.wait().unwrap();
    }

    /// Tells it to end, waits until it has, which must be in good order, and gives what it logged.
    pub(crate) fn stop(mut self) -> String {
        let status = super::stop(&mut self.child);
        let log = self.log.take().unwrap().join().unwrap();
        assert!(status.success(), "{status}: {log}");
        log
    }
}

impl Drop for Run {
    /// A test that failed leaves nothing running, and shows what the server logged.
    fn drop(&mut self) {
        let Some(log) = self.log.take() else { return };
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill_all(true);
        }
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(log.join().unwrap_or_default().as_bytes());
        }
    }
}
