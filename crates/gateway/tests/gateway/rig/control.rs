//! Control as a gateway knows it: signs snapshots and changes, and records what is reported.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::link::{read_frame, write_frame};
use identity::request::Request;
use identity::{Document, Ed25519Key, Signed, Time, key::pure};
use policy::link::MAX_UPLINK;
use policy::{Changes, Delta, Downlink, Observation, Snapshot, Uplink};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::{House, house, within};

pub struct Control {
    shared: Arc<Shared>,
    down: mpsc::UnboundedSender<Downlink>,
    tasks: Vec<JoinHandle<()>>,
    pub key: Ed25519Key,
}

/// How control behaves.
pub struct Manners {
    /// Whether it sends the snapshot that it has as soon as it is greeted or asked.
    pub gives_snapshot: bool,
    /// How long the gateway's certificate is valid.
    pub certificate_life: Duration,
    pub names: Vec<&'static str>,
}

impl Default for Manners {
    fn default() -> Self {
        let names = vec!["localhost"];
        Self { gives_snapshot: true, certificate_life: 30 * house::DAY, names }
    }
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Notify,
}

#[derive(Default)]
struct Seen {
    observations: Vec<Observation>,
    n_hellos: usize,
    n_snapshots_wanted: usize,
    sequence: u64,
}

/// What control has recorded.
pub struct Record(Arc<Shared>);

impl Record {
    pub fn observations(&self) -> Vec<Observation> {
        self.0.seen.lock().unwrap().observations.clone()
    }
}

impl Control {
    pub fn begin(
        link: std::os::unix::net::UnixStream,
        house: &House,
        snapshot: Snapshot,
        manners: Manners,
    ) -> Self {
        link.set_nonblocking(true).unwrap();
        let (mut reader, mut writer) = tokio::net::UnixStream::from_std(link).unwrap().into_split();
        #[allow(clippy::disallowed_methods)] // A test may hold what it likes.
        let (down, mut messages) = mpsc::unbounded_channel::<Downlink>();
        let shared = Arc::new(Shared::default());
        shared.seen.lock().unwrap().sequence = snapshot.sequence;
        let key = Ed25519Key::from_seed(&Zeroizing::new([3; 32])).unwrap();
        let write = tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                if write_frame(&mut writer, &message.encode()).await.is_err() {
                    return;
                }
            }
        });
        let (answers, told) = (down.clone(), Arc::clone(&shared));
        let snapshot = Downlink::Snapshot(sign(&snapshot, &key));
        let house = house.again();
        let read = tokio::spawn(async move {
            while let Ok(Some(frame)) = read_frame(&mut reader, MAX_UPLINK).await {
                let mut seen = told.seen.lock().unwrap();
                let mut wants_snapshot = false;
                match Uplink::decode(&frame).unwrap() {
                    Uplink::Hello { csr, .. } => {
                        let request = Request::parse(&csr, pure::ALL).unwrap();
                        let not_after = house::now().plus(manners.certificate_life);
                        let chain = house.server(request.key(), not_after, &manners.names);
                        answers.send(Downlink::ServerCertificate { chain }).unwrap();
                        wants_snapshot = seen.n_hellos == 0;
                        seen.n_hellos += 1;
                    }
                    Uplink::Observations { number, items } => {
                        seen.observations.extend(items);
                        let _ = answers.send(Downlink::Recorded { number });
                    }
                    Uplink::NeedSnapshot => {
                        seen.n_snapshots_wanted += 1;
                        wants_snapshot = true;
                    }
                }
                if wants_snapshot && manners.gives_snapshot {
                    let _ = answers.send(snapshot.clone());
                }
                drop(seen);
                told.changed.notify_waiters();
            }
        });
        Self { shared, down, tasks: vec![write, read], key }
    }

    /// Signs changes that follow what was sent last, and sends them.
    pub fn change(&self, deltas: Vec<Delta>) -> u64 {
        let from = self.shared.seen.lock().unwrap().sequence;
        self.shared.seen.lock().unwrap().sequence = from + 1;
        self.send_changes(from, from + 1, deltas, &self.key);
        from + 1
    }

    pub fn send_changes(&self, from: u64, to: u64, deltas: Vec<Delta>, key: &Ed25519Key) {
        let changes = Changes { from, to, issued: exact_now(), deltas };
        self.send(Downlink::Changes(sign(&changes, key)));
    }

    pub fn send(&self, message: Downlink) {
        self.down.send(message).unwrap();
    }

    /// Dies without a word.
    pub fn die(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }

    pub async fn wait_for<T>(&self, mut find: impl FnMut(&Observation) -> Option<T>) -> T {
        self.wait(|seen| seen.observations.iter().find_map(&mut find)).await
    }

    pub async fn wait_reached(&self, wanted: u64) {
        self.wait_for(|observation| match observation {
            Observation::Reached { sequence, .. } if *sequence >= wanted => Some(()),
            _ => None,
        })
        .await;
    }

    pub async fn wait_snapshots_wanted(&self, n: usize) {
        self.wait(|seen| (seen.n_snapshots_wanted >= n).then_some(())).await;
    }

    pub async fn wait_hellos(&self, n: usize) {
        self.wait(|seen| (seen.n_hellos >= n).then_some(())).await;
    }

    /// Lends what is recorded, also for when the gateway is no more.
    pub fn record(&self) -> Record {
        Record(Arc::clone(&self.shared))
    }

    async fn wait<T>(&self, mut look: impl FnMut(&Seen) -> Option<T>) -> T {
        within(async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = look(&self.shared.seen.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        })
        .await
    }
}

pub fn sign<T: Document>(document: &T, key: &Ed25519Key) -> Vec<u8> {
    Signed::sign(document, None, &[key]).unwrap()
}

#[allow(clippy::disallowed_methods)] // The gateway under test reads the same clock.
fn exact_now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::EPOCH.plus(since)
}
