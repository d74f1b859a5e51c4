//! Who may do what: the broker asks, the caller's guard answers at once.

use crate::mqtt::{Connect, Kind, QoS, Reason, Side};
use crate::text::Text;
use crate::topic::{Filter, Topic};

/// Decides what a principal may do. Answers are total and synchronous: the message path waits for nobody.
pub trait Guard<P> {
    /// May the principal connect with this client id? The rule that binds client ids to principals lives here.
    fn connect(&mut self, principal: &P, client_id: &Text, connect: &Connect) -> Ruling;
    /// May the principal publish this?
    fn publish(
        &mut self,
        principal: &P,
        topic: &Topic,
        retain: bool,
        qos: QoS,
        n_payload: usize,
    ) -> Ruling;
    /// May the principal subscribe to this?
    fn subscribe(&mut self, principal: &P, filter: &Filter) -> Ruling;
    /// May the principal receive this message, which it has subscribed to?
    fn receive(&mut self, principal: &P, topic: &Topic) -> Ruling;
}

/// A guard's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It may.
    Allow,
    /// It may not.
    Deny {
        /// MQTT's word for it; where the answer can't have it, `NotAuthorized` stands in its place.
        code: Reason,
        /// What the peer is told: a decision id and a plain cause.
        reason: Text,
    },
}

impl Ruling {
    /// Denies because it is not allowed.
    #[must_use]
    pub const fn not_authorized(reason: Text) -> Self {
        Self::Deny { code: Reason::NotAuthorized, reason }
    }
}

/// Gives the code of a denial as a kind of answer can have it.
pub(super) fn told(code: Reason, kind: Kind) -> Reason {
    let fits = code.is_failure() && code.is_allowed(kind, Side::Client);
    if fits { code } else { Reason::NotAuthorized }
}
