//! Durable events a second and how long an acknowledgement takes, beside the bare disk and SQLite.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use journal::Record;

use crate::{TURNS, event, float, peers, report};

/// How many callers wait at once, each for its own event.
const CALLERS: usize = 256;
/// The steady rate that is offered in the second part.
const OFFERED: u64 = 20_000;
const SPAN: Duration = Duration::from_secs(4);
const PEER_SPAN: Duration = Duration::from_secs(2);
/// As control does it, and the last one at the end.
const SIGN_EVERY: Duration = Duration::from_secs(1);

/// What a span of appending came to.
pub(crate) struct Appended {
    span: Duration,
    times: Vec<Duration>,
}

pub(crate) fn measure(dir: &Path) {
    for turn in 1..=TURNS {
        eprintln!("appending, turn {turn} of {TURNS}");
        let ours = in_fresh(&dir.join("ours"), closed);
        let floor = peers::disk(&dir.join("floor"), CALLERS, PEER_SPAN);
        let sqlite = peers::sqlite(&dir.join("sqlite"), PEER_SPAN);
        let offered = in_fresh(&dir.join("offered"), offered);
        let name = format!("{CALLERS} callers");
        let floor_name = format!("the disk alone: {CALLERS} events appended, fdatasync");
        for (peer, peer_name) in
            [(&floor, floor_name.as_str()), (&sqlite, "SQLite, one row a commit, one caller")]
        {
            report(&format!("durable, {name}"), "events/s", ours.rate(), peer_name, peer.rate());
            for (share, word) in [(500, "p50"), (990, "p99")] {
                let figure = format!("acknowledged, {name}, {word}");
                report(&figure, "ms", ours.millis(share), peer_name, peer.millis(share));
            }
        }
        let figure = format!("acknowledged, {OFFERED} events/s offered, p99");
        report(&figure, "ms", offered.millis(990), &floor_name, floor.millis(990));
        let (ours, wanted) = (offered.rate(), "what is offered");
        report("durable, at a steady offer", "events/s", ours, wanted, 20_000.0);
    }
}

impl Appended {
    /// Takes the time that each acknowledgement took, and in what span all came.
    pub(crate) fn new(span: Duration, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { span, times }
    }

    fn rate(&self) -> f64 {
        float(self.times.len()) / self.span.as_secs_f64()
    }

    fn millis(&self, thousandths: usize) -> f64 {
        self.times[(self.times.len() - 1) * thousandths / 1000].as_secs_f64() * 1e3
    }
}

/// Measures on a new record, signed every second beside it.
fn in_fresh(dir: &Path, work: impl FnOnce(&Record) -> Appended) -> Appended {
    let record = event::open(dir);
    let (end, ended) = mpsc::channel::<()>();
    let appended = thread::scope(|scope| {
        let record = &record;
        scope.spawn(move || {
            while ended.recv_timeout(SIGN_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                event::sign(record);
            }
        });
        let appended = work(record);
        drop(end);
        appended
    });
    event::sign(&record);
    drop(record);
    fs::remove_dir_all(dir).unwrap();
    appended
}

/// Each caller waits for its event and then writes the next.
fn closed(record: &Record) -> Appended {
    let (is_over, next) = (AtomicBool::new(false), AtomicU64::new(0));
    let caller = || {
        let mut times = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let event = event::numbered(next.fetch_add(1, Ordering::Relaxed));
            record.append_and_wait(vec![event]).unwrap();
            times.push(begun.elapsed());
        }
        times
    };
    let start = Instant::now();
    let times = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
        thread::park_timeout(SPAN);
        is_over.store(true, Ordering::Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    Appended::new(start.elapsed(), times)
}

/// One event after the other at a steady rate, whether or not those before it are durable.
fn offered(record: &Record) -> Appended {
    let n_wanted = OFFERED * SPAN.as_secs();
    let (send, receive) = mpsc::channel();
    let start = Instant::now();
    let mut n_sent = 0;
    while n_sent < n_wanted {
        let due = u64::try_from(start.elapsed().as_micros()).unwrap() * OFFERED / 1_000_000;
        while n_sent < due.min(n_wanted) {
            let send = send.clone();
            let begun = Instant::now();
            record.append(vec![event::numbered(n_sent)], move |range| {
                range.unwrap();
                send.send(begun.elapsed()).unwrap();
            });
            n_sent += 1;
        }
        thread::park_timeout(Duration::from_micros(200));
    }
    drop(send);
    let times = receive.iter().collect();
    Appended::new(start.elapsed(), times)
}
