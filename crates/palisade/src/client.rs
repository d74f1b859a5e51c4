//! A small HTTP client for our own API: over the local socket, or over TLS to a pinned root.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroizing;

use crate::cli::output::counted;
use crate::exit::{Exit, Failure, OrExit};

pub(crate) use pin::Pin;
pub(crate) use place::Place;
pub(crate) use stream::Messages;

mod pin;
mod place;
pub(crate) mod stream;

/// Talks to one server.
pub(crate) struct Client {
    place: Place,
    token: Option<Zeroizing<String>>,
}

/// An answer that is read as it comes.
pub(crate) struct Download {
    /// How long it will be, if the server said so.
    pub(crate) n_bytes: Option<u64>,
    body: Incoming,
}

/// How long the beginning of an answer may take that needs work over all of the store.
const LONG_ANSWER: Duration = Duration::from_secs(3600);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// The most bytes that one answer may have.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

impl Client {
    /// Talks to the server of a data folder through its socket, as its administrator.
    pub(crate) fn local(socket: PathBuf) -> Self {
        Self { place: Place::Local(socket), token: None }
    }

    /// Talks to a server elsewhere.
    pub(crate) fn remote(place: Place, token: Option<Zeroizing<String>>) -> Self {
        Self { place, token }
    }

    /// Asks for JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::GET, path, None).await
    }

    /// Sends JSON and reads the answer, which may be empty.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        self.json(method, path, body).await
    }

    /// Asks for text or bytes.
    pub(crate) async fn bytes(&self, path: &str) -> Result<Bytes, Failure> {
        self.exchange(Method::GET, path, None, "*/*").await
    }

    /// Follows what changes.
    pub(crate) async fn follow(&self, path: &str) -> Result<Messages, Failure> {
        let response = self.request(Method::GET, path, None, "text/event-stream").await?;
        match response.status().is_success() {
            true => Ok(Messages::of(response.into_body())),
            false => Err(problem(response.status(), &collect(response).await?)),
        }
    }

    /// Asks for what may take long and may be long; none if there is nothing to read.
    pub(crate) async fn download(&self, path: &str) -> Result<Option<Download>, Failure> {
        let response = self.request_within(LONG_ANSWER, Method::POST, path, None, "*/*").await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(None),
            status if status.is_success() => {
                let length = response.headers().get(header::CONTENT_LENGTH);
                let n_bytes = length.and_then(|n| n.to_str().ok()?.parse().ok());
                Ok(Some(Download { n_bytes, body: response.into_body() }))
            }
            status => Err(problem(status, &collect(response).await?)),
        }
    }

    async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let bytes = self.exchange(method, path, body, "application/json").await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        let wrong =
            |e| Failure::new(Exit::Unreachable, format!("the server does not answer JSON: {e}"));
        serde_json::from_slice(&bytes).map_err(wrong)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        accept: &str,
    ) -> Result<Bytes, Failure> {
        let exchange = async {
            let response = self.request(method, path, body, accept).await?;
            let status = response.status();
            let bytes = collect(response).await?;
            match status.is_success() {
                true => Ok(bytes),
                false => Err(problem(status, &bytes)),
            }
        };
        match tokio::time::timeout(ANSWER, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(Exit::Unreachable, "the server did not answer in a minute")),
        }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        accept: &str,
    ) -> Result<Response<Incoming>, Failure> {
        self.request_within(ANSWER, method, path, body, accept).await
    }

    async fn request_within(
        &self,
        patience: Duration,
        method: Method,
        path: &str,
        body: Option<Value>,
        accept: &str,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.place.host())
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, concat!("palisade/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            let mut value =
                header::HeaderValue::try_from(format!("Bearer {}", **token)).map_err(|_| {
                    Failure::new(Exit::Usage, "the token holds characters no token has")
                })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                serde_json::to_vec(&body)?
            }
            None => Vec::new(),
        };
        let request = request.body(Full::new(Bytes::from(bytes)))?;
        let connect = async {
            match &self.place {
                Place::Local(socket) => {
                    let stream = UnixStream::connect(socket).await;
                    let stream = stream.map_err(|e| place::not_running(socket, &e))?;
                    converse(stream, request).await
                }
                Place::Remote { host, port, pin } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await;
                    let stream = stream
                        .map_err(|e| anyhow::anyhow!("no answer from `{host}:{port}`: {e}"))
                        .or_exit(Exit::Unreachable)?;
                    converse(pin.connect(host, stream).await?, request).await
                }
            }
        };
        match tokio::time::timeout(patience, connect).await {
            Ok(response) => response,
            Err(_) => {
                let minutes = patience.as_secs() / 60;
                let text = format!("the server did not answer in {}", counted(minutes, "minute"));
                Err(Failure::new(Exit::Unreachable, text))
            }
        }
    }
}

impl Download {
    /// Reads on; none at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = match tokio::time::timeout(ANSWER, self.body.frame()).await {
                Ok(frame) => frame,
                Err(_) => {
                    let text = "the server stopped sending for a minute";
                    return Err(Failure::new(Exit::Unreachable, text));
                }
            };
            let Some(frame) = frame.transpose().or_exit(Exit::Unreachable)? else {
                return Ok(None);
            };
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Failure> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.or_exit(Exit::Unreachable)?;
    // The task ends with the connection, which ends when the answer was read or is dropped.
    tokio::spawn(connection);
    sender.send_request(request).await.or_exit(Exit::Unreachable)
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let limited = Limited::new(response.into_body(), MAX_ANSWER);
    let collected = limited.collect().await.map_err(|e| anyhow::anyhow!("{e}"));
    Ok(collected.or_exit(Exit::Unreachable)?.to_bytes())
}

/// Turns a refusal (RFC 9457) into one sentence and a code.
fn problem(status: StatusCode, body: &[u8]) -> Failure {
    let exit = match status.as_u16() {
        400 | 415 | 422 => Exit::Usage,
        401 | 403 => Exit::Denied,
        404 => Exit::NotFound,
        409 | 410 | 412 => Exit::Conflict,
        502..=504 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = ["detail", "title"].into_iter().find_map(|key| problem.get(key)?.as_str());
    let reason = status.canonical_reason().unwrap_or("no reason given");
    Failure::new(exit, text.map_or_else(|| format!("the server answers {reason}"), str::to_string))
}

/// Writes a text as one part of a path or query.
pub(crate) fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    let parts = text.bytes().map(|b| match plain(b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    });
    parts.collect()
}

/// Writes a query of those pairs that have a value.
pub(crate) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs.iter().filter_map(|(key, value)| Some((key, (*value)?)));
    let parts: Vec<_> = given.map(|(key, value)| format!("{key}={}", encode(value))).collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("?{}", parts.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_sentence_with_a_code_of_its_own() {
        let body = br#"{"title":"Not found","status":404,"detail":"no device `pump-9`"}"#;
        let failure = problem(StatusCode::NOT_FOUND, body);
        assert_eq!((failure.exit, failure.line().as_str()), (Exit::NotFound, "no device `pump-9`"));
        let failure = problem(StatusCode::FORBIDDEN, b"<html>");
        assert_eq!(failure.exit, Exit::Denied);
        assert_eq!(failure.line(), "the server answers Forbidden");
        assert_eq!(problem(StatusCode::CONFLICT, b"{}").exit, Exit::Conflict);
        assert_eq!(problem(StatusCode::INTERNAL_SERVER_ERROR, b"").exit, Exit::Failed);
    }

    #[test]
    fn what_is_put_into_a_path_cannot_change_it() {
        assert_eq!(encode("../policy?x=1#y"), "..%2Fpolicy%3Fx%3D1%23y");
        assert_eq!(encode("plant-a/pump-7/+"), "plant-a%2Fpump-7%2F%2B");
        assert_eq!(query(&[("device", Some("a b")), ("topic", None)]), "?device=a%20b");
        assert_eq!(query(&[("topic", None)]), "");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unreachable() {
        let place = tempfile::tempdir().unwrap();
        let client = Client::local(place.path().join("run/control.sock"));
        let failure = client.get("/v1/fleet").await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.line().contains("palisade up"), "{}", failure.line());
    }
}
