//! Standing: what an enforcement point must know of the registry to decide alone.
//!
//! It travels as a signed snapshot and signed changes, and is held as [`Standing`].

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use identity::{DeviceId, Document, Fingerprint, KindId, SiteId, Stage, Time, ZoneId};
use minicbor::{Decode, Encode};

use crate::namespace::Namespaces;
use crate::posture::Posture;

mod label;
mod shared;
mod view;

pub use label::Labels;
pub use shared::Shared;
pub use view::{Affected, Slot, Standing, StandingError};

/// What is known of one device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeviceStanding {
    /// Its name.
    #[n(0)]
    pub id: DeviceId,
    /// What it is.
    #[n(1)]
    pub kind: Shared<KindId>,
    /// The part of the site that it is in.
    #[n(2)]
    pub zone: Shared<ZoneId>,
    /// The place that it is at.
    #[n(3)]
    pub site: Shared<SiteId>,
    /// Where it is in its life.
    #[n(4)]
    pub stage: Stage,
    /// What people tagged it with.
    #[n(5)]
    pub labels: Labels,
    /// What is held true of it now.
    #[n(6)]
    pub posture: Posture,
    /// Its certificates that are in force.
    #[n(7)]
    pub certificates: Vec<Fingerprint>,
}

/// The rules and the shapes of topics that they speak of.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicySet {
    /// Rises with every change.
    #[n(0)]
    pub version: u64,
    /// The policies, in Cedar.
    #[n(1)]
    pub source: String,
    /// The declared namespaces.
    #[n(2)]
    pub namespaces: Namespaces,
}

/// All that an enforcement point must know, at one sequence.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Snapshot {
    /// Which state of the registry this is; it never goes back.
    #[n(0)]
    pub sequence: u64,
    /// When it was made.
    #[n(1)]
    pub issued: Time,
    /// The policy in force.
    #[n(2)]
    pub policy: PolicySet,
    /// Every device.
    #[cbor(n(3), decode_with = "shared::decode_devices")]
    pub devices: Vec<DeviceStanding>,
    /// Certificates that were revoked and have not expired.
    #[n(4)]
    pub revoked: Vec<Fingerprint>,
}

/// What leads from one sequence to a later one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Changes {
    /// The sequence that the receiver must be at.
    #[n(0)]
    pub from: u64,
    /// The sequence that it is at afterwards.
    #[n(1)]
    pub to: u64,
    /// When they were made.
    #[n(2)]
    pub issued: Time,
    /// What changed, in order.
    #[n(3)]
    pub deltas: Vec<Delta>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Delta {
    /// A device is new or has changed: this is all that is known of it now.
    #[n(0)]
    Device(#[n(0)] Box<DeviceStanding>),
    /// A device is not known any more.
    #[n(1)]
    Gone(#[n(0)] DeviceId),
    /// The policy is another one.
    #[n(2)]
    Policy(#[n(0)] Box<PolicySet>),
    /// These certificates were revoked as well.
    #[n(3)]
    Revoked(#[n(0)] Vec<Fingerprint>),
}

impl Document for Snapshot {
    const CONTEXT: &'static str = "palisade.standing.snapshot.v1";
}

impl Document for Changes {
    const CONTEXT: &'static str = "palisade.standing.changes.v1";
}

#[cfg(test)]
pub(crate) mod tests;
