//! Standing, requests, decisions, postures and namespaces: what is decided, and over what.
//!
//! Pure domain types: no clock, no randomness, no files. How a request is decided lives in
//! `authority`; this crate only says what there is to ask, to know and to answer.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod decision;
pub mod fuzz;
pub mod link;
pub mod namespace;
pub mod network;
pub mod observation;
pub mod posture;
pub mod standing;

pub use decision::{Action, Ask, Cause, Decision, DecisionId, Effect, Epoch, Request};
pub use link::{Downlink, Uplink};
pub use namespace::{Binding, Namespace, Namespaces};
pub use network::Network;
pub use observation::{Ending, Excerpt, Observation, Protocol, Refusal};
pub use posture::{Fact, Posture};
pub use standing::{
    Affected, Changes, Delta, DeviceStanding, Labels, PolicySet, Shared, Slot, Snapshot, Standing,
};
