//! A whole server on free ports in a folder of its own, and the commands that talk to it.
#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code)]

use std::io::{BufRead, BufReader, Lines, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

pub(crate) mod api;
pub(crate) mod device;
pub(crate) mod dice;
pub(crate) mod measure;
pub(crate) mod run;

/// A server that runs until it is dropped.
pub(crate) struct Server {
    place: tempfile::TempDir,
    child: Option<Child>,
    /// What `up --json` said.
    pub(crate) ready: Value,
}

/// The program as it was when a long test began.
static KEPT: OnceLock<PathBuf> = OnceLock::new();

/// Has a copy of the program used from now on, so that a build meanwhile changes nothing.
pub(crate) fn keep_program(place: &Path) {
    let copy = place.join("palisade");
    std::fs::copy(env!("CARGO_BIN_EXE_palisade"), &copy).unwrap();
    // Whoever kept one before uses that.
    let _ = KEPT.set(copy);
}

/// Makes the command, without what the person at the terminal may have set.
pub(crate) fn palisade() -> Command {
    let program = KEPT.get().map_or(Path::new(env!("CARGO_BIN_EXE_palisade")), PathBuf::as_path);
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PALISADE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Starts `up` in a folder on free ports and waits until it is ready.
pub(crate) fn up(data: &Path, more: &[&str]) -> (Child, Value) {
    let mut child = palisade()
        .args(["up", "--json", "--https-port", "0", "--mqtt-port", "0", "--data"])
        .arg(data)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let Ok(ready) = serde_json::from_str(&line) else {
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        panic!("`up` is not ready but says: {line}{text}");
    };
    // The log is read to its end beside us, so that no full pipe stops the server.
    let mut stderr = child.stderr.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
    (child, ready)
}

/// Asks a process to end and waits until it has.
pub(crate) fn stop(child: &mut Child) -> ExitStatus {
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap()
}

impl Server {
    /// Starts a server for the first time.
    pub(crate) fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let (child, ready) = up(&place.path().join("data"), &[]);
        Self { place, child: Some(child), ready }
    }

    /// Stops it and starts it again on the same data.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let (child, ready) = up(&self.data(), &[]);
        (self.child, self.ready) = (Some(child), ready);
    }

    /// Gives the exit code if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        status.code()
    }

    /// Stops it; its folder stays until it is dropped.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        assert!(stop(&mut child).success());
    }

    /// Names a place for files of the test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Names the data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Lends a text that `up` said.
    pub(crate) fn said(&self, key: &str) -> &str {
        self.ready.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Makes a command that talks to it.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = palisade();
        command.args(line.split_whitespace()).arg("--data").arg(self.data());
        command
    }

    /// Runs a command and gives what it did.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs a command that must work, and reads its JSON.
    pub(crate) fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Adds a device and gives its claim.
    pub(crate) fn add(&self, device: &str) -> String {
        let added = self.json(&format!("device add {device} --kind pump --zone plant-a"));
        added.pointer("/claim/text").and_then(Value::as_str).unwrap().to_string()
    }

    /// Enrolls with a claim, into a folder of that name.
    pub(crate) fn enroll(&self, claim: &str, name: &str) -> Output {
        let server = self.said("console");
        let out = self.path(name).display().to_string();
        self.run(&format!("enroll --json --server {server} --claim {claim} --out {out}"))
    }

    /// Makes an ordinary client's command with the files that a device enrolled.
    pub(crate) fn mosquitto(&self, program: &str, device: &str) -> Command {
        let folder = self.path(device);
        let broker = std::fs::read_to_string(folder.join("broker.txt")).unwrap();
        let (host, port) = broker.trim().rsplit_once(':').unwrap();
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", program, "-V", "mqttv5", "-d", "-h", host, "-p", port, "-i", device])
            .arg("--cafile")
            .arg(folder.join("ca.crt"))
            .arg("--cert")
            .arg(folder.join("chain.pem"))
            .arg("--key")
            .arg(folder.join("device.key"));
        command
    }
}

/// `events --follow`, from the moment on that it hears everything.
pub(crate) struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    /// Starts to follow.
    pub(crate) fn start(server: &Server, filter: &str) -> Self {
        let mut command = server.command(&format!("events --follow {filter}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.starts_with("following"), "{line}");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for the next event's line.
    pub(crate) fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Waits until the server ends the stream, and gives the command's exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            stop(&mut child);
        }
    }
}

/// Reads output as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
