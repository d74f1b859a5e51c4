//! Messages between control and a gateway.
//!
//! The link itself is trusted with nothing: what comes down is signed, and what goes up is read
//! strictly. A message has one encoding only; any other bytes are refused, so that nothing can
//! be hidden in a report.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::observation::Observation;

/// The version of these messages.
pub const VERSION: u16 = 1;
/// The longest message to a gateway, in bytes: a snapshot of a million devices.
pub const MAX_DOWNLINK: usize = 256 * 1024 * 1024;
/// The longest message from a gateway, in bytes.
pub const MAX_UPLINK: usize = 1024 * 1024;
/// The most observations in one message.
pub const MAX_OBSERVATIONS: usize = 1024;
/// The most policies named in one observation.
pub const MAX_POLICIES: usize = 64;
/// The most certificates in a chain.
pub const MAX_CHAIN: usize = 8;

/// What control sends to a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Downlink {
    /// A signed [`Snapshot`](crate::Snapshot).
    #[n(0)]
    Snapshot(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Signed [`Changes`](crate::Changes).
    #[n(1)]
    Changes(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The certificate that the gateway is to show, in DER.
    #[n(2)]
    ServerCertificate {
        /// Leaf first.
        #[cbor(n(0), with = "chain")]
        chain: Vec<Vec<u8>>,
    },
    /// Observations up to this number are durable.
    #[n(3)]
    Recorded {
        /// The number of the last one.
        #[n(0)]
        number: u64,
    },
    /// The gateway is to end its sessions and stop.
    #[n(4)]
    Shutdown,
}

/// What a gateway sends to control.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Uplink {
    /// The first message.
    #[n(0)]
    Hello {
        /// The versions of these messages that the gateway speaks.
        #[n(0)]
        versions: Vec<u16>,
        /// A request for its server certificate, in DER.
        #[cbor(n(1), with = "minicbor::bytes")]
        csr: Vec<u8>,
        /// The sequence of the standing it holds; zero if it holds none.
        #[n(2)]
        sequence: u64,
    },
    /// What happened.
    #[n(1)]
    Observations {
        /// Rises by one with each message.
        #[n(0)]
        number: u64,
        /// In the order of time.
        #[n(1)]
        items: Vec<Observation>,
    },
    /// The changes do not follow what the gateway holds.
    #[n(2)]
    NeedSnapshot,
}

/// Bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There are more bytes than a message may have.
    #[error("the message has {found} bytes; at most {most} are taken")]
    TooLong {
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// They cannot be read.
    #[error("the message is malformed: {0}")]
    Malformed(String),
    /// They can be read, and are not how the message is written.
    #[error("the message is not in its one encoding")]
    NotCanonical,
    /// A list is longer than it may be.
    #[error("the message lists {found} {what}; at most {most} are taken")]
    TooMany {
        /// What is listed.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
}

impl Downlink {
    /// Writes the message.
    pub fn encode(&self) -> Vec<u8> {
        to_vec(self)
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let message = read(bytes, MAX_DOWNLINK)?;
        if let Self::ServerCertificate { chain } = &message {
            at_most(MAX_CHAIN, "certificates", chain.len())?;
        }
        Ok(message)
    }
}

impl Uplink {
    /// Writes the message.
    pub fn encode(&self) -> Vec<u8> {
        to_vec(self)
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let message = read(bytes, MAX_UPLINK)?;
        match &message {
            Self::Hello { versions, .. } => at_most(16, "versions", versions.len())?,
            Self::Observations { items, .. } => {
                at_most(MAX_OBSERVATIONS, "observations", items.len())?;
                items.iter().try_for_each(check)?;
            }
            Self::NeedSnapshot => (),
        }
        Ok(message)
    }
}

/// Checks the bounds that an observation's types do not keep by themselves.
fn check(observation: &Observation) -> Result<(), LinkError> {
    match observation {
        Observation::Denied { policies, .. } => {
            at_most(MAX_POLICIES, "policies", policies.len())?;
            let longest = policies.iter().map(|policy| policy.len()).max().unwrap_or(0);
            at_most(256, "bytes of a policy's name", longest)
        }
        Observation::Allowed { namespace, .. } => {
            at_most(64, "bytes of a namespace's name", namespace.len())
        }
        Observation::SessionOpened { .. }
        | Observation::SessionClosed { .. }
        | Observation::HandshakeRefused { .. }
        | Observation::SlowConsumer { .. }
        | Observation::Reached { .. }
        | Observation::Ended { .. } => Ok(()),
    }
}

fn at_most(most: usize, what: &'static str, found: usize) -> Result<(), LinkError> {
    if found > most { Err(LinkError::TooMany { what, found, most }) } else { Ok(()) }
}

fn to_vec<T: Encode<()>>(message: &T) -> Vec<u8> {
    minicbor::to_vec(message).expect("writing to memory does not fail")
}

fn read<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8], most: usize) -> Result<T, LinkError> {
    if bytes.len() > most {
        return Err(LinkError::TooLong { found: bytes.len(), most });
    }
    let message: T =
        minicbor::decode(bytes).map_err(|error| LinkError::Malformed(error.to_string()))?;
    // Unknown fields, needless lengths and bytes that follow all show here.
    if to_vec(&message) != bytes {
        return Err(LinkError::NotCanonical);
    }
    Ok(message)
}

/// A chain as a list of byte strings.
mod chain {
    use super::{ByteVec, Vec};
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: Write>(
        chain: &[Vec<u8>],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(chain.len() as u64)?;
        for certificate in chain {
            e.bytes(certificate)?;
        }
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        ctx: &mut C,
    ) -> Result<Vec<Vec<u8>>, minicbor::decode::Error> {
        let chain: Vec<ByteVec> = d.decode_with(ctx)?;
        Ok(chain.into_iter().map(Vec::from).collect())
    }
}

#[cfg(test)]
mod tests;
