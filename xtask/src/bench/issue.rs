//! Certificates: the pure part on one core, and all of it through a running server.

use std::ffi::OsStr;

use anyhow::Result;

use super::figure::{Aim, Turn};
use super::program;
use super::server::Server;

pub(super) const AIMS: &[(&str, Aim)] = &[
    ("issued on one core", Aim::LeastOfPeer(0.85)),
    ("enrolled and durable, 256 callers", Aim::Least(3_000.0)),
];

pub(super) fn measure() -> Result<Vec<Turn>> {
    let mut turns = program::turns("control", "issue", &[OsStr::new("pure")])?;
    let folder = program::folder()?;
    let data = folder.path().join("data");
    let server = Server::start(&program::palisade()?, &data)?;
    let (socket, peers) = (data.join("run/control.sock"), folder.path().join("peers"));
    let through = [OsStr::new("enrol"), socket.as_os_str(), peers.as_os_str()];
    turns.extend(program::turns("control", "issue", &through)?);
    server.stop()?;
    Ok(turns)
}
