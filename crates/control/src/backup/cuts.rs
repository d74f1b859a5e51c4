//! What was cut off after the moment that a restored store is of: read from the record, and cut off
//! again. Only what takes rights away is taken from there; what gave some is left to people.

use std::collections::BTreeMap;

use identity::stage::Step;
use identity::{DeviceId, Time};
use journal::vault::{SecureRandom as _, SystemRandom};
use ledger::{Event, Field, KeyId};
use policy::Fact;
use policy::posture::QUARANTINE;

use crate::people::{FORGOTTEN, Keyring, Role, forget_operator};
use crate::record::{Actor, Draft, PERSON, Seal};
use crate::registry::attention::{self, Severity};
use crate::registry::device;
use crate::store::{Connection, StoreError, params};

/// The cuts that events tell of.
#[derive(Default)]
pub(crate) struct Cuts {
    devices: BTreeMap<DeviceId, DeviceCuts>,
    /// Names of tokens, and when the last of each name was revoked.
    tokens: BTreeMap<String, Time>,
    /// Keys of people, and what became of each last.
    people: BTreeMap<KeyId, PersonCut>,
}

/// What became of one device, each with the reason that was given.
#[derive(Default)]
struct DeviceCuts {
    revoked: Option<(Time, String)>,
    retired: Option<String>,
    quarantined: Option<String>,
}

enum PersonCut {
    Removed,
    Became(Role),
}

/// What was done, and the events that tell of it.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) n_cuts: u64,
    pub(crate) events: Vec<Event>,
}

/// Who does it, as events and facts say.
const ACTOR: Actor = Actor::System("restore");

impl Cuts {
    /// Takes an event in; says whether it tells of a cut.
    pub(crate) fn take(&mut self, event: &Event) -> bool {
        let Some(subject) = &event.subject else { return false };
        let reason = event.details.get("reason").and_then(Field::text).unwrap_or("not said");
        let reason = reason.to_owned();
        match (event.kind.as_str(), subject.name.text(), subject.name.key()) {
            ("device.revoked", Some(id), _) => {
                self.device(id, |cuts| cuts.revoked = Some((event.at, reason)))
            }
            ("device.retired", Some(id), _) => self.device(id, |cuts| cuts.retired = Some(reason)),
            ("device.quarantined", Some(id), _) => {
                self.device(id, |cuts| cuts.quarantined = Some(reason))
            }
            // Whether it was let back in for good is for people to say again.
            ("device.recovered", Some(id), _) => {
                self.device(id, |cuts| cuts.quarantined = None);
                false
            }
            ("token.revoked", Some(name), _) => {
                self.tokens.insert(name.to_owned(), event.at);
                true
            }
            ("operator.removed", _, Some(key)) => {
                self.people.insert(key, PersonCut::Removed);
                true
            }
            ("operator.added", _, Some(key)) => {
                let role = event.details.get("role").and_then(Field::text);
                if let Some(role) = role.and_then(|role| role.parse().ok()) {
                    self.people.insert(key, PersonCut::Became(role));
                }
                false
            }
            _ => false,
        }
    }

    fn device(&mut self, id: &str, set: impl FnOnce(&mut DeviceCuts)) -> bool {
        let Ok(id) = id.parse() else { return false };
        set(self.devices.entry(id).or_default());
        true
    }

    /// Does again what the store does not know of.
    pub(crate) async fn make(
        &self,
        c: &mut Connection<'_>,
        people: &Keyring,
        now: Time,
    ) -> Result<Made, StoreError> {
        let mut made = Made::default();
        for (id, cuts) in &self.devices {
            if device::stage(c, id).await?.is_some() {
                cut_device(c, id, cuts, now, &mut made).await?;
            }
        }
        for (name, at) in &self.tokens {
            let sql = "delete from token where name = $1 and created <= $2";
            if c.execute(sql, params![name, *at]).await? > 0 {
                made.take(Draft::new("token.revoked", &ACTOR).on("token", name), now);
            }
        }
        for (key, cut) in &self.people {
            cut_person(c, people, *key, cut, now, &mut made).await?;
        }
        Ok(made)
    }
}

impl Made {
    fn take(&mut self, draft: Draft, now: Time) {
        self.n_cuts += 1;
        self.events.push(draft.finish(now, None, None));
    }
}

async fn cut_device(
    c: &mut Connection<'_>,
    id: &DeviceId,
    cuts: &DeviceCuts,
    now: Time,
    made: &mut Made,
) -> Result<(), StoreError> {
    let draft = |kind, reason: &str| {
        let reason = format!("{reason}; done again after a restore");
        Draft::new(kind, &ACTOR).on_device(id).with("reason", reason)
    };
    if let Some((at, reason)) = &cuts.revoked {
        let n = revoke_until(c, id, reason, *at, now).await?;
        if n > 0 {
            let message = format!(
                "its certificate was revoked ({reason}), and again after a restore; make a new claim, or retire it"
            );
            attention::raise(c, id, attention::REVOKED, Severity::Red, &message, 1, now).await?;
            made.take(draft("device.revoked", reason).with("certificates", n), now);
        }
    }
    if let Some(reason) = &cuts.retired
        && let Some(Ok(stage)) = device::stage(c, id).await?.map(|stage| stage.after(Step::Retired))
    {
        revoke_until(c, id, "retired", now, now).await?;
        device::set_stage(c, id, stage, now).await?;
        attention::clear_all(c, id).await?;
        made.take(draft("device.retired", reason), now);
    }
    let facts = device::facts(c, id).await?;
    let is_out = facts.iter().any(|fact| &*fact.name == QUARANTINE && &*fact.value != "no");
    if let Some(reason) = cuts.quarantined.as_ref().filter(|_| !is_out) {
        let fact = Fact::quarantine(true, "restore", now, Some(reason));
        device::hold(c, id, &fact).await?;
        let message = format!(
            "it was cut off ({reason}), and again after a restore; find out why, then let it back in or retire it"
        );
        attention::raise(c, id, attention::QUARANTINED, Severity::Red, &message, 1, now).await?;
        made.take(draft("device.quarantined", reason), now);
    }
    Ok(())
}

/// Takes out of force what was issued before a moment.
async fn revoke_until(
    c: &mut Connection<'_>,
    id: &DeviceId,
    reason: &str,
    until: Time,
    now: Time,
) -> Result<u64, StoreError> {
    let sql = "update certificate set state = 'revoked', revoked_at = $1, revoked_reason = $2 \
               where device = $3 and state = 'issued' and created <= $4";
    c.execute(sql, params![now, reason, id, until]).await
}

async fn cut_person(
    c: &mut Connection<'_>,
    people: &Keyring,
    key: KeyId,
    cut: &PersonCut,
    now: Time,
    made: &mut Made,
) -> Result<(), StoreError> {
    // A key that is not there is of somebody whom this store never knew.
    let (Some(name), Some(key)) = (people.name_of(key), people.find(key)) else { return Ok(()) };
    match cut {
        PersonCut::Removed => {
            forget_operator(c, name).await?;
            // The name is forgotten by now, so the event does not bring it back.
            made.take(Draft::new("operator.removed", &ACTOR).on(PERSON, FORGOTTEN), now);
        }
        PersonCut::Became(role) => {
            let row = c.row("select role from operator where name = $1", params![name]).await?;
            let had: Option<Role> = row.map(|row| row.parse(0, "a role")).transpose()?;
            if had.is_some_and(|had| had > *role) {
                let sql = "update operator set role = $1 where name = $2";
                c.execute(sql, params![role.as_str(), name]).await?;
                let mut nonce = [0; 24];
                let random = SystemRandom::new().fill(&mut nonce);
                random.map_err(|_| StoreError::Unreadable("the system's random numbers"))?;
                let draft = Draft::new("operator.added", &ACTOR).on(PERSON, name);
                let draft = draft.with("role", role.as_str());
                made.n_cuts += 1;
                made.events.push(draft.finish(now, None, Some(Seal { key, nonce })));
            }
        }
    }
    Ok(())
}
