//! Speaks MQTT 3.1.1 and 5.0: packets, topics, routing and the broker's state machine.
//!
//! Nothing here knows a socket, a clock, a runtime or randomness: bytes, packets and `now` come in as arguments,
//! packets and events go out through `poll_*`. Floor 1 of the house; `gateway` drives it.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod broker;
pub mod fuzz;
pub mod mqtt;
pub mod router;
pub mod text;
pub mod time;
pub mod topic;
