//! What the server acknowledged before it was killed, and the check that all of it is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper::Method;
use ledger::{Checkpoint, VerifierKey};
use serde_json::Value;

use crate::rig::api::{Line, Lost};
use crate::rig::device::{Device, Home, certificate_of};

/// What clients remember of a server.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    devices: BTreeMap<String, Known>,
    /// Devices of which something happened since the last check.
    fresh: BTreeSet<String>,
    /// Events that the API showed since the last check, by number.
    shown: BTreeMap<u64, Value>,
    /// The last checkpoint that the API showed.
    note: Option<String>,
    /// Events from here on were not counted yet.
    counted_to: u64,
    /// How often each thing happened to each device, by the record.
    counts: BTreeMap<(String, String), u64>,
}

/// What is known of a device.
#[derive(Clone, Default)]
struct Known {
    /// It, once adding it was answered; with its certificate, once enrolling was.
    device: Option<Device>,
    asked_in: bool,
    asked_out: bool,
    revoked: bool,
}

/// How many things were checked.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Checked {
    pub(crate) n_devices: u64,
    pub(crate) n_certificates: u64,
    pub(crate) n_events: u64,
}

impl Memory {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Known)) {
        let mut held = self.held();
        change(held.devices.entry(id.to_owned()).or_default());
        held.fresh.insert(id.to_owned());
    }

    pub(crate) fn adding(&self, id: &str) {
        self.change(id, |_| ());
    }

    pub(crate) fn added(&self, device: &Device) {
        self.change(&device.id, |known| known.device = Some(device.clone()));
    }

    pub(crate) fn enrolling(&self, id: &str) {
        self.change(id, |known| known.asked_in = true);
    }

    pub(crate) fn enrolled(&self, device: &Device) {
        self.added(device);
    }

    pub(crate) fn revoking(&self, id: &str) {
        self.change(id, |known| known.asked_out = true);
    }

    pub(crate) fn revoked(&self, id: &str) {
        self.change(id, |known| known.revoked = true);
    }

    pub(crate) fn showed(&self, event: Value) {
        let index = event.get("index").and_then(Value::as_u64).unwrap();
        if let Some(before) = self.held().shown.insert(index, event.clone()) {
            assert_eq!(before, event, "event {index} was shown in two ways");
        }
    }

    pub(crate) fn showed_checkpoint(&self, note: &str) {
        self.held().note = Some(note.to_owned());
    }

    /// Lends the last checkpoint that was shown.
    pub(crate) fn note(&self) -> Option<String> {
        self.held().note.clone()
    }

    /// Holds what is remembered against a server that was started anew.
    pub(crate) async fn check(
        &self,
        data: &Path,
        home: &Home,
        key: &VerifierKey,
    ) -> Result<Checked, Lost> {
        let mut line = Line::local(data).await?;
        assert_eq!(line.ask(Method::GET, "/readyz", None).await?.status, 200);
        let fresh = std::mem::take(&mut self.held().fresh);
        let mut checked = Checked { n_devices: n(fresh.len()), ..Checked::default() };
        for id in &fresh {
            checked.n_certificates += u64::from(self.check_device(&mut line, home, id).await?);
        }
        checked.n_events = self.check_shown(&mut line).await?;
        let count = self.count_until_settled(&mut line, &fresh);
        tokio::time::timeout(SETTLED, count).await.expect("events stay in the outbox")?;
        self.check_counts(&fresh);
        self.check_checkpoint(&mut line, key).await?;
        Ok(checked)
    }

    /// Says whether the device has a certificate now.
    async fn check_device(&self, line: &mut Line, home: &Home, id: &str) -> Result<bool, Lost> {
        let mut known = self.held().devices.get(id).cloned().unwrap();
        let path = format!("/v1/devices/{id}");
        let status = line.ask(Method::GET, &path, None).await?.status;
        let Some(device) = &mut known.device else {
            // Adding it was never answered: either is right.
            assert!(status == 200 || status == 404, "{id}: {status}");
            return Ok(false);
        };
        assert_eq!(status, 200, "{id} was added and is gone");
        if !known.asked_in {
            assert_eq!(certificates(line, id).await?, [], "{id} never asked for a certificate");
            return Ok(false);
        }
        if known.revoked {
            self.check_revoked(line, home, device).await?;
            return Ok(true);
        }
        let before = device.fingerprint();
        let again = device.ask_in(line).await?;
        if known.asked_out && REFUSED.contains(&again.status) {
            // Revoking it was never answered, and was done.
            known.revoked = true;
        } else {
            device.certificate = Some(certificate_of(&again.json()));
            let now = device.fingerprint();
            assert!(before.is_none() || before == now, "{id} has another certificate now");
        }
        let expected: Vec<_> =
            device.fingerprint().map(|print| (print, known.revoked)).into_iter().collect();
        assert_eq!(certificates(line, id).await?, expected, "{id}");
        self.held().devices.insert(id.to_owned(), known);
        Ok(true)
    }

    async fn check_revoked(
        &self,
        line: &mut Line,
        home: &Home,
        device: &Device,
    ) -> Result<(), Lost> {
        let expected = [(device.fingerprint().unwrap(), true)];
        assert_eq!(certificates(line, &device.id).await?, expected, "{}", device.id);
        let again = device.ask_in(line).await?.status;
        assert!(REFUSED.contains(&again), "{} came in again: {again}", device.id);
        assert!(device.connect(home).await.is_err(), "{} was revoked and connects", device.id);
        Ok(())
    }

    /// What was shown as recorded is in the record, at its number.
    async fn check_shown(&self, line: &mut Line) -> Result<u64, Lost> {
        let shown = std::mem::take(&mut self.held().shown);
        let Some((first, _)) = shown.first_key_value() else { return Ok(0) };
        let events = events_from(line, *first).await?;
        let now: BTreeMap<_, _> = events.into_iter().map(|event| (index(&event), event)).collect();
        for (index, event) in &shown {
            assert_eq!(now.get(index), Some(event), "event {index} is not what was shown");
        }
        Ok(n(shown.len()))
    }

    /// Counts what is recorded until all that was acknowledged is in it.
    async fn count_until_settled(
        &self,
        line: &mut Line,
        fresh: &BTreeSet<String>,
    ) -> Result<(), Lost> {
        loop {
            let from = self.held().counted_to;
            for event in events_from(line, from).await? {
                let subject = event.pointer("/subject/name").and_then(Value::as_str);
                let kind = event.get("kind").and_then(Value::as_str).unwrap().to_owned();
                let mut held = self.held();
                held.counted_to = index(&event) + 1;
                if let Some(subject) = subject {
                    *held.counts.entry((kind, subject.to_owned())).or_default() += 1;
                }
            }
            let held = self.held();
            let is_there =
                |id: &String, kind: &str| held.counts.contains_key(&(kind.to_owned(), id.clone()));
            let is_settled = |id: &String| {
                held.devices.get(id).is_none_or(|known| {
                    let device = known.device.as_ref();
                    let certified = device.is_some_and(|device| device.certificate.is_some());
                    (device.is_none() || is_there(id, "device.added"))
                        && (!certified || is_there(id, "device.enrolled"))
                        && (!known.revoked || is_there(id, "device.revoked"))
                })
            };
            if fresh.iter().all(is_settled) {
                return Ok(());
            }
        }
    }

    /// Nothing that happens once is recorded twice.
    fn check_counts(&self, fresh: &BTreeSet<String>) {
        let held = self.held();
        for id in fresh {
            for kind in ["device.added", "device.enrolled", "device.revoked"] {
                let count = held.counts.get(&(kind.to_owned(), id.clone()));
                assert!(count.is_none_or(|count| *count == 1), "{kind} of {id}: {count:?} times");
            }
        }
    }

    /// What was signed before is the beginning of what is signed now.
    async fn check_checkpoint(&self, line: &mut Line, key: &VerifierKey) -> Result<(), Lost> {
        let Some(before) = self.note() else { return Ok(()) };
        let now = line.ask(Method::GET, "/v1/ledger/checkpoint", None).await?;
        assert_eq!(now.status, 200, "a checkpoint was shown, and now there is none");
        let before = Checkpoint::open(before.as_bytes(), key).unwrap();
        let now = Checkpoint::open(&now.bytes, key).unwrap();
        assert!(now.size >= before.size, "{} events were signed, now {}", before.size, now.size);
        let proof = if before.size == 0 || before.size == now.size {
            Vec::new()
        } else {
            let path = format!("/v1/ledger/consistency?from={}&to={}", before.size, now.size);
            let answer = line.get(&path).await?;
            let hashes = answer.get("hashes").and_then(Value::as_array).unwrap();
            hashes.iter().map(|hash| hash.as_str().unwrap().parse().unwrap()).collect()
        };
        ledger::witness::consistent(Some(&before), &now, &proof).unwrap();
        Ok(())
    }

    /// Holds the whole fleet against what is remembered: no certificate is there that nobody was
    /// given, and none is missing. Gives how many devices there are.
    pub(crate) async fn check_all(&self, data: &Path) -> Result<u64, Lost> {
        let mut line = Line::local(data).await?;
        let mut found = BTreeMap::new();
        let mut after = String::new();
        loop {
            let page = line.get(&format!("/v1/devices?sort=id&limit=500{after}")).await?;
            for device in page.get("items").and_then(Value::as_array).unwrap() {
                let id = device.get("id").and_then(Value::as_str).unwrap().to_owned();
                let print = device.pointer("/certificate/fingerprint").and_then(Value::as_str);
                found.insert(id, print.map(str::to_owned));
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        let held = self.held();
        for (id, known) in &held.devices {
            let expected = known.device.as_ref().map(Device::fingerprint);
            match (expected, found.get(id)) {
                (Some(expected), Some(print)) => assert_eq!(&expected, print, "{id}"),
                (Some(_), None) => panic!("{id} is gone"),
                (None, Some(print)) => assert_eq!(*print, None, "{id} was never told of"),
                (None, None) => {}
            }
        }
        let unknown = found.keys().find(|id| !held.devices.contains_key(*id));
        assert_eq!(unknown, None, "nobody asked for it");
        Ok(n(found.len()))
    }
}

/// The fingerprints of a device's certificates, and whether each was revoked.
async fn certificates(line: &mut Line, id: &str) -> Result<Vec<(String, bool)>, Lost> {
    let answer = line.get(&format!("/v1/devices/{id}/certificates")).await?;
    let items = answer.get("items").and_then(Value::as_array).unwrap();
    let of = |item: &Value| {
        let print = item.get("fingerprint").and_then(Value::as_str).unwrap();
        (print.to_owned(), item.get("revoked").is_some_and(Value::is_object))
    };
    Ok(items.iter().map(of).collect())
}

/// Every event from a number on, in order.
async fn events_from(line: &mut Line, from: u64) -> Result<Vec<Value>, Lost> {
    let mut events = Vec::new();
    let mut before = String::new();
    loop {
        let page = line.get(&format!("/v1/events?limit=500{before}")).await?;
        let items = page.get("items").and_then(Value::as_array).unwrap();
        events.extend(items.iter().filter(|event| index(event) >= from).cloned());
        let is_first = items.iter().any(|event| index(event) <= from);
        match page.get("next").and_then(Value::as_u64) {
            Some(next) if !is_first => before = format!("&before={next}"),
            Some(_) | None => break,
        }
    }
    events.reverse();
    Ok(events)
}

fn index(event: &Value) -> u64 {
    event.get("index").and_then(Value::as_u64).unwrap()
}

fn n(len: usize) -> u64 {
    u64::try_from(len).unwrap()
}

/// How a claim is refused that does not count any more; the second way, after many.
const REFUSED: [u16; 2] = [403, 429];
/// How long the outbox may take to be empty after a start.
const SETTLED: Duration = Duration::from_secs(30);
