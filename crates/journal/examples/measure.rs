//! Measures the record on this machine: durable events per second, acknowledgement times, verification.
//!
//! `cargo run --release -p journal --example measure -- [DIR] [EVENTS]`; DIR should be on the disk
//! that is asked about, EVENTS is how many are verified (by default 10,000,000).
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use identity::{Ed25519Key, Signer, Time};
use journal::{Options, Record, verify};
use ledger::{Actor, ActorSort, Event, Kind, Subject, VerifierKey};
use zeroize::Zeroizing;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| "measure-record".into()));
    let n_events: u64 = arguments.next().map_or(10_000_000, |count| count.parse().unwrap());
    fs::create_dir_all(&dir).unwrap();
    println!("an event has {} bytes", event(7).encode().unwrap().len());
    floor(&dir);
    for (rate, is_signed) in [(1_000, true), (20_000, false), (20_000, true), (50_000, true)] {
        offered(&dir.join("offered"), rate, is_signed);
    }
    let filled = dir.join("filled");
    fill(&filled, n_events);
    verified(&filled);
    reopened(&filled);
    fs::remove_dir_all(&dir).unwrap();
}

fn signer() -> Ed25519Key {
    Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap()
}

fn key() -> VerifierKey {
    VerifierKey::new("example.com/log", signer().public_key()).unwrap()
}

fn open(dir: &Path) -> Record {
    Record::open(dir, key(), Options::default()).unwrap().0
}

/// What a denied publish is.
fn event(number: u64) -> Event {
    let at = Time::from_millis(1_795_257_000_000 + i64::try_from(number).unwrap());
    let name = format!("pump-{}", number % 100_000);
    let actor = Actor { sort: ActorSort::Device, name: name.as_str().into() };
    let mut event = Event::new(at, Kind::known("access.denied"), actor);
    event.subject = Some(Subject { sort: Kind::known("device"), name: name.as_str().into() });
    event.decision = Some(number.to_be_bytes().repeat(2));
    event.details.insert("action".into(), "publish".into());
    event.details.insert("topic".into(), format!("plant-a/pump/{name}/telemetry").as_str().into());
    event
}

/// The disk alone: 4 KiB appended and synced, again and again.
fn floor(dir: &Path) {
    let path = dir.join("floor");
    let mut file = File::create(&path).unwrap();
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        let begun = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push(begun.elapsed());
    }
    let rate = per_second(times.len(), start.elapsed());
    println!("fdatasync of 4 KiB: {rate:.0}/s, {}", percentiles(&mut times));
    fs::remove_file(path).unwrap();
}

/// Offers events one by one at a steady rate, signing every second beside it or not at all.
fn offered(dir: &Path, rate: u64, is_signed: bool) {
    let span = Duration::from_secs(10);
    let record = open(dir);
    let (send, receive) = mpsc::channel();
    let n_wanted = rate * span.as_secs();
    let is_over = AtomicU64::new(0);
    let (sent, took) = mpsc::channel();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while is_over.load(Ordering::Relaxed) == 0 {
                std::thread::park_timeout(Duration::from_secs(1));
                if is_signed {
                    sign(&record);
                }
            }
        });
        let mut n_sent = 0;
        while n_sent < n_wanted {
            let due = u64::try_from(start.elapsed().as_micros()).unwrap() * rate / 1_000_000;
            while n_sent < due.min(n_wanted) {
                let send = send.clone();
                let begun = Instant::now();
                record.append(vec![event(n_sent)], move |range| {
                    range.unwrap();
                    send.send(begun.elapsed()).unwrap();
                });
                n_sent += 1;
            }
            std::thread::park_timeout(Duration::from_micros(200));
        }
        is_over.store(1, Ordering::Relaxed);
        sent.send(start.elapsed()).unwrap();
    });
    drop(send);
    record.close();
    let mut times: Vec<Duration> = receive.iter().collect();
    let reached = per_second(times.len(), took.recv().unwrap());
    println!(
        "{rate}/s offered for {span:?}, {}: {reached:.0}/s durable, acknowledged in {}",
        if is_signed { "signed every second" } else { "not signed" },
        percentiles(&mut times)
    );
    fs::remove_dir_all(dir).unwrap();
}

/// As many as the machine takes, from two callers with a full queue.
fn fill(dir: &Path, n_events: u64) {
    let record = Arc::new(open(dir));
    let start = Instant::now();
    let n_half = n_events / 2;
    std::thread::scope(|scope| {
        for half in 0..2 {
            let record = record.clone();
            scope.spawn(move || {
                for first in (half * n_half..(half + 1) * n_half).step_by(100) {
                    record.append((first..first + 100).map(event).collect(), |range| {
                        assert!(range.is_ok())
                    });
                    if half == 0 && first % 10_000 == 0 {
                        sign(&record);
                    }
                }
            });
        }
    });
    record.append_and_wait(vec![event(0)]).unwrap();
    let rate = per_second(usize::try_from(n_events).unwrap(), start.elapsed());
    sign(&record);
    println!("{n_events} events from two callers in hundreds: {rate:.0}/s durable and signed");
}

fn sign(record: &Record) {
    if let Some(pending) = record.pending_checkpoint().unwrap() {
        let note = pending.checkpoint.sign(&signer()).unwrap().to_string();
        record.store_checkpoint(note.as_bytes()).unwrap();
    }
}

fn verified(dir: &Path) {
    for threads in [0, 1] {
        let start = Instant::now();
        let options = verify::Options { threads, ..verify::Options::default() };
        let summary = verify::verify(dir, &key(), &options).unwrap();
        let verify::Summary { n_events, n_checkpoints, .. } = summary;
        let with =
            if threads == 0 { "all cores".into() } else { format!("{threads} thread ahead") };
        let rate = per_second(usize::try_from(n_events).unwrap(), start.elapsed());
        println!(
            "verified {n_events} events, {n_checkpoints} checkpoints with {with} in {:.1?}: {rate:.0}/s",
            start.elapsed()
        );
    }
}

fn reopened(dir: &Path) {
    let start = Instant::now();
    drop(open(dir));
    println!("opened again in {:.1?}", start.elapsed());
}

fn per_second(count: usize, span: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / span.as_secs_f64()
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 1000];
    format!("p50 {:.1?}, p99 {:.1?}, worst {:.1?}", at(500), at(990), at(1000))
}
