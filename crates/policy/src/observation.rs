//! Observations: what a gateway reports of what happened at its door.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use identity::{DeviceId, Fingerprint, Time};
use minicbor::{Decode, Encode};

use crate::decision::{Action, Cause, DecisionId, Epoch};

mod ending;
mod excerpt;

pub use ending::{Ending, Refusal};
pub use excerpt::Excerpt;

/// What a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Protocol {
    /// MQTT 3.1.1.
    #[n(0)]
    Mqtt311,
    /// MQTT 5.0.
    #[n(1)]
    Mqtt5,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Observation {
    /// A device opened a session.
    #[n(0)]
    SessionOpened {
        /// Whose.
        #[n(0)]
        device: DeviceId,
        /// The certificate it came with.
        #[n(1)]
        fingerprint: Fingerprint,
        /// Where it came from.
        #[n(2)]
        peer: SocketAddr,
        /// What it speaks.
        #[n(3)]
        protocol: Protocol,
        /// What it calls itself.
        #[n(4)]
        client_id: Excerpt,
        /// When.
        #[n(5)]
        at: Time,
    },
    /// A session ended.
    #[n(1)]
    SessionClosed {
        /// Whose.
        #[n(0)]
        device: DeviceId,
        /// The certificate it came with.
        #[n(1)]
        fingerprint: Fingerprint,
        /// What it called itself.
        #[n(2)]
        client_id: Excerpt,
        /// How it ended.
        #[n(3)]
        why: Ending,
        /// When.
        #[n(4)]
        at: Time,
    },
    /// A request was denied, once or often.
    #[n(2)]
    Denied {
        /// The decision that the device was told.
        #[n(0)]
        decision: DecisionId,
        /// Who asked.
        #[n(1)]
        device: DeviceId,
        /// What it wanted to do.
        #[n(2)]
        action: Action,
        /// The topic or filter, of the first time.
        #[n(3)]
        topic: Option<Excerpt>,
        /// Why it was denied.
        #[n(4)]
        cause: Cause,
        /// The policies that decided.
        #[n(5)]
        policies: Vec<Box<str>>,
        /// What it was decided with.
        #[n(6)]
        epoch: Epoch,
        /// How often since the last report.
        #[n(7)]
        count: u64,
        /// When first.
        #[n(8)]
        first: Time,
        /// When last.
        #[n(9)]
        last: Time,
    },
    /// Peers were turned away before they had a session.
    #[n(3)]
    HandshakeRefused {
        /// Why.
        #[n(0)]
        why: Refusal,
        /// Where the last of them came from.
        #[n(1)]
        peer: SocketAddr,
        /// The certificate that was shown, if one was.
        #[n(2)]
        fingerprint: Option<Fingerprint>,
        /// How many since the last report.
        #[n(3)]
        count: u64,
        /// When last.
        #[n(4)]
        at: Time,
    },
    /// Requests were allowed, in one hour.
    #[n(4)]
    Allowed {
        /// Whose.
        #[n(0)]
        device: DeviceId,
        /// What it did.
        #[n(1)]
        action: Action,
        /// Where.
        #[n(2)]
        namespace: Box<str>,
        /// When the hour began.
        #[n(3)]
        hour: Time,
        /// How often since the last report.
        #[n(4)]
        count: u64,
    },
    /// A device took its messages too slowly, and some waited or were dropped.
    #[n(5)]
    SlowConsumer {
        /// Who.
        #[n(0)]
        device: DeviceId,
        /// What it calls itself.
        #[n(1)]
        client_id: Excerpt,
        /// How many messages waited.
        #[n(2)]
        queued: u64,
        /// When.
        #[n(3)]
        at: Time,
    },
    /// The standing of this sequence is in force at the gateway.
    #[n(6)]
    Reached {
        /// The sequence.
        #[n(0)]
        sequence: u64,
        /// Since when.
        #[n(1)]
        at: Time,
    },
    /// A change of standing ended sessions.
    #[n(7)]
    Ended {
        /// Whose.
        #[n(0)]
        device: DeviceId,
        /// The sequence that ended them.
        #[n(1)]
        sequence: u64,
        /// How many.
        #[n(2)]
        count: u64,
        /// Why.
        #[n(3)]
        cause: Cause,
        /// When.
        #[n(4)]
        at: Time,
    },
}

impl Protocol {
    /// Names the protocol as people do.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt311 => "mqtt 3.1.1",
            Self::Mqtt5 => "mqtt 5.0",
        }
    }
}
