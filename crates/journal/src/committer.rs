//! Group commit: one sync serves all that was appended while the one before it was under way.
//!
//! Callers put events into a bounded queue; a thread of its own writes and syncs what has gathered,
//! tells the owner, then answers each caller. Nothing is answered before it is durable.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub use crate::writer::WriteError as AppendError;
use crate::writer::Writer;

/// The queue is full; try again, or wait in `append`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal's queue is full; it takes more when the disk has caught up")]
pub struct Busy;

/// Appends to a journal from many callers at once.
pub struct Committer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

struct Queue {
    state: Mutex<State>,
    has_work: Condvar,
    has_space: Condvar,
    n_events_max: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    n_events: usize,
    is_closed: bool,
    has_ended: bool,
}

struct Waiting {
    events: Vec<Arc<[u8]>>,
    done: Done,
}

type Done = Box<dyn FnOnce(Result<Range<u64>, AppendError>) + Send>;

/// What has just become durable.
pub struct Committed<'a> {
    /// The number of its first event.
    pub first: u64,
    /// Its events.
    pub events: &'a [Arc<[u8]>],
}

impl Committer {
    /// Starts the thread; after each commit it hands `tell` what has become durable, and takes
    /// from it the number that the next seal carries.
    pub fn start(
        writer: Writer,
        n_events_max: usize,
        tell: impl FnMut(Committed<'_>) -> u64 + Send + 'static,
    ) -> std::io::Result<Self> {
        let (state, has_work, has_space) = (Mutex::default(), Condvar::new(), Condvar::new());
        let queue = Arc::new(Queue { state, has_work, has_space, n_events_max });
        let worker = queue.clone();
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || worker.run(writer, tell))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Appends events, which get neighbouring numbers, waiting while the queue is full; `done` is
    /// called on the committer's thread once they are durable, or not going to be.
    pub fn append(
        &self,
        events: Vec<Arc<[u8]>>,
        done: impl FnOnce(Result<Range<u64>, AppendError>) + Send + 'static,
    ) {
        let waiting = Waiting { events, done: Box::new(done) };
        let mut state = self.queue.lock();
        while !self.queue.has_space_for(&state, waiting.events.len()) {
            state = self.queue.has_space.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.queue.put(state, waiting);
    }

    /// Appends events unless the queue is full; then `done` is dropped without a call.
    pub fn try_append(
        &self,
        events: Vec<Arc<[u8]>>,
        done: impl FnOnce(Result<Range<u64>, AppendError>) + Send + 'static,
    ) -> Result<(), Busy> {
        let state = self.queue.lock();
        if !self.queue.has_space_for(&state, events.len()) {
            return Err(Busy);
        }
        self.queue.put(state, Waiting { events, done: Box::new(done) });
        Ok(())
    }

    /// Makes durable what was appended so far and ends the thread.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.has_work.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic on the thread was in a caller's completion; its queue is served no more.
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is larger than the whole queue goes in when that is empty.
    fn has_space_for(&self, state: &State, n_events: usize) -> bool {
        state.waiting.is_empty() || state.n_events.saturating_add(n_events) <= self.n_events_max
    }

    fn put(&self, mut state: MutexGuard<'_, State>, waiting: Waiting) {
        if state.has_ended {
            drop(state);
            return (waiting.done)(Err(ended()));
        }
        state.n_events += waiting.events.len();
        state.waiting.push_back(waiting);
        drop(state);
        self.has_work.notify_one();
    }

    fn run(&self, mut writer: Writer, mut tell: impl FnMut(Committed<'_>) -> u64) {
        let _end = End(self);
        while let Some(batch) = self.next_batch() {
            let carry = commit(&mut writer, batch, &mut tell);
            if let Some(carry) = carry {
                writer.set_carry(carry);
            }
        }
    }

    /// Waits for work and takes what has gathered, up to a limit; none once closed and empty.
    fn next_batch(&self) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.is_closed {
                return None;
            }
            state = self.has_work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut batch, mut n_bytes) = (Vec::new(), 0);
        while n_bytes < MAX_BATCH_BYTES {
            let Some(waiting) = state.waiting.pop_front() else { break };
            state.n_events -= waiting.events.len();
            n_bytes += waiting.events.iter().map(|event| event.len()).sum::<usize>();
            batch.push(waiting);
        }
        drop(state);
        self.has_space.notify_all();
        Some(batch)
    }
}

/// However the thread ends, by a panic too, no one waits for it any longer.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.has_ended = true;
        state.n_events = 0;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.0.has_space.notify_all();
        left.into_iter().for_each(|waiting| (waiting.done)(Err(ended())));
    }
}

fn ended() -> AppendError {
    AppendError::Stuck("its thread has ended".into())
}

/// Writes a batch with one sync, tells the owner, then answers everyone.
fn commit(
    writer: &mut Writer,
    batch: Vec<Waiting>,
    tell: &mut impl FnMut(Committed<'_>) -> u64,
) -> Option<u64> {
    let first = writer.n_events();
    let mut events = Vec::new();
    let mut answers = Vec::with_capacity(batch.len());
    for Waiting { events: of_one, done } in batch {
        // One caller's bad event must not fail the others.
        let bad = of_one.iter().map(|event| event.len()).find(|n_bytes| !SIZES.contains(n_bytes));
        if let Some(n_bytes) = bad {
            done(Err(AppendError::Size(n_bytes)));
            continue;
        }
        let start = first + n_events(&events);
        events.extend(of_one);
        answers.push((start..first + n_events(&events), done));
    }
    let committed = events
        .iter()
        .try_for_each(|event| writer.append(event).map(drop))
        .and_then(|()| writer.commit());
    if committed.is_err() {
        writer.forget();
    }
    let carry = committed.is_ok().then(|| tell(Committed { first, events: &events }));
    for (range, done) in answers {
        done(committed.clone().map(|()| range));
    }
    carry
}

fn n_events(events: &[Arc<[u8]>]) -> u64 {
    u64::try_from(events.len()).unwrap_or(u64::MAX)
}

const SIZES: std::ops::RangeInclusive<usize> = 1..=crate::frame::MAX_EVENT_BYTES;
/// Bounds the memory of one write and how long its callers wait for each other.
const MAX_BATCH_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests;
