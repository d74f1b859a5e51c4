//! What a connection is doing: how many requests are worked on, how many answers are being sent, and
//! since when nothing moves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The requests of one connection.
pub(super) struct Activity {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    n_worked_on: usize,
    /// When a piece of each answer was last taken to be sent.
    being_sent: BTreeMap<u64, Instant>,
    n_ever: u64,
    /// When the last request ended.
    quiet_since: Instant,
}

/// How long nothing may move.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// Before the first request.
    pub(super) first: Duration,
    /// Between requests.
    pub(super) later: Duration,
    /// Between two pieces of an answer.
    pub(super) sending: Duration,
}

/// One request, until the last of its answer is taken to be sent or given up.
pub(super) struct Turn {
    activity: Arc<Activity>,
    number: u64,
    is_answered: bool,
}

impl Activity {
    /// Begins with nothing asked.
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            n_worked_on: 0,
            being_sent: BTreeMap::new(),
            n_ever: 0,
            quiet_since: Instant::now(),
        };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// Begins a request.
    pub(super) fn turn(self: &Arc<Self>) -> Turn {
        let number = self.change(|state| {
            state.n_worked_on += 1;
            state.n_ever += 1;
            state.n_ever
        });
        Turn { activity: Arc::clone(self), number, is_answered: false }
    }

    /// Waits until nothing has moved for too long.
    ///
    /// A request that is worked on is ours to end. An answer that nobody takes is not sent for ever:
    /// in HTTP/2 a peer can keep a connection alive and yet take none of it.
    pub(super) async fn idle(&self, patience: Patience) {
        loop {
            let changed = self.changed.notified();
            let due = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                match state.being_sent.values().min() {
                    Some(moved) => Some(*moved + patience.sending),
                    None if state.n_worked_on > 0 => None,
                    None if state.n_ever == 0 => Some(state.quiet_since + patience.first),
                    None => Some(state.quiet_since + patience.later),
                }
            };
            match due {
                None => changed.await,
                Some(due) if timeout_at(due, changed).await.is_err() => return,
                Some(_) => {}
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
        changed
    }
}

impl Turn {
    /// The answer is there, and is being sent.
    pub(super) fn answered(mut self) -> Self {
        self.is_answered = true;
        self.activity.change(|state| {
            state.n_worked_on = state.n_worked_on.saturating_sub(1);
            state.being_sent.insert(self.number, Instant::now());
        });
        self
    }

    /// A piece of the answer was taken to be sent.
    pub(super) fn moved(&self) {
        self.activity.change(|state| state.being_sent.insert(self.number, Instant::now()));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.activity.change(|state| {
            if self.is_answered {
                state.being_sent.remove(&self.number);
            } else {
                state.n_worked_on = state.n_worked_on.saturating_sub(1);
            }
            state.quiet_since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(10);
    const LATER: Duration = Duration::from_secs(60);
    const SENDING: Duration = Duration::from_secs(30);
    const PATIENCE: Patience = Patience { first: FIRST, later: LATER, sending: SENDING };

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_sooner_before_the_first_request_than_after() {
        let begun = Instant::now();
        Activity::new().idle(PATIENCE).await;
        assert_eq!(begun.elapsed(), FIRST);

        let (begun, activity) = (Instant::now(), Activity::new());
        drop(activity.turn());
        activity.idle(PATIENCE).await;
        assert_eq!(begun.elapsed(), LATER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_worked_on_is_no_silence() {
        let activity = Activity::new();
        let turn = activity.turn();
        let waited = tokio::time::timeout(LATER * 100, activity.idle(PATIENCE)).await;
        assert!(waited.is_err());
        drop(turn);
        let begun = Instant::now();
        activity.idle(PATIENCE).await;
        assert_eq!(begun.elapsed(), LATER);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_as_long_as_it_moves() {
        let activity = Activity::new();
        let (one, other) = (activity.turn().answered(), activity.turn().answered());
        let moving = async {
            for _ in 0..10 {
                tokio::time::sleep(SENDING / 2).await;
                one.moved();
                other.moved();
            }
            let stalled = Instant::now();
            for _ in 0..5 {
                // That others move does not help one that does not.
                tokio::time::sleep(SENDING / 4).await;
                other.moved();
            }
            stalled
        };
        let idle = async {
            activity.idle(PATIENCE).await;
            Instant::now()
        };
        let (stalled, ended) = tokio::join!(moving, idle);
        assert_eq!(ended - stalled, SENDING);
    }
}
