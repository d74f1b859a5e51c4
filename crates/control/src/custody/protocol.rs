//! What control and custody say to each other: length-framed CBOR, answered in order.

use std::io::{self, Read, Write};

use identity::issue::Intent;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::Authorities;

/// What control asks.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Ask {
    /// What is public of the keys?
    #[n(0)]
    Describe,
    /// Certify this.
    #[n(1)]
    Issue(#[n(0)] Intent),
    /// Sign this snapshot of the standing.
    #[n(2)]
    Snapshot(#[n(0)] ByteVec),
    /// Sign these changes of the standing.
    #[n(3)]
    Changes(#[n(0)] ByteVec),
    /// Sign this checkpoint of the record; the proof leads from the last one that was signed.
    #[n(4)]
    Checkpoint {
        #[n(0)]
        text: String,
        #[cbor(n(1), with = "hashes")]
        proof: Vec<[u8; 32]>,
    },
    /// How many events does the last checkpoint that was signed cover?
    #[n(5)]
    Signed,
}

/// What custody answers.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Answer {
    #[n(0)]
    Authorities(#[n(0)] Authorities),
    #[n(1)]
    Bytes(#[n(0)] ByteVec),
    #[n(2)]
    Text(#[n(0)] String),
    #[n(4)]
    Size(#[n(0)] u64),
    /// It does not do that, and says why.
    #[n(3)]
    Refused(#[n(0)] String),
}

/// The longest message: a snapshot of a large fleet.
pub(crate) const MAX_LEN: u32 = 256 * 1024 * 1024;

/// Reads one message; `None` when the peer has closed the link between two.
pub(crate) fn read<T: for<'b> Decode<'b, ()>>(
    reader: &mut impl Read,
) -> io::Result<Option<Result<T, minicbor::decode::Error>>> {
    let mut len = [0; 4];
    match reader.read_exact(&mut len) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let len = u32::from_be_bytes(len);
    if len > MAX_LEN {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {len} bytes"),
        ));
    }
    // Grows with what arrives, so that a lying length costs nothing.
    let mut bytes = Vec::new();
    reader.by_ref().take(u64::from(len)).read_to_end(&mut bytes)?;
    if bytes.len() != usize::try_from(len).unwrap_or(usize::MAX) {
        return Ok(None);
    }
    Ok(Some(minicbor::decode(&bytes)))
}

/// Writes one message.
pub(crate) fn write<T: Encode<()>>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    let bytes = minicbor::to_vec(message).map_err(|e| io::Error::other(e.to_string()))?;
    let len = u32::try_from(bytes.len()).ok().filter(|len| *len <= MAX_LEN);
    let len = len.ok_or_else(|| io::Error::other("a message is too long"))?;
    writer.write_all(&len.to_be_bytes())?;
    writer.write_all(&bytes)
}

/// Lists of hashes, as byte strings.
mod hashes {
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    pub(super) fn encode<C, W: Write>(
        hashes: &[[u8; 32]],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(hashes.as_flattened())?.ok()
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<[u8; 32]>, DecodeError> {
        match d.bytes()?.as_chunks() {
            (hashes, []) => Ok(hashes.to_vec()),
            (_, _) => Err(DecodeError::message("hashes have 32 bytes each")),
        }
    }
}
