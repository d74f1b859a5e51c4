//! An event before it is written: who did what on what, in our words.

use identity::{DeviceId, Time};
use ledger::{ActorSort, Field, Kind, SubjectKey};

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A person, by sign-in name.
    Operator(String),
    /// A program, by its token's name.
    Token(String),
    /// A device.
    Device(DeviceId),
    /// A part of this program.
    System(&'static str),
}

/// What a person's name is sealed with.
pub(crate) struct Seal {
    pub(crate) key: SubjectKey,
    pub(crate) nonce: [u8; 24],
}

/// The sort of subject that is a person.
pub(crate) const PERSON: &str = "operator";

/// An event that is being drafted.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    kind: &'static str,
    actor: Actor,
    subject: Option<(&'static str, String)>,
    details: Vec<(&'static str, String)>,
    decision: Option<policy::DecisionId>,
    count: u64,
}

impl Draft {
    /// Begins an event of a kind.
    pub(crate) fn new(kind: &'static str, actor: &Actor) -> Self {
        Self {
            kind,
            actor: actor.clone(),
            subject: None,
            details: Vec::new(),
            decision: None,
            count: 1,
        }
    }

    /// Says which device it is about.
    pub(crate) fn on_device(self, id: &DeviceId) -> Self {
        self.on("device", id)
    }

    /// Says what it is about.
    pub(crate) fn on(mut self, sort: &'static str, name: impl ToString) -> Self {
        self.subject = Some((sort, name.to_string()));
        self
    }

    /// Adds a detail.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.details.push((name, value.to_string()));
        self
    }

    /// Names the decision that it follows from.
    pub(crate) fn deciding(mut self, id: policy::DecisionId) -> Self {
        self.decision = Some(id);
        self
    }

    /// Says how many times it happened.
    pub(crate) fn times(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// Lends the name of the person who acted, if it was one.
    pub(crate) fn acting_person(&self) -> Option<&str> {
        match &self.actor {
            Actor::Operator(name) => Some(name),
            Actor::Token(_) | Actor::Device(_) | Actor::System(_) => None,
        }
    }

    /// Lends the name of the person whom it is about, if it is one.
    pub(crate) fn person(&self) -> Option<&str> {
        self.subject.as_ref().filter(|(sort, _)| *sort == PERSON).map(|(_, name)| name.as_str())
    }

    /// Finishes the event; a person's name is sealed under that person's key, so that it can be
    /// forgotten without touching the record.
    pub(crate) fn finish(
        self,
        now: Time,
        acting: Option<Seal>,
        person: Option<Seal>,
    ) -> ledger::Event {
        let (sort, name) = match &self.actor {
            Actor::Operator(name) => (ActorSort::Operator, name.as_str()),
            Actor::Token(name) => (ActorSort::Token, name.as_str()),
            Actor::Device(id) => (ActorSort::Device, id.as_str()),
            Actor::System(name) => (ActorSort::System, *name),
        };
        let field = |place: &str, name: &str, seal: Option<Seal>| match seal {
            Some(Seal { key, nonce }) => Field::seal(place, name, &key, nonce),
            None => Field::plain(name),
        };
        let name = field("actor", name, acting);
        let mut event =
            ledger::Event::new(now, Kind::known(self.kind), ledger::Actor { sort, name });
        event.subject = self.subject.map(|(sort, name)| ledger::Subject {
            sort: Kind::known(sort),
            name: field("subject", &name, person),
        });
        event.decision = self.decision.map(|id| id.as_bytes().to_vec());
        event.count = self.count;
        event.details =
            self.details.into_iter().map(|(k, v)| (k.to_owned(), Field::plain(v))).collect();
        event
    }
}
