//! The two ways in: HTTPS for browsers, devices and programs, and a local socket for the command
//! line, whose peer is administrator by the socket's permissions.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use identity::PublicKey;
use identity::certificate::ServerName;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tracing::{debug, info, warn};

use crate::centre::Centre;
use crate::enrolment::server_certificate;
use crate::people::{Local, Remote};

/// Connections that are served at once.
const MAX_CONNECTIONS: usize = 2048;
/// How often the server's certificate, valid for 90 days, is renewed.
const RENEW: Duration = Duration::from_secs(24 * 3600);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a peer may take to send the head of a request.
const HEADERS: Duration = Duration::from_secs(15);

/// Makes the server's key and has its certificate signed; the key never leaves this process.
pub(crate) async fn tls(
    centre: &Centre,
    names: &[ServerName],
) -> anyhow::Result<Arc<ServerConfig>> {
    let pair =
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).context("no key could be made")?;
    let public = PublicKey::p256(pair.public_key().as_ref()).context("the server's key")?;
    let mut serial = [0; 20];
    aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut serial)
        .context("no randomness")?;
    let chain = server_certificate(
        &centre.custody,
        &centre.authorities,
        serial,
        names,
        public,
        centre.now(),
    );
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
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors or the like: it passes, and accepting at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&config.borrow()));
        let (router, stop) = (router.clone(), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            let _ = stream.set_nodelay(true);
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
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64);
    let service = TowerToHyperService::new(router.map_request(
        |request: hyper::Request<hyper::body::Incoming>| request.map(axum::body::Body::new),
    ));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => if let Err(error) = result {
            debug!(%error, "a connection ended badly");
        },
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(Duration::from_secs(5), connection).await;
        }
    }
}
