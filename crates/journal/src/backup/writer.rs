//! Writes a backup part by part.

use std::io::{Read, Write};

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use super::header::{Cost, Header, SALT_BYTES};
use super::piece::{self, MAX_DATA_BYTES, Piece};
use super::{BackupError, MIN_CHARS, PartName};

/// Writes one backup; it is whole only after [`Writer::finish`].
pub struct Writer<W> {
    out: W,
    key: LessSafeKey,
    n_pieces: u64,
    n_parts: u64,
    n_bytes: u64,
    // One piece, open and then sealed; it may hold what is secret.
    buffer: Zeroizing<Vec<u8>>,
}

impl<W: Write> Writer<W> {
    /// Writes the first lines of a backup that this passphrase will open.
    pub fn begin(out: W, passphrase: &str, source: &dyn SecureRandom) -> Result<Self, BackupError> {
        let n_chars = passphrase.chars().count();
        if n_chars < MIN_CHARS {
            return Err(BackupError::ShortPassphrase(n_chars));
        }
        let mut salt = [0; SALT_BYTES];
        source.fill(&mut salt).map_err(|_| BackupError::Random)?;
        Self::begin_with(out, passphrase, salt, Cost::USUAL)
    }

    pub(crate) fn begin_with(
        mut out: W,
        passphrase: &str,
        salt: [u8; SALT_BYTES],
        cost: Cost,
    ) -> Result<Self, BackupError> {
        let (header, key) = Header::make(passphrase, salt, cost)?;
        let text = header.to_text();
        out.write_all(text.as_bytes())?;
        let n_bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        // With room for the longest piece from the start, so that none leaves a copy behind.
        let buffer = Zeroizing::new(Vec::with_capacity(*piece::SEALED_BYTES.end()));
        Ok(Self { out, key, n_pieces: 0, n_parts: 0, n_bytes, buffer })
    }

    /// Begins the next part.
    pub fn begin_part(&mut self, name: &PartName) -> Result<(), BackupError> {
        self.n_parts += 1;
        self.put(&Piece::Head(name.clone()))
    }

    /// Adds to the part that was begun last.
    pub fn data(&mut self, data: &[u8]) -> Result<(), BackupError> {
        data.chunks(MAX_DATA_BYTES).try_for_each(|data| self.put(&Piece::Data(data)))
    }

    /// Writes a whole part as it is read, telling how far it is; answers how long it is.
    pub fn part(
        &mut self,
        name: &PartName,
        mut content: impl Read,
        mut told: impl FnMut(u64),
    ) -> Result<u64, BackupError> {
        self.begin_part(name)?;
        let mut chunk = Zeroizing::new(vec![0; MAX_DATA_BYTES]);
        let mut n_bytes = 0;
        loop {
            let n_read = content.read(&mut chunk)?;
            if n_read == 0 {
                return Ok(n_bytes);
            }
            self.data(chunk.get(..n_read).unwrap_or_default())?;
            n_bytes += u64::try_from(n_read).unwrap_or(u64::MAX);
            told(n_bytes);
        }
    }

    /// Counts the parts that were begun.
    pub fn n_parts(&self) -> u64 {
        self.n_parts
    }

    /// Writes the end and gives back what was written to, still to be made durable, with the
    /// number of bytes that were written.
    pub fn finish(mut self) -> Result<(W, u64), BackupError> {
        self.put(&Piece::End(self.n_parts))?;
        self.out.flush()?;
        Ok((self.out, self.n_bytes))
    }

    fn put(&mut self, piece: &Piece<'_>) -> Result<(), BackupError> {
        self.buffer.clear();
        piece.write(&mut self.buffer);
        let too_long = || BackupError::Io(std::io::ErrorKind::InvalidInput.into());
        piece::seal(&self.key, self.n_pieces, &mut self.buffer).ok_or_else(too_long)?;
        let n_bytes = u32::try_from(self.buffer.len()).map_err(|_| too_long())?;
        self.out.write_all(&n_bytes.to_be_bytes())?;
        self.out.write_all(&self.buffer)?;
        self.n_pieces += 1;
        self.n_bytes += 4 + u64::from(n_bytes);
        Ok(())
    }
}
