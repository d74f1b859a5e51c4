//! The view of the registry that an enforcement point holds and keeps up to date.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashTable;
use identity::{DeviceId, Fingerprint, Stage, Time, Verified};

use super::shared::Names;
use super::{Changes, Delta, DeviceStanding, PolicySet, Snapshot};
use crate::decision::Cause;

/// Where a [`Standing`] holds a device; never given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    idx: u32,
    generation: u32,
}

/// All that is known at one sequence, found by certificate and by name.
#[derive(Clone)]
pub struct Standing {
    sequence: u64,
    issued: Time,
    policy: Arc<PolicySet>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    by_device: HashTable<u32>,
    by_certificate: HashTable<Certificate>,
    revoked: BTreeSet<Fingerprint>,
    names: Names,
}

/// What a document changed: whose sessions and subscriptions are to be decided again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Affected {
    policy: bool,
    devices: Vec<Slot>,
}

/// A document does not follow what is held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StandingError {
    /// Changes are missing in between.
    #[error("the changes start at {from}, and the standing is at {have}; ask for a snapshot")]
    Gap {
        /// The sequence that is held.
        have: u64,
        /// The sequence that the changes start from.
        from: u64,
    },
    /// The document is older than what is held: a replay, or it came out of order.
    #[error("the document leads to {to}, and the standing is at {have} already")]
    Old {
        /// The sequence that is held.
        have: u64,
        /// The sequence that the document leads to.
        to: u64,
    },
    /// The changes do not go forward.
    #[error("the changes lead from {from} to {to}; they must go forward")]
    Backwards {
        /// The sequence that the changes start from.
        from: u64,
        /// The sequence that they lead to.
        to: u64,
    },
}

#[derive(Clone)]
struct Entry {
    generation: u32,
    device: Option<Arc<DeviceStanding>>,
}

/// A certificate in the index: part of its fingerprint, to hash with, and whose it is.
#[derive(Clone, Copy, PartialEq)]
struct Certificate {
    tag: u32,
    slot_idx: u32,
}

impl Standing {
    /// Takes in a first snapshot.
    pub fn from_snapshot(snapshot: Verified<Snapshot>) -> Self {
        let Snapshot { sequence, issued, policy, devices, revoked } = snapshot.into_inner();
        let mut standing = Self {
            sequence,
            issued,
            policy: Arc::new(policy),
            entries: Vec::with_capacity(devices.len()),
            free: Vec::new(),
            by_device: HashTable::with_capacity(devices.len()),
            by_certificate: HashTable::with_capacity(devices.len()),
            revoked: revoked.into_iter().collect(),
            names: Names::default(),
        };
        for device in devices {
            standing.put(device);
        }
        standing
    }

    /// Takes in a newer snapshot; devices that stay keep their slots.
    pub fn replace(&mut self, snapshot: Verified<Snapshot>) -> Result<Affected, StandingError> {
        if snapshot.sequence < self.sequence {
            return Err(StandingError::Old { have: self.sequence, to: snapshot.sequence });
        }
        let Snapshot { sequence, issued, policy, devices, revoked } = snapshot.into_inner();
        self.begin(sequence, issued);
        let mut changed = Change::default();
        self.take_policy(policy, &mut changed);
        let mut missing: BTreeSet<Slot> = self.devices().map(|(slot, _)| slot).collect();
        for device in devices {
            let held = self.find(&device.id);
            if let Some(slot) = held {
                missing.remove(&slot);
                if self.device(slot).is_some_and(|held| **held == device) {
                    continue;
                }
            }
            changed.slots.insert(self.put(device));
        }
        for slot in missing {
            self.remove(slot);
            changed.slots.insert(slot);
        }
        let revoked: BTreeSet<Fingerprint> = revoked.into_iter().collect();
        let before = core::mem::replace(&mut self.revoked, revoked);
        let differing: Vec<Fingerprint> =
            before.symmetric_difference(&self.revoked).copied().collect();
        self.touch_owners(&differing, &mut changed);
        Ok(changed.into())
    }

    /// Takes in changes that start at the sequence that is held.
    pub fn apply(&mut self, changes: Verified<Changes>) -> Result<Affected, StandingError> {
        let (have, from, to) = (self.sequence, changes.from, changes.to);
        if to <= from {
            return Err(StandingError::Backwards { from, to });
        }
        if from < have {
            return Err(StandingError::Old { have, to });
        }
        if from > have {
            return Err(StandingError::Gap { have, from });
        }
        let changes = changes.into_inner();
        self.begin(to, changes.issued);
        let mut changed = Change::default();
        for delta in changes.deltas {
            self.take(delta, &mut changed);
        }
        Ok(changed.into())
    }

    /// Says whose certificate this is, if the device may come in at all.
    pub fn admit(&self, fingerprint: &Fingerprint) -> Result<Slot, Cause> {
        if self.revoked.contains(fingerprint) {
            return Err(Cause::Revoked);
        }
        let slot = self.owner(fingerprint).ok_or(Cause::UnknownDevice)?;
        self.check(slot, fingerprint)?;
        Ok(slot)
    }

    /// Says whether a device that came in with this certificate may stay.
    pub fn check(&self, slot: Slot, fingerprint: &Fingerprint) -> Result<(), Cause> {
        if self.revoked.contains(fingerprint) {
            return Err(Cause::Revoked);
        }
        let device = self.device(slot).ok_or(Cause::UnknownDevice)?;
        if !device.certificates.contains(fingerprint) {
            return Err(Cause::UnknownDevice);
        }
        match device.stage {
            Stage::Claimed | Stage::Active => Ok(()),
            Stage::Manufactured | Stage::Retired => Err(Cause::NotActive),
        }
    }

    /// Lends what is known of a device, unless it is gone.
    pub fn device(&self, slot: Slot) -> Option<&Arc<DeviceStanding>> {
        let entry = self.entries.get(slot.idx as usize)?;
        entry.device.as_ref().filter(|_| entry.generation == slot.generation)
    }

    /// Finds a device by its name.
    pub fn find(&self, id: &DeviceId) -> Option<Slot> {
        let is_it = |idx: &u32| self.entry_device(*idx).is_some_and(|device| device.id == *id);
        let idx = *self.by_device.find(hash_of_id(id), is_it)?;
        self.slot_at(idx)
    }

    /// Goes over the devices.
    pub fn devices(&self) -> impl Iterator<Item = (Slot, &DeviceStanding)> {
        (0_u32..).zip(&self.entries).filter_map(|(idx, entry)| {
            let device = entry.device.as_deref()?;
            Some((Slot { idx, generation: entry.generation }, device))
        })
    }

    /// Counts the devices.
    pub fn len(&self) -> usize {
        self.by_device.len()
    }

    /// Tells whether no device is known.
    pub fn is_empty(&self) -> bool {
        self.by_device.is_empty()
    }

    /// Says which state of the registry is held.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Says when the last document that was taken in was made.
    pub fn issued(&self) -> Time {
        self.issued
    }

    /// Lends the policy in force.
    pub fn policy(&self) -> &Arc<PolicySet> {
        &self.policy
    }

    fn begin(&mut self, sequence: u64, issued: Time) {
        self.sequence = sequence;
        self.issued = issued;
    }

    fn take(&mut self, delta: Delta, changed: &mut Change) {
        match delta {
            Delta::Device(device) => {
                changed.slots.insert(self.put(*device));
            }
            Delta::Gone(id) => {
                if let Some(slot) = self.find(&id) {
                    self.remove(slot);
                    changed.slots.insert(slot);
                }
            }
            Delta::Policy(policy) => self.take_policy(*policy, changed),
            Delta::Revoked(fingerprints) => {
                self.revoked.extend(&fingerprints);
                self.touch_owners(&fingerprints, changed);
            }
        }
    }

    fn take_policy(&mut self, policy: PolicySet, changed: &mut Change) {
        if *self.policy != policy {
            self.policy = Arc::new(policy);
            changed.policy = true;
        }
    }

    fn touch_owners(&self, fingerprints: &[Fingerprint], changed: &mut Change) {
        changed.slots.extend(fingerprints.iter().filter_map(|fingerprint| self.owner(fingerprint)));
    }

    fn owner(&self, fingerprint: &Fingerprint) -> Option<Slot> {
        let tag = tag_of(fingerprint);
        let is_it = |certificate: &Certificate| {
            let device = self.entry_device(certificate.slot_idx);
            certificate.tag == tag
                && device.is_some_and(|device| device.certificates.contains(fingerprint))
        };
        self.slot_at(self.by_certificate.find(hash_of_tag(tag), is_it)?.slot_idx)
    }

    fn entry_device(&self, idx: u32) -> Option<&Arc<DeviceStanding>> {
        self.entries.get(idx as usize)?.device.as_ref()
    }

    fn slot_at(&self, idx: u32) -> Option<Slot> {
        self.entries.get(idx as usize).map(|entry| Slot { idx, generation: entry.generation })
    }

    /// Holds a device, in place of what was known of it.
    fn put(&mut self, mut device: DeviceStanding) -> Slot {
        self.names.share(&mut device);
        device.certificates.shrink_to_fit();
        let device = Arc::new(device);
        let slot = match self.find(&device.id) {
            Some(slot) => {
                self.unindex_certificates(slot);
                slot
            }
            None => self.add_slot(&device.id),
        };
        for fingerprint in &device.certificates {
            // Invariant: a fingerprint leads to one device; were it claimed by a second one, that
            // one would not get in with it.
            if self.owner(fingerprint).is_none() {
                let certificate = Certificate { tag: tag_of(fingerprint), slot_idx: slot.idx };
                let hash = hash_of_tag(certificate.tag);
                self.by_certificate.insert_unique(hash, certificate, |c| hash_of_tag(c.tag));
            }
        }
        if let Some(entry) = self.entries.get_mut(slot.idx as usize) {
            entry.device = Some(device);
        }
        slot
    }

    fn add_slot(&mut self, id: &DeviceId) -> Slot {
        let idx = match self.free.pop() {
            Some(idx) => idx,
            None => {
                self.entries.push(Entry { generation: 0, device: None });
                u32::try_from(self.entries.len() - 1)
                    .expect("a view of four billion devices fits no memory")
            }
        };
        let Self { entries, by_device, .. } = self;
        by_device.insert_unique(hash_of_id(id), idx, |idx| {
            let device = entries.get(*idx as usize).and_then(|entry| entry.device.as_ref());
            // The slot being added has no device yet; its own hash is the one to use.
            hash_of_id(device.map_or(id, |device| &device.id))
        });
        Slot { idx, generation: self.entries.get(idx as usize).map_or(0, |entry| entry.generation) }
    }

    fn remove(&mut self, slot: Slot) {
        self.unindex_certificates(slot);
        let Some(device) = self.device(slot).cloned() else { return };
        if let Ok(found) = self.by_device.find_entry(hash_of_id(&device.id), |idx| *idx == slot.idx)
        {
            found.remove();
        }
        let Some(entry) = self.entries.get_mut(slot.idx as usize) else { return };
        entry.device = None;
        // A slot whose generations are used up is never given out again.
        if let Some(generation) = entry.generation.checked_add(1) {
            entry.generation = generation;
            self.free.push(slot.idx);
        }
    }

    fn unindex_certificates(&mut self, slot: Slot) {
        let Some(device) = self.device(slot).cloned() else { return };
        for fingerprint in &device.certificates {
            let certificate = Certificate { tag: tag_of(fingerprint), slot_idx: slot.idx };
            if let Ok(found) =
                self.by_certificate.find_entry(hash_of_tag(certificate.tag), |c| *c == certificate)
            {
                found.remove();
            }
        }
    }
}

impl Affected {
    /// Tells whether the policy is another one.
    pub fn policy(&self) -> bool {
        self.policy
    }

    /// Lends the devices that are new, changed, gone, or had a certificate revoked, in order.
    pub fn devices(&self) -> &[Slot] {
        &self.devices
    }

    /// Tells whether what was decided for a device is to be decided again.
    pub fn touches(&self, slot: Slot) -> bool {
        self.policy || self.devices.binary_search(&slot).is_ok()
    }

    /// Tells whether nothing changed.
    pub fn is_empty(&self) -> bool {
        !self.policy && self.devices.is_empty()
    }
}

#[derive(Default)]
struct Change {
    policy: bool,
    slots: BTreeSet<Slot>,
}

impl From<Change> for Affected {
    fn from(change: Change) -> Self {
        Self { policy: change.policy, devices: change.slots.into_iter().collect() }
    }
}

fn tag_of(fingerprint: &Fingerprint) -> u32 {
    let [a, b, c, d, ..] = *fingerprint.as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

// A fingerprint is a hash already; the product spreads its part over 64 bits.
fn hash_of_tag(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(SPREAD)
}

// FNV-1a: names are given by operators, not by devices.
fn hash_of_id(id: &DeviceId) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = id.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    (hash ^ hash >> 32).wrapping_mul(SPREAD)
}

const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
