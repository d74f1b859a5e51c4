//! Nothing secret lies readable on the disk: the whole first way is gone, then every file of the
//! data folder is searched for every secret of it, while the server runs, after it was killed and
//! after it stopped; and so is a backup.
#![allow(clippy::unwrap_used)]

#[path = "at_rest/search.rs"]
mod finding;
mod rig;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use finding::{Needle, search, search_bytes};
use journal::vault::{MasterKey, Unlock};
use rig::run::Run;
use rig::{palisade, text};
use serde_json::{Value, json};

const MASTER_PASSPHRASE: &str = "opens the master key of this test";
const BACKUP_PASSPHRASE: &str = "opens the backups of this test";
const PASSWORD: &str = "the password that ana chose";
const WRONG_PASSWORD: &str = "a password that was guessed";
const PERSON: &str = "ana.lindqvist@pumps.example";
const MQTT_PASSWORD: &str = "a password inside of MQTT";
/// What devices send, by what becomes of it.
const PAYLOADS: [(&str, &str); 4] = [
    ("a retained message", "2.71 bar, to be kept"),
    ("a message", "2.72 bar, to be passed on"),
    ("a denied message", "2.73 bar, to be denied"),
    ("a will", "2.74 bar, to be sent at the end"),
];

/// A folder with a server on it, and what is secret there.
struct House {
    place: tempfile::TempDir,
    run: Option<Run>,
    ready: Value,
    flags: Vec<String>,
    secrets: Vec<Needle>,
}

impl House {
    fn start(wrapped: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        let pass = place.path().join("master.pass");
        fs::write(&pass, MASTER_PASSPHRASE).unwrap();
        let flags = match wrapped {
            true => vec!["--passphrase-file".to_owned(), pass.display().to_string()],
            false => Vec::new(),
        };
        let mut house = Self { place, run: None, ready: Value::Null, flags, secrets: Vec::new() };
        house.up();
        house
    }

    fn up(&mut self) {
        let flags: Vec<_> = self.flags.iter().map(String::as_str).collect();
        let mut run = Run::start(&self.data(), &flags);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        self.ready = runtime.block_on(run.ready()).unwrap();
        self.run = Some(run);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn said(&self, name: &str) -> &str {
        self.ready.get(name).and_then(Value::as_str).unwrap()
    }

    fn secret(&mut self, name: &str, bytes: &[u8]) {
        self.secrets.push(Needle::of(name, bytes));
    }

    /// Takes a text of which a part is 32 secret bytes in base64url.
    fn token(&mut self, name: &str, token: &str) {
        self.secret(name, token.as_bytes());
        let secret = token.rsplit_once('.').map_or(token, |(_, secret)| secret);
        let bytes = Base64UrlUnpadded::decode_vec(secret).unwrap();
        assert_eq!(bytes.len(), 32);
        self.secret(&format!("{name}, its bytes"), &bytes);
    }

    fn run(&self, line: &str) -> Output {
        let mut command = palisade();
        command.args(line.split_whitespace()).arg("--data").arg(self.data()).output().unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Sends one request as a browser does, and gives the whole answer as text.
    fn browse(&self, head: &str, body: &Value) -> String {
        let body = body.to_string();
        let mut stream = UnixStream::connect(self.data().join("run/control.sock")).unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: same-origin\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Publishes with what a device enrolled, and more flags.
    fn publish(&self, topic: &str, payload: &str, more: &[&str]) -> Output {
        let (host, port) = self.said("mqtt").rsplit_once(':').unwrap();
        let files = self.path("pump-7");
        let mut command = std::process::Command::new("mosquitto_pub");
        command.args(["-V", "mqttv5", "-d", "-q", "1", "-h", host, "-p", port, "-i", "pump-7"]);
        command.args(["-t", topic, "-m", payload]).args(more);
        command.arg("--cafile").arg(files.join("ca.crt"));
        command.arg("--cert").arg(files.join("chain.pem"));
        command.arg("--key").arg(files.join("device.key"));
        command.output().unwrap()
    }

    /// Goes the whole first way, and remembers every secret of it.
    fn first_way(&mut self) {
        self.people();
        self.programs();
        self.devices();
        self.keys();
    }

    fn people(&mut self) {
        let first = self.said("sign_in").rsplit_once('#').unwrap().1.to_owned();
        self.token("the first sign-in link", &first);
        let body = json!({ "name": PERSON, "role": "administrator" });
        let invited = self.browse("POST /v1/operators", &body);
        let body = invited.split_once("\r\n\r\n").unwrap().1;
        let invited: Value = serde_json::from_str(&body[body.find('{').unwrap()..]).unwrap();
        let link = invited.get("link").and_then(Value::as_str).unwrap();
        let link = link.rsplit_once('#').unwrap().1.to_owned();
        self.token("a sign-in link", &link);
        let body = json!({ "token": link, "password": PASSWORD });
        let answer = self.browse("POST /v1/session/link", &body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let cookie = answer.split_once("__Host-palisade=").unwrap().1;
        let cookie = cookie.split_once(';').unwrap().0.to_owned();
        self.token("a session's cookie", &cookie);
        let body = json!({ "name": PERSON, "password": WRONG_PASSWORD });
        assert!(self.browse("POST /v1/session", &body).starts_with("HTTP/1.1 401"));
        self.secret("a password", PASSWORD.as_bytes());
        self.secret("a wrong password", WRONG_PASSWORD.as_bytes());
    }

    fn programs(&mut self) {
        let made = self.json("token make ci --role viewer");
        let token = made.get("text").and_then(Value::as_str).unwrap().to_owned();
        self.token("an API token", &token);
    }

    fn devices(&mut self) {
        let added = self.json("device add pump-7 --kind pump --zone plant-a");
        let claim = added.pointer("/claim/text").and_then(Value::as_str).unwrap().to_owned();
        self.claim("a claim that was used", &claim);
        let unused = self.json("device add pump-8 --kind pump --zone plant-a");
        let unused = unused.pointer("/claim/text").and_then(Value::as_str).unwrap().to_owned();
        self.claim("a claim that waits", &unused);
        let enroll = |house: &Self, claim: &str, out: &str| {
            let server = house.said("console");
            let out = house.path(out).display().to_string();
            house.run(&format!("enroll --server {server} --claim {claim} --out {out}"))
        };
        assert!(enroll(self, &claim, "pump-7").status.success());
        let (_, root) = claim.rsplit_once('.').unwrap();
        let wrong =
            format!("palisade-claim-1.{}.{root}", Base64UrlUnpadded::encode_string(&[9; 32]));
        assert!(!enroll(self, &wrong, "thief").status.success());
        self.claim("a claim that was refused", &wrong);
        let key = fs::read_to_string(self.path("pump-7/device.key")).unwrap();
        self.secret("a device's key", &scalar(&pem(&key)));

        let (own, foreign) =
            ("main/pump/pump-7/telemetry/pressure", "main/pump/pump-8/telemetry/x");
        let [kept, passed, denied, will] = PAYLOADS.map(|(_, payload)| payload);
        let more = ["-r", "--will-topic", own, "--will-payload", will];
        let more = [more.as_slice(), &["-u", "pump-7", "-P", MQTT_PASSWORD]].concat();
        let said = |output: Output| text(&output.stdout) + &text(&output.stderr);
        assert!(said(self.publish(own, kept, &more)).contains("RC:0)"));
        assert!(said(self.publish(own, passed, &[])).contains("RC:0)"));
        assert!(said(self.publish(foreign, denied, &[])).contains("RC:135"));
        for (name, payload) in PAYLOADS {
            self.secret(name, payload.as_bytes());
        }
        self.secret("a password inside of MQTT", MQTT_PASSWORD.as_bytes());
    }

    fn claim(&mut self, name: &str, claim: &str) {
        // The last part is the root's fingerprint, which is public.
        let (secret, _) = claim.rsplit_once('.').unwrap();
        self.token(name, secret);
    }

    /// The house's own keys, as only the master key shows them.
    fn keys(&mut self) {
        let unlock = match self.flags.is_empty() {
            true => Unlock::KeyFile,
            false => Unlock::Passphrase(MASTER_PASSPHRASE),
        };
        let path = self.data().join("master.key");
        let master = MasterKey::load(&path, &unlock).unwrap();
        let bare = master.to_text(&Unlock::KeyFile, &journal::vault::SystemRandom::new()).unwrap();
        let bare = bare.trim_end().rsplit_once(' ').unwrap().1;
        self.secret("the master key", &Base64::decode_vec(bare).unwrap());
        self.secret("the master key's passphrase", MASTER_PASSPHRASE.as_bytes());
        self.secret("the backup's passphrase", BACKUP_PASSPHRASE.as_bytes());
        for role in ["custody", "control", "gateway"] {
            self.secret(&format!("{role}'s secret"), master.derive_secret(role).as_ref());
        }
        let sealing = master.derive("custody");
        for name in ["root.key", "issuing.key", "standing.key", "record.key"] {
            let sealed = fs::read(self.data().join("custody").join(name)).unwrap();
            let open = sealing.open(name, &sealed).unwrap();
            let secret = if open.len() == 32 { open.to_vec() } else { scalar(&open) };
            self.secret(name, &secret);
        }
    }

    /// Finds nothing in the folder, and shows that it would find each secret if it were there.
    fn assert_sealed(&self, when: &str, exempt: &[(&str, &str)]) {
        let shapes = key_shapes();
        let needles: Vec<_> = self.secrets.iter().chain(&shapes).collect();
        let hits = search(&self.data(), &needles);
        let exempt = |hit: &finding::Hit| {
            exempt.iter().any(|(needle, file)| hit.needle == *needle && hit.path.ends_with(file))
        };
        let hits: Vec<_> = hits.into_iter().filter(|hit| !exempt(hit)).collect();
        assert!(hits.is_empty(), "{when}: {hits:?}");
        let planted = self.data().join("control/planted");
        let forms =
            || needles.iter().flat_map(|needle| needle.forms().map(move |form| (needle, form)));
        let lies: Vec<_> = forms().map(|(_, (_, bytes))| bytes).collect();
        fs::write(&planted, lies.join(b" and ".as_slice())).unwrap();
        let hits = search(planted.parent().unwrap(), &needles);
        for (needle, (form, _)) in forms() {
            let is_it = |hit: &finding::Hit| hit.needle == needle.name && hit.form == form;
            let found = hits.iter().any(|hit| is_it(hit) && hit.path == planted);
            assert!(found, "{when}: {} ({form}) would not be found", needle.name);
        }
        fs::remove_file(planted).unwrap();
    }

    fn assert_silent(&self, log: &str) {
        let needles: Vec<_> = self.secrets.iter().collect();
        let hits = search_bytes(log.as_bytes(), &needles, Path::new("the log"));
        assert!(hits.is_empty(), "{hits:?}");
        assert!(log.contains("devices can connect"), "{log}");
    }

    fn backup(&self, verb: &str, file: &Path) {
        let pass = self.path("backup.pass");
        fs::write(&pass, BACKUP_PASSPHRASE).unwrap();
        let mut command = palisade();
        command.args(["backup", verb]).arg(file).arg("--backup-passphrase-file").arg(pass);
        let output = command.arg("--data").arg(self.data()).args(&self.flags).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

#[test]
fn no_secret_of_the_first_way_lies_readable_in_the_data_folder_or_a_backup() {
    let mut house = House::start(true);
    house.first_way();
    house.assert_sealed("while it runs", &[]);
    let file = house.path("backups/one.backup");
    fs::create_dir(file.parent().unwrap()).unwrap();
    house.backup("create", &file);
    house.assert_sealed("after a backup", &[]);
    let log = house.run.take().unwrap().kill(true);
    house.assert_silent(&log);
    assert!(fs::metadata(house.data().join("control/store.sqlite-wal")).unwrap().len() > 0);
    house.assert_sealed("after it was killed", &[]);
    house.up();
    let log = house.run.take().unwrap().stop();
    house.assert_silent(&log);
    house.assert_sealed("after it stopped", &[]);

    // In a backup even what the store keeps in the clear is sealed.
    let shapes = key_shapes();
    let clear = [PERSON, "SQLite format 3", "create table device", "palisade.record/"];
    let clear = clear.map(|text| Needle::raw(text, text.as_bytes()));
    let readable = search(&house.data(), &clear.iter().collect::<Vec<_>>());
    assert!(readable.len() > 3, "the search is blind: {readable:?}");
    let needles: Vec<_> = house.secrets.iter().chain(&shapes).chain(&clear).collect();
    let hits = search(file.parent().unwrap(), &needles);
    assert!(hits.is_empty(), "{hits:?}");
}

#[test]
fn with_a_bare_key_file_the_master_key_lies_there_and_nowhere_else() {
    let mut house = House::start(false);
    house.keys();
    let exempt = [("the master key", "master.key")];
    house.assert_sealed("while it runs", &exempt);
    let file = house.path("one.backup");
    house.backup("create", &file);
    house.run.take().unwrap().stop();
    house.assert_sealed("after it stopped", &exempt);
    let needles: Vec<_> = house.secrets.iter().collect();
    let hits = search_bytes(&fs::read(&file).unwrap(), &needles, &file);
    assert!(hits.is_empty(), "{hits:?}");
    let key = search(&house.data(), &needles);
    assert!(key.iter().any(|hit| hit.needle == "the master key"), "the search is blind");
}

/// The record promises names that can be forgotten; the store needs them until then.
#[test]
fn a_persons_name_is_sealed_in_the_record_and_gone_from_the_store_once_forgotten() {
    let mut house = House::start(true);
    house.people();
    let name = Needle::of("a name", PERSON.as_bytes());
    let record = house.data().join("control/ledger");
    let events = text(&house.run("events --kind operator").stdout);
    assert!(events.contains(PERSON), "{events}");
    assert!(search(&record, &[&name]).is_empty());
    assert!(!search(&house.data(), &[&name]).is_empty(), "the search is blind");
    let other =
        house.browse("POST /v1/operators", &json!({ "name": "bo", "role": "administrator" }));
    let link = other.rsplit_once("/welcome#").unwrap().1.split('"').next().unwrap().to_owned();
    let body = json!({ "token": link, "password": PASSWORD });
    assert!(house.browse("POST /v1/session/link", &body).starts_with("HTTP/1.1 200"));
    let removed = house.browse(&format!("DELETE /v1/operators/{PERSON}"), &Value::Null);
    assert!(removed.starts_with("HTTP/1.1 204"), "{removed}");
    let hits = search(&house.data(), &[&name]);
    assert!(hits.is_empty(), "while it runs: {hits:?}");
    house.run.take().unwrap().stop();
    let hits = search(&house.data(), &[&name]);
    assert!(hits.is_empty(), "{hits:?}");
}

/// What private keys look like, whatever they are.
fn key_shapes() -> Vec<Needle> {
    let p256 = [2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let ed25519 = [2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    vec![
        Needle::of("PKCS#8 of a P-256 key", &p256),
        Needle::of("PKCS#8 of an Ed25519 key", &ed25519),
        Needle::raw("PEM of a private key", b"PRIVATE KEY-----"),
    ]
}

/// Finds the secret number in the PKCS#8 of a P-256 key.
fn scalar(der: &[u8]) -> Vec<u8> {
    // RFC 5915: version 1, then an octet string of 32 bytes.
    let before = [2, 1, 1, 4, 0x20];
    let at = der.windows(5).position(|window| window == before).unwrap() + before.len();
    der[at..at + 32].to_vec()
}

fn pem(text: &str) -> Vec<u8> {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    Base64::decode_vec(&body).unwrap()
}
