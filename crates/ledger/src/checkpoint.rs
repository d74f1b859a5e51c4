//! A log's signed head (C2SP tlog-checkpoint): whose, how many events, which root.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use identity::Signer;

use crate::hash::Hash;
use crate::note::{Note, NoteError, VerifierKey};

/// What a checkpoint states; that it is signed is known only of what `open` gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many events the log has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// Further lines, of which we say nothing.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// States a size and root of a log.
    pub fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self { origin: origin.to_string(), size, root, extensions: Vec::new() }
    }

    /// Writes the text that is signed.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads the text of a note.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Checkpoint;
        let text = text.strip_suffix('\n').ok_or(malformed("it has no newline at its end"))?;
        let mut lines = text.split('\n');
        let origin = lines
            .next()
            .filter(|origin| !origin.is_empty())
            .ok_or(malformed("its first line is empty"))?;
        let size = lines.next().and_then(decimal).ok_or(malformed("its second line is no size"))?;
        let root = lines
            .next()
            .and_then(|line| line.parse().ok())
            .ok_or(malformed("its third line is no root"))?;
        let extensions: Vec<String> = lines.map(String::from).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(malformed("a further line is empty"));
        }
        Ok(Self { origin: origin.to_string(), size, root, extensions })
    }

    /// Signs as the log; the key's name is the origin.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Note, NoteError> {
        Self::parse(&self.text())?;
        Note::sign(self.text(), &self.origin, signer)
    }

    /// Reads a note and checks that it is a checkpoint signed by its log.
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Self, NoteError> {
        Self::of_note(&Note::parse(note)?, key)
    }

    /// Checks that a note is a checkpoint signed by its log.
    pub fn of_note(note: &Note, key: &VerifierKey) -> Result<Self, NoteError> {
        note.verify(key)?;
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin != key.name() {
            return Err(NoteError::Origin {
                found: checkpoint.origin,
                expected: key.name().to_string(),
            });
        }
        Ok(checkpoint)
    }
}

fn decimal(text: &str) -> Option<u64> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_specifications_example_is_read_and_written() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(checkpoint.text(), TEXT);
        let extended = format!("{TEXT}more\n");
        assert_eq!(Checkpoint::parse(&extended).unwrap().text(), extended);
    }

    #[test]
    fn other_texts_are_refused() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        for text in [
            String::new(),
            format!("a\n1\n{root}"),
            format!("\n1\n{root}\n"),
            format!("a\n01\n{root}\n"),
            format!("a\n+1\n{root}\n"),
            format!("a\n\n{root}\n"),
            format!("a\n99999999999999999999\n{root}\n"),
            "a\n1\nAAAA\n".into(),
            "a\n1\n".into(),
            format!("a\n1\n{root}\n\n"),
        ] {
            assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
        }
    }
}
