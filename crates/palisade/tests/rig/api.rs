//! The API as programs use it: a connection that is kept, and answers that are whole or lost.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// One connection to the API.
pub(crate) struct Line(SendRequest<Full<Bytes>>);

/// The connection ended before the answer was whole, or what answers it has lost a part of the
/// server: all are killed at once, and one is the first to go.
#[derive(Debug)]
pub(crate) struct Lost;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) bytes: Bytes,
}

impl Line {
    /// Connects through the socket of a data folder, as its administrator.
    pub(crate) async fn local(data: &Path) -> Result<Self, Lost> {
        let stream = UnixStream::connect(data.join("run/control.sock")).await.map_err(|_| Lost)?;
        Self::over(stream).await
    }

    /// Connects over TLS, as a device that wants to enrol.
    pub(crate) async fn remote(
        address: SocketAddr,
        roots: &Arc<RootCertStore>,
    ) -> Result<Self, Lost> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(Arc::clone(roots))
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.map_err(|_| Lost)?;
        stream.set_nodelay(true).map_err(|_| Lost)?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await;
        Self::over(stream.map_err(|_| Lost)?).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, Lost> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| Lost)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Asks and waits for the whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Lost> {
        let response = self.send(method, path, body).await?;
        let status = response.status().as_u16();
        if status == 503 {
            return Err(Lost);
        }
        let bytes = response.into_body().collect().await.map_err(|_| Lost)?.to_bytes();
        Ok(Answer { status, bytes })
    }

    /// Asks for JSON that must be there.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Value, Lost> {
        Ok(self.ask(Method::GET, path, None).await?.json())
    }

    /// Sends JSON that must be taken.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Lost> {
        Ok(self.ask(Method::POST, path, Some(body)).await?.json())
    }

    /// Follows what changes; the connection is used up by it.
    pub(crate) async fn follow(mut self) -> Result<Following, Lost> {
        let response = self.send(Method::GET, "/v1/events/stream", None).await?;
        assert!(response.status().is_success());
        Ok(Following { body: response.into_body(), text: String::new(), _line: self })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, Lost> {
        self.0.ready().await.map_err(|_| Lost)?;
        let bytes = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(bytes)))
            .unwrap();
        self.0.send_request(request).await.map_err(|_| Lost)
    }
}

impl Answer {
    /// Reads the JSON of an answer that must be a good one.
    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        assert!((200..300).contains(&self.status), "{}: {text}", self.status);
        if self.bytes.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }
}

/// The stream of what changes.
pub(crate) struct Following {
    body: Incoming,
    text: String,
    _line: Line,
}

impl Following {
    /// Waits for the next message: its name and data.
    pub(crate) async fn next(&mut self) -> Result<(String, Value), Lost> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let message: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
                // What has no data is a comment that keeps the connection alive.
                if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                    return Ok((name.to_owned(), serde_json::from_str(data).unwrap()));
                }
            }
            let frame = self.body.frame().await.ok_or(Lost)?.map_err(|_| Lost)?;
            if let Ok(data) = frame.into_data() {
                self.text.push_str(&String::from_utf8_lossy(&data));
            }
        }
    }
}

/// The cryptography that clients use.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
