//! MQTT as devices meet it: a server on one core, Mosquitto on the same in turns, devices on another.

use std::ffi::OsStr;

use anyhow::Result;

use super::figure::{Aim, Turn};
use super::program;
use super::server::Server;

pub(super) const AIMS: &[(&str, Aim)] = &[
    ("full handshakes, CONNECT and CONNACK", Aim::Least(2_500.0)),
    ("50 to 1, 128 B, QoS 0", Aim::Least(200_000.0)),
    ("50 to 1, 128 B, QoS 0, memory", Aim::Most(60.0)),
    ("50 to 1, 128 B, QoS 1", Aim::Least(110_000.0)),
    ("1 to 50, 128 B, QoS 0", Aim::Least(2_000_000.0)),
    ("50 to 1, QoS 0, 5,000/s offered, p99", Aim::Most(300.0)),
    ("2000 idle connections, memory of each", Aim::Most(16.0)),
];

pub(super) fn measure() -> Result<Vec<Turn>> {
    let mut turns = Vec::new();
    // Memory that connections gave back is not given back to the system: each has a fresh server.
    for what in ["idle", "flow"] {
        let folder = program::folder()?;
        let (data, peers) = (folder.path().join("data"), folder.path().join("peers"));
        std::fs::create_dir(&peers)?;
        let server = Server::start_on(&["taskset", "-c", "0"], &program::palisade()?, &data)?;
        let arguments =
            [OsStr::new(what), OsStr::new(&server.ready), data.as_os_str(), peers.as_os_str()];
        turns.extend(program::turns("palisade", "mqtt", &arguments)?);
        server.stop()?;
    }
    Ok(turns)
}
