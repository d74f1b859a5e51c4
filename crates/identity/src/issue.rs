//! What to issue: from an intent to the bytes that an authority signs, and the lint between.
//!
//! The order that loses nothing: serial and intent are stored, the bytes are built and linted,
//! signed, stored, and only then answered. Names come from the registry, never from a request.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::str::FromStr;
use core::time::Duration;

use der::asn1::{AnyRef, BitStringRef, Ia5String, ObjectIdentifier, OctetString};
use der::{DateTime, Decode as _, Encode as _, Sequence};
use minicbor::{Decode, Encode};
use rustls_pki_types::{AlgorithmIdentifier, alg_id};
use sha2::{Digest, Sha256};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Validity;

use crate::certificate::{
    DEVICE_URI, Holder, OID_CLIENT_AUTH, OID_SERVER_AUTH, Serial, ServerName,
};
use crate::key::{Algorithm, OID_ECDSA_SHA256, OID_ED25519, PublicKey, SignError, Signer};
use crate::time::Time;

/// What shall be certified; stored before anything is signed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Intent {
    /// The serial number, drawn at random.
    #[n(0)]
    pub serial: Serial,
    /// Who it is for.
    #[n(1)]
    pub holder: Holder,
    /// The common name: the device's id, the server's first name, or the authority's title.
    #[n(2)]
    pub common_name: String,
    /// The holder's key.
    #[n(3)]
    pub key: PublicKey,
    /// From when it shall be valid.
    #[n(4)]
    pub not_before: Time,
    /// Until when it shall be valid.
    #[n(5)]
    pub not_after: Time,
}

/// The authority that signs: its name and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The common name, as in its own certificate.
    pub common_name: String,
    /// The key that it signs with.
    pub key: PublicKey,
}

/// The bytes of a certificate that is not signed yet, built from an intent and linted.
#[derive(Debug)]
pub struct ToBeSigned {
    pub(crate) der: Vec<u8>,
    pub(crate) algorithm: Algorithm,
}

/// An intent that no certificate may be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The intent breaks a rule.
    #[error("the certificate would break a rule: {0}")]
    Lint(&'static str),
    /// A value cannot be written in DER.
    #[error("the certificate does not encode: {0}")]
    Encode(String),
    /// The authority's key could not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl From<der::Error> for IssueError {
    fn from(error: der::Error) -> Self {
        Self::Encode(error.to_string())
    }
}

/// The longest validity of a device's or server's certificate.
pub const MAX_LEAF_VALIDITY: Duration = Duration::from_secs(825 * 24 * 3600);

/// RFC 5280 §4.1, version 3.
#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Envelope<'a> {
    tbs: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

impl Intent {
    /// Builds the bytes to be signed, and lints them.
    pub fn build(&self, issuer: &Issuer) -> Result<ToBeSigned, IssueError> {
        lint(self)?;
        let tbs = Tbs {
            version: 2,
            serial: SerialNumber::new(self.serial.as_bytes())?,
            signature: signature_algorithm(issuer.key.algorithm()),
            issuer: distinguished_name(&issuer.common_name)?,
            validity: Validity::new(x509_time(self.not_before)?, x509_time(self.not_after)?),
            subject: distinguished_name(&self.common_name)?,
            key: SubjectPublicKeyInfoOwned::from_der(self.key.spki())?,
            extensions: extensions(self, issuer)?,
        };
        Ok(ToBeSigned { der: tbs.to_der()?, algorithm: issuer.key.algorithm() })
    }
}

impl ToBeSigned {
    /// Has an authority sign, and gives the certificate in DER.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, IssueError> {
        if signer.public_key().algorithm() != self.algorithm {
            return Err(IssueError::Lint("the signer's algorithm is not the issuer's"));
        }
        let signature = signer.sign(&self.der)?;
        let envelope = Envelope {
            tbs: AnyRef::from_der(&self.der)?,
            algorithm: signature_algorithm(self.algorithm),
            signature: BitStringRef::from_bytes(&signature)?,
        };
        Ok(envelope.to_der()?)
    }
}

fn lint(intent: &Intent) -> Result<(), IssueError> {
    let rules = [
        (intent.serial.as_bytes()[0] < 0x80, "its serial number is negative"),
        (intent.serial.as_bytes()[..12].iter().any(|b| *b != 0), "its serial number is not random"),
        (intent.not_before < intent.not_after, "its validity ends before it begins"),
        (!intent.common_name.is_empty(), "it names nobody"),
        (intent.common_name.len() <= crate::name::MAX_LEN, "its common name has over 64 bytes"),
        (
            intent.common_name.chars().all(plain),
            "its common name holds a control or escape character",
        ),
        (fits_holder(intent), "its names do not fit its holder"),
        (lasts(intent), "it would be valid for too long"),
    ];
    match rules.into_iter().find(|(kept, _)| !kept) {
        Some((_, rule)) => Err(IssueError::Lint(rule)),
        None => Ok(()),
    }
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " -_.:".contains(c)
}

fn fits_holder(intent: &Intent) -> bool {
    match &intent.holder {
        Holder::Device(id) => id.as_str() == intent.common_name,
        Holder::Server(names) => {
            // Names come over a link as texts; one that no client can ask for is none.
            let plain = |name: &ServerName| name.to_string().parse().as_ref() == Ok(name);
            !names.is_empty() && names.len() <= 32 && names.iter().all(plain)
        }
        Holder::Authority { path_len } => *path_len <= 2,
        Holder::Stranger => false,
    }
}

fn lasts(intent: &Intent) -> bool {
    let Some(span) = intent.not_after.since(intent.not_before) else { return false };
    match intent.holder {
        Holder::Device(_) | Holder::Server(_) | Holder::Stranger => span <= MAX_LEAF_VALIDITY,
        Holder::Authority { .. } => true,
    }
}

fn extensions(intent: &Intent, issuer: &Issuer) -> Result<Vec<Extension>, IssueError> {
    let (constraints, usages) = match &intent.holder {
        Holder::Authority { path_len } => (
            BasicConstraints { ca: true, path_len_constraint: Some(*path_len) },
            KeyUsages::KeyCertSign | KeyUsages::CRLSign,
        ),
        Holder::Device(_) | Holder::Server(_) | Holder::Stranger => (
            BasicConstraints { ca: false, path_len_constraint: None },
            KeyUsages::DigitalSignature.into(),
        ),
    };
    let subject_key = SubjectKeyIdentifier(OctetString::new(key_identifier(&intent.key))?);
    let authority_key = AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(key_identifier(&issuer.key))?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    };
    let mut extensions = vec![
        extension(true, &constraints)?,
        extension(true, &KeyUsage(usages))?,
        extension(false, &subject_key)?,
        extension(false, &authority_key)?,
    ];
    match &intent.holder {
        Holder::Device(id) => {
            let uri = Ia5String::new(&format!("{DEVICE_URI}{id}"))?;
            let names = SubjectAltName(vec![GeneralName::UniformResourceIdentifier(uri)]);
            extensions.push(extension(false, &ExtendedKeyUsage(vec![OID_CLIENT_AUTH]))?);
            extensions.push(extension(false, &names)?);
        }
        Holder::Server(names) => {
            let names: Result<_, der::Error> = names.iter().map(general_name).collect();
            extensions.push(extension(false, &ExtendedKeyUsage(vec![OID_SERVER_AUTH]))?);
            extensions.push(extension(false, &SubjectAltName(names?))?);
        }
        Holder::Authority { .. } | Holder::Stranger => (),
    }
    Ok(extensions)
}

fn extension<T>(critical: bool, value: &T) -> Result<Extension, IssueError>
where
    T: der::Encode + der::oid::AssociatedOid,
{
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

fn general_name(name: &ServerName) -> Result<GeneralName, der::Error> {
    match name {
        ServerName::Dns(name) => Ok(GeneralName::DnsName(Ia5String::new(name)?)),
        ServerName::Ip(ip) => Ok(GeneralName::from(*ip)),
    }
}

/// RFC 7093 §2, method 1: the leftmost 160 bits of SHA-256 over the key.
fn key_identifier(key: &PublicKey) -> Vec<u8> {
    let mut hash = Sha256::digest(key.raw()).to_vec();
    hash.truncate(20);
    hash
}

fn distinguished_name(common_name: &str) -> Result<Name, IssueError> {
    // `plain` above leaves no character that this notation would have to escape.
    Ok(Name::from_str(&format!("CN={common_name}"))?)
}

fn x509_time(time: Time) -> Result<x509_cert::time::Time, IssueError> {
    let date = DateTime::from_unix_duration(time.unix())?;
    Ok(x509_cert::time::Time::from(date))
}

pub(crate) fn signature_algorithm(algorithm: Algorithm) -> AlgorithmIdentifierOwned {
    let oid: ObjectIdentifier = match algorithm {
        Algorithm::EcdsaP256 => OID_ECDSA_SHA256,
        Algorithm::Ed25519 => OID_ED25519,
    };
    // RFC 5758 §3.2 and RFC 8410 §3: parameters are absent for both.
    AlgorithmIdentifierOwned { oid, parameters: None }
}

impl Algorithm {
    pub(crate) fn public_key_id(self) -> AlgorithmIdentifier {
        match self {
            Self::EcdsaP256 => alg_id::ECDSA_P256,
            Self::Ed25519 => alg_id::ED25519,
        }
    }

    pub(crate) fn signature_id(self) -> AlgorithmIdentifier {
        match self {
            Self::EcdsaP256 => alg_id::ECDSA_SHA256,
            Self::Ed25519 => alg_id::ED25519,
        }
    }
}
