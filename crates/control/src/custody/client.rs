//! Control's end of the link to custody: many callers, one stream, answers in order.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;

use identity::issue::Intent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::Authorities;
use super::protocol::{self, Answer, Ask, MAX_LEN};

/// Asks custody to sign.
#[derive(Clone)]
pub struct Custody {
    asks: mpsc::Sender<(Ask, oneshot::Sender<Answer>)>,
}

/// Why custody did not sign.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It refused.
    #[error("custody refused: {0}")]
    Refused(String),
    /// It is gone.
    #[error("custody is not there")]
    Gone,
}

/// How many questions may wait for custody.
const QUEUE: usize = 1024;

impl Custody {
    /// Takes control's end of the link.
    pub fn start(link: UnixStream) -> std::io::Result<Self> {
        link.set_nonblocking(true)?;
        let (reader, writer) = tokio::net::UnixStream::from_std(link)?.into_split();
        let (asks, queue) = mpsc::channel(QUEUE);
        let (expecting, expected) = mpsc::channel(QUEUE);
        tokio::spawn(write_asks(queue, expecting, writer));
        tokio::spawn(read_answers(expected, reader));
        Ok(Self { asks })
    }

    /// Asks what is public of the keys.
    pub async fn describe(&self) -> Result<Authorities, AskError> {
        match self.ask(Ask::Describe).await? {
            Answer::Authorities(authorities) => Ok(authorities),
            answer => Err(unexpected(answer)),
        }
    }

    /// Has a certificate signed, and gives its DER.
    pub async fn issue(&self, intent: Intent) -> Result<Vec<u8>, AskError> {
        self.bytes(Ask::Issue(intent)).await
    }

    /// Has a snapshot of the standing signed.
    pub(crate) async fn sign_snapshot(&self, snapshot: Vec<u8>) -> Result<Vec<u8>, AskError> {
        self.bytes(Ask::Snapshot(snapshot.into())).await
    }

    /// Has changes of the standing signed.
    pub(crate) async fn sign_changes(&self, changes: Vec<u8>) -> Result<Vec<u8>, AskError> {
        self.bytes(Ask::Changes(changes.into())).await
    }

    /// Asks how many events the last signed checkpoint covers, 0 when there is none.
    pub(crate) async fn signed(&self) -> Result<u64, AskError> {
        match self.ask(Ask::Signed).await? {
            Answer::Size(size) => Ok(size),
            answer => Err(unexpected(answer)),
        }
    }

    /// Has a checkpoint of the record signed, and gives the note.
    pub(crate) async fn sign_checkpoint(
        &self,
        text: String,
        proof: Vec<[u8; 32]>,
    ) -> Result<String, AskError> {
        match self.ask(Ask::Checkpoint { text, proof }).await? {
            Answer::Text(note) => Ok(note),
            answer => Err(unexpected(answer)),
        }
    }

    async fn bytes(&self, ask: Ask) -> Result<Vec<u8>, AskError> {
        match self.ask(ask).await? {
            Answer::Bytes(bytes) => Ok(bytes.into()),
            answer => Err(unexpected(answer)),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, AskError> {
        let (sender, receiver) = oneshot::channel();
        self.asks.send((ask, sender)).await.map_err(|_| AskError::Gone)?;
        match receiver.await.map_err(|_| AskError::Gone)? {
            Answer::Refused(why) => Err(AskError::Refused(why)),
            answer => Ok(answer),
        }
    }
}

fn unexpected(_: Answer) -> AskError {
    AskError::Refused("it answered something else than was asked".to_owned())
}

async fn write_asks(
    mut queue: mpsc::Receiver<(Ask, oneshot::Sender<Answer>)>,
    expecting: mpsc::Sender<oneshot::Sender<Answer>>,
    mut writer: OwnedWriteHalf,
) {
    let mut buffer = Vec::new();
    let mut batch = Vec::new();
    loop {
        if queue.recv_many(&mut batch, 64).await == 0 {
            return;
        }
        buffer.clear();
        let mut senders = VecDeque::new();
        for (ask, sender) in batch.drain(..) {
            let before = buffer.len();
            match protocol::write(&mut buffer, &ask) {
                Ok(()) => senders.push_back(sender),
                Err(error) => {
                    buffer.truncate(before);
                    let _ = sender.send(Answer::Refused(error.to_string()));
                }
            }
        }
        for sender in senders {
            if expecting.send(sender).await.is_err() {
                return;
            }
        }
        if writer.write_all(&buffer).await.is_err() {
            return;
        }
    }
}

async fn read_answers(
    mut expected: mpsc::Receiver<oneshot::Sender<Answer>>,
    reader: OwnedReadHalf,
) {
    let mut reader = BufReader::new(reader);
    // When the link breaks, `expected` is dropped with all that wait in it: each learns `Gone`.
    while let Some(sender) = expected.recv().await {
        let Ok(len) = reader.read_u32().await else { return };
        if len > MAX_LEN {
            return;
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        if reader.read_exact(&mut bytes).await.is_err() {
            return;
        }
        let Ok(answer) = minicbor::decode(&bytes) else { return };
        let _ = sender.send(answer);
    }
}
