//! The door: accepts connections, and lets those in whose peer proves which device it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use messaging::broker::{Batch, ConnId};
use policy::Refusal;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::address::{Addresses, Place};
use crate::connection;
use crate::hub::{Calls, Input, Opening};
use crate::limits::Limits;
use crate::tls::{Refused, Tls};
use crate::websocket::{self, Greeting};

/// What every connection's task shares.
pub(crate) struct Door {
    tls: Tls,
    turns: Semaphore,
    addresses: Arc<Addresses>,
    calls: Calls,
    limits: Limits,
}

impl Door {
    pub(crate) fn new(tls: Tls, calls: Calls, limits: Limits) -> Arc<Self> {
        let (turns, addresses) = (Semaphore::new(limits.handshakes), Addresses::bounded(&limits));
        Arc::new(Self { tls, turns, addresses, calls, limits })
    }

    /// Accepts connections until it is dropped.
    pub(crate) async fn keep(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Descriptors may be used up: what waits in the queue can wait on.
                    warn!(%error, "no connection can be accepted; trying again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(place) = self.addresses.enter(peer.ip()) else {
                drop(stream);
                self.report(peer, Refused::because(Refusal::Overloaded)).await;
                continue;
            };
            tokio::spawn(Arc::clone(&self).visit(stream, peer, place));
        }
    }

    /// Goes with one connection from its first byte to its last.
    async fn visit(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, mut place: Place) {
        let deadline = Instant::now() + self.limits.handshake_time;
        // What a stage needs goes with it: a connection that lives on holds little.
        let admitted = timeout_at(deadline, Box::pin(self.admit(stream, peer, &place))).await;
        match admitted.unwrap_or(Err(Refused::because(Refusal::Timeout))) {
            Ok((stream, conn, batches)) => {
                place.prove();
                self.serve(stream, conn, batches).await;
            }
            Err(refused) => {
                debug!(%peer, why = refused.why.as_str(), "peer turned away");
                self.report(peer, refused).await;
            }
        }
    }

    /// Finds out what a proven peer speaks, and serves it.
    async fn serve(&self, mut stream: Secured, conn: ConnId, mut batches: mpsc::Receiver<Batch>) {
        let (calls, packets) = (&self.calls, self.limits.broker.packet);
        let deadline = Instant::now() + self.limits.broker.connect_timeout;
        let greeting = Box::pin(async {
            tokio::select! {
                greeting = timeout_at(deadline, websocket::greeting(&mut stream)) => Some(greeting),
                // The broker has ended it, and has nothing to say before a CONNECT.
                _ = batches.recv() => None,
            }
        });
        match greeting.await {
            Some(Ok(Ok(Greeting::Mqtt(read)))) => {
                return connection::serve(stream, conn, batches, calls, packets, read).await;
            }
            Some(Ok(Ok(Greeting::Http(head)))) => {
                let accepted = Box::pin(websocket::accept(stream, head, packets.packet));
                if let Ok(Ok(stream)) = timeout_at(deadline, accepted).await {
                    let (stream, read) = (Box::new(stream), BytesMut::new());
                    let served = connection::serve(stream, conn, batches, calls, packets, read);
                    return Box::pin(served).await;
                }
            }
            None => return Box::pin(connection::say_goodbye(&mut stream)).await,
            Some(Ok(Err(_)) | Err(_)) => Box::pin(connection::say_goodbye(&mut stream)).await,
        }
        // Only when the gateway stops is there nobody to hear it.
        let _ = calls.inputs.send(Input::Closed(conn)).await;
    }

    async fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: &Place,
    ) -> Result<Admitted, Refused> {
        let gone = |_| Refused::because(Refusal::Other);
        prepare(&stream).map_err(gone)?;
        // Who says nothing takes no turn, and who stalls after that takes those of its own address.
        stream.peek(&mut [0]).await.map_err(gone)?;
        let own_turn = place.turn().await.map_err(|_| Refused::OURS)?;
        let turn = self.turns.acquire().await.map_err(|_| Refused::OURS)?;
        let (mut stream, leaf) = self.tls.handshake(stream).await?;
        drop((turn, own_turn));
        let fingerprint = leaf.fingerprint;
        // Room for what the broker may have out, and for the last batch, which asks for no credit.
        let (sender, batches) = mpsc::channel(self.limits.broker.batches_in_flight.max(1) + 1);
        let (opening, answer) = Opening::of(leaf, peer, sender);
        self.calls.inputs.send(Input::Open(Box::new(opening))).await.map_err(|_| Refused::OURS)?;
        match answer.await.unwrap_or(Err(Refusal::Other)) {
            Ok(conn) => Ok((Box::new(stream), conn, batches)),
            Err(why) => {
                connection::say_goodbye(&mut stream).await;
                Err(Refused { why, fingerprint: Some(fingerprint) })
            }
        }
    }

    async fn report(&self, peer: SocketAddr, refused: Refused) {
        // Only when the gateway stops is there nobody to hear it.
        let _ = self.calls.inputs.send(Input::Refused { peer, refused }).await;
    }
}

type Secured = Box<TlsStream<TcpStream>>;
type Admitted = (Secured, ConnId, mpsc::Receiver<Batch>);

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    // A client of MQTT 3.1.1 may want no keep-alive: then the network's own tells that it is gone.
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENCE)?;
    Ok(())
}

/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);
/// After how long a silence the network is asked whether the peer is still there.
const SILENCE: Duration = Duration::from_secs(120);
