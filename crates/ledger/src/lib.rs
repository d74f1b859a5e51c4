//! The record of what happened: events, Merkle tree, checkpoints, witnesses, proofs, verification.
//!
//! Everything here is a function of its arguments: no file, clock, socket or random source. The
//! tree is that of RFC 6962; tiles, notes, checkpoints and cosignatures have the formats of C2SP,
//! so that other people's monitors and witnesses can read them.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod checkpoint;
pub mod event;
pub mod field;
pub mod fuzz;
pub mod hash;
pub mod kind;
pub mod note;
pub mod proof;
pub mod tile;
pub mod tree;
pub mod verify;
pub mod witness;

pub use checkpoint::Checkpoint;
pub use event::{Actor, ActorSort, Event, EventError, Subject};
pub use field::{Field, FieldError, KeyId, SubjectKey};
pub use hash::{Hash, leaf_hash, node_hash};
pub use kind::{Kind, KindError};
pub use note::{Note, NoteError, Purpose, Signature, VerifierKey};
pub use tile::Tile;
pub use tree::Tree;
