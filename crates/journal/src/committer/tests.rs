//! Many callers, one sync; and that no one waits for ever.

use super::*;
use std::path::Path;
use std::sync::mpsc;

fn committer(dir: &Path, n_events_max: usize) -> Committer {
    let (writer, _) = Writer::open(dir, [7; 32], 1 << 20).unwrap();
    Committer::start(writer, n_events_max, |_| 0).unwrap()
}

fn events(n: usize) -> Vec<Arc<[u8]>> {
    (0..n).map(|i| Arc::from(format!("event {i}").into_bytes())).collect()
}

#[test]
fn each_caller_gets_its_own_numbers_once_durable() {
    let dir = tempfile::tempdir().unwrap();
    let committer = committer(dir.path(), 1000);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let send = send.clone();
                    committer.append(events(3), move |range| send.send(range.unwrap()).unwrap());
                }
            });
        }
    });
    committer.close();
    drop(send);
    let mut ranges: Vec<Range<u64>> = receive.iter().collect();
    ranges.sort_by_key(|range| range.start);
    let expected: Vec<Range<u64>> = (0..400).map(|i| i * 3..i * 3 + 3).collect();
    assert_eq!(ranges, expected);
    assert_eq!(Writer::open(dir.path(), [7; 32], 1 << 20).unwrap().1.n_events, 1200);
}

#[test]
fn one_sync_serves_what_has_gathered() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = Writer::open(dir.path(), [7; 32], 1 << 20).unwrap();
    let (send, commits) = mpsc::channel();
    let tell = move |committed: Committed<'_>| {
        send.send(committed.events.len()).unwrap();
        0
    };
    let committer = Committer::start(writer, 1000, tell).unwrap();
    // The first completion holds the thread until all others are in the queue.
    let (release, held) = mpsc::channel::<()>();
    committer.append(events(1), move |_| held.recv().unwrap());
    assert_eq!(commits.recv(), Ok(1));
    for _ in 0..50 {
        committer.append(events(2), |_| {});
    }
    release.send(()).unwrap();
    assert_eq!(commits.recv(), Ok(100));
}

#[test]
fn a_full_queue_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let committer = committer(dir.path(), 10);
    let (release, held) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    committer.append(events(1), move |_| {
        started.send(()).unwrap();
        held.recv().unwrap();
    });
    running.recv().unwrap();
    assert_eq!(committer.try_append(events(11), |_| {}), Ok(()), "an empty queue takes anything");
    assert_eq!(committer.try_append(events(1), |_| panic!("called")), Err(Busy));
    release.send(()).unwrap();
    let (send, receive) = mpsc::channel();
    committer.append(events(1), move |range| send.send(range).unwrap());
    assert_eq!(receive.recv().unwrap(), Ok(12..13));
}

#[test]
fn a_bad_event_fails_its_caller_only() {
    let dir = tempfile::tempdir().unwrap();
    let committer = committer(dir.path(), 10);
    let (send, receive) = mpsc::channel();
    for batch in [events(1), vec![Arc::from([0; 0])], events(1)] {
        let send = send.clone();
        committer.append(batch, move |range| send.send(range).unwrap());
    }
    committer.close();
    drop(send);
    let answers: Vec<_> = receive.iter().collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    assert!(answers.contains(&Err(AppendError::Size(0))));
}

#[test]
fn no_one_waits_for_a_thread_that_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let committer = committer(dir.path(), 2);
    let (release, held) = mpsc::channel::<()>();
    committer.append(events(1), move |_| {
        held.recv().unwrap();
        panic!("a completion that panics, on purpose");
    });
    let (send, receive) = mpsc::channel();
    for _ in 0..2 {
        let send = send.clone();
        let _ = committer.try_append(events(1), move |range| send.send(range).unwrap());
    }
    release.send(()).unwrap();
    committer.append(events(1), move |range| send.send(range).unwrap());
    assert!(receive.iter().all(|answer| matches!(answer, Err(AppendError::Stuck(_)))));
}
