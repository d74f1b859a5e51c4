//! What a connection is doing: how many requests it has open, their answers' bodies included, and
//! since when it has none.

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
    n_open: usize,
    n_ever: u64,
    quiet_since: Instant,
}

/// One request, until the last of its answer is sent or given up.
pub(super) struct Turn(Arc<Activity>);

impl Activity {
    /// Begins with nothing asked.
    pub(super) fn new() -> Arc<Self> {
        let state = State { n_open: 0, n_ever: 0, quiet_since: Instant::now() };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// Begins a request.
    pub(super) fn turn(self: &Arc<Self>) -> Turn {
        self.change(|state| {
            state.n_open += 1;
            state.n_ever += 1;
        });
        Turn(Arc::clone(self))
    }

    /// Waits until nothing was asked for so long: `first` before the first request, then `later`.
    pub(super) async fn idle(&self, first: Duration, later: Duration) {
        loop {
            let changed = self.changed.notified();
            let due = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let patience = if state.n_ever == 0 { first } else { later };
                (state.n_open == 0).then(|| state.quiet_since + patience)
            };
            match due {
                None => changed.await,
                Some(due) if timeout_at(due, changed).await.is_err() => return,
                Some(_) => {}
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.n_open = state.n_open.saturating_sub(1);
            state.quiet_since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(10);
    const LATER: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_sooner_before_the_first_request_than_after() {
        let begun = Instant::now();
        Activity::new().idle(FIRST, LATER).await;
        assert_eq!(begun.elapsed(), FIRST);

        let (begun, activity) = (Instant::now(), Activity::new());
        drop(activity.turn());
        activity.idle(FIRST, LATER).await;
        assert_eq!(begun.elapsed(), LATER);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_still_streams_is_no_silence() {
        let activity = Activity::new();
        let turn = activity.turn();
        let waited = tokio::time::timeout(LATER * 100, activity.idle(FIRST, LATER)).await;
        assert!(waited.is_err());
        drop(turn);
        let begun = Instant::now();
        activity.idle(FIRST, LATER).await;
        assert_eq!(begun.elapsed(), LATER);
    }
}
