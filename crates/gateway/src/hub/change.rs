//! What a change of standing does to what is open: everything is decided again.

use std::sync::Arc;
use std::time::Duration;

use authority::Authority;
use identity::{Fingerprint, Stage, Time, Verified};
use messaging::broker::ConnId;
use messaging::mqtt::Reason;
use messaging::text::Text;
use policy::standing::StandingError;
use policy::{
    Affected, Cause, Changes, Delta, Observation, Refusal, Slot, Snapshot, Standing, Uplink,
};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Hub, Opening, Principal};
use crate::link::Update;
use crate::tls::{Leaf, Refused, refusal_of_cause};

/// A standing that is taken in while sessions are decided again by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reaching {
    sequence: u64,
    issued: Time,
    n_ended: u64,
}

impl Hub {
    pub(super) fn handle_update(&mut self, update: Update) {
        match update {
            Update::Snapshot(snapshot, authority) => self.take_snapshot(*snapshot, authority),
            Update::Changes(changes, authority) => self.take_changes(*changes, authority),
            Update::Certificate(chain) => match self.presented.install(&chain, self.gate.now()) {
                Ok(()) => info!("a new server certificate is shown"),
                Err(error) => error!(%error, "the server certificate stays as it is"),
            },
            Update::Recorded(number) => self.backlog.recorded(number),
            Update::Refused(text) => {
                warn!(%text, "control sent what must not be acted on");
                self.metrics.refused_documents.inc();
                self.needs_snapshot = true;
            }
            Update::Shutdown => self.is_stopping = true,
        }
    }

    /// Lets a proven peer in, if the standing admits it; until some moment it may come to be known.
    pub(super) fn open(&mut self, opening: Opening, until: Instant) {
        let now = Instant::now();
        let admitted = self.admit(&opening.leaf);
        if admitted == Err(Cause::UnknownDevice) && now < until {
            self.lobby.wait(opening, until);
            return;
        }
        let Opening { leaf, peer, batches, answer } = opening;
        let admitted = admitted.map_err(refusal_of_cause).and_then(|slot| {
            if self.lines.may_open(slot, now) { Ok(slot) } else { Err(Refusal::Overloaded) }
        });
        let slot = match admitted {
            Ok(slot) => slot,
            Err(why) => {
                // Whoever asked may have given up: then there is nobody to be told.
                let _ = answer.send(Err(why));
                return;
            }
        };
        let assigned = self.gate.assigned_id(&leaf.device);
        let principal =
            Arc::new(Principal { slot, device: leaf.device, fingerprint: leaf.fingerprint, peer });
        match self.broker.open(Arc::clone(&principal), assigned, self.clock.moment()) {
            Ok(conn) => {
                self.lines.add(conn, principal, leaf.not_after, batches);
                self.metrics.handshakes.inc();
                if answer.send(Ok(conn)).is_err() {
                    // It took too long and was given up.
                    self.close_line(conn);
                }
            }
            Err(_) => {
                let _ = answer.send(Err(Refusal::Overloaded));
            }
        }
    }

    fn admit(&self, leaf: &Leaf) -> Result<Slot, Cause> {
        let standing = self.gate.standing();
        let slot = standing.admit(&leaf.fingerprint)?;
        let is_its_own = standing.device(slot).is_some_and(|device| device.id == leaf.device);
        if is_its_own { Ok(slot) } else { Err(Cause::UnknownDevice) }
    }

    pub(super) fn refuse(&mut self, refused: Refused, peer: std::net::SocketAddr) {
        self.metrics.refused(refused.why);
        self.n_overloaded += u64::from(refused.why == Refusal::Overloaded);
        self.refusals.count(refused, peer, self.gate.time_and_moment());
    }

    fn take_snapshot(&mut self, snapshot: Verified<Snapshot>, authority: Authority) {
        let revoked = snapshot.revoked.clone();
        match self.gate.standing_mut().replace(snapshot) {
            Ok(affected) => {
                self.revoked.replace(&revoked);
                self.needs_snapshot = false;
                self.adopt(&affected, &revoked, Some(authority));
            }
            Err(error) => self.refuse_standing(&error),
        }
    }

    fn take_changes(&mut self, changes: Verified<Changes>, authority: Option<Authority>) {
        let revoked = changes.deltas.iter().filter_map(|delta| match delta {
            Delta::Revoked(fingerprints) => Some(fingerprints),
            Delta::Device(_) | Delta::Gone(_) | Delta::Policy(_) => None,
        });
        let revoked: Vec<_> = revoked.flatten().copied().collect();
        match self.gate.standing_mut().apply(changes) {
            Ok(affected) => {
                self.revoked.extend(&revoked);
                self.adopt(&affected, &revoked, authority);
            }
            Err(error) => self.refuse_standing(&error),
        }
    }

    fn refuse_standing(&mut self, error: &StandingError) {
        warn!(%error, "a standing was not taken in");
        self.metrics.refused_documents.inc();
        match error {
            StandingError::Gap { .. } => self.needs_snapshot = true,
            StandingError::Old { .. } | StandingError::Backwards { .. } => {}
        }
    }

    /// Asks for a snapshot if one is needed, now and then until it comes.
    pub(super) fn ask_snapshot(&mut self) {
        let now = Instant::now();
        let asked_lately = self.asked_snapshot.is_some_and(|at| now < at + ASK_AGAIN);
        if self.needs_snapshot
            && !asked_lately
            && let Ok(permit) = self.ways.uplink.try_reserve()
        {
            permit.send(Uplink::NeedSnapshot.encode());
            self.asked_snapshot = Some(now);
        }
    }

    /// Acts on what a document changed: first whoever may not stay at all, at once; then every
    /// decision that it touches, in slices.
    fn adopt(
        &mut self,
        affected: &Affected,
        revoked: &[Fingerprint],
        authority: Option<Authority>,
    ) {
        self.finish_reaching();
        if affected.policy()
            && let Some(authority) = authority
        {
            self.gate.adopt(authority);
            // Others may hear now what the server tells of itself.
            self.next_telling = Instant::now();
        }
        self.reach();
        for slot in affected.devices() {
            self.end_unwelcome(*slot);
        }
        let standing = self.gate.standing();
        let has_left = |slot: &Slot| {
            standing.device(*slot).is_none_or(|device| device.stage == Stage::Retired)
        };
        if !revoked.is_empty() || affected.devices().iter().any(has_left) {
            self.broker.forget_where(|principal| is_lost(standing, principal));
        }
        self.pump();
        if affected.policy() {
            self.pending.extend(self.lines.devices());
        } else {
            self.pending.extend(affected.devices());
        }
        self.redecide_slice();
        for (until, opening) in self.lobby.call() {
            self.open(opening, until);
        }
        self.pump();
    }

    /// Notes the standing that is held now as the one to be reached.
    pub(super) fn reach(&mut self) {
        let standing = self.gate.standing();
        let (sequence, issued) = (standing.sequence(), standing.issued());
        self.metrics.sequence.set(i64::try_from(sequence).unwrap_or(i64::MAX));
        self.reaching = Some(Reaching { sequence, issued, n_ended: 0 });
    }

    /// Decides again for some of the devices that wait for it.
    pub(super) fn redecide_slice(&mut self) {
        let started = Instant::now();
        while let Some(slot) = self.pending.pop_front() {
            self.redecide(slot);
            if started.elapsed() >= SLICE {
                break;
            }
        }
        if self.pending.is_empty() {
            self.report_reached();
        }
    }

    /// Another change comes before the last one was done with: its rest is decided now.
    fn finish_reaching(&mut self) {
        while let Some(slot) = self.pending.pop_front() {
            self.redecide(slot);
        }
        self.report_reached();
    }

    fn report_reached(&mut self) {
        let Some(Reaching { sequence, issued, n_ended }) = self.reaching.take() else { return };
        let at = self.gate.now();
        self.backlog.push(Observation::Reached { sequence, at });
        if n_ended > 0 {
            let millis = at.since(issued).map_or(0, |span| span.as_millis());
            info!(sequence, n_sessions = n_ended, millis, "sessions ended by a change of standing");
        }
    }

    fn end_unwelcome(&mut self, slot: Slot) {
        let (mut n_ended, mut last) = (0, None);
        for (conn, principal) in self.open_lines(slot) {
            if let Err(cause) = self.gate.standing().check(slot, &principal.fingerprint) {
                let text = Text::from_static(cause.text());
                self.cut(conn, cause, Reason::AdministrativeAction, text);
                (n_ended, last) = (n_ended + 1, Some((principal, cause)));
            }
        }
        self.report_ended(n_ended, last);
    }

    /// The connections of a device whose session has not ended yet; the last bytes of one that has
    /// may still be on their way.
    fn open_lines(&self, slot: Slot) -> Vec<(ConnId, Arc<Principal>)> {
        let lines = self.lines.of(slot).into_iter();
        lines.filter(|(conn, _)| self.broker.principal(*conn).is_some()).collect()
    }

    fn redecide(&mut self, slot: Slot) {
        let (mut n_ended, mut last) = (0, None);
        for (conn, principal) in self.open_lines(slot) {
            let decision = self.gate.decide_connect(&principal);
            if decision.allows() {
                self.broker.redecide(conn, &mut self.gate, self.clock.moment());
            } else {
                let text = Text::clipped(&decision.wire_text());
                self.cut(conn, decision.cause, Reason::NotAuthorized, text);
                (n_ended, last) = (n_ended + 1, Some((principal, decision.cause)));
            }
        }
        self.report_ended(n_ended, last);
    }

    /// Ends the sessions whose certificate has ended.
    pub(super) fn end_expired(&mut self) {
        while let Some((conn, principal)) = self.lines.next_expired(self.gate.now()) {
            let text = Text::from_static(Cause::Expired.text());
            self.cut(conn, Cause::Expired, Reason::AdministrativeAction, text);
            self.report_ended(1, Some((principal, Cause::Expired)));
            self.lines.drop_end(conn);
        }
    }

    /// Ends a session; nothing that it leaves behind, such as a will, is let through.
    fn cut(&mut self, conn: ConnId, cause: Cause, reason: Reason, text: Text) {
        let slot = self.broker.principal(conn).map(|principal| principal.slot);
        self.gate.set_cutting(slot.map(|slot| (slot, cause)));
        self.broker.close(conn, reason, Some(text), &mut self.gate, self.clock.moment());
        self.gate.set_cutting(None);
    }

    fn report_ended(&mut self, count: u64, last: Option<(Arc<Principal>, Cause)>) {
        let Some((principal, cause)) = last else { return };
        self.metrics.cut.inc_by(count);
        let sequence = self.gate.standing().sequence();
        let (device, at) = (principal.device.clone(), self.gate.now());
        if let Some(reaching) = &mut self.reaching {
            reaching.n_ended = reaching.n_ended.saturating_add(count);
        }
        self.backlog.push(Observation::Ended { device, sequence, count, cause, at });
    }
}

/// Tells whether what waits for a principal is to be dropped. A certificate that was only replaced
/// leaves its session to the next one.
pub(super) fn is_lost(standing: &Standing, principal: &Principal) -> bool {
    match standing.check(principal.slot, &principal.fingerprint) {
        Ok(()) => false,
        Err(Cause::UnknownDevice) => standing.device(principal.slot).is_none(),
        Err(_) => true,
    }
}

/// How long sessions may be decided again before messages have their turn.
const SLICE: Duration = Duration::from_millis(2);
/// How long an answer is waited for before a snapshot is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
