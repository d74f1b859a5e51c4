//! What the record is held against: the disk alone, SQLite, and plain SHA-256.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::append::Appended;
use crate::event;

/// Appends the bytes of a batch and syncs, again and again: each sync counts all its events.
pub(crate) fn disk(path: &Path, n_events: usize, span: Duration) -> Appended {
    let first = u64::try_from(n_events).unwrap();
    let batch: Vec<u8> = (first..2 * first).flat_map(event::bytes).collect();
    let mut file = File::create(path).unwrap();
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < span {
        let begun = Instant::now();
        file.write_all(&batch).unwrap();
        file.sync_data().unwrap();
        times.extend(std::iter::repeat_n(begun.elapsed(), n_events));
    }
    let appended = Appended::new(start.elapsed(), times);
    fs::remove_file(path).unwrap();
    appended
}

/// Inserts one event after the other, each in a transaction of its own.
pub(crate) fn sqlite(dir: &Path, span: Duration) -> Appended {
    fs::create_dir(dir).unwrap();
    let connection = rusqlite::Connection::open(dir.join("events.sqlite")).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.pragma_update(None, "synchronous", "full").unwrap();
    let table = "create table event (number integer primary key, bytes blob not null) strict";
    connection.execute(table, ()).unwrap();
    let mut insert = connection.prepare("insert into event (bytes) values ($1)").unwrap();
    let mut times = Vec::new();
    let start = Instant::now();
    for number in 0.. {
        if start.elapsed() >= span {
            break;
        }
        let begun = Instant::now();
        insert.execute([event::bytes(number)]).unwrap();
        times.push(begun.elapsed());
    }
    let appended = Appended::new(start.elapsed(), times);
    drop(insert);
    connection.close().unwrap();
    fs::remove_dir_all(dir).unwrap();
    appended
}

/// Reads files and hashes each as a whole, on as many threads as there are cores.
pub(crate) fn sha256(files: &[PathBuf]) -> Duration {
    let start = Instant::now();
    let left = Mutex::new(files.iter());
    let n_threads = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(|| {
                let mut buffer = vec![0; 1 << 20];
                loop {
                    let next = left.lock().unwrap().next();
                    let Some(path) = next else { break };
                    hash(path, &mut buffer);
                }
            });
        }
    });
    start.elapsed()
}

fn hash(path: &Path, buffer: &mut [u8]) {
    let mut file = File::open(path).unwrap();
    let mut hash = Sha256::new();
    loop {
        let n_read = file.read(buffer).unwrap();
        if n_read == 0 {
            break;
        }
        hash.update(&buffer[..n_read]);
    }
    std::hint::black_box(hash.finalize());
}
