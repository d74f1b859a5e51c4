//! The store's server goes away and comes back.

use std::net::SocketAddr;
use std::sync::Arc;

use ::policy::{Excerpt, Observation, Protocol};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::store::tests::postgres;

/// Stands between us and the store's server, so that it can be cut off alone.
struct Door {
    address: SocketAddr,
    server: SocketAddr,
    open: Option<JoinHandle<()>>,
}

impl Door {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, server, open: Some(tokio::spawn(pass(listener, server))) }
    }

    /// Ends all connections, and refuses new ones.
    async fn shut(&mut self) {
        let open = self.open.take().unwrap();
        open.abort();
        let _ = open.await;
    }

    async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.open = Some(tokio::spawn(pass(listener, self.server)));
    }
}

async fn pass(listener: TcpListener, server: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut ours, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut theirs = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
        });
    }
}

#[tokio::test]
async fn while_the_stores_server_is_away_requests_are_told_so_and_reports_wait() {
    let Some(url) = postgres::database() else {
        eprintln!("skipped: PostgreSQL is not installed");
        return;
    };
    let host = url.split(['@', '/']).find(|part| part.starts_with("127.0.0.1:")).unwrap();
    let mut door = Door::to(host.parse().unwrap()).await;
    let through = url.replace(host, &door.address.to_string());
    let store = Store::connect(&through).await.unwrap();
    let rig = rig(store).await;
    rig.add("pump-7").await;

    let ready = async || rig.local(Method::GET, "/readyz", Value::Null).await.status;
    assert_eq!(ready().await, StatusCode::OK);
    door.shut().await;
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    let answer = rig.local(Method::GET, "/v1/devices", Value::Null).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body["detail"], "the store's server is not there; try again in a moment");
    let opened = Observation::SessionOpened {
        device: "pump-7".parse().unwrap(),
        fingerprint: identity::Fingerprint::of_der(b"pump-7"),
        protocol: Protocol::Mqtt5,
        peer: "192.0.2.7:40000".parse().unwrap(),
        client_id: Excerpt::of("pump-7"),
        at: rig.centre.now(),
    };
    let centre = Arc::clone(&rig.centre);
    let report =
        tokio::spawn(async move { crate::standing::record_at_last(&centre, &[opened]).await });
    // The report has met the closed door before it opens again: each try lasts longer than this one.
    let answer = rig.local(Method::GET, "/v1/devices", Value::Null).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!report.is_finished());

    door.open().await;
    let seen = report.await.unwrap().unwrap();
    assert_eq!(seen, ["pump-7".parse().unwrap()]);
    assert_eq!(ready().await, StatusCode::OK);
    let device = rig.get("/v1/devices/pump-7").await;
    assert_eq!(device["connection"]["state"], "connected");
    assert_eq!(rig.told("kind=device.connected").await.len(), 1);
}
