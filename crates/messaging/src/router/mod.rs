//! Who gets a message: the subscriptions, and the messages kept for those who subscribe later.

mod retained;
mod trie;

#[cfg(test)]
mod tests;

pub use retained::{Cursor, Retained, Step};
pub use trie::{Full, Interest, Matches, Trie};
