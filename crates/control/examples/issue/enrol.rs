//! A running server, asked by many devices at once to let them in: each answer is a certificate
//! that the store holds durably.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};

use crate::client::Client;
use crate::key::Key;
use crate::{TURNS, float, peers, report};

/// How many devices wait for their certificate at once.
const CALLERS: usize = 256;
/// How many are enrolled in one turn.
const DEVICES: usize = 10_000;

/// What was issued, in what span, and how long each took.
pub(crate) struct Issued {
    pub(crate) span: Duration,
    pub(crate) times: Vec<Duration>,
}

pub(crate) fn measure(socket: &Path, dir: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    std::fs::create_dir(dir).unwrap();
    for turn in 1..=TURNS {
        eprintln!("adding {DEVICES} devices and enrolling them, turn {turn} of {TURNS}");
        let bodies = runtime.block_on(add(socket, turn));
        let ours = runtime.block_on(post(socket, "/v1/enrolment", bodies)).0;
        let sqlite = peers::sqlite(&dir.join("sqlite"), CALLERS);
        let openssl = peers::openssl(&dir.join("openssl"));
        let name = format!("{CALLERS} callers");
        for (peer, peer_name) in [
            (&openssl, "`openssl ca`, one after the other, not synced"),
            (&sqlite, "SQLite alone, one row a commit, as many callers"),
        ] {
            let figure = format!("enrolled and durable, {name}");
            report(&figure, "certificates/s", ours.rate(), peer_name, peer.rate());
        }
        for (share, word) in [(500, "p50"), (990, "p99")] {
            let figure = format!("answered, {name}, {word}");
            let peer_name = "SQLite alone, one row a commit, as many callers";
            report(&figure, "ms", ours.millis(share), peer_name, sqlite.millis(share));
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}

impl Issued {
    fn rate(&self) -> f64 {
        float(self.times.len()) / self.span.as_secs_f64()
    }

    fn millis(&self, thousandths: usize) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[(times.len() - 1) * thousandths / 1000].as_secs_f64() * 1e3
    }
}

/// Adds devices, and gives for each what it will say at the door.
async fn add(socket: &Path, turn: usize) -> Vec<Value> {
    let device = |idx| json!({"id": format!("pump-{turn}-{idx}"), "kind": "pump", "zone": "a"});
    let (_, answers) = post(socket, "/v1/devices", (0..DEVICES).map(device).collect()).await;
    let body = |answer: Vec<u8>| {
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let request = Base64::encode_string(&Key::generate().request());
        json!({"claim": answer["claim"]["text"], "csr": request})
    };
    answers.into_iter().map(body).collect()
}

/// Posts each body once, so many at a time.
async fn post(socket: &Path, path: &'static str, bodies: Vec<Value>) -> (Issued, Vec<Vec<u8>>) {
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(Client::connect(socket).await);
    }
    let (bodies, next) = (Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
    let done = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let start = Instant::now();
    let callers = clients.into_iter().map(|mut client| {
        let (bodies, next, done) = (Arc::clone(&bodies), Arc::clone(&next), Arc::clone(&done));
        tokio::spawn(async move {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let begun = Instant::now();
                let answer = client.post(path, body).await;
                let (times, answers) = &mut *done.lock().unwrap();
                times.push(begun.elapsed());
                answers.push(answer.to_vec());
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let span = start.elapsed();
    let (times, answers) = std::mem::take(&mut *done.lock().unwrap());
    (Issued { span, times }, answers)
}
