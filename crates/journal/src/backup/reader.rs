//! Reads a backup part by part; what was handed out is authentic, and the end proves it whole.

use std::io::{BufRead, BufReader, Read};

use aws_lc_rs::aead::LessSafeKey;
use zeroize::Zeroizing;

use super::header::Header;
use super::piece::{self, Piece, SEALED_BYTES};
use super::{BackupError, PartName, Place};

/// Reads one backup; it was whole only once [`Reader::next_part`] has answered that none follows.
pub struct Reader<R> {
    input: BufReader<R>,
    key: LessSafeKey,
    n_pieces: u64,
    n_parts: u64,
    at: u64,
    part: Option<PartName>,
    /// What was read already of what follows the part.
    next: Next,
    buffer: Zeroizing<Vec<u8>>,
}

/// What follows the pieces that were handed out.
enum Next {
    /// Not known yet.
    Unread,
    /// A part of this name.
    Part(PartName),
    /// Nothing.
    End,
}

/// A piece without what it borrows.
enum Found {
    Head(PartName),
    Data(usize),
    End(u64),
}

impl<R: Read> Reader<R> {
    /// Reads the first lines and opens the backup with its passphrase.
    pub fn open(input: R, passphrase: &str) -> Result<Self, BackupError> {
        let mut input = BufReader::with_capacity(1 << 16, input);
        let header = Header::read(&mut input)?;
        let key = header.unlock(passphrase)?;
        let at = u64::try_from(header.to_text().len()).unwrap_or(u64::MAX);
        Ok(Self::with_key(input, key, at))
    }

    pub(crate) fn with_key(input: BufReader<R>, key: LessSafeKey, at: u64) -> Self {
        let buffer = Zeroizing::new(Vec::with_capacity(*SEALED_BYTES.end()));
        Self { input, key, n_pieces: 0, n_parts: 0, at, part: None, next: Next::Unread, buffer }
    }

    /// Goes on to the next part, reading over what is left of this one; none at the end.
    pub fn next_part(&mut self) -> Result<Option<PartName>, BackupError> {
        while self.data()?.is_some() {}
        match std::mem::replace(&mut self.next, Next::Unread) {
            Next::Part(name) => {
                self.part = Some(name.clone());
                Ok(Some(name))
            }
            Next::Unread | Next::End => {
                self.next = Next::End;
                Ok(None)
            }
        }
    }

    /// Reads on in the part; none at its end.
    pub fn data(&mut self) -> Result<Option<&[u8]>, BackupError> {
        if !matches!(self.next, Next::Unread) {
            return Ok(None);
        }
        let found = self.piece()?;
        match found {
            Found::Data(n_bytes) if self.part.is_some() => {
                // The first byte says that it is data.
                Ok(Some(self.buffer.get(1..=n_bytes).unwrap_or_default()))
            }
            Found::Head(name) => {
                self.n_parts += 1;
                self.next = Next::Part(name);
                Ok(None)
            }
            Found::End(n_parts) if n_parts == self.n_parts => {
                if !self.input.fill_buf()?.is_empty() {
                    return Err(BackupError::Behind(self.at));
                }
                self.next = Next::End;
                Ok(None)
            }
            Found::Data(_) | Found::End(_) => Err(BackupError::Unexpected(self.place())),
        }
    }

    /// Says how many bytes of the file were read.
    pub fn n_bytes(&self) -> u64 {
        self.at
    }

    fn piece(&mut self) -> Result<Found, BackupError> {
        let mut length = [0; 4];
        self.fill(|input| input.read_exact(&mut length))?;
        let n_bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !SEALED_BYTES.contains(&n_bytes) {
            return Err(self.changed());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(n_bytes, 0);
        let filled = self.fill(|input| input.read_exact(&mut buffer));
        self.buffer = buffer;
        filled?;
        let open = piece::open(&self.key, self.n_pieces, &mut self.buffer);
        let found = match open.map(Piece::parse) {
            None => return Err(self.changed()),
            Some(None) => return Err(BackupError::Unexpected(self.place())),
            Some(Some(Piece::Head(name))) => Found::Head(name),
            Some(Some(Piece::Data(data))) => Found::Data(data.len()),
            Some(Some(Piece::End(n_parts))) => Found::End(n_parts),
        };
        self.n_pieces += 1;
        self.at += 4 + u64::try_from(n_bytes).unwrap_or(u64::MAX);
        Ok(found)
    }

    fn fill(
        &mut self,
        read: impl FnOnce(&mut BufReader<R>) -> std::io::Result<()>,
    ) -> Result<(), BackupError> {
        read(&mut self.input).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                BackupError::Cut { place: self.place(), at: self.at }
            }
            _ => BackupError::Io(e),
        })
    }

    fn changed(&self) -> BackupError {
        BackupError::Changed { place: self.place(), at: self.at }
    }

    fn place(&self) -> Place {
        self.part.clone().map_or(Place::Beginning, Place::Part)
    }
}
