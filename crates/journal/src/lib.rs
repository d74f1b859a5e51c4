//! Segments on disk: append, group commit, seal, recover; and the sealing of what must not be read at rest.
//!
//! `Writer` and `Committer` are the plain journal, which store-and-forward uses too. `Record` is
//! the ledger on top of it: events, hashes, signed checkpoints. `verify` checks a record's folder
//! with nothing but the public key, and `vault` keeps keys. Files and threads, but no async
//! runtime: an edge hands in a completion and wraps it as it likes.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod backup;
mod committer;
mod disk;
pub mod frame;
pub mod fuzz;
mod history;
mod levels;
mod reader;
pub mod record;
pub mod survey;
pub mod vault;
pub mod verify;

mod writer;

pub use committer::{AppendError, Busy, Committer};
pub use reader::{ReadError, Reader};
pub use record::{Entry, Options, Pending, Record, RecordError, Recovery};
pub use writer::{OpenError, Recovered, Writer};
