//! One admitted connection: bytes in, packets to the broker's task, its batches out.
//!
//! One task reads and writes in turn, without a lock between the two. What a peer can make it hold
//! is bounded: one packet that is not whole yet, and as many batches as the broker gives credit for.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use messaging::broker::{Batch, ConnId};
use messaging::mqtt::{Decoder, PacketLimits};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::hub::{Calls, Input};

/// What a peer is spoken to over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Serves a connection, of which some bytes may have been read already, until one side ends it.
pub(crate) async fn serve(
    mut stream: impl Stream,
    conn: ConnId,
    mut batches: mpsc::Receiver<Batch>,
    calls: &Calls,
    limits: PacketLimits,
    mut received: BytesMut,
) {
    let Calls { inputs, sent } = calls;
    let mut decoder = Decoder::for_server(limits);
    let mut out = Out::default();
    let mut reads = true;
    if !received.is_empty() {
        match hand_over(conn, &mut decoder, &mut received, inputs).await {
            Ok(goes_on) => reads = goes_on,
            Err(Stopped) => return,
        }
    }
    loop {
        let step =
            poll_fn(|cx| out.step(cx, &mut stream, &mut batches, &mut received, reads)).await;
        let taken = match step {
            Step::Received => {
                let read = hand_over(conn, &mut decoder, &mut received, inputs).await;
                read.map(|goes_on| reads = goes_on)
            }
            Step::Sent => sent.send(conn).await.map_err(|_| Stopped),
            Step::Closing => return Box::pin(end(stream, out)).await,
            Step::Lost => {
                let _ = inputs.send(Input::Closed(conn)).await;
                return;
            }
        };
        if let Err(Stopped) = taken {
            return;
        }
    }
}

/// Ends a stream in good order, within a bound of time.
pub(crate) async fn say_goodbye(stream: &mut impl Stream) {
    let _ = timeout(FAREWELL, stream.shutdown()).await;
}

/// The broker's task is no more.
struct Stopped;

/// Hands on the packets that are whole; says whether there may be more.
async fn hand_over(
    conn: ConnId,
    decoder: &mut Decoder,
    received: &mut BytesMut,
    inputs: &mpsc::Sender<Input>,
) -> Result<bool, Stopped> {
    loop {
        let (mut packets, mut n_bytes) = (Vec::new(), 0_usize);
        let fault = loop {
            let n_before = received.len();
            match decoder.decode(received) {
                Ok(Some(packet)) => {
                    n_bytes = n_bytes.saturating_add(n_before.saturating_sub(received.len()));
                    packets.push(packet);
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
            if packets.len() >= MAX_PACKETS || n_bytes >= MAX_BYTES {
                break None;
            }
        };
        let is_all = packets.len() < MAX_PACKETS && n_bytes < MAX_BYTES;
        if !packets.is_empty() {
            inputs.send(Input::Packets { conn, packets }).await.map_err(|_| Stopped)?;
        }
        if let Some(error) = fault {
            // What follows can't be read: the broker answers and closes.
            *received = BytesMut::new();
            inputs.send(Input::Fault { conn, error }).await.map_err(|_| Stopped)?;
            return Ok(false);
        }
        if is_all {
            break;
        }
    }
    if received.is_empty() {
        // An idle connection holds no buffer.
        *received = BytesMut::new();
    }
    Ok(true)
}

/// What comes of one look at the connection.
enum Step {
    Received,
    Sent,
    /// The last batch is there.
    Closing,
    Lost,
}

/// What waits to be written.
#[derive(Default)]
struct Out {
    current: VecDeque<Bytes>,
    is_writing: bool,
    waiting: VecDeque<Batch>,
}

impl Out {
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut impl Stream,
        batches: &mut mpsc::Receiver<Batch>,
        received: &mut BytesMut,
        reads: bool,
    ) -> Poll<Step> {
        while let Poll::Ready(batch) = batches.poll_recv(cx) {
            let Some(batch) = batch else { return Poll::Ready(Step::Closing) };
            let closes = batch.then_close;
            self.waiting.push_back(batch);
            if closes {
                return Poll::Ready(Step::Closing);
            }
        }
        match self.write(cx, stream) {
            Poll::Ready(Ok(true)) => return Poll::Ready(Step::Sent),
            Poll::Ready(Ok(false)) | Poll::Pending => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Step::Lost),
        }
        if !reads {
            return Poll::Pending;
        }
        match ready!(read(cx, stream, received)) {
            Ok(0) | Err(_) => Poll::Ready(Step::Lost),
            Ok(_) => Poll::Ready(Step::Received),
        }
    }

    /// Writes on; tells whether a batch was written to its end, or that there is none.
    fn write(&mut self, cx: &mut Context<'_>, stream: &mut impl Stream) -> Poll<io::Result<bool>> {
        if !self.is_writing {
            let Some(batch) = self.waiting.pop_front() else { return Poll::Ready(Ok(false)) };
            self.current = batch.buffers.into();
            self.is_writing = true;
        }
        while let Some(buffer) = self.current.front_mut() {
            if buffer.is_empty() {
                self.current.pop_front();
                continue;
            }
            let n_written = ready!(Pin::new(&mut *stream).poll_write(cx, buffer))?;
            if n_written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buffer.advance(n_written);
        }
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.is_writing = false;
        Poll::Ready(Ok(true))
    }
}

/// Reads into a buffer on the stack, so that a connection that waits holds none.
fn read(
    cx: &mut Context<'_>,
    stream: &mut impl Stream,
    received: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut scratch = [MaybeUninit::uninit(); RECORD];
    let mut buffer = ReadBuf::uninit(&mut scratch);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    received.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

/// Writes what is left, and closes; a peer that does not take it in time loses it.
async fn end(mut stream: impl Stream, mut out: Out) {
    let written = timeout(FAREWELL, async {
        while poll_fn(|cx| out.write(cx, &mut stream)).await? {}
        stream.shutdown().await
    });
    if !matches!(written.await, Ok(Ok(()))) {
        return;
    }
    // Bytes that nobody reads would make the kernel reset the connection, and the peer might lose
    // the last words: so they are read and dropped until the peer closes too.
    let mut rest = BytesMut::new();
    let _ = timeout(FAREWELL, async {
        let mut n_left = LINGER;
        while let Ok(n_read @ 1..) = poll_fn(|cx| read(cx, &mut stream, &mut rest)).await {
            rest.clear();
            n_left = n_left.saturating_sub(n_read);
            if n_left == 0 {
                break;
            }
        }
    })
    .await;
}

/// The most packets that are handed over at once.
const MAX_PACKETS: usize = 64;
/// From how many bytes on they are handed over.
const MAX_BYTES: usize = 64 << 10;
/// What one TLS record carries.
const RECORD: usize = 16 << 10;
/// How long the last words may take; whoever is cut off is out within a second.
const FAREWELL: Duration = Duration::from_millis(400);
/// How many bytes of a peer are dropped after the last words.
const LINGER: usize = 1 << 20;
