//! The lobby: proven peers whose certificate the standing does not know yet.
//!
//! A device may be at the door before the word of its enrolment is. So whoever shows a certificate
//! that our own authority signed is not sent away at once: it waits for the next changes a little.

use std::collections::VecDeque;
use std::time::Duration;

use policy::Refusal;
use tokio::time::Instant;

use super::Opening;

/// Those who wait, the longest first.
#[derive(Default)]
pub(super) struct Lobby {
    waiting: VecDeque<(Instant, Opening)>,
}

impl Lobby {
    /// Lets a peer wait until some moment; whoever finds no room is sent away.
    pub(super) fn wait(&mut self, opening: Opening, until: Instant) {
        if self.waiting.len() >= ROOM {
            // Those who gave up waiting hold no place.
            self.waiting.retain(|(_, opening)| !opening.answer.is_closed());
        }
        if self.waiting.len() >= ROOM {
            send_away(opening);
            return;
        }
        self.waiting.push_back((until, opening));
    }

    /// Calls everybody back in, since something changed.
    pub(super) fn call(&mut self) -> VecDeque<(Instant, Opening)> {
        std::mem::take(&mut self.waiting)
    }

    /// Sends those away who have waited long enough.
    pub(super) fn send_away_late(&mut self, now: Instant) {
        while self.waiting.front().is_some_and(|(until, _)| *until <= now) {
            self.waiting.pop_front().into_iter().for_each(|(_, opening)| send_away(opening));
        }
    }
}

fn send_away(opening: Opening) {
    // Whoever asked may have given up: then there is nobody to be told.
    let _ = opening.answer.send(Err(Refusal::UnknownDevice));
}

/// How many may wait at once; they count among the unproven of their address too.
const ROOM: usize = 1_024;
/// How long one waits at most: changes of the standing arrive within a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::tests::principal;
    use crate::tls::Leaf;
    use messaging::broker::ConnId;
    use tokio::sync::{mpsc, oneshot};

    type Answer = oneshot::Receiver<Result<ConnId, Refusal>>;

    fn opening() -> (Opening, Answer) {
        let principal = principal();
        let (batches, _) = mpsc::channel(1);
        let not_after = identity::Time::EPOCH;
        let leaf = Leaf { device: principal.device, fingerprint: principal.fingerprint, not_after };
        Opening::of(leaf, principal.peer, batches)
    }

    #[test]
    fn who_has_waited_long_enough_is_sent_away_and_no_other() {
        let mut lobby = Lobby::default();
        let (now, (first, mut sent_away), (second, mut waits)) =
            (Instant::now(), opening(), opening());
        lobby.wait(first, now + PATIENCE);
        lobby.wait(second, now + 2 * PATIENCE);
        lobby.send_away_late(now + PATIENCE);
        assert_eq!(sent_away.try_recv().unwrap(), Err(Refusal::UnknownDevice));
        assert!(waits.try_recv().is_err());
        assert_eq!(lobby.call().len(), 1);
    }

    #[test]
    fn a_full_lobby_sends_away_at_once_unless_somebody_has_left() {
        let mut lobby = Lobby::default();
        let until = Instant::now() + PATIENCE;
        let mut answers: Vec<Answer> = Vec::new();
        for _ in 0..ROOM {
            let (opening, answer) = opening();
            lobby.wait(opening, until);
            answers.push(answer);
        }
        let (late, mut answer) = opening();
        lobby.wait(late, until);
        assert_eq!(answer.try_recv().unwrap(), Err(Refusal::UnknownDevice));
        answers.pop();
        let (late, mut answer) = opening();
        lobby.wait(late, until);
        assert!(answer.try_recv().is_err());
    }
}
