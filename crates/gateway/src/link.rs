//! The link to control: frames, and the check of what comes down before anything acts on it.
//!
//! A frame is a length of four bytes, big end first, and one message. Signatures are checked and
//! policies compiled here, off the broker's task, which is only handed what it may act on.

use std::io;

use authority::Authority;
use identity::{PublicKey, Signed, Verified};
use policy::link::{MAX_DOWNLINK, MAX_UPLINK};
use policy::{Changes, Delta, Downlink, PolicySet, Snapshot};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::clock;

/// What came down the link, checked.
pub(crate) enum Update {
    Snapshot(Box<Verified<Snapshot>>, Authority),
    /// The authority is there if the changes bring a policy.
    Changes(Box<Verified<Changes>>, Option<Authority>),
    Certificate(Vec<Vec<u8>>),
    Recorded(u64),
    /// A message that must not be acted on; what it brought is missing.
    Refused(String),
    Shutdown,
}

/// Reads one frame; none at the end of the stream.
pub async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut R,
    most: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    match reader.read_exact(&mut len).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let len = u64::from(u32::from_be_bytes(len));
    if usize::try_from(len).map_or(true, |len| len > most) {
        let text = format!("a frame says {len} bytes; at most {most} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    // Memory is taken as bytes come, not as a length promises them.
    let mut frame = Vec::new();
    let n_read = reader.take(len).read_to_end(&mut frame).await?;
    if u64::try_from(n_read).is_ok_and(|n_read| n_read == len) {
        return Ok(Some(frame));
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Writes one frame.
pub async fn write_frame<W: AsyncWrite + Unpin>(writer: &mut W, message: &[u8]) -> io::Result<()> {
    let len = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    writer.write_all(&len.to_be_bytes()).await?;
    writer.write_all(message).await?;
    writer.flush().await
}

/// Hands on what comes down until the link ends.
pub(crate) async fn receive<R: AsyncRead + Unpin>(
    mut reader: R,
    standing_key: PublicKey,
    updates: mpsc::Sender<Update>,
) {
    loop {
        let frame = match read_frame(&mut reader, MAX_DOWNLINK).await {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                warn!("control has closed the link; sessions go on with the standing that is held");
                return;
            }
            Err(error) => {
                warn!(%error, "the link to control is broken; sessions go on with the standing that is held");
                return;
            }
        };
        // A snapshot of a large fleet takes a while to check: not on a thread that serves sessions.
        let key = standing_key.clone();
        let update = match tokio::task::spawn_blocking(move || read(&frame, &key)).await {
            Ok(update) => update,
            // The gateway ends at this moment.
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                error!(%error, "reading a message of control failed; the link is left");
                return;
            }
        };
        if updates.send(update).await.is_err() {
            return;
        }
    }
}

/// Writes what goes up until there is nothing more or the link ends.
pub(crate) async fn send<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut messages: mpsc::Receiver<Vec<u8>>,
) {
    while let Some(message) = messages.recv().await {
        debug_assert!(message.len() <= MAX_UPLINK);
        if let Err(error) = write_frame(&mut writer, &message).await {
            warn!(%error, "control takes no reports; they are kept up to a bound");
            // Keeping the channel open and full is what says so to the sender.
            std::future::pending::<()>().await;
        }
    }
}

fn read(frame: &[u8], standing_key: &PublicKey) -> Update {
    match Downlink::decode(frame) {
        Ok(Downlink::Snapshot(bytes)) => read_snapshot(&bytes, standing_key),
        Ok(Downlink::Changes(bytes)) => read_changes(&bytes, standing_key),
        Ok(Downlink::ServerCertificate { chain }) => Update::Certificate(chain),
        Ok(Downlink::Recorded { number }) => Update::Recorded(number),
        Ok(Downlink::Shutdown) => Update::Shutdown,
        Err(error) => Update::Refused(error.to_string()),
    }
}

fn read_snapshot(bytes: &[u8], standing_key: &PublicKey) -> Update {
    match verify::<Snapshot>(bytes, standing_key) {
        Ok(snapshot) => {
            let authority = compile(&snapshot.policy);
            Update::Snapshot(Box::new(snapshot), authority)
        }
        Err(text) => Update::Refused(text),
    }
}

fn read_changes(bytes: &[u8], standing_key: &PublicKey) -> Update {
    match verify::<Changes>(bytes, standing_key) {
        Ok(changes) => {
            let policy = changes.deltas.iter().rev().find_map(|delta| match delta {
                Delta::Policy(policy) => Some(policy),
                Delta::Device(_) | Delta::Gone(_) | Delta::Revoked(_) => None,
            });
            let authority = policy.map(|policy| compile(policy));
            Update::Changes(Box::new(changes), authority)
        }
        Err(text) => Update::Refused(text),
    }
}

fn verify<T: identity::Document>(bytes: &[u8], key: &PublicKey) -> Result<Verified<T>, String> {
    let signed = Signed::<T>::parse(bytes).map_err(|error| error.to_string())?;
    let keys = std::slice::from_ref(key);
    signed.verify(keys, 1, clock::now()).map_err(|error| error.to_string())
}

fn compile(policy: &PolicySet) -> Authority {
    Authority::compile(policy).unwrap_or_else(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        error!(version = policy.version, %first, "the policy does not compile here; everything is denied");
        Authority::closed(policy.version)
    })
}
