//! Backups as an operator makes and needs them: under load, on another machine, cut off, damaged.
#![allow(clippy::unwrap_used)]

#[path = "../../control/src/store/tests/postgres.rs"]
mod postgres;
mod rig;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rig::api::Line;
use rig::run::Run;
use rig::{Server, palisade, text, up};
use serde_json::{Value, json};

const PASSPHRASE: &str = "a passphrase for backups alone";
const OWN: &str = "main/pump/pump-7/telemetry/pressure";

/// Runs a command with the backup's passphrase.
fn backup(place: &Path, line: &str, data: &Path) -> Output {
    let passphrase = place.join("backup.pass");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    let mut command = palisade();
    command.arg("backup").args(line.split_whitespace()).arg("--json");
    command.arg("--backup-passphrase-file").arg(passphrase).arg("--data").arg(data);
    command.env("TMPDIR", place).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn assert_refused(output: &Output, code: i32, says: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(says), "{stderr}");
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_else(|| panic!("{name}: {value}"))
}

/// Asks the server that runs on a folder.
fn ask(data: &Path, line: &str) -> Output {
    palisade().args(line.split_whitespace()).arg("--data").arg(data).output().unwrap()
}

fn told(data: &Path, kind: &str) -> String {
    let output = ask(data, &format!("events --kind {kind}"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Publishes with an ordinary client, with the files that a device got when it enrolled.
fn publish(files: &Path, device: &str, ready: &Value) -> Output {
    let broker = ready.get("mqtt").and_then(Value::as_str).unwrap();
    let (host, port) = broker.rsplit_once(':').unwrap();
    let topic = OWN.replace("pump-7", device);
    let mut command = std::process::Command::new("mosquitto_pub");
    command.args(["-V", "mqttv5", "-d", "-h", host, "-p", port, "-i", device, "-q", "1"]);
    command.args(["-t", &topic, "-m", "2.7 bar"]);
    command.arg("--cafile").arg(files.join("ca.crt")).arg("--cert").arg(files.join("chain.pem"));
    command.arg("--key").arg(files.join("device.key")).output().unwrap()
}

fn is_let_in(output: &Output) -> bool {
    let said = text(&output.stdout) + &text(&output.stderr);
    output.status.success() && said.contains("RC:0)")
}

/// Adds devices over and over, counting those that were acknowledged, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    n_acked: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<()>,
}

impl Load {
    fn start(data: PathBuf) -> Self {
        let (stop, n_acked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (told, count) = (Arc::clone(&stop), Arc::clone(&n_acked));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut line = Line::local(&data).await.unwrap();
                while !told.load(Ordering::SeqCst) {
                    let idx = count.load(Ordering::SeqCst);
                    let body = json!({ "id": format!("load-{idx}"), "kind": "pump", "zone": "a" });
                    line.post("/v1/devices", &body).await.unwrap();
                    count.store(idx + 1, Ordering::SeqCst);
                }
            });
        });
        Self { stop, n_acked, thread }
    }

    fn n_acked(&self) -> usize {
        self.n_acked.load(Ordering::SeqCst)
    }

    /// Waits until so many were acknowledged.
    fn reach(&self, n: usize) {
        while self.n_acked() < n {
            assert!(!self.thread.is_finished(), "the load ended by itself");
            std::thread::yield_now();
        }
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.n_acked.load(Ordering::SeqCst)
    }
}

#[test]
fn a_backup_under_load_comes_back_on_another_machine() {
    let mut server = Server::start();
    for device in ["pump-7", "pump-8"] {
        let claim = server.add(device);
        assert!(server.enroll(&claim, device).status.success());
    }
    let load = Load::start(server.data());
    load.reach(20);
    let early = checkpoint(&server, "early.note");
    let n_before = load.n_acked();
    let made = json_of(&backup(&server.path(""), &create(&server), &server.data()));
    let n_after = load.n_acked();
    assert!(n_after > n_before, "nothing was written while the backup was made");
    load.reach(n_after + 5);
    let n_acked = load.stop();
    assert_eq!(made.get("online"), Some(&Value::Bool(true)));
    let file = server.path("one.backup");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(&file).unwrap().len(), number(&made, "bytes"));

    let later = json_of(&server.run("device revoke pump-8 --reason stolen --json"));
    assert_eq!(number(&later, "certificates"), 1);
    let late = checkpoint(&server, "late.note");
    server.stop();
    // The machine burns, but for what was kept elsewhere.
    let record = server.path("record");
    copy(&server.data().join("control/ledger"), &record);
    fs::remove_dir_all(server.data()).unwrap();

    let verified = json_of(&backup(&server.path(""), &verify(&server), &server.data()));
    assert_eq!(verified.get("ok"), Some(&Value::Bool(true)));
    assert!(number(&verified, "devices") >= u64::try_from(n_before).unwrap() + 2);
    assert!(number(&verified, "devices") <= u64::try_from(n_acked).unwrap() + 2);
    assert_eq!(verified.get("root"), server.ready.get("root"));

    goes_on_from_the_backup_alone(&server, &early, &late, &verified);
    goes_on_from_the_newer_record(&server, &record, &late);
}

/// What was revoked later is let in again, and what is missing is said.
fn goes_on_from_the_backup_alone(server: &Server, early: &Path, late: &Path, verified: &Value) {
    let data = server.path("restored");
    let line = format!("{} --witness {}", restore(server), early.display());
    let restored = json_of(&backup(&server.path(""), &line, &data));
    assert_eq!(number(&restored, "missing"), 0);
    assert_eq!(restored.get("events"), verified.get("events"));
    let (mut child, ready) = up(&data, &[]);
    assert_eq!(ready.get("root"), server.ready.get("root"));
    assert!(ready.get("sign_in").is_some());
    assert!(is_let_in(&publish(&server.path("pump-7"), "pump-7", &ready)));
    assert!(is_let_in(&publish(&server.path("pump-8"), "pump-8", &ready)));
    assert!(told(&data, "data.restored").contains("a backup of 20"));
    assert!(rig::stop(&mut child).success());
    // The record goes on from where the backup had it, and another way than the old one went.
    let key = server.said("record");
    let ledger = data.join("control/ledger");
    let line = |note: &Path| {
        format!("ledger verify {} --key {key} --witness {}", ledger.display(), note.display())
    };
    assert!(ask(&data, &line(early)).status.success());
    assert_eq!(ask(&data, &line(late)).status.code(), Some(6));

    let other = server.path("other");
    let line = format!("{} --witness {}", restore(server), late.display());
    let restored = json_of(&backup(&server.path(""), &line, &other));
    assert!(number(&restored, "missing") > 0);
    let (mut child, _) = up(&other, &[]);
    let told = told(&other, "data.restored");
    assert!(told.contains("missing, but seen elsewhere: "), "{told}");
    assert!(rig::stop(&mut child).success());
}

/// With the old disk's record at hand, what was revoked later stays revoked, and nothing forks.
fn goes_on_from_the_newer_record(server: &Server, record: &Path, late: &Path) {
    let data = server.path("continued");
    let line =
        format!("{} --ledger {} --witness {}", restore(server), record.display(), late.display());
    let restored = json_of(&backup(&server.path(""), &line, &data));
    assert_eq!(number(&restored, "missing"), 0);
    let (mut child, ready) = up(&data, &[]);
    assert!(is_let_in(&publish(&server.path("pump-7"), "pump-7", &ready)));
    assert!(!is_let_in(&publish(&server.path("pump-8"), "pump-8", &ready)));
    let told = told(&data, "data.restored");
    assert!(told.contains("cut off again: 1;"), "{told}");
    assert!(told.contains("device.added"), "{told}");
    assert!(rig::stop(&mut child).success());
    let ledger = data.join("control/ledger");
    let key = server.said("record");
    let line =
        format!("ledger verify {} --key {key} --witness {}", ledger.display(), late.display());
    assert!(ask(&data, &line).status.success());
}

#[test]
fn a_stopped_and_a_killed_server_are_backed_up_too() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut run = Run::start(&data, &[]);
    runtime.block_on(async {
        run.ready().await.unwrap();
        let mut line = Line::local(&data).await.unwrap();
        let body = json!({ "id": "pump-7", "kind": "pump", "zone": "a" });
        line.post("/v1/devices", &body).await.unwrap();
    });
    run.kill(true);
    assert!(fs::metadata(data.join("control/store.sqlite-wal")).unwrap().len() > 0);
    let killed = place.path().join("killed.backup").display().to_string();
    let made = json_of(&backup(place.path(), &format!("create {killed}"), &data));
    assert_eq!(made.get("online"), Some(&Value::Bool(false)));
    let restored = place.path().join("restored");
    let output = json_of(&backup(place.path(), &format!("restore {killed}"), &restored));
    assert_eq!(number(&output, "devices"), 1);
    let (mut child, _) = up(&restored, &[]);
    assert!(ask(&restored, "device show pump-7").status.success());
    assert!(rig::stop(&mut child).success());
    let stopped = place.path().join("stopped.backup").display().to_string();
    json_of(&backup(place.path(), &format!("create {stopped}"), &restored));
    json_of(&backup(place.path(), &format!("verify {stopped}"), &restored));
}

#[test]
fn what_is_killed_in_the_middle_leaves_no_file_of_that_name() {
    let mut server = Server::start();
    server.stop();
    // A record that takes a while: zeros without end, which only the copying has to bear.
    let large = server.data().join("custody/padding");
    File::create(&large).unwrap().set_len(8 << 30).unwrap();
    let pass = server.path("backup.pass");
    fs::write(&pass, PASSPHRASE).unwrap();
    let out = server.path("one.backup");
    let mut command = palisade();
    command.args(["backup", "create"]).arg(&out).arg("--backup-passphrase-file").arg(&pass);
    command.arg("--data").arg(server.data()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let beside = server.path(".one.backup.new");
    while fs::metadata(&beside).map_or(0, |metadata| metadata.len()) < 1 << 20 {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!out.exists() && beside.exists());
    fs::remove_file(large).unwrap();
    json_of(&backup(&server.path(""), &create(&server), &server.data()));
    assert!(out.exists() && !beside.exists());
    let again = backup(&server.path(""), &create(&server), &server.data());
    assert_refused(&again, 7, "is there already");
    json_of(&backup(&server.path(""), &verify(&server), &server.data()));
}

#[test]
fn a_damaged_cut_or_foreign_backup_is_refused_with_the_part_and_leaves_nothing() {
    let mut server = Server::start();
    server.add("pump-7");
    json_of(&backup(&server.path(""), &create(&server), &server.data()));
    server.stop();
    let file = server.path("one.backup");
    let whole = fs::read(&file).unwrap();
    let (spoilt, data) = (server.path("spoilt.backup"), server.path("restored"));
    let try_both = |bytes: &[u8], code: i32, says: &str| {
        fs::write(&spoilt, bytes).unwrap();
        for verb in ["verify", "restore"] {
            let line = format!("{verb} {}", spoilt.display());
            assert_refused(&backup(&server.path(""), &line, &data), code, says);
        }
        assert!(!data.exists());
    };
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    // The store is by far the longest part, and lies in the middle.
    try_both(
        &flipped(whole.len() / 2),
        6,
        "damaged in or right behind part `control/store.sqlite`",
    );
    let tail = "part `control/ledger/segments/00000000000000000000.seg`";
    try_both(&flipped(whole.len() - 40), 6, tail);
    try_both(&flipped(100), 6, "damaged in its beginning");
    for end in [whole.len() - 1, whole.len() - 29] {
        try_both(&whole[..end], 6, "cut off in or right behind part `control/ledger/segments/");
    }
    try_both(&whole[..whole.len() / 2], 6, "part `control/store.sqlite`");
    try_both(&[whole.as_slice(), b"\n"].concat(), 6, "follows the backup's end");
    try_both(b"SQLite format 3\0", 6, "no backup of Palisade");
    try_both(&flipped(18), 6, "");
    let other = server.path("other.pass");
    fs::write(&other, "another passphrase altogether").unwrap();
    let mut command = palisade();
    command.args(["backup", "verify"]).arg(&file).arg("--backup-passphrase-file").arg(&other);
    assert_refused(&command.output().unwrap(), 15, "does not open the backup");
    // Nothing of what was tried is left beside.
    let left = fs::read_dir(server.path("")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("verify")), "{left:?}");
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn a_backup_goes_into_an_empty_folder_only() {
    let mut server = Server::start();
    json_of(&backup(&server.path(""), &create(&server), &server.data()));
    server.stop();
    let refused = backup(&server.path(""), &restore(&server), &server.data());
    assert_refused(&refused, 7, "holds a data folder already");
    let foreign = server.path("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter"), "dear").unwrap();
    assert_refused(&backup(&server.path(""), &restore(&server), &foreign), 11, "is not empty");
    let empty = server.path("empty");
    fs::create_dir(&empty).unwrap();
    json_of(&backup(&server.path(""), &restore(&server), &empty));
    let (mut child, _) = up(&empty, &[]);
    assert!(rig::stop(&mut child).success());
    let missing = format!("restore {}", server.path("missing").display());
    assert_refused(&backup(&server.path(""), &missing, &server.path("x")), 4, "cannot read");
}

#[test]
fn a_wrapped_master_key_needs_nothing_but_the_backup_to_come_back() {
    let place = tempfile::tempdir().unwrap();
    let (data, pass) = (place.path().join("data"), place.path().join("master.pass"));
    fs::write(&pass, "a passphrase for the master key").unwrap();
    let flags = ["--passphrase-file", pass.to_str().unwrap()];
    let (mut child, ready) = up(&data, &flags);
    let file = place.path().join("one.backup").display().to_string();
    let bare = backup(place.path(), &format!("create {file}"), &data);
    assert_refused(&bare, 15, "--passphrase-file");
    let line = format!("create {file} --passphrase-file {}", flags[1]);
    json_of(&backup(place.path(), &line, &data));
    assert!(rig::stop(&mut child).success());

    // Without further words it comes back as a first run would make it.
    let restored = place.path().join("restored");
    json_of(&backup(place.path(), &format!("restore {file}"), &restored));
    let (mut child, again) = up(&restored, &[]);
    assert_eq!(again.get("root"), ready.get("root"));
    assert!(rig::stop(&mut child).success());

    let wrapped = place.path().join("wrapped");
    let line = format!("restore {file} --passphrase-file {}", flags[1]);
    json_of(&backup(place.path(), &line, &wrapped));
    assert!(!text(&fs::read(wrapped.join("master.key")).unwrap()).contains("\nkey "));
    let (mut child, again) = up(&wrapped, &flags);
    assert_eq!(again.get("root"), ready.get("root"));
    assert!(rig::stop(&mut child).success());
}

/// The database has backups of its own; a dump that is older than the backup is mended from the
/// record, and one that is newer shows what the record lacks.
#[test]
fn with_postgresql_the_dump_and_the_backup_are_put_together_again() {
    let Some(database) = postgres::database() else {
        eprintln!("skipped: PostgreSQL is not installed");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let (mut child, _) = up(&data, &["--store", &database]);
    let run = |line: &str| {
        let output = ask(&data, line);
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    };
    run("device add pump-7 --kind pump --zone a");
    run("device add pump-8 --kind pump --zone a");
    let older = dump(&database);
    run("device quarantine pump-7 --reason stolen");
    let file = place.path().join("one.backup").display().to_string();
    let made = json_of(&backup(place.path(), &format!("create {file}"), &data));
    assert_eq!(made.get("store"), Some(&Value::from("postgresql")));
    run("device quarantine pump-8 --reason stolen");
    let newer = dump(&database);
    assert!(rig::stop(&mut child).success());

    let verified = json_of(&backup(place.path(), &format!("verify {file}"), &data));
    assert_eq!(verified.get("devices"), Some(&Value::Null));
    let come_back = |name: &str, dump: &[u8]| {
        let (data, database) = (place.path().join(name), postgres::database().unwrap());
        load(&database, dump);
        json_of(&backup(place.path(), &format!("restore {file}"), &data));
        let (mut child, _) = up(&data, &["--store", &database]);
        let is_out = |device: &str| {
            let shown = text(&ask(&data, &format!("device show {device} --json")).stdout);
            shown.contains("\"stolen\"")
        };
        let found = (told(&data, "data.restored"), is_out("pump-7"), is_out("pump-8"));
        assert!(rig::stop(&mut child).success());
        found
    };
    let (told, first, second) = come_back("older", &older);
    assert!(told.contains("cut off again: 1"), "{told}");
    assert!(first && !second);
    let (told, first, second) = come_back("newer", &newer);
    assert!(told.contains("missing in the record: 1 event"), "{told}");
    assert!(first && second);
}

fn dump(database: &str) -> Vec<u8> {
    let mut command = std::process::Command::new("pg_dump");
    let output = command.args(["--no-owner", database]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    output.stdout
}

fn load(database: &str, dump: &[u8]) {
    use std::io::Write as _;
    let mut command = std::process::Command::new("psql");
    command.args(["-q", "-v", "ON_ERROR_STOP=1", database]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(dump).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn settings_come_back_unless_the_folder_has_its_own() {
    let mut server = Server::start();
    server.stop();
    let settings = "name = [\"pumps.example\"]\n";
    fs::write(server.data().join("palisade.toml"), settings).unwrap();
    json_of(&backup(&server.path(""), &create(&server), &server.data()));
    let of = |name: &str| fs::read_to_string(server.path(name).join("palisade.toml")).ok();
    json_of(&backup(&server.path(""), &restore(&server), &server.path("with")));
    assert_eq!(of("with").as_deref(), Some(settings));
    let line = format!("{} --without-settings", restore(&server));
    json_of(&backup(&server.path(""), &line, &server.path("without")));
    assert_eq!(of("without"), None);
    fs::create_dir(server.path("own")).unwrap();
    fs::write(server.path("own/palisade.toml"), "log = \"warn\"\n").unwrap();
    json_of(&backup(&server.path(""), &restore(&server), &server.path("own")));
    assert_eq!(of("own").as_deref(), Some("log = \"warn\"\n"));
    let (mut child, _) = up(&server.path("own"), &[]);
    assert!(rig::stop(&mut child).success());
}

fn create(server: &Server) -> String {
    format!("create {}", server.path("one.backup").display())
}

fn verify(server: &Server) -> String {
    format!("verify {}", server.path("one.backup").display())
}

fn restore(server: &Server) -> String {
    format!("restore {}", server.path("one.backup").display())
}

/// Keeps the newest checkpoint elsewhere, once there is one.
fn checkpoint(server: &Server, name: &str) -> PathBuf {
    let newest = server.json("events --limit 1");
    let n_events = number(&newest, "index") + 1;
    let path = server.path(name);
    loop {
        let output = server.run("ledger checkpoint");
        let size = text(&output.stdout).lines().nth(1).and_then(|line| line.parse::<u64>().ok());
        if size.is_some_and(|size| size >= n_events) {
            fs::write(&path, output.stdout).unwrap();
            return path;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}
