//! The two ways in: HTTPS for browsers, devices and programs, and a local socket for the command
//! line, whose peer is administrator by the socket's permissions.
//!
//! What a stranger can hold is bounded: places by its network, time by what it does with them.

mod activity;
mod place;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use identity::PublicKey;
use identity::certificate::ServerName;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tracing::{debug, info, warn};

use crate::centre::Centre;
use crate::enrolment::server_certificate;
use crate::people::{Local, Remote};

use activity::{Activity, Patience};
use place::Places;

/// How often the server's certificate, valid for 90 days, is renewed.
const RENEW: Duration = Duration::from_secs(24 * 3600);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a peer may take to send the head of a request, and a new connection to begin one.
const HEADERS: Duration = Duration::from_secs(15);
/// How long a connection without a request is kept.
const IDLE: Duration = Duration::from_secs(75);
/// How long a peer may leave an answer where it is; a stream of events says something every 15 s.
const STALLED: Duration = Duration::from_secs(45);
const PATIENCE: Patience = Patience { first: HEADERS, later: IDLE, sending: STALLED };
/// How much of each answer HTTP/2 keeps ready for a peer that takes it slowly.
const SEND: usize = 16 << 10;
/// How long sent bytes may go unacknowledged, or a peer may take nothing in.
const UNREAD: Duration = Duration::from_secs(30);

/// Makes the server's key and has its certificate signed; the key never leaves this process.
pub(crate) async fn tls(
    centre: &Centre,
    names: &[ServerName],
) -> anyhow::Result<Arc<ServerConfig>> {
    let pair =
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).context("no key could be made")?;
    let public = PublicKey::p256(pair.public_key().as_ref()).context("the server's key")?;
    let chain = server_certificate(centre, names, public);
    let chain =
        chain.await.map_err(|_| anyhow::anyhow!("the server's certificate could not be issued"))?;
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = pair.to_pkcs8v1().context("the server's key does not encode")?;
    let key = PrivateKeyDer::Pkcs8(key.as_ref().to_vec().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Has a new certificate made long before the old one ends, for connections from then on.
pub(crate) async fn renew(
    centre: Arc<Centre>,
    names: Vec<ServerName>,
    config: watch::Sender<Arc<ServerConfig>>,
) {
    loop {
        tokio::time::sleep(RENEW).await;
        match tls(&centre, &names).await {
            Ok(new) => {
                config.send_replace(new);
                info!("the server's certificate was renewed");
            }
            Err(error) => {
                warn!(%error, "the server's certificate could not be renewed; trying again")
            }
        }
    }
}

/// Serves HTTPS until told to stop.
pub(crate) async fn https(
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let places = Places::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors or the like: it passes, and accepting at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Whoever finds no place is turned away at once, so that the next in line may find one.
        let Some(place) = places.take(peer.ip()) else { continue };
        let acceptor = TlsAcceptor::from(Arc::clone(&config.borrow()));
        let (router, stop) = (router.clone(), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            let _ = stream.set_nodelay(true);
            let unread = u32::try_from(UNREAD.as_millis()).unwrap_or(u32::MAX);
            let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, unread);
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let router = router.layer(axum::Extension(Remote(peer.ip())));
                    serve(stream, router, stop).await;
                }
                Ok(Err(error)) => debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => debug!(%peer, "a TLS handshake took too long"),
            }
        });
    }
}

/// Serves the local socket until told to stop.
pub(crate) async fn local(listener: UnixListener, router: Router, mut stop: watch::Receiver<bool>) {
    let router = router.layer(axum::Extension(Local));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(serve(stream, router.clone(), stop.clone()));
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn serve<S>(stream: S, router: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(32).max_send_buf_size(SEND);
    let activity = Activity::new();
    let turns = Arc::clone(&activity);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let turn = turns.turn();
        let answering = router.clone().oneshot(request.map(Body::new));
        async move {
            let response = answering.await?;
            let turn = turn.answered();
            Ok::<_, Infallible>(response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    turn.moved();
                    frame
                }))
            }))
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => if let Err(error) = result {
            debug!(%error, "a connection ended badly");
        },
        () = activity.idle(PATIENCE) => {
            // A peer that still says nothing gets no more than this.
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(Duration::from_secs(1), connection).await;
        }
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(Duration::from_secs(5), connection).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    fn serving() -> (tokio::io::DuplexStream, watch::Sender<bool>) {
        let (ours, theirs) = tokio::io::duplex(4096);
        let (stop, stopping) = watch::channel(false);
        let router = Router::new().route("/", axum::routing::get(|| async { "here" }));
        tokio::spawn(serve(theirs, router, stopping));
        (ours, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nothing_is_closed() {
        let (mut peer, _stop) = serving();
        let begun = Instant::now();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        assert!((HEADERS..HEADERS * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_asked_is_closed_when_it_rests() {
        let (mut peer, _stop) = serving();
        peer.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let begun = Instant::now();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"here"));
        assert!(begun.elapsed() <= IDLE * 2, "{:?}", begun.elapsed());
    }
}
