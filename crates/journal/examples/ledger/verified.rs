//! Verification of a large record, beside plain SHA-256 over the same events' files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use journal::verify;
use rustix::fs::{Advice, fadvise};

use crate::{TURNS, event, float, peers, report};

const PEER: &str = "SHA-256 of the same segments, same library and threads";

pub(crate) fn measure(dir: &Path, n_events: u64) {
    let dir = dir.join("filled");
    eprintln!("writing {n_events} events to verify");
    fill(&dir, n_events);
    let segments = files(&dir.join("segments"));
    let n_bytes: usize = segments.iter().map(|path| length(path)).sum();
    for (from, is_cold) in [("memory", false), ("the disk", true)] {
        if !is_cold {
            // Whatever fits is in memory now, for both.
            peers::sha256(&segments);
        }
        for turn in 1..=TURNS {
            eprintln!("verifying from {from}, turn {turn} of {TURNS}");
            let cool = || {
                if is_cold {
                    forget(&dir)
                }
            };
            cool();
            let start = Instant::now();
            let summary = verify::verify(&dir, &event::key(), &verify::Options::default()).unwrap();
            let ours = start.elapsed().as_secs_f64();
            assert_eq!(summary.last.map(|last| last.size), Some(n_events));
            cool();
            let peer = peers::sha256(&segments).as_secs_f64();
            let figure = format!("verify {n_events} events, from {from}");
            report(&figure, "s", ours, PEER, peer);
            let rate = |seconds: f64| float(n_bytes) / 1e6 / seconds;
            report(&format!("verify, from {from}"), "MB/s", rate(ours), PEER, rate(peer));
        }
    }
}

/// Writes from as many callers as there are cores, signing every 10,000 events.
fn fill(dir: &Path, n_events: u64) {
    let record = event::open(dir);
    let n_callers = u64::try_from(thread::available_parallelism().unwrap().get()).unwrap();
    thread::scope(|scope| {
        for caller in 0..n_callers {
            let record = &record;
            scope.spawn(move || {
                let (first, end) =
                    (caller * n_events / n_callers, (caller + 1) * n_events / n_callers);
                for batch in (first..end).step_by(100) {
                    let events = (batch..end.min(batch + 100)).map(event::numbered).collect();
                    record.append(events, |range| assert!(range.is_ok()));
                    if caller == 0 && (batch - first) % 5_000 == 0 {
                        event::sign(record);
                    }
                }
            });
        }
    });
    let record = std::sync::Arc::into_inner(record).unwrap();
    record.close();
    event::sign(&event::open(dir));
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn length(path: &Path) -> usize {
    usize::try_from(fs::metadata(path).unwrap().len()).unwrap()
}

/// Has the system drop what it keeps of a folder's files in memory.
fn forget(dir: &Path) {
    for path in files(dir) {
        if path.is_dir() {
            forget(&path);
            continue;
        }
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}
