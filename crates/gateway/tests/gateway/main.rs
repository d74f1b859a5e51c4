//! The gateway as a device meets it: real TLS over loopback, a control that really signs.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub)]

mod handshakes;
mod lasting;
mod load;
mod mosquitto;
mod rig;
mod sessions;
mod standing;
mod websocket;
