//! Decides with Cedar over policy's types, and says which rule decided and why.
//!
//! A decision is a total, pure function of what is known of the device, what it asks for and the
//! policy: no clock, no file, no randomness. What no policy permits is denied; a policy that may
//! forbid and cannot be evaluated denies.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authority;
mod bound;
pub mod cache;
mod compile;
pub mod explanation;
pub mod fuzz;
mod mention;
mod problem;
mod rule;
mod schema;
mod slice;
pub mod starter;

pub use authority::Authority;
pub use cache::Cache;
pub use explanation::{Deciding, Explanation};
pub use problem::Problem;
pub use schema::SCHEMA;

#[cfg(test)]
mod tests;
