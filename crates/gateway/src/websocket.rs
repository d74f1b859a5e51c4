//! MQTT over WebSocket (MQTT 5.0 §6): the same packets, in binary frames, behind the same TLS.
//!
//! A connection shows by its first byte what it speaks: no CONNECT begins with the `G` of a `GET`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream as _};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use crate::connection::Stream;

/// How a connection begins.
pub(crate) enum Greeting {
    /// As MQTT, with these bytes.
    Mqtt(BytesMut),
    /// As HTTP, with a whole head.
    Http(BytesMut),
}

/// Reads what a connection begins with: a byte tells what it is, and a head of HTTP is read whole, within a bound.
pub(crate) async fn greeting(stream: &mut impl Stream) -> io::Result<Greeting> {
    let mut read = BytesMut::new();
    loop {
        if read.len() >= MAX_HEAD {
            let text = "the request's head is too long";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        read.reserve(1024);
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if read.first() != Some(&b'G') {
            return Ok(Greeting::Mqtt(read));
        }
        if read.windows(END_OF_HEAD.len()).any(|window| window == END_OF_HEAD) {
            return Ok(Greeting::Http(read));
        }
    }
}

/// Answers a request for a WebSocket; one for anything else is refused.
pub(crate) async fn accept<S: Stream>(
    stream: S,
    head: BytesMut,
    max_packet: usize,
) -> Result<WebSocket<S>, Error> {
    // A frame may carry several packets, but a peer that sends larger ones wants to fill our memory.
    let largest = max_packet.saturating_mul(2);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(largest)
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest));
    let stream = Rewound { first: head.freeze(), stream };
    let frames = accept_hdr_async_with_config(stream, answer, Some(config)).await?;
    Ok(WebSocket { frames, received: Bytes::new() })
}

#[expect(clippy::result_large_err, reason = "the library's own signature")]
fn answer(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let header = |name: HeaderName| request.headers().get(name)?.to_str().ok();
    if request.uri().path() != PATH {
        return Err(refusal(StatusCode::NOT_FOUND, "MQTT over WebSocket is at /mqtt\n"));
    }
    // A page from elsewhere must not speak in the name of a device whose certificate the browser holds.
    let own = header(header::HOST).map(|host| format!("https://{host}"));
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    if !origins.all(|origin| own.as_ref().is_some_and(|own| origin == own.as_str())) {
        return Err(refusal(StatusCode::FORBIDDEN, "the page is from elsewhere\n"));
    }
    let protocols = header(header::SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
    if !protocols.split(',').any(|protocol| protocol.trim() == PROTOCOL) {
        return Err(refusal(StatusCode::BAD_REQUEST, "the subprotocol must be `mqtt`\n")); // MQTT-6.0.0-3
    }
    let protocol = HeaderValue::from_static(PROTOCOL);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok(response)
}

fn refusal(status: StatusCode, text: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(text.to_owned()));
    *response.status_mut() = status;
    response
}

/// A WebSocket as a stream of bytes: frames need not end where packets do (MQTT-6.0.0-2).
pub(crate) struct WebSocket<S> {
    frames: WebSocketStream<Rewound<S>>,
    received: Bytes,
}

impl<S: Stream> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.received.is_empty() {
            match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.received = bytes,
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => {
                    let text = "MQTT comes in binary frames only"; // MQTT-6.0.0-1
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let n_bytes = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received.split_to(n_bytes));
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.frames).poll_ready(cx)).map_err(io::Error::other)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.frames).start_send(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_close(cx).map_err(io::Error::other)
    }
}

/// A stream whose first bytes were read already.
pub(crate) struct Rewound<S> {
    first: Bytes,
    stream: S,
}

impl<S: Stream> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let n_bytes = self.first.len().min(buffer.remaining());
        buffer.put_slice(self.first.get(..n_bytes).unwrap_or_default());
        self.first.advance(n_bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where MQTT is to be had.
const PATH: &str = "/mqtt";
/// What the peer must want to speak, and what TLS calls it.
pub(crate) const PROTOCOL: &str = "mqtt";
/// About how many bytes a request's head may have.
const MAX_HEAD: usize = 8 << 10;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const READ_BUFFER: usize = 4 << 10;
