//! Names and proves anything: ids, fingerprints, keys, certificates, chains, signed documents.
//!
//! `no_std` + `alloc`: the same types serve the centre, a gateway and a microcontroller. Nothing
//! here reads a clock, draws a random number or opens a file; what is needed of those comes in
//! as an argument.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod certificate;
pub mod chain;
pub mod claim;
pub mod document;
mod excerpt;
pub mod fingerprint;
pub mod fuzz;
pub mod issue;
pub mod key;
pub mod name;
pub mod request;
pub mod stage;
pub mod time;

pub use certificate::{Certificate, Holder, Serial};
pub use chain::{Anchor, Chain};
pub use claim::Claim;
pub use document::{Document, Signed, Verified};
pub use excerpt::{excerpt, is_plain};
pub use fingerprint::Fingerprint;
pub use key::{BadSignature, Ed25519Key, P256Key, PublicKey, SignError, Signer};
pub use name::{DeviceId, KindId, SiteId, ZoneId};
pub use stage::Stage;
pub use time::Time;
