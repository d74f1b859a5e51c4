//! Server-sent events, read as they come.

use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::exit::{Exit, Failure, OrExit};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// What kind of event it is.
    pub(crate) name: String,
    /// What it carries.
    pub(crate) data: String,
}

/// The events of one stream, in order.
pub(crate) struct Messages {
    body: Incoming,
    reader: Reader,
}

/// Puts lines together to messages; bounded, whatever the server sends.
#[derive(Default)]
struct Reader {
    line: Vec<u8>,
    name: String,
    data: String,
    ready: std::collections::VecDeque<Message>,
}

/// The most bytes of one message.
const MAX_LEN: usize = 1024 * 1024;

impl Messages {
    /// Reads a body as a stream of events.
    pub(super) fn of(body: Incoming) -> Self {
        Self { body, reader: Reader::default() }
    }

    /// Waits for the next message; none means that the server ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        loop {
            if let Some(message) = self.reader.ready.pop_front() {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.or_exit(Exit::Unreachable)?;
            let bytes = frame.into_data().unwrap_or_default();
            self.reader.handle_bytes(&bytes)?;
        }
    }
}

/// Reads pieces of one stream.
pub(crate) fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Message>, Failure> {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.handle_bytes(piece)?;
    }
    Ok(reader.ready.into())
}

impl Reader {
    fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for byte in bytes {
            if self.line.len() + self.data.len() > MAX_LEN {
                return Err(Failure::new(Exit::Failed, "the server sent an event without end"));
            }
            match byte {
                b'\n' => self.handle_line(),
                b'\r' => {}
                byte => self.line.push(*byte),
            }
        }
        Ok(())
    }

    fn handle_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            if !name.is_empty() || !data.is_empty() {
                self.ready.push_back(Message { name, data });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_string(),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments keep the connection alive; ids and retry times are not used here.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&str]) -> Vec<Message> {
        super::read(chunks.iter().map(|chunk| chunk.as_bytes())).unwrap()
    }

    fn message(name: &str, data: &str) -> Message {
        Message { name: name.into(), data: data.into() }
    }

    #[test]
    fn messages_are_read_however_they_are_cut() {
        let text =
            ": hello\n\nevent: event\ndata: {\"a\":\ndata: 1}\nid: 7\n\nevent: fleet\r\n\r\n";
        let expected = [message("event", "{\"a\":\n1}"), message("fleet", "")];
        assert_eq!(read(&[text]), expected);
        for cut in 1..text.len() {
            assert_eq!(read(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut reader = Reader::default();
        let endless = vec![b'x'; MAX_LEN + 2];
        assert!(reader.handle_bytes(&endless).is_err());
    }
}
