//! Posture: what is held true of a device now, each fact with its source and time.
//!
//! A fact that is absent is unknown; nothing here has a default. Quarantine is a fact, never a
//! stage: it can come and go while the device's life goes on.

use alloc::boxed::Box;
use alloc::vec::Vec;

use identity::Time;
use minicbor::{Decode, Encode};

/// The name of the fact that says whether a device is cut off.
pub const QUARANTINE: &str = "quarantine";
/// The names of the facts that a policy can ask for, as `principal.posture.NAME`.
pub const FACTS: [&str; 1] = [QUARANTINE];

/// What is held true of a device, versioned by its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Posture {
    /// Rises with every change.
    #[n(0)]
    pub epoch: u64,
    /// What is known; each name is there once.
    #[n(1)]
    pub facts: Vec<Fact>,
}

/// One thing held true of a device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Fact {
    /// What it is about.
    #[n(0)]
    pub name: Box<str>,
    /// What is held true.
    #[n(1)]
    pub value: Box<str>,
    /// Who says so: a person, a detector, an appraiser.
    #[n(2)]
    pub source: Box<str>,
    /// Since when.
    #[n(3)]
    pub since: Time,
    /// Why, in words for people.
    #[n(4)]
    pub reason: Option<Box<str>>,
}

impl Posture {
    /// Finds what is known under a name; none is unknown.
    pub fn fact(&self, name: &str) -> Option<&Fact> {
        self.facts.iter().find(|fact| &*fact.name == name)
    }

    /// Holds a fact from now on, in place of an earlier one of its name, and raises the epoch.
    pub fn hold(&mut self, fact: Fact) {
        self.facts.retain(|held| held.name != fact.name);
        self.facts.push(fact);
        self.facts.sort_by(|a, b| a.name.cmp(&b.name));
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Makes a fact unknown again; raises the epoch if it was known.
    pub fn forget(&mut self, name: &str) {
        let n_before = self.facts.len();
        self.facts.retain(|held| &*held.name != name);
        if self.facts.len() != n_before {
            self.epoch = self.epoch.saturating_add(1);
        }
    }

    /// Gives the fact that cuts the device off, if one does: any value but `no` does.
    pub fn quarantined(&self) -> Option<&Fact> {
        self.fact(QUARANTINE).filter(|fact| &*fact.value != "no")
    }
}

impl Fact {
    /// States that a device is cut off, or that it no longer is.
    pub fn quarantine(cut_off: bool, source: &str, since: Time, reason: Option<&str>) -> Self {
        let value = if cut_off { "yes" } else { "no" };
        Self {
            name: Box::from(QUARANTINE),
            value: Box::from(value),
            source: Box::from(source),
            since,
            reason: reason.map(Box::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_known_is_not_quarantined_and_not_recovered() {
        let posture = Posture::default();
        assert_eq!(posture.fact(QUARANTINE), None);
        assert_eq!(posture.quarantined(), None);
    }

    #[test]
    fn a_newer_fact_replaces_the_older_one_and_raises_the_epoch() {
        let mut posture = Posture::default();
        posture.hold(Fact::quarantine(true, "ada", Time::EPOCH, Some("odd traffic")));
        assert_eq!(
            posture.quarantined().and_then(|fact| fact.reason.as_deref()),
            Some("odd traffic")
        );

        posture.hold(Fact::quarantine(false, "ada", Time::EPOCH, None));

        assert_eq!(posture.quarantined(), None);
        assert_eq!(posture.fact(QUARANTINE).map(|fact| &*fact.value), Some("no"));
        assert_eq!((posture.facts.len(), posture.epoch), (1, 2));
    }

    #[test]
    fn a_value_that_is_not_no_cuts_off() {
        let mut posture = Posture::default();
        posture
            .hold(Fact { value: "Yes".into(), ..Fact::quarantine(true, "ada", Time::EPOCH, None) });
        assert!(posture.quarantined().is_some());
    }

    #[test]
    fn forgetting_makes_unknown() {
        let mut posture = Posture::default();
        posture.forget(QUARANTINE);
        assert_eq!(posture.epoch, 0);
        posture.hold(Fact::quarantine(true, "ada", Time::EPOCH, None));
        posture.forget(QUARANTINE);
        assert_eq!((posture.fact(QUARANTINE), posture.epoch), (None, 2));
    }
}
