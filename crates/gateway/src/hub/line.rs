//! Lines: what the broker's task knows of each open connection, and how many each device has.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use identity::Time;
use messaging::broker::{Batch, ConnId};
use policy::Slot;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Principal;
use crate::limits::Limits;

/// Every open connection.
pub(super) struct Lines {
    by_conn: HashMap<ConnId, Line>,
    by_device: HashMap<Slot, Visits>,
    by_end: BTreeSet<(Time, ConnId)>,
    per_device: usize,
    burst: u32,
    per_second: u32,
}

struct Line {
    principal: Arc<Principal>,
    not_after: Time,
    batches: mpsc::Sender<Batch>,
}

/// One device's connections, and how many more it may open now.
struct Visits {
    conns: Vec<ConnId>,
    n_left: u32,
    at: Instant,
}

impl Lines {
    pub(super) fn bounded(limits: &Limits) -> Self {
        Self {
            by_conn: HashMap::new(),
            by_device: HashMap::new(),
            by_end: BTreeSet::new(),
            per_device: limits.connections_per_device.max(1),
            burst: limits.opens_burst.max(1),
            per_second: limits.opens_per_second.max(1),
        }
    }

    /// Tells whether a device may open one more connection; if so, that one is counted.
    pub(super) fn may_open(&mut self, slot: Slot, now: Instant) -> bool {
        let (burst, per_second) = (self.burst, self.per_second);
        let fresh = || Visits { conns: Vec::new(), n_left: burst, at: now };
        let visits = self.by_device.entry(slot).or_insert_with(fresh);
        visits.rest(now, burst, per_second);
        if visits.conns.len() >= self.per_device || visits.n_left == 0 {
            return false;
        }
        visits.n_left -= 1;
        true
    }

    /// Holds a connection.
    pub(super) fn add(
        &mut self,
        conn: ConnId,
        principal: Arc<Principal>,
        not_after: Time,
        batches: mpsc::Sender<Batch>,
    ) {
        if let Some(visits) = self.by_device.get_mut(&principal.slot) {
            visits.conns.push(conn);
        }
        self.by_end.insert((not_after, conn));
        self.by_conn.insert(conn, Line { principal, not_after, batches });
    }

    /// Hands a batch to a connection's task; false if the task is no more.
    pub(super) fn send(&mut self, conn: ConnId, batch: Batch) -> bool {
        let closes = batch.then_close;
        // Nobody to send to: the connection has ended while the batch was made.
        let Some(line) = self.by_conn.get(&conn) else { return true };
        // Never full: its room is what the broker gives credit for, and one.
        let is_sent = line.batches.try_send(batch).is_ok();
        if closes {
            self.remove(conn);
        }
        is_sent || closes
    }

    /// Lets go of a connection.
    pub(super) fn remove(&mut self, conn: ConnId) {
        let Some(line) = self.by_conn.remove(&conn) else { return };
        self.by_end.remove(&(line.not_after, conn));
        if let Some(visits) = self.by_device.get_mut(&line.principal.slot) {
            visits.conns.retain(|held| *held != conn);
        }
    }

    /// Gives a device's connections.
    pub(super) fn of(&self, slot: Slot) -> Vec<(ConnId, Arc<Principal>)> {
        let conns = self.by_device.get(&slot).map(|visits| visits.conns.as_slice());
        let line = |conn: &ConnId| Some((*conn, Arc::clone(&self.by_conn.get(conn)?.principal)));
        conns.unwrap_or_default().iter().filter_map(line).collect()
    }

    /// Gives the devices that have connections.
    pub(super) fn devices(&self) -> impl Iterator<Item = Slot> {
        self.by_device.iter().filter(|(_, visits)| !visits.conns.is_empty()).map(|(slot, _)| *slot)
    }

    /// Gives every connection.
    pub(super) fn all(&self) -> Vec<ConnId> {
        self.by_conn.keys().copied().collect()
    }

    /// Gives a connection whose certificate has ended.
    pub(super) fn next_expired(&self, now: Time) -> Option<(ConnId, Arc<Principal>)> {
        let (not_after, conn) = self.by_end.first()?;
        // RFC 5280 §4.1.2.5: the last second is included.
        if now.whole_seconds() <= *not_after {
            return None;
        }
        Some((*conn, Arc::clone(&self.by_conn.get(conn)?.principal)))
    }

    /// Takes note that a connection is being ended because its certificate has.
    pub(super) fn drop_end(&mut self, conn: ConnId) {
        if let Some(line) = self.by_conn.get(&conn) {
            self.by_end.remove(&(line.not_after, conn));
        }
    }

    /// Forgets devices that have no connection and have rested.
    pub(super) fn rest(&mut self, now: Instant) {
        let (burst, per_second) = (self.burst, self.per_second);
        self.by_device.retain(|_, visits| {
            visits.rest(now, burst, per_second);
            !visits.conns.is_empty() || visits.n_left < burst
        });
    }
}

impl Visits {
    fn rest(&mut self, now: Instant, burst: u32, per_second: u32) {
        let each = Duration::from_secs(1) / per_second;
        let n_gained = now.saturating_duration_since(self.at).as_nanos() / each.as_nanos().max(1);
        let n_gained = u32::try_from(n_gained).unwrap_or(u32::MAX);
        self.n_left = self.n_left.saturating_add(n_gained).min(burst);
        if self.n_left == burst {
            self.at = now;
        } else {
            self.at += each.saturating_mul(n_gained);
        }
    }
}
