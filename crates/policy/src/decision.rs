//! Requests and decisions: who wants what on what; allowed or denied, because of what.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};

use crate::standing::DeviceStanding;

mod cause;
mod id;

pub use cause::{Cause, Effect};
pub use id::{DecisionId, DecisionIdError};

/// What a device can want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Action {
    /// To open a session.
    #[n(0)]
    Connect,
    /// To send a message to a topic.
    #[n(1)]
    Publish,
    /// To ask for the messages that a filter matches.
    #[n(2)]
    Subscribe,
    /// To be sent one message, on a concrete topic.
    #[n(3)]
    Receive,
}

/// What is wanted, on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// To open a session.
    Connect,
    /// To send a message.
    Publish {
        /// Where to.
        topic: &'a str,
        /// Whether the gateway is to keep it for those who come later.
        retain: bool,
    },
    /// To subscribe.
    Subscribe {
        /// What the topics are to match.
        filter: &'a str,
    },
    /// To be sent a message.
    Receive {
        /// The topic that it was published on.
        topic: &'a str,
    },
}

/// Who wants what on what.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who, and what is known of it.
    pub device: &'a DeviceStanding,
    /// What, on what.
    pub ask: Ask<'a>,
}

/// The versions that a decision was made with; a change of either re-decides what is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Epoch {
    /// The device's posture.
    #[n(0)]
    pub posture: u64,
    /// The policy.
    #[n(1)]
    pub policy: u64,
}

/// An answer that explains itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Names this decision on the wire, in the record and to people.
    pub id: DecisionId,
    /// Why; this also says whether it was allowed.
    pub cause: Cause,
    /// The policies that decided, for operators only.
    pub policies: Vec<Box<str>>,
    /// What went wrong in evaluating policies, for operators only.
    pub errors: Vec<Box<str>>,
    /// What it was made with.
    pub epoch: Epoch,
    /// The namespace of the topic or filter, if it belongs to one.
    pub namespace: Option<Box<str>>,
}

/// An action and a topic do not make a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The action is on a topic, and none is given.
    #[error("`{0}` is on a topic; name one")]
    NoTopic(Action),
    /// The action is on no topic, and one is given.
    #[error("`{0}` is on no topic; leave it out")]
    NeedlessTopic(Action),
}

impl<'a> Request<'a> {
    /// Asks whether a device may open a session.
    pub fn connect(device: &'a DeviceStanding) -> Self {
        Self { device, ask: Ask::Connect }
    }

    /// Asks whether a device may publish.
    pub fn publish(device: &'a DeviceStanding, topic: &'a str, retain: bool) -> Self {
        Self { device, ask: Ask::Publish { topic, retain } }
    }

    /// Asks whether a device may subscribe.
    pub fn subscribe(device: &'a DeviceStanding, filter: &'a str) -> Self {
        Self { device, ask: Ask::Subscribe { filter } }
    }

    /// Asks whether a device may be sent a message.
    pub fn receive(device: &'a DeviceStanding, topic: &'a str) -> Self {
        Self { device, ask: Ask::Receive { topic } }
    }

    /// Makes a request of an action and the topic or filter that it is on.
    pub fn of(
        device: &'a DeviceStanding,
        action: Action,
        topic: Option<&'a str>,
    ) -> Result<Self, RequestError> {
        let ask = match (action, topic) {
            (Action::Connect, None) => Ask::Connect,
            (Action::Connect, Some(_)) => return Err(RequestError::NeedlessTopic(action)),
            (Action::Publish, Some(topic)) => Ask::Publish { topic, retain: false },
            (Action::Subscribe, Some(filter)) => Ask::Subscribe { filter },
            (Action::Receive, Some(topic)) => Ask::Receive { topic },
            (Action::Publish | Action::Subscribe | Action::Receive, None) => {
                return Err(RequestError::NoTopic(action));
            }
        };
        Ok(Self { device, ask })
    }
}

impl<'a> Ask<'a> {
    /// Gives the action.
    pub fn action(&self) -> Action {
        match self {
            Self::Connect => Action::Connect,
            Self::Publish { .. } => Action::Publish,
            Self::Subscribe { .. } => Action::Subscribe,
            Self::Receive { .. } => Action::Receive,
        }
    }

    /// Gives the topic or filter, if the action is on one.
    pub fn topic(&self) -> Option<&'a str> {
        match *self {
            Self::Connect => None,
            Self::Publish { topic, .. } | Self::Receive { topic } => Some(topic),
            Self::Subscribe { filter } => Some(filter),
        }
    }
}

impl Decision {
    /// Makes a denial that no policy had a part in.
    pub fn denied(id: DecisionId, cause: Cause, epoch: Epoch) -> Self {
        Self { id, cause, policies: Vec::new(), errors: Vec::new(), epoch, namespace: None }
    }

    /// Gives the effect.
    pub fn effect(&self) -> Effect {
        self.cause.effect()
    }

    /// Tells whether it allows.
    pub fn allows(&self) -> bool {
        self.effect() == Effect::Allow
    }

    /// Writes what may go to the peer: the plain cause and the id, no policy's name.
    pub fn wire_text(&self) -> String {
        format!("{} ({})", self.cause.text(), self.id)
    }
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Publish, Self::Subscribe, Self::Receive];

    /// Names the action.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Receive => "receive",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an action is `connect`, `publish`, `subscribe` or `receive`")]
pub struct ActionError;

impl FromStr for Action {
    type Err = ActionError;

    fn from_str(text: &str) -> Result<Self, ActionError> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or(ActionError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_hears_the_cause_and_the_id_only() {
        let id = DecisionId::from_random([7; 10]);
        let mut decision = Decision::denied(id, Cause::Forbidden, Epoch::default());
        decision.policies.push(Box::from("secret-rule"));
        assert_eq!(decision.wire_text(), format!("a rule forbids this ({id})"));
    }

    #[test]
    fn actions_are_read_as_they_are_written() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        assert_eq!("Publish".parse::<Action>(), Err(ActionError));
    }
}
