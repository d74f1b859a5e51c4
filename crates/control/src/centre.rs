//! What every capability of control shares: the store, custody, the record, and who watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use identity::{Certificate, DeviceId, Fingerprint, Time};
use journal::vault::SealingKey;
use ledger::{KeyId, SubjectKey};
use tokio::sync::{broadcast, mpsc, watch};

use crate::custody::{Authorities, Custody};
use crate::live::Live;
use crate::people::Keyring;
use crate::policies::Rules;
use crate::problem::Problem;
use crate::record::{Draft, Recorder, Seal};
use crate::store::{Connection, Store, StoreError};
use crate::{people, record};

/// The shared state of control.
pub(crate) struct Centre {
    pub(crate) store: Store,
    pub(crate) custody: Custody,
    pub(crate) authorities: Authorities,
    pub(crate) root: Fingerprint,
    /// The authority that issues, as `authorities` has it.
    pub(crate) issuing: Certificate,
    pub(crate) recorder: Recorder,
    pub(crate) secret: SealingKey,
    pub(crate) live: broadcast::Sender<Live>,
    /// Tells the standing's job which devices changed.
    pub(crate) moved: mpsc::Sender<Moved>,
    /// The policy in force, compiled.
    pub(crate) rules: watch::Sender<Arc<Rules>>,
    /// Keys under which people's names in the record are sealed.
    pub(crate) people: RwLock<Keyring>,
    pub(crate) guesses: people::Guesses,
    /// How many sessions each device has open, as the gateway told.
    pub(crate) sessions: Mutex<BTreeMap<DeviceId, u64>>,
    pub(crate) addresses: crate::Addresses,
    pub(crate) version: &'static str,
    pub(crate) metrics: crate::metrics::Metrics,
    /// Where the store is copied for backups.
    pub(crate) desk: crate::backup::Desk,
}

/// What changed in the registry, for the gateways.
#[derive(Debug, Clone)]
pub(crate) enum Moved {
    /// These devices: read them again.
    Devices(Vec<DeviceId>),
    /// The policy.
    Policy,
}

impl Centre {
    /// Fills an array with random bytes.
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Problem::internal(&"no randomness"))?;
        Ok(bytes)
    }

    /// Gives the time of day.
    pub(crate) fn now(&self) -> Time {
        crate::clock::now()
    }

    /// Puts an event beside the change that it tells of.
    pub(crate) async fn note(
        &self,
        c: &mut Connection<'_>,
        draft: Draft,
        now: Time,
    ) -> Result<(), StoreError> {
        record::put(c, &self.finish(draft, now)).await
    }

    /// Finishes an event, sealing the names of people in it.
    pub(crate) fn finish(&self, draft: Draft, now: Time) -> ledger::Event {
        let acting = draft.acting_person().and_then(|name| self.seal_for(name));
        let person = draft.person().and_then(|name| self.seal_for(name));
        draft.finish(now, acting, person)
    }

    fn seal_for(&self, name: &str) -> Option<Seal> {
        let people = self.people.read().unwrap_or_else(PoisonError::into_inner);
        let key = people.of(name)?;
        let mut nonce = [0; 24];
        SystemRandom::new().fill(&mut nonce).ok()?;
        Some(Seal { key, nonce })
    }

    /// Finds the key under which a field was sealed; none when the person was forgotten.
    pub(crate) fn key_of(&self, id: KeyId) -> Option<SubjectKey> {
        let people = self.people.read().unwrap_or_else(PoisonError::into_inner);
        people.find(id)
    }

    /// Says how many sessions a device has open.
    pub(crate) fn n_sessions(&self, id: &DeviceId) -> u64 {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(id).copied().unwrap_or_default()
    }

    /// Takes note how many sessions devices have open now.
    pub(crate) fn sessions_changed(&self, changed: BTreeMap<DeviceId, u64>) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, n_sessions) in changed {
            match n_sessions {
                0 => sessions.remove(&id),
                n_sessions => sessions.insert(id, n_sessions),
            };
        }
    }

    /// Says that changes of these devices were committed: the gateways and the watchers learn it.
    pub(crate) async fn devices_changed(&self, ids: Vec<DeviceId>) {
        self.recorder.committed();
        let _ = self.live.send(Live::Devices(ids.clone()));
        let _ = self.moved.send(Moved::Devices(ids)).await;
    }

    /// Says that devices look different to people, while nothing changed for the gateways.
    pub(crate) fn devices_seen(&self, ids: Vec<DeviceId>) {
        self.recorder.committed();
        let _ = self.live.send(Live::Devices(ids));
    }
}
