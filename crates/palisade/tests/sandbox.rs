//! What an intruder in a role would try, tried: refused inside the sandbox, possible outside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A folder laid out as `up` makes it, somebody to go at, and a port to go to.
struct Scene {
    place: tempfile::TempDir,
    victim: Child,
    listener: TcpListener,
}

const REFUSED: [&str; 16] = [
    "custody-key",
    "custody-folder",
    "master-key",
    "passwords",
    "write",
    "connect",
    "listen",
    "datagram",
    "execute",
    "trace",
    "memory",
    "steal",
    "signal",
    "open-up",
    "touch",
    "limit",
];

#[test]
fn a_gateway_that_was_taken_over_gets_at_nothing() {
    let scene = scene();
    for attempt in REFUSED {
        assert!(!scene.succeeds("gateway", attempt, false), "`{attempt}` worked in the sandbox");
    }
    assert!(scene.succeeds("gateway", "own", false), "the gateway cannot use its own folder");
}

#[test]
fn a_control_that_was_taken_over_gets_at_no_key() {
    let scene = scene();
    for attempt in REFUSED {
        assert!(!scene.succeeds("control", attempt, false), "`{attempt}` worked in the sandbox");
    }
    assert!(scene.succeeds("control", "own", false), "control cannot use its own folder");
}

#[test]
fn custody_reads_its_keys_and_opens_no_socket() {
    let scene = scene();
    for attempt in REFUSED.iter().filter(|attempt| !attempt.starts_with("custody-")) {
        assert!(!scene.succeeds("custody", attempt, false), "`{attempt}` worked in the sandbox");
    }
    for attempt in ["own", "custody-key", "custody-folder"] {
        assert!(scene.succeeds("custody", attempt, false), "custody cannot do `{attempt}`");
    }
}

#[test]
fn without_the_sandbox_every_try_works() {
    let scene = scene();
    for attempt in REFUSED.iter().chain(&["own"]) {
        assert!(scene.succeeds("gateway", attempt, true), "`{attempt}` proves nothing");
    }
}

fn scene() -> Scene {
    let place = tempfile::tempdir().unwrap();
    for role in ["custody", "control", "gateway"] {
        fs::create_dir(place.path().join(role)).unwrap();
    }
    fs::write(place.path().join("custody/root.key"), "sealed").unwrap();
    fs::write(place.path().join("master.key"), "secret").unwrap();
    // It waits for input that never comes.
    let victim = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    Scene { place, victim, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
}

impl Scene {
    fn path(&self) -> &Path {
        self.place.path()
    }

    fn succeeds(&self, role: &str, attempt: &str, bare: bool) -> bool {
        let port = self.listener.local_addr().unwrap().port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command
            .args(["role", "probe", "--as", role, "--try", attempt, "--folder"])
            .arg(self.path())
            .args(["--pid", &self.victim.id().to_string(), "--port", &port.to_string()])
            .stderr(Stdio::null());
        if bare {
            command.arg("--bare");
        }
        let status = command.status().unwrap();
        // 3 is a refusal by error; none is a kill by the filter. Anything else is a broken probe.
        assert!(matches!(status.code(), Some(0 | 3) | None), "{attempt}: {status}");
        status.success()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.victim.kill().unwrap();
        self.victim.wait().unwrap();
    }
}
