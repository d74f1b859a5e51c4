//! Signed documents: what crosses a trust boundary is `Signed`, what acts takes `Verified`.
//!
//! The wire form is `COSE_Sign` (RFC 9052 §4). The kind's context string is both the subtype of the
//! content type in the protected header and the external data that every signature covers, so
//! that one kind of document can't be replayed as another; the expiry is the `exp` claim of the CWT claims in
//! the protected header (RFC 9597). Signatures are checked over the bytes that were received.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Deref;

use coset::cbor::value::Value;
use coset::{
    ContentType, CoseSign, CoseSignBuilder, CoseSignatureBuilder, Header, HeaderBuilder, Label,
    TaggedCborSerializable, iana,
};
use minicbor::{Decode, Encode};

use crate::excerpt;
use crate::key::{Algorithm, PublicKey, SignError, Signer};
use crate::time::Time;

/// The most signatures that one document may carry.
pub const MAX_SIGNATURES: usize = 16;

/// A kind of document that can be signed.
pub trait Document: Encode<()> + for<'b> Decode<'b, ()> {
    /// Tells this kind from every other; part of what is signed.
    const CONTEXT: &'static str;
}

/// A document as received: nothing in it may be acted on yet.
pub struct Signed<T> {
    sign: CoseSign,
    expires: Option<Time>,
    document: PhantomData<T>,
}

/// A document whose signatures were checked; only [`Signed::verify`] makes one.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    document: T,
    expires: Option<Time>,
    signers: Vec<PublicKey>,
}

/// Bytes are not a signed document of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The bytes are not a `COSE_Sign` structure.
    #[error("the document is not a COSE_Sign structure")]
    NotCose,
    /// The document is of another kind.
    #[error("the document's content type is `{found}`; expected `{expected}`")]
    OtherKind {
        /// What the protected header says.
        found: String,
        /// The context string of the kind that was asked for.
        expected: &'static str,
    },
    /// A header that is marked critical is not known here, or the headers are not as written here.
    #[error("the document's headers are not ours: {0}")]
    Headers(&'static str),
    /// The document has no payload or too many signatures.
    #[error("the document has {0} signatures; 1 to {MAX_SIGNATURES} are taken")]
    Signatures(usize),
}

/// A document may not be acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Too few of the trusted keys signed it.
    #[error("{found} of the trusted keys signed the document; {needed} are needed")]
    Threshold {
        /// How many distinct trusted keys have a good signature.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// It has expired.
    #[error("the document expired at {0}; get a newer one")]
    Expired(Time),
    /// The signatures are good, and the payload is not a document of this kind.
    #[error("the document's payload is malformed: {0}")]
    Payload(String),
}

impl<T: Document> Signed<T> {
    /// Signs a document with one or several keys and gives the bytes that travel.
    pub fn sign(
        document: &T,
        expires: Option<Time>,
        signers: &[&dyn Signer],
    ) -> Result<Vec<u8>, SignError> {
        let payload =
            minicbor::to_vec(document).map_err(|_| SignError("the document does not encode"))?;
        let mut builder = CoseSignBuilder::new()
            .protected(protected_header(T::CONTEXT, expires))
            .payload(payload);
        for signer in signers {
            let algorithm = match signer.public_key().algorithm() {
                Algorithm::EcdsaP256 => iana::Algorithm::ES256,
                Algorithm::Ed25519 => iana::Algorithm::EdDSA,
            };
            let header = HeaderBuilder::new()
                .algorithm(algorithm)
                .key_id(signer.public_key().digest().to_vec())
                .build();
            let signature = CoseSignatureBuilder::new().protected(header).build();
            builder =
                builder.try_add_created_signature(signature, T::CONTEXT.as_bytes(), |message| {
                    signer.sign(message)
                })?;
        }
        builder.build().to_tagged_vec().map_err(|_| SignError("the document does not encode"))
    }

    /// Reads a document of this kind; it is not to be trusted yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let sign = CoseSign::from_tagged_slice(bytes).map_err(|_| ParseError::NotCose)?;
        let header = &sign.protected.header;
        match &header.content_type {
            Some(ContentType::Text(found)) if found.strip_prefix(TREE) == Some(T::CONTEXT) => (),
            found => {
                let found = match found {
                    Some(ContentType::Text(text)) => excerpt(text),
                    Some(ContentType::Assigned(_)) => "a number".to_string(),
                    None => "nothing".to_string(),
                };
                return Err(ParseError::OtherKind { found, expected: T::CONTEXT });
            }
        }
        if !sign.unprotected.is_empty() {
            return Err(ParseError::Headers("the unprotected header is not empty"));
        }
        if sign.payload.is_none()
            || sign.signatures.is_empty()
            || sign.signatures.len() > MAX_SIGNATURES
        {
            return Err(ParseError::Signatures(sign.signatures.len()));
        }
        let expires = expiry(header)?;
        Ok(Self { sign, expires, document: PhantomData })
    }

    /// Checks that at least `threshold` distinct trusted keys signed, that it has not expired, and
    /// reads the payload.
    pub fn verify(
        self,
        trusted: &[PublicKey],
        threshold: usize,
        now: Time,
    ) -> Result<Verified<T>, VerifyError> {
        let mut signers = BTreeSet::new();
        for signature in &self.sign.signatures {
            let message = self.sign.tbs_data(T::CONTEXT.as_bytes(), signature);
            let key_id = &signature.protected.header.key_id;
            let good = trusted
                .iter()
                .filter(|key| key.digest().as_slice() == key_id.as_slice())
                .find(|key| key.verify(&message, &signature.signature).is_ok());
            signers.extend(good);
        }
        // A threshold of zero would make anything verified.
        let needed = threshold.max(1);
        if signers.len() < needed {
            return Err(VerifyError::Threshold { found: signers.len(), needed });
        }
        if let Some(expires) = self.expires
            && now >= expires
        {
            return Err(VerifyError::Expired(expires));
        }
        let payload = self.sign.payload.as_deref().unwrap_or_default();
        let mut decoder = minicbor::Decoder::new(payload);
        let document = decoder.decode().map_err(|e| VerifyError::Payload(e.to_string()))?;
        if decoder.position() != payload.len() {
            return Err(VerifyError::Payload("bytes follow its end".to_string()));
        }
        let signers = signers.into_iter().cloned().collect();
        Ok(Verified { document, expires: self.expires, signers })
    }
}

impl<T> Verified<T> {
    /// Gives the document itself.
    pub fn into_inner(self) -> T {
        self.document
    }

    /// Says until when it may be acted on.
    pub fn expires(&self) -> Option<Time> {
        self.expires
    }

    /// Lends the trusted keys that signed it.
    pub fn signers(&self) -> &[PublicKey] {
        &self.signers
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.document
    }
}

fn protected_header(context: &'static str, expires: Option<Time>) -> Header {
    let mut builder = HeaderBuilder::new().content_type(format!("{TREE}{context}"));
    if let Some(expires) = expires {
        let claims = Value::Map(vec![(Value::from(EXP), Value::from(expires.seconds()))]);
        builder = builder.value(CWT_CLAIMS, claims);
    }
    builder.build()
}

fn expiry(header: &Header) -> Result<Option<Time>, ParseError> {
    if !header.crit.is_empty() {
        return Err(ParseError::Headers("a critical header is not known here"));
    }
    match header.rest.as_slice() {
        [] => Ok(None),
        [(Label::Int(CWT_CLAIMS), Value::Map(claims))] => match claims.as_slice() {
            [(name, Value::Integer(seconds))] if *name == Value::from(EXP) => {
                let seconds = i64::try_from(*seconds)
                    .map_err(|_| ParseError::Headers("the expiry is no time"))?;
                Ok(Some(Time::from_seconds(seconds)))
            }
            _ => Err(ParseError::Headers("the claims are not one expiry")),
        },
        _ => Err(ParseError::Headers("an unknown header")),
    }
}

/// RFC 9052 §3.1: a content type in text is a media type.
const TREE: &str = "application/";
/// RFC 9597: the header parameter that carries CWT claims.
const CWT_CLAIMS: i64 = 15;
/// RFC 8392 §3.1.4: the expiration time claim.
const EXP: i64 = 4;

#[cfg(test)]
mod tests;
