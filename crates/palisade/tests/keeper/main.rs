//! What unlocks the master key: real tokens (SoftHSM) and real TPMs (swtpm), from the first run on.
//!
//! Where one of these is not installed, its tests say that they skipped.
#![allow(clippy::unwrap_used)]

#[path = "../rig/mod.rs"]
mod rig;

mod pkcs11;
#[cfg(feature = "tpm")]
mod tpm;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use base64ct::{Base64, Encoding};
use rig::{palisade, text};
use serde_json::Value;

/// A place for data, and what its hardware needs in the environment.
struct Machine {
    place: tempfile::TempDir,
    environment: Vec<(&'static str, PathBuf)>,
}

/// A server that ends with the test.
struct Running {
    child: Option<Child>,
    ready: Value,
}

impl Machine {
    fn new() -> Self {
        Self { place: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn command(&self, words: &str) -> Command {
        let mut command = palisade();
        command.args(words.split_whitespace()).arg("--data").arg(self.path("data"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command that must work, and gives what it wrote.
    fn run(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that must be refused with one line.
    fn refused(&self, words: &str, code: i32, says: &str) {
        let output = self.command(words).output().unwrap();
        refused(&output, code, says);
    }

    /// Tries a start that must be refused with one line.
    fn up_refused(&self, flags: &str, code: i32, says: &str) {
        self.refused(&format!("up --https-port 0 --mqtt-port 0 {flags}"), code, says);
    }

    /// Starts a server and waits until it is ready.
    fn up(&self, flags: &str) -> Running {
        let mut command = self.command(&format!("up --json --https-port 0 --mqtt-port 0 {flags}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let Ok(ready) = serde_json::from_str(&line) else {
            let mut said = String::new();
            stderr.read_to_string(&mut said).unwrap();
            panic!("`up {flags}` is not ready but says: {line}{said}");
        };
        // The log is read to its end beside us, so that no full pipe stops the server.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Running { child: Some(child), ready }
    }

    /// Makes a backup and gives where it and its passphrase are.
    fn back_up(&self, flags: &str) -> String {
        let passphrase = self.write("backup.pass", "correct horse battery\n");
        let backup = self.path("of.backup").display().to_string();
        let words = format!("{backup} --backup-passphrase-file {passphrase}");
        self.run(&format!("backup create {words} {flags}"));
        words
    }

    /// Brings a backup back.
    fn restore(&self, backup: &str, flags: &str) {
        self.run(&format!("backup restore {backup} {flags}"));
    }

    /// Opens the master key and gives it as a bare file, which takes less than a start.
    fn open(&self, flags: &str) -> String {
        let out = self.path("opened");
        self.run(&format!("key rewrap {flags} --to-key-file --out {}", out.display()));
        let opened = fs::read_to_string(&out).unwrap();
        fs::remove_file(out).unwrap();
        opened
    }

    /// Makes the data folder with a first run.
    fn make(&self, flags: &str) {
        self.up(flags).stop();
    }

    /// Tries to open the master key, which must be refused with one line.
    fn open_refused(&self, flags: &str, code: i32, says: &str) {
        let out = self.path("opened").display().to_string();
        self.refused(&format!("key rewrap {flags} --to-key-file --out {out}"), code, says);
    }

    fn master_key(&self) -> String {
        fs::read_to_string(self.path("data/master.key")).unwrap()
    }

    /// Takes the data of another machine, as a thief of its disk would.
    fn take_data_of(&self, other: &Self) {
        let copied = Command::new("cp")
            .arg("-a")
            .args([other.path("data"), self.path("data")])
            .status()
            .unwrap();
        assert!(copied.success());
    }

    /// Reads what a keeper wrapped.
    fn wrapped_key(&self) -> Vec<u8> {
        Base64::decode_vec(self.master_key().trim_end().rsplit_once(' ').unwrap().1).unwrap()
    }

    /// Changes one bit of what a keeper wrapped.
    fn change_wrapped_key(&self, byte: usize) {
        let (text, mut wrapped) = (self.master_key(), self.wrapped_key());
        wrapped[byte] ^= 1;
        let (head, wrapped) = (text.rsplit_once(' ').unwrap().0, Base64::encode_string(&wrapped));
        fs::write(self.path("data/master.key"), format!("{head} {wrapped}\n")).unwrap();
    }
}

impl Running {
    fn root(&self) -> String {
        self.ready.get("root").and_then(Value::as_str).unwrap().to_string()
    }

    fn pid(&self) -> u64 {
        self.ready.get("pid").and_then(Value::as_u64).unwrap()
    }

    /// Stops it, and gives the root that it had.
    fn stop(mut self) -> String {
        assert!(rig::stop(&mut self.child.take().unwrap()).success());
        self.root()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            rig::stop(&mut child);
        }
    }
}

fn refused(output: &Output, code: i32, says: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(says), "{stderr}");
}

/// Finds a program that a test needs.
fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Says, past the harness that swallows what a passing test prints, that a test did nothing.
#[allow(clippy::explicit_write, reason = "`eprintln!` goes to the harness, which swallows it")]
fn skipped(what: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_string();
    writeln!(std::io::stderr(), "SKIPPED {name}: {what} is not installed").unwrap();
}

/// Names the permissions of a file.
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_passphrase_is_put_on_a_key_file_and_taken_off_again() {
    let machine = Machine::new();
    let root = machine.up("").stop();
    let passphrase = machine.write("passphrase", "correct horse battery\n");
    let bare = machine.master_key();
    machine.run(&format!("key rewrap --to-passphrase-file {passphrase}"));
    assert!(machine.master_key().starts_with("palisade master key v1\nargon2id "));
    assert_eq!(mode(&machine.path("data/master.key")), 0o600);
    machine.up_refused("", 15, "name the passphrase with --passphrase-file");
    machine.run(&format!("key rewrap --passphrase-file {passphrase} --to-key-file"));
    assert_eq!(machine.master_key(), bare);
    machine.up_refused(&format!("--passphrase-file {passphrase}"), 15, "is the bare key; leave");
    assert_eq!(machine.up("").stop(), root);
}

#[test]
fn a_rewrap_that_is_refused_changes_nothing() {
    let machine = Machine::new();
    let passphrase = machine.write("passphrase", "correct horse battery\n");
    let short = machine.write("short", "short\n");
    machine.refused("key rewrap --to-key-file", 4, "there is no data folder at");
    let server = machine.up(&format!("--passphrase-file {passphrase}"));
    let from = format!("key rewrap --passphrase-file {passphrase}");
    machine.refused(&format!("{from} --to-key-file"), 14, "stop it first");
    server.stop();
    let before = machine.master_key();
    machine.refused("key rewrap --to-key-file", 15, "name the passphrase");
    machine.refused(&format!("{from} --to-passphrase-file {short}"), 2, "at least 12");
    let unknown = "--to-pkcs11-module /no.so --to-pkcs11-token a --to-pkcs11-pin-file";
    machine.refused(&format!("{from} {unknown} {short}"), 2, "no PKCS#11 module at `/no.so`");
    assert_eq!(machine.master_key(), before);
    for words in ["", "--to-key-file --to-tpm", "--to-tpm-pcrs 7 --to-key-file"] {
        let output = machine.command(&format!("{from} {words}")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words}");
    }
}

#[test]
fn a_copy_that_opens_in_another_way_is_made_beside_a_running_server() {
    let machine = Machine::new();
    let passphrase = machine.write("passphrase", "correct horse battery\n");
    let server = machine.up("");
    let key = machine.master_key();
    let copy = machine.path("recovery").display().to_string();
    let rewrap = format!("key rewrap --to-passphrase-file {passphrase} --out {copy}");
    machine.run(&rewrap);
    machine.refused(&rewrap, 11, "File exists");
    server.stop();
    assert_eq!(mode(&machine.path("recovery")), 0o600);
    assert_eq!(machine.master_key(), key);
    fs::rename(machine.path("recovery"), machine.path("data/master.key")).unwrap();
    assert_eq!(machine.open(&format!("--passphrase-file {passphrase}")), key);
}

#[cfg(not(feature = "tpm"))]
#[test]
fn a_build_without_tpm_says_which_build_has_it() {
    let machine = Machine::new();
    machine.up_refused("--tpm", 2, "cargo build --release -p palisade --features tpm");
    assert!(!machine.path("data").exists());
}
